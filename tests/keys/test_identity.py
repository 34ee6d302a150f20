"""Identities: signatures for one purpose, and letters that only their reader opens, whatever computers can do later."""

from __future__ import annotations

import hashlib

import pytest
from canary import leaks
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from fedcxr.errors import BadSignature, BrokenSeal, ConfigError, Refused
from fedcxr.keys.identity import SUITE, Identity, PublicIdentity

MERCY = Identity(bytes(range(64)), "mercy")
CHARITY = Identity(bytes(range(64, 128)), "charity")


def test_new_identities_come_from_the_operating_system() -> None:
    assert len({Identity.generate("mercy").public.fingerprint for _ in range(20)}) == 20


def test_the_key_to_be_written_to_is_the_one_that_other_implementations_make() -> None:
    """The first test vector of X-Wing (draft-connolly-cfrg-xwing-kem): a seed, and its public key's ends and hash."""
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    sealing = Identity(bytes(32) + seed, "mercy").public.sealing
    assert sealing[:32].hex() == "e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5"
    assert hashlib.sha256(sealing).hexdigest() == "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb"


def test_whoever_breaks_one_half_still_cannot_read() -> None:
    """A letter opens for whoever has both keys, and for nobody with either of them and a false other one."""
    seeds = hashlib.shake_256(CHARITY.reveal()[32:]).digest(96)
    foreign = hashlib.shake_256(MERCY.reveal()[32:]).digest(96)
    letter = CHARITY.public.seal(b"secret", b"about")

    def read(lattice: bytes, curve: bytes) -> bytes:
        key = MLKEM768X25519PrivateKey(
            MLKEM768PrivateKey.from_seed_bytes(lattice), X25519PrivateKey.from_private_bytes(curve)
        )
        return SUITE.decrypt(letter, key, b"about")

    assert read(seeds[:64], seeds[64:]) == b"secret"
    for lattice, curve in ((seeds[:64], foreign[64:]), (foreign[:64], seeds[64:])):
        with pytest.raises(InvalidTag):
            read(lattice, curve)


def test_the_fingerprint_covers_the_name_and_both_keys() -> None:
    public = MERCY.public
    others = [
        PublicIdentity("mercz", public.verifying, public.sealing),
        PublicIdentity("mercy", CHARITY.public.verifying, public.sealing),
        PublicIdentity("mercy", public.verifying, CHARITY.public.sealing),
        public,
    ]
    assert len({one.fingerprint for one in others}) == 4
    assert len(public.fingerprint) == 64


def test_a_signature_counts_for_one_signer_purpose_and_message() -> None:
    signature = MERCY.sign("release", b"message")
    MERCY.public.verify("release", b"message", signature)
    for signer, purpose, message, signed in [
        (CHARITY, "release", b"message", signature),
        (MERCY, "envelope", b"message", signature),
        (MERCY, "release", b"massage", signature),
        (MERCY, "release", b"message", signature[:-1]),
        (MERCY, "release", b"message", signature + b"\0"),
        (MERCY, "release", b"message", b""),
        (MERCY, "release", b"message", bytes(64)),
    ]:
        with pytest.raises(BadSignature, match=f"not signed by {signer.public.name}"):
            signer.public.verify(purpose, message, signed)


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    signature = MERCY.sign("release", b"message")
    for bit in range(8 * len(signature)):
        altered = bytearray(signature)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadSignature):
            MERCY.public.verify("release", b"message", bytes(altered))


def test_a_letter_is_opened_by_its_reader_about_its_subject_only() -> None:
    letter = CHARITY.public.seal(b"secret", b"about")
    assert CHARITY.unseal(letter, b"about") == b"secret"
    assert letter != CHARITY.public.seal(b"secret", b"about")
    for reader, sealed, about in [
        (MERCY, letter, b"about"),
        (CHARITY, letter, b"abouT"),
        (CHARITY, letter, b""),
        (CHARITY, letter[:-1], b"about"),
        (CHARITY, b"", b"about"),
        (CHARITY, bytes(len(letter)), b"about"),
    ]:
        with pytest.raises(BrokenSeal) as refused:
            reader.unseal(sealed, about)
        assert not leaks([reader.reveal(), b"secret"], refused.value)


@pytest.mark.parametrize(
    ("lattice", "curve"),
    [
        (MERCY.public.sealing[:1184], bytes(32)),
        (MERCY.public.sealing[:1184], b"\1" + bytes(31)),
        (b"\xff" * 1184, None),
    ],
    ids=["small order", "small order too", "no lattice"],
)
def test_a_key_that_is_none_is_not_written_to(lattice: bytes, curve: bytes | None) -> None:
    sealing = lattice + (MERCY.public.sealing[1184:] if curve is None else curve)
    with pytest.raises(Refused, match="cannot be written to"):
        PublicIdentity("mercy", MERCY.public.verifying, sealing).seal(b"secret", b"")


def test_a_public_key_that_is_no_point_verifies_nothing() -> None:
    with pytest.raises(BadSignature):
        PublicIdentity("mercy", b"\xff" * 32, MERCY.public.sealing).verify("release", b"", bytes(64))


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33), bytes(1215)])
def test_keys_of_the_wrong_length_are_refused(wrong: bytes) -> None:
    with pytest.raises(ConfigError):
        PublicIdentity("mercy", wrong, MERCY.public.sealing)
    with pytest.raises(ConfigError):
        Identity(wrong, "mercy")
