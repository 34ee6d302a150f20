"""Who a hospital is to the others: an Ed25519 key to sign with and a hybrid key to be written to (HPKE, RFC 9180).

What is written is sealed with ML-KEM-768 and X25519 at once (X-Wing: KEM 0x647a of draft-ietf-hpke-pq), so whoever
records it today must some day break both. A signature is checked when it arrives: nothing recorded today can be forged
into it later, so Ed25519 stays.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from fedcxr.errors import BadSignature, BrokenSeal, ConfigError, Refused
from fedcxr.keys import Hidden, check_name, context

SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
SEED_BYTES = 32  # of either private key
LATTICE_SEED_BYTES = 64
LATTICE_BYTES = 1184  # of an ML-KEM-768 public key, which stands first
VERIFYING_BYTES = 32
SEALING_BYTES = LATTICE_BYTES + 32
SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class PublicIdentity:
    """What the others know of a hospital: its name and the public halves of its two keys."""

    name: str
    verifying: bytes
    sealing: bytes

    def __post_init__(self) -> None:
        check_name("site", self.name)
        if (len(self.verifying), len(self.sealing)) != (VERIFYING_BYTES, SEALING_BYTES):
            raise ConfigError(
                "a public key has the wrong length", allowed=f"{VERIFYING_BYTES} and {SEALING_BYTES} bytes"
            )

    def __repr__(self) -> str:
        return f"PublicIdentity({self})"

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint[:16]})"

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that no other name or key has: what people compare over the telephone."""
        return hashlib.sha256(context("identity", self.name, self.verifying, self.sealing)).hexdigest()

    def verify(self, purpose: str, message: bytes, signature: bytes) -> None:
        """Refuse what this hospital did not sign for this purpose."""
        try:
            key = Ed25519PublicKey.from_public_bytes(self.verifying)
            key.verify(signature, context("signature", purpose, message))
        except (InvalidSignature, ValueError):
            raise BadSignature(
                f"this {purpose} is not signed by {self.name}",
                given=f"the identity {self.fingerprint[:16]}",
                do="it was altered, or somebody else made it",
            ) from None

    def seal(self, data: bytes, about: bytes) -> bytes:
        """Encrypt to this hospital; it opens only where `about` is the same."""
        try:
            lattice = MLKEM768PublicKey.from_public_bytes(self.sealing[:LATTICE_BYTES])
            curve = X25519PublicKey.from_public_bytes(self.sealing[LATTICE_BYTES:])
            return SUITE.encrypt(data, MLKEM768X25519PublicKey(lattice, curve), about)
        except ValueError:  # no key at all, or a point of small order, with which everyone would share the secret
            raise Refused("this public key cannot be written to", given=str(self), do="ask for a new card") from None


class Identity(Hidden):
    """A hospital's two private keys: a seed for each."""

    __slots__ = ("_opening", "_signing", "public")
    length = 2 * SEED_BYTES

    def __init__(self, key: bytes, name: str) -> None:
        super().__init__(key)
        self._signing = Ed25519PrivateKey.from_private_bytes(self._key[:SEED_BYTES])
        # X-Wing's own way from its seed to the two keys: the same ones that any other implementation gets.
        seeds = hashlib.shake_256(self._key[SEED_BYTES:]).digest(LATTICE_SEED_BYTES + SEED_BYTES)
        lattice = MLKEM768PrivateKey.from_seed_bytes(seeds[:LATTICE_SEED_BYTES])
        curve = X25519PrivateKey.from_private_bytes(seeds[LATTICE_SEED_BYTES:])
        self._opening = MLKEM768X25519PrivateKey(lattice, curve)
        self.public = PublicIdentity(
            name,
            self._signing.public_key().public_bytes_raw(),
            lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw(),
        )

    @classmethod
    def generate(cls, name: str) -> Identity:
        """A new identity, from the operating system's randomness."""
        return cls(os.urandom(cls.length), name)

    def sign(self, purpose: str, message: bytes) -> bytes:
        """A signature that counts for this purpose and no other."""
        return self._signing.sign(context("signature", purpose, message))

    def unseal(self, sealed: bytes, about: bytes) -> bytes:
        """What somebody sealed to us, about exactly this."""
        try:
            return SUITE.decrypt(sealed, self._opening, about)
        except (InvalidTag, ValueError):
            raise BrokenSeal("an envelope does not open with this key", given=str(self.public)) from None
