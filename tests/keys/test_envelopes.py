"""Envelopes: what the sender put in comes out for the recipient, and anything that is not exactly that is refused."""

from __future__ import annotations

import msgpack
import pytest
from canary import leaks
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import BadSignature, BrokenSeal, ConfigError, NotGranted, Refused, WrongEnvelope
from fedcxr.keys import MasterKey, Origin, ReleaseKey, SomeKeys
from fedcxr.keys.envelopes import MAGIC, PURPOSE, Label, grant, open_envelope, read_label
from fedcxr.keys.identity import Identity, PublicIdentity

MERCY = Identity(bytes(range(64)), "mercy")
CHARITY = Identity(bytes(range(64, 128)), "charity")
GRACE = Identity(bytes(range(128, 192)), "grace")
MASTER = MasterKey(bytes(range(200, 232)), "mercy", 1)
SPRING = MASTER.release_key("spring")
WHOLE = grant(SPRING, MERCY, CHARITY.public)
SOME = grant(SPRING.only(["0", "7"]), MERCY, CHARITY.public)
SECRETS = [MASTER.reveal(), SPRING.reveal(), MERCY.reveal(), CHARITY.reveal(), SPRING.image_key("7").reveal()]


def opened(envelope: bytes) -> ReleaseKey | SomeKeys:
    return open_envelope(envelope, CHARITY, MERCY.public, SPRING.origin)


def refused(envelope: bytes) -> Refused:
    with pytest.raises(Refused) as error:
        opened(envelope)
    assert type(error.value) is not Refused, "refusals have names"
    assert not leaks(SECRETS, error.value)
    return error.value


# What is right --------------------------------------------------------------------------------------------------------


def test_a_whole_release() -> None:
    keys = opened(WHOLE)
    assert isinstance(keys, ReleaseKey)
    assert keys.origin == SPRING.origin
    sealed = SPRING.image_key("12").seal(b"film", "1")
    assert keys.image_key("12").open(sealed, "1") == b"film"


def test_some_images() -> None:
    keys = opened(SOME)
    assert isinstance(keys, SomeKeys)
    assert keys.images == ("0", "7")
    assert keys.image_key("7").open(SPRING.image_key("7").seal(b"film", "1"), "1") == b"film"
    with pytest.raises(NotGranted):
        keys.image_key("1")


def test_ten_thousand_images() -> None:
    images = [str(row) for row in range(10_000)]
    keys = opened(grant(SPRING.only(images), MERCY, CHARITY.public))
    assert isinstance(keys, SomeKeys)
    assert list(keys.images) == images


def test_the_label_is_for_all_to_read_and_the_keys_for_none() -> None:
    label = read_label(WHOLE)
    assert label == Label(MERCY.public.fingerprint, CHARITY.public.fingerprint, Origin("mercy", "spring", 1))
    assert not leaks(SECRETS, WHOLE, SOME)
    assert len(WHOLE) < 320


def test_no_two_envelopes_are_alike() -> None:
    assert grant(SPRING, MERCY, CHARITY.public) != WHOLE


# What is wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("envelope", [WHOLE, SOME], ids=["whole", "some"])
def test_every_flipped_bit_is_refused(envelope: bytes) -> None:
    said = set()
    for bit in range(8 * len(envelope)):
        altered = bytearray(envelope)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadSignature) as error:
            opened(bytes(altered))
        said.add(str(error.value))
    assert len(said) == 1
    assert not leaks(SECRETS, *said)


@given(st.lists(st.integers(0, 8 * len(WHOLE) - 1), min_size=1, max_size=8, unique=True))
def test_flipped_bits_anywhere_are_refused(bits: list[int]) -> None:
    altered = bytearray(WHOLE)
    for bit in bits:
        altered[bit // 8] ^= 1 << bit % 8
    refused(bytes(altered))


@given(st.integers(0, len(WHOLE) - 1))
def test_a_truncated_envelope_is_refused(length: int) -> None:
    refused(WHOLE[:length])
    refused(WHOLE[-length:] if length else b"")


@given(st.data())
def test_spliced_envelopes_are_refused(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(WHOLE)))
    end = data.draw(st.integers(start, len(WHOLE)))
    put = data.draw(st.one_of(st.binary(max_size=30), st.just(SOME[start:end])))
    if (spliced := WHOLE[:start] + put + WHOLE[end:]) not in (WHOLE, SOME):
        refused(spliced)


@given(st.binary(max_size=400))
def test_whatever_is_no_envelope_is_refused(junk: bytes) -> None:
    refused(junk)
    refused(MAGIC + junk)


@given(st.one_of(st.binary(max_size=400), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr)))
def test_a_label_that_is_none_is_refused(junk: bytes | str) -> None:
    data = junk.encode() if isinstance(junk, str) else junk
    for attempt in (data, MAGIC + data, MAGIC + b"\x96" + data):
        with pytest.raises(WrongEnvelope, match="this is no envelope"):
            read_label(attempt)


def test_a_deeply_nested_label_is_refused() -> None:
    with pytest.raises(WrongEnvelope):
        read_label(MAGIC + b"\x91" * 100_000 + bytes(64))


