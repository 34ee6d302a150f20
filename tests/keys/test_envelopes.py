"""Envelopes: what the sender put in comes out for the recipient, and anything that is not exactly that is refused."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import tracemalloc

import msgpack
import pytest
from canary import leaks
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import BadSignature, BrokenSeal, ConfigError, NotGranted, Refused, WrongEnvelope
from fedcxr.keys import MasterKey, Origin, ReleaseKey, SomeKeys
from fedcxr.keys.envelopes import FORMAT, HEAD, KIND, PURPOSE, Label, grant, open_envelope, read_label
from fedcxr.keys.identity import Identity, PublicIdentity

MERCY = Identity(bytes(range(64)), "mercy")
CHARITY = Identity(bytes(range(64, 128)), "charity")
GRACE = Identity(bytes(range(128, 192)), "grace")
MASTER = MasterKey(bytes(range(200, 232)), "mercy", 1)
SPRING = MASTER.release_key("spring")
WHOLE = grant(SPRING, MERCY, CHARITY.public)
SOME = grant(SPRING.only(["0", "7"]), MERCY, CHARITY.public)
CLASSICAL = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
SUITE_OVERHEAD = 1088 + 32 + 16  # bytes: ML-KEM-768's ciphertext, X25519's, and GCM's tag
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


def test_the_longest_names_fit() -> None:
    sender, recipient = (Identity.generate(face * 200) for face in "\N{GRINNING FACE}\N{WINKING FACE}")
    keys = MasterKey.generate(sender.public.name, 1 << 30).release_key("\N{NEUTRAL FACE}" * 200)
    envelope = grant(keys, sender, recipient.public)
    assert open_envelope(envelope, recipient, sender.public, keys.origin).origin == keys.origin


def test_ten_thousand_images() -> None:
    images = [str(row) for row in range(10_000)]
    keys = opened(grant(SPRING.only(images), MERCY, CHARITY.public))
    assert isinstance(keys, SomeKeys)
    assert list(keys.images) == images


def test_the_label_is_for_all_to_read_and_the_keys_for_none() -> None:
    label = read_label(WHOLE)
    assert label == Label(MERCY.public.fingerprint, CHARITY.public.fingerprint, Origin("mercy", "spring", 1))
    assert not leaks(SECRETS, WHOLE, SOME)
    assert len(WHOLE) < 1450


def test_no_two_envelopes_are_alike() -> None:
    assert grant(SPRING, MERCY, CHARITY.public) != WHOLE


# What is wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("envelope", [WHOLE, SOME], ids=["whole", "some"])
def test_every_flipped_bit_is_refused(envelope: bytes) -> None:
    said = set()
    written = range(8 * len(KIND), 8 * len(KIND) + 8)  # the format, which is told before anything else
    inside = range(8 * 300, 8 * 1300)  # of what is sealed, one in seven will do
    for bit in range(8 * len(envelope)):
        if bit in written or (bit in inside and bit % 7):
            continue
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


def head(length: int, version: int = FORMAT) -> bytes:
    return bytes(HEAD.pack(KIND, version, length))


@given(st.binary(max_size=400), st.integers(0, 400))
def test_whatever_is_no_envelope_is_refused(junk: bytes, length: int) -> None:
    refused(junk)
    refused(head(length) + junk)


@given(st.one_of(st.binary(max_size=400), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr)))
def test_a_label_that_is_none_is_refused(junk: bytes | str) -> None:
    data = junk.encode() if isinstance(junk, str) else junk
    for attempt in (data, head(len(data)) + data + bytes(64), head(len(data) + 1) + b"\x95" + data + bytes(64)):
        with pytest.raises(WrongEnvelope, match="this is no envelope"):
            read_label(attempt)


def test_a_deeply_nested_label_is_refused() -> None:
    for length in (2000, 60_000):
        with pytest.raises(WrongEnvelope):
            read_label(head(length) + b"\x91" * length + bytes(64))


@pytest.mark.parametrize("fingerprint", ["\x1b[2J", "AB" * 32, 7, None, ["ab"]])
def test_a_label_shows_nothing_but_fingerprints(fingerprint: object) -> None:
    label = msgpack.packb([fingerprint, CHARITY.public.fingerprint, *SPRING.origin.parts])
    with pytest.raises(WrongEnvelope, match="this is no envelope"):
        read_label(head(len(label)) + label + bytes(64))


def test_an_envelope_of_another_format_is_refused_by_name() -> None:
    earlier = b"FCXE\x01" + WHOLE[5:]
    for read in (opened, read_label):
        with pytest.raises(
            WrongEnvelope, match=r"another version of fedcxr; given: format 1; allowed: format 2; .*card"
        ):
            read(earlier)


def test_recorded_today_an_envelope_withstands_whoever_breaks_curves() -> None:
    """Its keys open with both of the recipient's private keys only, and no classical part of it stands alone."""
    _, sealed = parts(WHOLE)
    assert len(sealed) == SUITE_OVERHEAD + 1 + 32
    curve = X25519PrivateKey.from_private_bytes(hashlib.shake_256(CHARITY.reveal()[32:]).digest(96)[64:])
    for enc in (sealed[:32], sealed[1088:1120]):
        with pytest.raises(InvalidTag):
            CLASSICAL.decrypt(enc + sealed[1120:], curve, read_label(WHOLE).about)


