"""Cards: whole or refused; and the next one counts only if whom one knows has signed it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from canary import leaks
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import BadSignature, ConfigError, Refused
from fedcxr.keys.cards import LONGEST, MOST_PREDECESSORS, Card, Succession
from fedcxr.keys.identity import Identity, PublicIdentity

FIRST, SECOND, THIRD = (Identity(bytes(range(start, start + 64)), "mercy") for start in (0, 64, 128))
CHARITY = Identity(bytes(range(192, 256)), "charity")
PLAIN = Card.issue(FIRST)
RENEWED = Card.issue(THIRD, [FIRST, SECOND])


@pytest.mark.parametrize("card", [PLAIN, RENEWED], ids=["first", "renewed"])
def test_a_card_tells_who_it_is(card: Card) -> None:
    assert Card.read(card.text) == card
    assert not leaks([one.reveal() for one in (FIRST, SECOND, THIRD)], card.text)


def test_a_card_of_many_renewals_still_fits() -> None:
    earlier = [Identity.generate("\N{GRINNING FACE}" * 200) for _ in range(MOST_PREDECESSORS + 3)]
    card = Card.issue(Identity.generate("\N{GRINNING FACE}" * 200), earlier)
    assert len(card.text) <= LONGEST
    Card.read(card.text).check_follows(earlier[-MOST_PREDECESSORS].public)
    with pytest.raises(Refused, match="does not follow the one that is known"):
        card.check_follows(earlier[0].public)


# What is altered ------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_of_a_card_is_refused_or_of_no_consequence() -> None:
    text = RENEWED.text.encode()
    places = [place for place in range(len(text)) if place % 7 == 0 or not text[place : place + 1].isalnum()]
    for bit in (8 * place + n for place in places for n in range(8)):
        altered = bytearray(text)
        altered[bit // 8] ^= 1 << bit % 8
        try:
            found = Card.read(altered.decode("utf-8", "replace"))
        except Refused:
            continue
        assert found == RENEWED  # a capital digit, another blank


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "charity"},
        {"name": ""},
        {"name": 7},
        {"name": ["mercy"]},
        {"verifying": CHARITY.public.verifying.hex()},
        {"sealing": CHARITY.public.sealing.hex()},  # another's key to be written to, passed off as one's own
        {"sealing": THIRD.public.sealing[-32:].hex()},  # the classical half alone
        {"sealing": None},
        {"signature": ""},
        {"signature": "zz"},
        {"fedcxr": "release"},
        {"more": 1},
        {"format": True},
        {"format": "2"},
        {"format": 2.5},
        {"format": -1},
        {"format": 10**400},
        {"follows": []},  # stripped
        {"follows": None},
        {"follows": {}},
        {"follows": "ab"},
        {"follows": [["00", "00"]]},
        {"follows": [["00"]]},
        {"follows": [[], []]},
        {"follows": [["00", "00"]] * 17},
        {"follows": [[FIRST.public.fingerprint, RENEWED.follows[0].signature.hex()]]},
        {"follows": [[one.fingerprint, one.signature.hex()] for one in RENEWED.follows[::-1]]},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_an_altered_card_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadSignature):
        Card.read(json.dumps({**json.loads(RENEWED.text), **changes}))


@pytest.mark.parametrize("sealing", [bytes(1216), b"\xff" * 1216, CHARITY.public.sealing[:1184] + bytes(32)])
def test_a_card_that_nobody_can_write_to_is_refused(sealing: bytes) -> None:
    """Its owner signs what they like; granted to, it would end every release that is to have an envelope for them."""
    hostile = Identity(CHARITY.reveal(), "charity")
    hostile.public = PublicIdentity("charity", CHARITY.public.verifying, sealing)
    with pytest.raises(Refused, match="cannot be written to"):
        Card.read(Card.issue(hostile).text)


@pytest.mark.parametrize("unseen", ["\N{VARIATION SELECTOR-16}", "\N{COMBINING GRAPHEME JOINER}", "\N{HANGUL FILLER}"])
def test_a_name_that_only_looks_like_another_is_refused(unseen: str) -> None:
    """Printed, it is the name of whom one knows, and a grant to it would not be stopped as one to another card."""
    assert unseen.isprintable()
    for name in (unseen + "charity", "charity" + unseen):
        with pytest.raises(ConfigError, match="no name for a site"):
            Identity.generate(name)


def test_a_card_of_another_format_is_refused_by_name() -> None:
    """What the version before wrote: with a classical key only, which no envelope is sealed to any more."""
    earlier = {"fedcxr": "identity", "format": 1, "name": "mercy", "verifying": "00" * 32, "sealing": "00" * 32}
    with pytest.raises(BadSignature, match=r"format 1; allowed: format 2; ask its owner for a new card, and compare"):
        Card.read(json.dumps({**earlier, "signature": "00" * 64}))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "7", "NaN", "[" * 5000, "{" * 3000, '"' + "x" * 17_000, "\0"])
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(BadSignature, match="no identity card"):
        Card.read(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70) | st.just("00" * 64),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@given(st.text() | JSON.map(json.dumps))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(BadSignature):
        Card.read(text)


@given(st.sampled_from(sorted(json.loads(RENEWED.text))), JSON)
def test_any_value_in_any_field_is_refused(field: str, value: object) -> None:
    document = json.loads(RENEWED.text)
    if document[field] != value:
        with pytest.raises(BadSignature):
            Card.read(json.dumps({**document, field: value}))


@given(st.integers(0, len(RENEWED.text) - 3))
def test_a_truncated_card_is_refused(length: int) -> None:
    with pytest.raises(BadSignature):
        Card.read(RENEWED.text[:length])


@given(st.permutations(["name", "verifying", "sealing", "follows", "signature"]))
def test_swapped_fields_are_refused(order: list[str]) -> None:
    document = json.loads(RENEWED.text)
    swapped = {**document, **dict(zip(sorted(order), (document[name] for name in order), strict=True))}
    if swapped != document:
        with pytest.raises(BadSignature):
            Card.read(json.dumps(swapped))


# What follows ---------------------------------------------------------------------------------------------------------


def test_a_renewed_card_follows_every_card_before_it() -> None:
    for earlier in (FIRST, SECOND):
        Card.read(RENEWED.text).check_follows(earlier.public)


def signed_by(identity: Identity, follows: tuple[Succession, ...]) -> Card:
    """A card that its owner signed, whatever it claims to follow."""
    honest = Card.issue(identity)
    from fedcxr.keys.cards import PURPOSE, _whole

    return replace(honest, follows=follows, signature=identity.sign(PURPOSE, _whole(identity.public, follows)))


IMPOSTOR = Identity.generate("mercy")
TRUE = RENEWED.follows[0]


@pytest.mark.parametrize(
    "card",
    [
        Card.issue(IMPOSTOR),  # nobody signed it
        Card.issue(FIRST),  # itself
        Card.issue(IMPOSTOR, [SECOND]),  # another one did
        signed_by(IMPOSTOR, (TRUE,)),  # the signature that another card follows
        signed_by(IMPOSTOR, (replace(TRUE, signature=Card.issue(IMPOSTOR, [IMPOSTOR]).follows[0].signature),)),
        signed_by(IMPOSTOR, (replace(TRUE, signature=PLAIN.signature),)),  # one that was made for something else
        signed_by(IMPOSTOR, (replace(TRUE, signature=b""), TRUE)),
        Card.issue(CHARITY, [FIRST]),  # under another name, though signed
    ],
    ids=["unsigned", "itself", "another", "replayed", "own", "purpose", "two", "name"],
)
def test_a_card_that_whom_we_know_did_not_sign_is_refused(card: Card) -> None:
    with pytest.raises(Refused):
        Card.read(card.text).check_follows(FIRST.public)


def test_an_earlier_card_does_not_follow_a_later_one() -> None:
    with pytest.raises(Refused, match="does not follow the one that is known"):
        PLAIN.check_follows(RENEWED.public)


@given(st.binary(max_size=80), st.binary(max_size=40))
def test_no_made_up_succession_is_taken(signature: bytes, fingerprint: bytes) -> None:
    for told in (FIRST.public.fingerprint, fingerprint.hex()):
        card = signed_by(IMPOSTOR, (Succession(told, signature),))
        with pytest.raises(Refused):
            Card.read(card.text).check_follows(FIRST.public)


def test_whom_we_know_is_told_apart_by_the_whole_fingerprint() -> None:
    twin = PublicIdentity("mercy", FIRST.public.verifying, SECOND.public.sealing)
    with pytest.raises(Refused):
        Card.issue(SECOND, [FIRST]).check_follows(twin)
