"""How requests and releases travel in Flower's records: the only file of this package that imports flwr."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedcxr import steps
from fedcxr.answer import Answer as Answer
from fedcxr.answer import digest_of
from fedcxr.errors import Refused, shown

HELLO = "query.hello"  # Flower's message type for "who are you?"
RELEASE = "query.release"  # for "release what you hold"
LEARN = "train"  # for "learn another turn from your films"
TEST = "evaluate"  # and for "test on your films what was learnt from everybody's"
STATUSES = ("ok", "dropped", "refused")
LONGEST_NAME = 200  # characters of a site's or a run's name
LONGEST_REASON = 500  # characters
LONGEST_PLACE = 200
LONGEST_SIGNATURE = 1 << 12  # bytes
LONGEST_LIFE = 7 * 86_400  # seconds: what is asked counts no longer, whatever a run's time limit is
MOST_FILMS = 1 << 21  # of one site: no list in a release is longer
STYPE = "fedcxr.raw"  # not "numpy.ndarray": nobody may try to np.load it


@dataclass(frozen=True)
class Hello:
    """What the coordinator asks of every node before anything else."""

    run: str
    nonce: bytes  # fresh: an older introduction is none to this
    scenario: str = ""  # YAML, in a simulation alone: strangers' nodes may be listening
    expires: int = 0  # unix seconds: who hears it later does not answer
    signature: bytes = b""  # the coordinator's, over everything else

    def digest(self, kind: str) -> bytes:
        """Of all that is asked, in a message of this kind: what the coordinator signs, and what is answered."""
        return digest_of(kind, self.run, self.nonce, self.scenario, self.expires)


@dataclass(frozen=True)
class Introduction:
    """Which site a node is, or why it does not say."""

    site: str
    status: str  # ok | dropped | refused
    reason: str = ""
    signature: bytes = b""


@dataclass(frozen=True)
class Request:
    """What the coordinator asks of a site."""

    scenario: str  # YAML, so that a site reads it as strictly as a user's file
    site: str
    turn: int = 1  # of a federation's learning; 1 where there is one turn
    nonce: bytes = b""  # fresh: an answer to another request is none to this
    learnt: bytes = b""  # a Release of the coordinator's with what the method has learnt so far; empty: nothing
    expires: int = 0  # unix seconds: who hears it later does not answer
    signature: bytes = b""  # the coordinator's, over everything else

    def digest(self, kind: str) -> bytes:
        """Of all that is asked, in a message of this kind: what the coordinator signs, and what is answered."""
        return digest_of(kind, self.scenario, self.site, self.turn, self.nonce, self.told, self.expires)

    @cached_property
    def told(self) -> bytes:
        """The digest of what was learnt, which may be hundreds of megabytes: reckoned once."""
        return hashlib.sha256(self.learnt).digest()

    def to(self, site: str, nonce: bytes) -> Request:
        """The same to another site."""
        same = replace(self, site=site, nonce=nonce)
        same.__dict__["told"] = self.told
        return same


Asked = Hello | Request
Noun = type[Hello] | type[Introduction] | type[Request] | type[Answer]
Said = TypeVar("Said", Hello, Introduction, Request, Answer)


def pack_hello(hello: Hello) -> RecordDict:
    """A greeting as Flower carries it."""
    return _pack("hello", asdict(hello), "nonce")


def unpack_hello(content: RecordDict) -> Hello:
    """The greeting in a message, or a refusal."""
    return _signed("greeting", Hello(**_unpack(content, "hello", Hello, "nonce")))


def pack_introduction(introduction: Introduction) -> RecordDict:
    """A node's name as Flower carries it."""
    return _pack("introduction", asdict(introduction), "signature")


def unpack_introduction(content: RecordDict) -> Introduction:
    """The name in a message, or a refusal."""
    told = Introduction(**_unpack(content, "introduction", Introduction, "signature"))
    _check("introduction", told.status in STATUSES, "its status", told.status)
    _check_texts("introduction", (told.site, LONGEST_NAME), (told.reason, LONGEST_REASON))
    return _signed("introduction", told)


def pack_request(request: Request) -> RecordDict:
    """A request as Flower carries it."""
    return _pack("request", asdict(request), "learnt")


def unpack_request(content: RecordDict) -> Request:
    """The request in a message, or a refusal."""
    return _signed("request", Request(**_unpack(content, "request", Request, "learnt")))


def pack_answer(answer: Answer) -> RecordDict:
    """An answer as Flower carries it."""
    return _pack("answer", asdict(answer), "release")