@pytest.mark.parametrize("size", [20_000, 2_000_000])
def test_reading_takes_memory_in_proportion(size: int) -> None:
    """Nested lists, empty names, many short ones: a hostile envelope is refused or read within some times its size."""
    label = msgpack.packb([MERCY.public.fingerprint, CHARITY.public.fingerprint, *SPRING.origin.parts])
    count = size // 40
    names = b"\0".join(str(n).encode() for n in range(count))
    contents = [
        b"\x92\xa6images" + b"\x90" * size,
        b"+" + struct.pack(">I", size) + bytes(size),
        b"+" + struct.pack(">I", len(names)) + names + bytes(32 * count),
    ]
    about = read_label(WHOLE).about
    attempts = [head(size % 60_000) + b"\x90" * size]
    attempts += [forged(MERCY, label, CHARITY.public.seal(content, about)) for content in contents]
    for attempt in attempts:
        tracemalloc.start()
        try:
            with contextlib.suppress(Refused):
                opened(attempt)
            with contextlib.suppress(Refused):
                read_label(attempt)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 16 * len(attempt) + (1 << 20)


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


def parts(envelope: bytes) -> tuple[bytes, bytes]:
    """The packed label and the sealed keys."""
    end = HEAD.size + HEAD.unpack_from(envelope)[2]
    return envelope[HEAD.size : end], envelope[end:-64]


def packed(label: Label) -> bytes:
    return bytes(msgpack.packb([label.sender, label.recipient, *label.origin.parts]))


def forged(signer: Identity, label: bytes, sealed: bytes) -> bytes:
    signed = head(len(label)) + label + sealed
    return signed + signer.sign(PURPOSE, signed)


def test_another_sites_sealed_key_cannot_be_passed_off_as_ones_own() -> None:
    label = Label(GRACE.public.fingerprint, CHARITY.public.fingerprint, Origin("grace", "spring", 1))
    with pytest.raises(BrokenSeal):
        open_envelope(forged(GRACE, packed(label), parts(WHOLE)[1]), CHARITY, GRACE.public, label.origin)


def test_a_label_signed_by_the_sender_does_not_fit_another_seal() -> None:
    """Not even the sender can move what is sealed to another recipient, release or epoch."""
    for origin in (Origin("mercy", "autumn", 1), Origin("mercy", "spring", 2)):
        label = Label(MERCY.public.fingerprint, CHARITY.public.fingerprint, origin)
        with pytest.raises(BrokenSeal):
            open_envelope(forged(MERCY, packed(label), parts(WHOLE)[1]), CHARITY, MERCY.public, origin)


