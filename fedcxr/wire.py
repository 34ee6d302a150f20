"""How requests and releases travel in Flower's records: the only file of this package that imports flwr."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedcxr.errors import Refused

REQUEST = "query.release"  # Flower's message type for "release what you hold"
STATUSES = ("ok", "dropped", "refused")
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
    _only(content, "request")
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
    _only(content, "answer", "release")
    facts = _fields(content, "answer", Answer)
    if facts["status"] not in STATUSES:
        raise Refused("a damaged answer", given=facts["status"], allowed=", ".join(STATUSES))
    record = content.array_records.get("release")
    if record is None or list(record) != ["blob"]:
        raise Refused("a site's answer lacks its release, or holds more than it")
    blob = record["blob"]
    if blob.stype != STYPE:
        raise Refused("a site's answer holds something else than a release", given=blob.stype)
    return Answer(**{**facts, "release": blob.data})


def _only(content: RecordDict, *records: str) -> None:
    """Refuse what travels beside: only a release leaves a hospital."""
    if set(content) != set(records):
        raise Refused("a message of other records", given=sorted(content), allowed=", ".join(records))


def _fields(content: RecordDict, record: str, noun: type[Request] | type[Answer]) -> dict[str, Any]:
    """The plain facts of a record, refused unless they are exactly those of the noun, with their types."""
    if record not in content.config_records:
        raise Refused(f"a message without its {record}")
    facts = dict(content.config_records[record])
    # Both nouns give every field but the blob as str, int or float, which is what a ConfigRecord can hold.
    expected = {f.name: TYPES[str(f.type)] for f in fields(noun) if f.type != "bytes"}
    if facts.keys() != expected.keys() or any(type(facts[name]) is not kind for name, kind in expected.items()):
        raise Refused(f"a damaged {record}", given=sorted(facts), allowed=", ".join(expected))
    if not all(math.isfinite(value) for value in facts.values() if isinstance(value, float)):
        raise Refused(f"a damaged {record}", given="a number that is not finite")
    return facts


TYPES = {"str": str, "int": int, "float": float}