def unpack_answer(content: RecordDict) -> Answer:
    """The answer in a message, or a refusal. What it says is short, printable and possible, and not yet believed."""
    told = Answer(**_unpack(content, "answer", Answer, "release"))
    _check("answer", told.status in STATUSES, "its status", told.status)
    _check_texts("answer", (told.site, LONGEST_NAME), (told.reason, LONGEST_REASON), (told.place, LONGEST_PLACE))
    _check("answer", 0 <= told.patients <= told.images <= MOST_FILMS, "its films", f"{told.patients}, {told.images}")
    _check("answer", told.seconds >= 0, "its time", told.seconds)
    _check("answer", not told.log or steps.is_log(told.log), "its log", repr(told.log[:LONGEST_PLACE]))
    return _signed("answer", told)


def line(text: str, longest: int = LONGEST_REASON) -> str:
    """A text as it may travel: one line that a terminal shows and does not act on."""
    return shown(" ".join(text[: 2 * longest].split()))[:longest]


def size(content: RecordDict) -> int:
    """How many bytes a message carries, but for Flower's envelope and the names of fields: a number has eight.

    Flower's own `count_bytes` fails on an empty text.
    """
    if not isinstance(content, RecordDict):  # whatever else a node may have put there
        return 0
    facts = [value for record in content.config_records.values() for value in record.values()]
    blobs = [array.data for record in content.array_records.values() for array in record.values()]
    return sum(map(_carried, facts)) + sum(map(len, blobs))


def _carried(fact: object) -> int:
    if isinstance(fact, bytes):
        return len(fact)
    return len(fact.encode(errors="surrogatepass")) if isinstance(fact, str) else 8


def _check(noun: str, right: bool, what: str, given: object) -> None:
    if not right:
        raise Refused(f"a damaged {noun}: {what}", given=given)


def _signed(noun: str, told: Said) -> Said:
    """What has a signature that can be looked at; whether it is right is for whoever knows the signer."""
    _check(noun, len(told.signature) <= LONGEST_SIGNATURE, "its signature", len(told.signature))
    return told


def _check_texts(noun: str, *texts: tuple[str, int]) -> None:
    for text, longest in texts:
        _check(noun, len(text) <= longest and text.isprintable(), "its words", repr(text[:longest]))


def _pack(noun: str, facts: dict[str, Any], bulk: str) -> RecordDict:
    # Bytes in a ConfigRecord travel as one object; an array is cut into chunks and streamed.
    raw = facts.pop(bulk)
    blob = Array(dtype="uint8", shape=(len(raw),), stype=STYPE, data=raw)
    return RecordDict({noun: ConfigRecord(facts), bulk: ArrayRecord({"blob": blob})})


def _unpack(content: RecordDict, name: str, noun: Noun, bulk: str) -> dict[str, Any]:
    _only(content, name, bulk)
    facts = _fields(content, name, noun, bulk)
    record = content.array_records.get(bulk)
    if record is None or list(record) != ["blob"]:
        raise Refused(f"a message lacks its {bulk}, or holds more than it")
    blob = record["blob"]
    if blob.stype != STYPE:
        raise Refused(f"a message holds something else than a {bulk}", given=blob.stype)
    return {**facts, bulk: blob.data}


def _only(content: RecordDict, *records: str) -> None:
    """Refuse what travels beside: only a release leaves a hospital."""
    if not isinstance(content, RecordDict):
        raise Refused("a message without records", given=type(content).__name__)
    if set(content) != set(records):
        raise Refused("a message of other records", given=sorted(content), allowed=", ".join(records))


def _fields(content: RecordDict, record: str, noun: Noun, bulk: str) -> dict[str, Any]:
    """The plain facts of a record, refused unless they are exactly those of the noun, with their types."""
    if record not in content.config_records:
        raise Refused(f"a message without its {record}")
    facts = dict(content.config_records[record])
    # All nouns give every field but the blob as what a ConfigRecord can hold.
    expected = {f.name: TYPES[str(f.type)] for f in fields(noun) if f.name != bulk}
    if facts.keys() != expected.keys() or any(type(facts[name]) is not kind for name, kind in expected.items()):
        raise Refused(f"a damaged {record}", given=sorted(facts), allowed=", ".join(expected))
    if not all(math.isfinite(value) for value in facts.values() if isinstance(value, float)):
        raise Refused(f"a damaged {record}", given="a number that is not finite")
    return facts


TYPES = {"str": str, "int": int, "float": float, "bytes": bytes}