def test_a_site_grants_its_own_releases_only() -> None:
    with pytest.raises(ConfigError, match="only a site grants its own releases"):
        grant(SPRING, GRACE, CHARITY.public)
    label = Label(GRACE.public.fingerprint, CHARITY.public.fingerprint, SPRING.origin)
    sealed = CHARITY.public.seal(b"*" + bytes(32), label.about)
    with pytest.raises(WrongEnvelope):
        open_envelope(forged(GRACE, packed(label), sealed), CHARITY, GRACE.public, SPRING.origin)


KEY = SPRING.image_key("7").reveal()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"*",
        b"*" + bytes(31),
        b"*" + SPRING.reveal() + b"more",
        b"-" + bytes(32),
        b"+",
        b"+" + bytes(4),  # no image
        b"+" + struct.pack(">I", 1) + b"7" + KEY[:-1],
        b"+" + struct.pack(">I", 1) + b"7" + KEY + b"m",
        b"+" + struct.pack(">I", 2) + b"7" + KEY,
        b"+" + struct.pack(">I", 0xFFFFFFFF) + b"7" + KEY,
        b"+" + struct.pack(">I", 1) + b"\xff" + KEY,  # no text
        b"+" + struct.pack(">I", 3) + b"7\x007" + KEY + KEY,  # twice the same
        b"\x91" * 5000,
        msgpack.packb(["all", SPRING.reveal()]),
    ],
)
def test_an_envelope_without_proper_keys_is_refused(content: bytes) -> None:
    label = Label(MERCY.public.fingerprint, CHARITY.public.fingerprint, SPRING.origin)
    error = refused(forged(MERCY, packed(label), CHARITY.public.seal(content, label.about)))
    assert isinstance(error, BrokenSeal)
    assert "holds no keys" in str(error)


@given(st.binary(max_size=200), st.integers(0, 80))
def test_whatever_a_known_sender_seals_gives_keys_or_is_refused(content: bytes, length: int) -> None:
    label = Label(MERCY.public.fingerprint, CHARITY.public.fingerprint, SPRING.origin)
    for attempt in (content, b"+" + struct.pack(">I", length) + content):
        try:
            keys = opened(forged(MERCY, packed(label), CHARITY.public.seal(attempt, label.about)))
        except BrokenSeal:
            continue
        assert keys.origin == SPRING.origin


@pytest.mark.parametrize("images", [[], ["a\0b"]])
def test_images_that_cannot_be_told_apart_are_not_granted(images: list[str]) -> None:
    with pytest.raises(ConfigError, match="the keys of images with names"):
        grant(SPRING.only(images), MERCY, CHARITY.public)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=())), min_size=1, unique=True))
def test_images_may_be_called_anything_else(images: list[str]) -> None:
    keys = opened(grant(SPRING.only(images), MERCY, CHARITY.public))
    assert isinstance(keys, SomeKeys)
    assert list(keys.images) == images


@given(st.permutations(range(5)), st.sampled_from([WHOLE, SOME]))
def test_swapped_fields_are_refused_even_if_signed(order: list[int], envelope: bytes) -> None:
    """Fields of a label in another order, signed by who may sign: never another meaning, only a refusal."""
    label, sealed = parts(envelope)
    fields = msgpack.unpackb(label)
    swapped = msgpack.packb([fields[place] for place in order])
    if swapped != label:
        assert isinstance(refused(forged(MERCY, swapped, sealed)), WrongEnvelope)


@pytest.mark.parametrize(
    "body",
    [[], [1] * 5, ["ab", "cd", "mercy", "spring"], ["ab", "cd", "", "spring", 1], ["ab", "cd", "a", "b", 1, 2], 7],
)
def test_a_signed_label_that_is_none_is_refused(body: object) -> None:
    assert isinstance(refused(forged(MERCY, msgpack.packb(body), parts(WHOLE)[1])), WrongEnvelope)