@pytest.mark.parametrize(
    ("recipient", "sender", "origin", "error"),
    [
        (GRACE, MERCY.public, SPRING.origin, WrongEnvelope),  # another recipient
        (MERCY, MERCY.public, SPRING.origin, WrongEnvelope),
        (CHARITY, GRACE.public, SPRING.origin, BadSignature),  # another sender
        (CHARITY, CHARITY.public, SPRING.origin, BadSignature),
        (CHARITY, MERCY.public, Origin("mercy", "autumn", 1), WrongEnvelope),  # replayed for another release
        (CHARITY, MERCY.public, Origin("mercy", "spring", 2), WrongEnvelope),  # replayed after a rotation
        (CHARITY, MERCY.public, Origin("grace", "spring", 1), WrongEnvelope),  # swapped for another site's
    ],
)
def test_a_genuine_envelope_in_the_wrong_place_is_refused(
    recipient: Identity, sender: PublicIdentity, origin: Origin, error: type[Refused]
) -> None:
    with pytest.raises(error) as found:
        open_envelope(WHOLE, recipient, sender, origin)
    assert not leaks(SECRETS, found.value)


def test_two_sites_keys_never_open_each_others_envelopes() -> None:
    sites = [Identity.generate(name) for name in ("a", "b", "c")]
    for sender in sites:
        keys = MasterKey.generate(sender.public.name, 1).release_key("r")
        for recipient in sites:
            envelope = grant(keys, sender, recipient.public)
            for reader in sites:
                for supposed in sites:
                    right = reader is recipient and supposed is sender
                    origin = Origin(supposed.public.name, "r", 1)
                    try:
                        found = open_envelope(envelope, reader, supposed.public, origin)
                    except (WrongEnvelope, BadSignature):
                        assert not right
                    else:
                        assert right
                        assert isinstance(found, ReleaseKey)
                        assert found.reveal() == keys.reveal()


def test_a_namesake_is_another_recipient() -> None:
    namesake = Identity.generate("charity")
    with pytest.raises(WrongEnvelope):
        open_envelope(WHOLE, namesake, MERCY.public, SPRING.origin)


# What a dishonest site could make -------------------------------------------------------------------------------------


def forged(signer: Identity, label: Label, sealed: bytes) -> bytes:
    body = [label.sender, label.recipient, *label.origin.parts, sealed]
    signed = MAGIC + bytes(msgpack.packb(body, use_bin_type=True))
    return signed + signer.sign(PURPOSE, signed)


def test_another_sites_sealed_key_cannot_be_passed_off_as_ones_own() -> None:
    sealed = msgpack.unpackb(WHOLE[len(MAGIC) : -64])[-1]
    label = Label(GRACE.public.fingerprint, CHARITY.public.fingerprint, Origin("grace", "spring", 1))
    with pytest.raises(BrokenSeal):
        open_envelope(forged(GRACE, label, sealed), CHARITY, GRACE.public, label.origin)


def test_a_label_signed_by_the_sender_does_not_fit_another_seal() -> None:
    """Not even the sender can move what is sealed to another recipient, release or epoch."""
    sealed = msgpack.unpackb(WHOLE[len(MAGIC) : -64])[-1]
    for origin in (Origin("mercy", "autumn", 1), Origin("mercy", "spring", 2)):
        label = Label(MERCY.public.fingerprint, CHARITY.public.fingerprint, origin)
        with pytest.raises(BrokenSeal):
            open_envelope(forged(MERCY, label, sealed), CHARITY, MERCY.public, origin)


def test_a_site_grants_its_own_releases_only() -> None:
    with pytest.raises(ConfigError, match="only a site grants its own releases"):
        grant(SPRING, GRACE, CHARITY.public)
    label = Label(GRACE.public.fingerprint, CHARITY.public.fingerprint, SPRING.origin)
    sealed = CHARITY.public.seal(msgpack.packb(["all", bytes(32)]), label.about)
    with pytest.raises(WrongEnvelope):
        open_envelope(forged(GRACE, label, sealed), CHARITY, GRACE.public, SPRING.origin)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        b"\x91" * 5000,
        msgpack.packb(["all", SPRING.reveal()]) + b"more",
        msgpack.packb(["images", {"7": SPRING.image_key("7").reveal()}])[:-1],
        *(
            msgpack.packb(content)
            for content in (
                7, [], ["all"], ["all", bytes(31)], ["all", "x" * 32], ["all", list(range(32))], ["all", None],
                ["images", bytes(32)], ["images", {"0": bytes(31)}], ["images", {b"0": bytes(32)}],
                ["images", {"0": None}], ["images", [["0", bytes(32)]]], ["some", bytes(32)], {"all": bytes(32)},
            )
        ),
    ],
)  # fmt: skip
def test_an_envelope_without_proper_keys_is_refused(content: bytes) -> None:
    label = Label(MERCY.public.fingerprint, CHARITY.public.fingerprint, SPRING.origin)
    error = refused(forged(MERCY, label, CHARITY.public.seal(content, label.about)))
    assert isinstance(error, BrokenSeal)
    assert "holds no keys" in str(error)


@pytest.mark.parametrize("body", [[], [1] * 6, ["a", "b", "mercy", "spring", 1], ["a", "b", "", "spring", 1, b""], 7])
def test_a_signed_body_that_is_none_is_refused(body: object) -> None:
    signed = MAGIC + msgpack.packb(body)
    assert isinstance(refused(signed + MERCY.sign(PURPOSE, signed)), WrongEnvelope)
