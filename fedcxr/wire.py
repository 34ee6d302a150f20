"""How requests and releases travel in Flower's records: the only file of this package that imports flwr."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedcxr.errors import Refused

HELLO = "query.hello"  # Flower's message type for "who are you?"
RELEASE = "query.release"  # for "release what you hold"
LEARN = "train"  # for "learn another turn from your films"
TEST = "evaluate"  # and for "test on your films what was learnt from everybody's"
STATUSES = ("ok", "dropped", "refused")
STYPE = "fedcxr.raw"  # not "numpy.ndarray": nobody may try to np.load it


@dataclass(frozen=True)
class Hello:
    """What the coordinator asks of every node before anything else."""

    run: str
    nonce: bytes  # fresh: an older introduction is none to this
    scenario: str = ""  # YAML, in a simulation alone: strangers' nodes may be listening


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
    learnt: bytes = b""  # a Release of the coordinator's with what the method has learnt so far; empty: nothing


@dataclass(frozen=True)
class Answer:
    """What a site says: its release, or why there is none."""

    site: str
    status: str  # ok | dropped | refused
    reason: str = ""
    place: str = ""  # file:line of an error
    patients: int = 0
    images: int = 0
    seconds: float = 0.0
    release: bytes = b""

    def after(self, seconds: float) -> Answer:
        return replace(self, seconds=seconds)


Noun = type[Hello] | type[Introduction] | type[Request] | type[Answer]


def pack_hello(hello: Hello) -> RecordDict:
    """A greeting as Flower carries it."""
    return _pack("hello", asdict(hello), "nonce")


def unpack_hello(content: RecordDict) -> Hello:
    """The greeting in a message, or a refusal."""
    return Hello(**_unpack(content, "hello", Hello, "nonce"))


def pack_introduction(introduction: Introduction) -> RecordDict:
    """A node's name as Flower carries it."""
    return _pack("introduction", asdict(introduction), "signature")


def unpack_introduction(content: RecordDict) -> Introduction:
    """The name in a message, or a refusal."""
    facts = _unpack(content, "introduction", Introduction, "signature")
    _check_status(facts, "introduction")
    return Introduction(**facts)


def pack_request(request: Request) -> RecordDict:
    """A request as Flower carries it."""
    return _pack("request", asdict(request), "learnt")


def unpack_request(content: RecordDict) -> Request:
    """The request in a message, or a refusal."""
    return Request(**_unpack(content, "request", Request, "learnt"))


def pack_answer(answer: Answer) -> RecordDict:
    """An answer as Flower carries it."""
    return _pack("answer", asdict(answer), "release")


def unpack_answer(content: RecordDict) -> Answer:
    """The answer in a message, or a refusal."""
    facts = _unpack(content, "answer", Answer, "release")
    _check_status(facts, "answer")
    return Answer(**facts)


def size(content: RecordDict) -> int:
    """How many bytes a message carries, but for Flower's envelope and the names of fields: a number has eight.

    Flower's own `count_bytes` fails on an empty text.
    """
    facts = [value for record in content.config_records.values() for value in record.values()]
    blobs = [array.data for record in content.array_records.values() for array in record.values()]
    return sum(len(v.encode()) if isinstance(v, str) else 8 for v in facts) + sum(map(len, blobs))


def _check_status(facts: dict[str, Any], noun: str) -> None:
    if facts["status"] not in STATUSES:
        raise Refused(f"a damaged {noun}", given=facts["status"], allowed=", ".join(STATUSES))


def _pack(noun: str, facts: dict[str, Any], bulk: str) -> RecordDict:
    # Bytes in a ConfigRecord travel as one object; an array is cut into chunks and streamed.
    raw = facts.pop(bulk)
    blob = Array(dtype="uint8", shape=(len(raw),), stype=STYPE, data=raw)
    return RecordDict({noun: ConfigRecord(facts), bulk: ArrayRecord({"blob": blob})})


def _unpack(content: RecordDict, name: str, noun: Noun, bulk: str) -> dict[str, Any]:
    _only(content, name, bulk)
    facts = _fields(content, name, noun)
    record = content.array_records.get(bulk)
    if record is None or list(record) != ["blob"]:
        raise Refused(f"a message lacks its {bulk}, or holds more than it")
    blob = record["blob"]
    if blob.stype != STYPE:
        raise Refused(f"a message holds something else than a {bulk}", given=blob.stype)
    return {**facts, bulk: blob.data}


def _only(content: RecordDict, *records: str) -> None:
    """Refuse what travels beside: only a release leaves a hospital."""
    if set(content) != set(records):
        raise Refused("a message of other records", given=sorted(content), allowed=", ".join(records))


def _fields(content: RecordDict, record: str, noun: Noun) -> dict[str, Any]:
    """The plain facts of a record, refused unless they are exactly those of the noun, with their types."""
    if record not in content.config_records:
        raise Refused(f"a message without its {record}")
    facts = dict(content.config_records[record])
    # All nouns give every field but the blob as str, int or float, which is what a ConfigRecord can hold.
    expected = {f.name: TYPES[str(f.type)] for f in fields(noun) if f.type != "bytes"}
    if facts.keys() != expected.keys() or any(type(facts[name]) is not kind for name, kind in expected.items()):
        raise Refused(f"a damaged {record}", given=sorted(facts), allowed=", ".join(expected))
    if not all(math.isfinite(value) for value in facts.values() if isinstance(value, float)):
        raise Refused(f"a damaged {record}", given="a number that is not finite")
    return facts


TYPES = {"str": str, "int": int, "float": float}
