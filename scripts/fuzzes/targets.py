"""Every parser of what strangers send: how it is called, what it may refuse with, and examples it accepts."""

from __future__ import annotations

import gzip
import hashlib
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as Message
from PIL import Image

from fedcxr import wire
from fedcxr.data import _shard as shard
from fedcxr.data._decode import Unusable, decode_image
from fedcxr.data._tables import Table
from fedcxr.errors import FedcxrError
from fedcxr.keys import MasterKey, Origin
from fedcxr.keys.cards import Card
from fedcxr.keys.envelopes import grant, open_envelope, read_label
from fedcxr.keys.identity import Identity
from fedcxr.keys.signatures import PURPOSE, sign_request, verify_release
from fedcxr.questions import Part
from fedcxr.release import Packed, Release
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.storage.checkpoint import Checkpoint
from server import acceptance, answers, prepared
from sites import encrypted_file
from sites.asking import asking

SMALL = Path(tempfile.mkdtemp(prefix="fedcxr-fuzz-"))
Parse = Callable[[bytes], object]


class NoMessage(Exception):
    """Flower refuses it before we see it."""


@dataclass(frozen=True)
class Target:
    """One parser."""

    name: str
    parse: Parse
    examples: Callable[[], Sequence[bytes]]
    refusals: tuple[type[BaseException], ...] = (FedcxrError,)


def _from_file(name: str, parse: Callable[[Path], object]) -> Parse:
    """For a parser of files."""

    def parsed(data: bytes) -> object:
        path = SMALL / name
        path.write_bytes(data)
        return parse(path)

    return parsed


def _written(write: Callable[[Path], object], name: str = "example") -> bytes:
    write(SMALL / name)
    return (SMALL / name).read_bytes()


# Releases and messages ------------------------------------------------------------------------------------------------


def _release() -> Release:
    arrays: dict[str, np.ndarray] = {
        "films": np.arange(512, dtype=np.uint8).reshape(2, 16, 16),
        "findings": np.array([[0, 1], [np.nan, 0]], dtype=np.float32),
        "split": np.array([0, 2], dtype=np.int8),
    }
    return Release("images", "site-1", "noise", arrays, {"findings": ["Edema", "Mass"], "complaints": []})


def _message(unpack: Callable[[Any], object]) -> Parse:
    def parsed(data: bytes) -> object:
        try:
            content = recorddict_from_proto(Message.FromString(data))
        except Exception:
            raise NoMessage from None
        return unpack(content)

    return parsed


def _packed(content: Any) -> bytes:
    raw: bytes = recorddict_to_proto(content).SerializeToString()
    return raw


def _taken_in(body: bytes) -> object:
    """What a site has damaged and signed all the same, as far as a coordinator believes signatures."""
    signed = Packed(body, BOB.sign(PURPOSE, hashlib.sha256(body).digest()))
    packed = verify_release(signed.to_bytes(), BOB.public)
    acceptance.admit(packed.header, NOISE, images=2)
    release = Release.of(packed)
    acceptance.accept(release, NOISE, None, images=2)
    return acceptance.odd_ones({"bob": packed.header}, NOISE)


# Keys -----------------------------------------------------------------------------------------------------------------

NOISE = Scenario.parse({"method": "noise", "cohort": {"source": "phantom", "patients": 2, "size": 16}})
ALICE, BOB = Identity(bytes(64), "alice"), Identity(bytes(range(64)), "bob")
KEY = MasterKey(bytes(32), "alice", 1).release_key("spring")


def _envelopes() -> list[bytes]:
    return [grant(KEY, ALICE, BOB.public), grant(KEY.only(["0", "7"]), ALICE, BOB.public)]


def _open(envelope: bytes) -> None:
    read_label(envelope)
    open_envelope(envelope, BOB, ALICE.public, Origin("alice", "spring", 1))


def _vault(data: bytes) -> None:
    header, _ = encrypted_file._parts(data, SMALL)
    encrypted_file._cost(header, SMALL)


def _vaults() -> list[bytes]:
    made = tempfile.mkdtemp(dir=SMALL)
    encrypted_file.EncryptedFile.create(Path(made), b"words", b"content", encrypted_file.Cost(log_n=2)).close()
    return [(Path(made) / encrypted_file.FILE).read_bytes()]


Asked = TypeVar("Asked", wire.Hello, wire.Request)


def _asked(message: Asked, kind: str) -> Asked:
    """As the coordinator sends it."""
    return replace(message, signature=sign_request(ALICE, message.digest(kind)))


def _heard(message: wire.Asked, kind: str, sent: wire.Asked) -> None:
    """What a node hears is what was sent, or it is refused."""
    asking(message, kind, [ALICE.public], now=0.0)
    if message != sent:
        raise AssertionError(f"changed on the way, and believed: {message}")


# Films and tables -----------------------------------------------------------------------------------------------------

RAMP = (np.add.outer(np.arange(20), np.arange(24)) * 6).astype(np.uint8)


