"""How requests and releases travel in Flower's records: the only file of this package that imports flwr."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedcxr.errors import Refused

REQUEST = "query.release"  # Flower's message type for "release what you hold"
STYPE = "fedcxr.raw"  # not "numpy.ndarray": nobody may try to np.load it


@dataclass(frozen=True)
class Request:
    """What the coordinator asks of a site."""

    scenario: str  # YAML, so that a site reads it as strictly as a user's file
    site: str
    round: int = 1


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


def pack_request(request: Request) -> RecordDict:
    """A request as Flower carries it."""
    return RecordDict({"request": ConfigRecord(asdict(request))})


def unpack_request(content: RecordDict) -> Request:
    """The request in a message, or a refusal."""
    return Request(**_fields(content, "request", Request))


def pack_answer(answer: Answer) -> RecordDict:
    """An answer as Flower carries it."""
    facts = asdict(answer)
    # Bytes in a ConfigRecord travel as one object; an array is cut into chunks and streamed.
    raw = facts.pop("release")
    blob = Array(dtype="uint8", shape=(len(raw),), stype=STYPE, data=raw)
    return RecordDict({"answer": ConfigRecord(facts), "release": ArrayRecord({"blob": blob})})


def unpack_answer(content: RecordDict) -> Answer:
    """The answer in a message, or a refusal."""
    facts = _fields(content, "answer", Answer)
    try:
        blob = content.array_records["release"]["blob"]
    except KeyError:
        raise Refused("a site's answer lacks its release") from None
    if blob.stype != STYPE:
        raise Refused("a site's answer holds something else than a release", given=blob.stype)
    return Answer(**{**facts, "release": blob.data})


def _fields(content: RecordDict, record: str, noun: type[Request] | type[Answer]) -> dict[str, Any]:
    """The plain facts of a record, refused unless they are exactly those of the noun, with their types."""
    try:
        facts = dict(content.config_records[record])
    except KeyError:
        raise Refused(f"a message without its {record}") from None
    # Both nouns give every field but the blob as str, int or float, which is what a ConfigRecord can hold.
    expected = {f.name: TYPES[str(f.type)] for f in fields(noun) if f.type != "bytes"}
    if facts.keys() != expected.keys() or any(type(facts[name]) is not kind for name, kind in expected.items()):
        raise Refused(f"a damaged {record}", given=sorted(facts), allowed=", ".join(expected))
    return facts


TYPES = {"str": str, "int": int, "float": float}
