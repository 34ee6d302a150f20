"""A node answers its coordinator alone: whatever is changed on the way, and whenever it is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from nodes import COORDINATOR

from fedcxr import wire
from fedcxr.keys.identity import Identity
from fedcxr.keys.signatures import sign_request
from fedcxr.steps import coarse
from sites.asking import CLOCKS, asking
from sites.codes import Code, Denied

NOW = 1_800_000_000
KINDS = (wire.HELLO, wire.RELEASE, wire.LEARN, wire.TEST)
KNOWN = [COORDINATOR.public]
words, bytes_ = st.text(max_size=20), st.binary(max_size=20)
expiries = st.integers(NOW - CLOCKS, NOW + wire.LONGEST_LIFE + CLOCKS)
greetings = st.builds(wire.Hello, run=words, nonce=bytes_, scenario=words, expires=expiries)
requests = st.builds(
    wire.Request, scenario=words, site=words, turn=st.integers(-9, 9), nonce=bytes_, learnt=bytes_, expires=expiries
)


def signed(asked: wire.Asked, kind: str, by: Identity = COORDINATOR) -> wire.Asked:
    return replace(asked, signature=sign_request(by, asked.digest(kind)))


def travelled(asked: wire.Asked) -> wire.Asked:
    if isinstance(asked, wire.Hello):
        return wire.unpack_hello(wire.pack_hello(asked))
    return wire.unpack_request(wire.pack_request(asked))


def refused(asked: wire.Asked, kind: str, known: Any = KNOWN, now: float = NOW) -> Code:
    with pytest.raises(Denied) as refusal:
        asking(asked, kind, known, now)
    return refusal.value.code


@given(greetings | requests, st.sampled_from(KINDS))
def test_what_the_coordinator_signed_is_heard(asked: wire.Asked, kind: str) -> None:
    """After its journey, and as what it was sent for: every other kind of message is another one."""
    heard = travelled(signed(asked, kind))
    assert asking(heard, kind, KNOWN, NOW) == COORDINATOR.public
    assert {refused(heard, other) for other in KINDS if other != kind} == {Code.COORDINATOR}


CHANGED: dict[str, Callable[[Any, int, int], Any]] = {
    "bytes": lambda data, place, bit: bytes([1 << bit]) if not data else _flipped(data, place % len(data), bit),
    "str": lambda text, place, bit: text[: (at := place % (len(text) + 1))] + chr(0x61 + bit) + text[at:],
    "int": lambda number, place, bit: number ^ (1 << (bit + 8 * (place % 7))),
}


def _flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


@given(greetings | requests, st.data(), st.integers(0, 1 << 16), st.integers(0, 7))
def test_whatever_is_changed_is_refused(asked: wire.Asked, data: st.DataObject, place: int, bit: int) -> None:
    """One bit of anything, the signature's among them: and so is any other text, number or kind in its place."""
    kind = data.draw(st.sampled_from(KINDS))
    whole = signed(asked, kind)
    for field in fields(whole):
        value = CHANGED[str(field.type)](getattr(whole, field.name), place, bit)
        assert refused(replace(whole, **{field.name: value}), kind) == Code.COORDINATOR
    other = data.draw(greetings | requests)
    assume(other.digest(kind) != asked.digest(kind))
    assert refused(replace(other, signature=whole.signature), kind) == Code.COORDINATOR


def test_words_do_not_move_from_one_field_into_the_next() -> None:
    request = signed(wire.Request("sites: 3", "mercy", nonce=b"nonce", expires=NOW), wire.RELEASE)
    assert isinstance(request, wire.Request)
    for moved in (
        replace(request, scenario="sites: 3mercy", site=""),
        replace(request, turn=0, expires=NOW + 1),
        replace(request, nonce=b"", learnt=b"nonce"),
    ):
        assert refused(moved, wire.RELEASE) == Code.COORDINATOR


@pytest.mark.parametrize("by", [None, Identity.generate("server"), Identity.generate("site-1")], ids=str)
def test_nobody_else_is_heard(by: Identity | None) -> None:
    """Neither a stranger of the coordinator's name nor one of the sites, nor whoever signs nothing."""
    for asked, kind in ((wire.Hello("run", b"n", expires=NOW), wire.HELLO), (wire.Request("", "s"), wire.RELEASE)):
        assert refused(asked if by is None else signed(asked, kind, by), kind) == Code.COORDINATOR
        assert refused(signed(asked, kind), kind, known=[]) == Code.COORDINATOR


def test_a_signature_for_something_else_is_none_to_a_request() -> None:
    """What a site's agent signs, or a card, can never be sent as the request of one who has the same keys."""
    hello = wire.Hello("run", b"n", expires=NOW)
    for purpose in ("introduction", "answer", "release", "identity card"):
        other = replace(hello, signature=COORDINATOR.sign(purpose, hello.digest(wire.HELLO)))
        assert refused(other, wire.HELLO) == Code.COORDINATOR


@given(st.integers(-(2**62), 2**62) | st.integers(NOW - 2 * CLOCKS, NOW + 2 * CLOCKS))
def test_a_request_counts_until_it_expires_and_was_not_dated_far_ahead(expires: int) -> None:
    """By this node's clock, which may differ by five minutes."""
    asked = signed(wire.Hello("run", b"n", expires=expires), wire.HELLO)
    if NOW - 300 <= expires <= NOW + wire.LONGEST_LIFE + 300:
        assert asking(asked, wire.HELLO, KNOWN, NOW) == COORDINATOR.public
    else:
        assert refused(asked, wire.HELLO) == Code.EXPIRED


@given(st.floats(0, 1e7))
def test_a_time_is_told_in_two_digits_and_whole_seconds(seconds: float) -> None:
    said = coarse(seconds)
    assert said == int(said)
    assert len(f"{said:.0f}".rstrip("0")) <= 2
    assert abs(said - seconds) <= max(0.5, 0.051 * seconds)
    assert coarse(said) == said