def _films() -> list[bytes]:
    found = []
    for format, values in (("PNG", RAMP), ("JPEG", RAMP), ("BMP", RAMP), ("TIFF", RAMP.astype(np.float32))):
        written = io.BytesIO()
        Image.fromarray(values).save(written, format)
        found.append(written.getvalue())
    return found


def _array(values: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.save(written, values, allow_pickle=False)
    return written.getvalue()


def _shard(name: str) -> tuple[Parse, Callable[[], Sequence[bytes]]]:
    """One file of a shard, damaged, among the others as they should be."""
    folder = SMALL / f"shard-{name}"

    def made() -> list[bytes]:
        from fedcxr.data import _draft, phantom

        if not folder.exists():
            cohort = phantom.Phantom(patients=2, size=16, mean_visits=1).open(SMALL / "cache")
            _draft.write(folder, cohort, {"findings": cohort.findings, "source": {}, "left_out": {}})
        return [(folder / name).read_bytes()]

    def parsed(data: bytes) -> object:
        (folder / name).write_bytes(data)
        return shard.open_shard(folder)

    return parsed, made


TABLE = b"image,patient,finding\na.png,1,Edema\nb.png,2,\n"
SCENARIO = b"""sites: 2
method: {name: noise, scale: 0.2}
cohort: {source: phantom, patients: 100, size: 32}
knowledge: {known_films: {share: .5, most: 2}, own_films: {people: 9, source: {source: phantom, size: 32}}}
tasks: {findings: {steps: 20}}
"""
PART = Part((2, 3), np.dtype(np.float32))


REQUEST = _asked(wire.Request(SCENARIO.decode(), "site-1", 2, bytes(32), b"weights"), wire.RELEASE)
HELLO = _asked(wire.Hello("run", bytes(32)), wire.HELLO)


def _answer(path: Path) -> None:
    answers._load(path, "scores", PART)


def _text(parse: Callable[[str], object]) -> Parse:
    return lambda data: parse(data.decode("utf-8", "replace"))


_MANIFEST, _PIXELS, _INDEX = (_shard(name) for name in (shard.MANIFEST, shard.IMAGES, shard.INDEX))

TARGETS = {
    target.name: target
    for target in (
        Target("release", Release.from_bytes, lambda: [_release().to_bytes()]),
        Target("signed", _taken_in, lambda: [bytes(replace(_release(), site="bob").packed.body)]),
        Target(
            "introduction",
            _message(wire.unpack_introduction),
            lambda: [_packed(wire.pack_introduction(wire.Introduction("site-1", "ok", signature=bytes(64))))],
            (FedcxrError, NoMessage),
        ),
        Target(
            "answer",
            _message(wire.unpack_answer),
            lambda: [_packed(wire.pack_answer(wire.Answer("site-1", "ok", release=_release().to_bytes())))],
            (FedcxrError, NoMessage),
        ),
        Target(
            "request",
            _message(lambda content: _heard(wire.unpack_request(content), wire.RELEASE, REQUEST)),
            lambda: [_packed(wire.pack_request(REQUEST))],
            (FedcxrError, NoMessage),
        ),
        Target(
            "hello",
            _message(lambda content: _heard(wire.unpack_hello(content), wire.HELLO, HELLO)),
            lambda: [_packed(wire.pack_hello(HELLO))],
            (FedcxrError, NoMessage),
        ),
        Target("card", _text(Card.read), lambda: [Card.issue(BOB, [ALICE]).text.encode()]),
        Target("envelope", _open, _envelopes),
        Target("vault", _vault, _vaults),
        Target("scenario", _text(Scenario.from_yaml), lambda: [SCENARIO]),
        Target(
            "weights",
            _from_file("weights", Checkpoint.read),
            lambda: [_written(Checkpoint({"w": stream(1).random((3, 2))}, {"steps": 3}).write)],
        ),
        Target("score", _from_file("score.npy", _answer), lambda: [_array(np.zeros(PART.shape, np.float32))]),
        Target(
            "attackers",
            _from_file(answers.ATTACKERS, answers._attackers),
            lambda: [b'["naive", "retrained"]'],
        ),
        Target(
            "prepared",
            _from_file("prepared", partial(prepared.read, most=1 << 20)),
            lambda: [_written(Checkpoint({"w": stream(1).random((3, 2))}, {}).write)],
        ),
        Target("film", lambda data: decode_image(data, 16), _films, (Unusable,)),
        Target("table", _from_file("t.csv", lambda path: Table.read(path, ["image", "patient"])), lambda: [TABLE]),
        Target(
            "packed",
            _from_file("t.csv.gz", lambda path: Table.read(path, ["image", "patient"])),
            lambda: [gzip.compress(TABLE)],
        ),
        Target("manifest", *_MANIFEST),
        Target("pixels", *_PIXELS),
        Target("index", *_INDEX),
    )
}
