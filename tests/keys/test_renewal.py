"""Renewed keys: what was sealed to the old ones opens, what was granted moves on, and nobody gains by renewing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import ConfigError, Refused, WrongEnvelope
from fedcxr.keys import ReleaseKey
from fedcxr.keys.cards import Card
from fedcxr.keys.envelopes import grant, open_envelope
from fedcxr.keys.identity import Identity
from fedcxr.keys.keyring import Grant, Keyring
from fedcxr.keys.provider import Job

IMAGES = [f"i-{n:03d}" for n in range(300)]


def begun(ring: Keyring, release: str, images: Sequence[str] = IMAGES) -> Keyring:
    return ring.begun(Job("release", release), images)


def opened(ring: Keyring, reader: Keyring, release: str) -> set[str]:
    """The images of a release that a recipient opens; by their own names, as each release has its own order."""
    made = ring.made(release)
    envelope = ring.envelopes(made).get(reader.identity.public.fingerprint)
    if envelope is None:
        return set()
    origin = ring.release_key(made).origin
    keys = open_envelope(envelope, reader.identity, ring.identity.public, origin)
    return set(made.images) if isinstance(keys, ReleaseKey) else {made.images[int(row)] for row in keys.images}


def test_renewing_a_card_ten_times_opens_no_more() -> None:
    """By a card that the old one signed, or by one that the hospital took after revoking the old one."""
    ring, charity = Keyring.new("mercy"), Keyring.new("charity")
    ring = begun(ring.granted(Grant(charity.identity.public, share=0.1)), "r-0")
    first = opened(ring, charity, "r-0")
    assert 0 < len(first) < 75
    union = set(first)
    for n in range(1, 11):
        charity = charity.renewed()
        if n % 2:
            ring = ring.accepted(charity.card)
        else:
            ring = ring.revoked("charity").granted(Grant(charity.identity.public, share=0.1))
        ring = begun(ring, f"r-{n}")
        union |= opened(ring, charity, f"r-{n}")
    assert union == first


@pytest.mark.parametrize("name", ["Charity", " charity", "CHARITY ", "ｃharity"])
def test_a_name_written_otherwise_is_no_other_name(name: str) -> None:
    """Or it would be a second share, under a card that looks like the first."""
    ring = Keyring.new("mercy").granted(Grant(Identity.generate("charity").public, share=0.5))
    again = Grant(Identity.generate(name).public, share=0.5)
    with pytest.raises(Refused, match="known by another fingerprint"):
        ring.granted(again)
    before, after = begun(ring, "r"), begun(ring.revoked("charity").granted(again), "r")
    shares = [one._rows(one.grants[-1], one.made("r")) for one in (before, after)]
    assert shares[0] == shares[1]


def test_two_recipients_have_two_shares() -> None:
    ring = Keyring.new("mercy")
    readers = [Keyring.new(name) for name in ("charity", "grace")]
    for reader in readers:
        ring = ring.granted(Grant(reader.identity.public, share=0.5))
    ring = begun(ring, "r")
    assert opened(ring, readers[0], "r") != opened(ring, readers[1], "r")


def test_what_was_granted_moves_to_the_accepted_card() -> None:
    ring, charity = begun(Keyring.new("mercy"), "early"), Keyring.new("charity")
    ring = ring.granted(Grant(charity.identity.public, images=("i-001", "i-002"), releases=("early",)))
    ring = begun(ring.granted(Grant(charity.identity.public, share=0.5)), "late")
    before = {release: opened(ring, charity, release) for release in ("early", "late")}
    renewed = charity.renewed()
    moved = ring.accepted(Card.read(renewed.card.text))
    assert {release: opened(moved, renewed, release) for release in ("early", "late")} == before
    assert opened(moved, charity, "early") == opened(moved, charity, "late") == set()
    assert moved.recipient("charity") == renewed.identity.public
    assert moved.accepted(renewed.card) == moved  # again changes nothing
    assert Keyring.unpack(moved.pack()).pack() == moved.pack()


def test_a_card_of_unknown_hand_or_of_an_earlier_time_moves_nothing() -> None:
    charity = Keyring.new("charity")
    renewed = charity.renewed()
    ring = Keyring.new("mercy").granted(Grant(charity.identity.public))
    thief = Identity.generate("charity")
    for card in (Card.issue(thief), Card.issue(thief, [renewed.identity])):
        with pytest.raises(Refused, match="does not follow"):
            ring.accepted(card)
    after = ring.accepted(renewed.card)
    with pytest.raises(Refused, match="does not follow"):  # the old card, stolen or found
        after.accepted(charity.card)
    with pytest.raises(Refused, match="does not follow"):  # and what its key signs now
        after.accepted(Card.issue(thief, [charity.identity]))
    with pytest.raises(Refused, match=r"known by another fingerprint.*keys accept"):
        after.granted(Grant(charity.identity.public))
    with pytest.raises(Refused, match="no grant is waiting"):
        after.accepted(Keyring.new("grace").renewed().card)


def test_who_was_revoked_stays_so_under_a_new_card() -> None:
    charity = Keyring.new("charity")
    ring = begun(Keyring.new("mercy").granted(Grant(charity.identity.public)), "spring").revoked("charity")
    renewed = charity.renewed()
    with pytest.raises(Refused, match=r"no grant is waiting for this card.*revoked"):
        ring.accepted(renewed.card)
    # Granted anew under a card that was compared, it may renew that one; the revoked grant stays what it is.
    again = ring.granted(Grant(renewed.identity.public, share=0.5, releases=("summer",)))
    third = renewed.renewed()
    moved = again.accepted(third.card)
    assert [bool(one.revoked) for one in moved.grants] == [True, False]
    assert opened(moved, third, "spring") == set()
    with pytest.raises(Refused, match="revoked since"):
        begun(moved, "spring")
    assert moved.revoked("charity").envelopes(begun(moved, "summer").made("summer")) == {}


def test_what_was_sealed_to_earlier_keys_still_opens() -> None:
    mercy, charity = Keyring.new("mercy"), Keyring.new("charity")
    began = begun(mercy, "r")
    key = began.release_key(began.made("r"))
    envelopes = []
    for _ in range(3):
        envelopes.append((charity.identity.public.fingerprint, grant(key, mercy.identity, charity.identity.public)))
        charity = Keyring.unpack(charity.renewed().pack())
    assert len({fingerprint for fingerprint, _ in envelopes}) == 3
    for fingerprint, envelope in envelopes:
        reader = charity.addressed(fingerprint)
        assert open_envelope(envelope, reader, mercy.identity.public, key.origin).origin == key.origin
    stranger = grant(key, mercy.identity, Identity.generate("grace").public)
    with pytest.raises(WrongEnvelope):
        open_envelope(stranger, charity.addressed("00" * 32), mercy.identity.public, key.origin)


def test_renewing_keeps_all_else() -> None:
    ring = begun(Keyring.new("mercy"), "spring").granted(Grant(Identity.generate("charity").public, share=0.3))
    renewed = ring.renewed()
    assert renewed.identity.public.name == "mercy"
    assert renewed.identity.public.fingerprint != ring.identity.public.fingerprint
    key = ring.release_key(ring.made("spring"))
    assert renewed.release_key(renewed.made("spring")).reveal() == key.reveal()
    assert (renewed.choosing, renewed.grants, renewed.epoch) == (ring.choosing, ring.grants, ring.epoch)
    renewed.card.check_follows(ring.identity.public)


@given(st.lists(st.sampled_from(["renew", "accept", "revoke", "grant"]), max_size=12))
def test_whatever_happens_a_recipient_opens_no_more_than_its_share(steps: list[str]) -> None:
    """Renewals, revocations and grants of the same share in any order; the set is the same or empty."""
    ring, charity, share = RING, CHARITY, SHARE
    for n, step in enumerate(steps):
        try:
            if step == "renew":
                charity = charity.renewed()
            elif step == "accept":
                ring = ring.accepted(charity.card)
            elif step == "revoke":
                ring = ring.revoked("charity")
            else:
                ring = ring.granted(Grant(charity.identity.public, share=0.2))
        except (Refused, ConfigError):
            continue
        ring = begun(ring, f"s-{n}", IMAGES[:40])
        assert opened(ring, charity, f"s-{n}") in (set(), share)


CHARITY = Keyring.new("charity")
RING = begun(Keyring.new("mercy").granted(Grant(CHARITY.identity.public, share=0.2)), "r", IMAGES[:40])
SHARE = opened(RING, CHARITY, "r")
