"""Who a hospital is to the others: an Ed25519 key to sign with and an X25519 key to be written to (HPKE, RFC 9180)."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from fedcxr.errors import BadSignature, BrokenSeal, ConfigError, Refused
from fedcxr.keys import Hidden, check_name, context

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
PURPOSE = "identity card"
CARD = {"fedcxr": "identity", "format": 1}
LONGEST_CARD = 4096  # characters
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class PublicIdentity:
    """What the others know of a hospital: its name and the public halves of its two keys."""

    name: str
    verifying: bytes
    sealing: bytes

    def __post_init__(self) -> None:
        check_name("site", self.name)
        if not len(self.verifying) == len(self.sealing) == PUBLIC_BYTES:
            raise ConfigError("a public key has the wrong length", allowed=f"{PUBLIC_BYTES} bytes")

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
            return SUITE.encrypt(data, X25519PublicKey.from_public_bytes(self.sealing), about)
        except ValueError:  # a point of small order, with which everyone would share the secret
            raise Refused("this public key cannot be written to", given=str(self), do="ask for a new card") from None

    @classmethod
    def from_card(cls, text: str) -> PublicIdentity:
        """Read a card, which may come from anyone. That it is whole does not say whose it is: compare fingerprints."""
        try:
            if len(text) > LONGEST_CARD:
                raise ValueError
            card = json.loads(text)
            if card.keys() != {*CARD, "name", "verifying", "sealing", "signature"} or CARD.items() - card.items():
                raise ValueError
            found = cls(card["name"], bytes.fromhex(card["verifying"]), bytes.fromhex(card["sealing"]))
            signature = bytes.fromhex(card["signature"])
        except (ValueError, TypeError, AttributeError, RecursionError, ConfigError):
            raise BadSignature("this is no identity card", allowed="what `fedcxr keys show --card` wrote") from None
        found.verify(PURPOSE, bytes.fromhex(found.fingerprint), signature)
        return found


class Identity(Hidden):
    """A hospital's two private keys."""

    __slots__ = ("public",)
    length = 2 * PUBLIC_BYTES

    def __init__(self, key: bytes, name: str) -> None:
        super().__init__(key)
        self.public = PublicIdentity(
            name,
            self._signing.public_key().public_bytes_raw(),
            self._opening.public_key().public_bytes_raw(),
        )

    @classmethod
    def generate(cls, name: str) -> Identity:
        """A new identity, from the operating system's randomness."""
        return cls(os.urandom(cls.length), name)

    @property
    def _signing(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._key[:PUBLIC_BYTES])

    @property
    def _opening(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self._key[PUBLIC_BYTES:])

    def sign(self, purpose: str, message: bytes) -> bytes:
        """A signature that counts for this purpose and no other."""
        return self._signing.sign(context("signature", purpose, message))

    def unseal(self, sealed: bytes, about: bytes) -> bytes:
        """What somebody sealed to us, about exactly this."""
        try:
            return SUITE.decrypt(sealed, self._opening, about)
        except (InvalidTag, ValueError):
            raise BrokenSeal("an envelope does not open with this key", given=str(self.public)) from None

    def card(self) -> str:
        """What to hand to the others. Its signature shows that one hand holds both keys and chose the name."""
        public = self.public
        signature = self.sign(PURPOSE, bytes.fromhex(public.fingerprint))
        keys = {"verifying": public.verifying, "sealing": public.sealing, "signature": signature}
        return json.dumps({**CARD, "name": public.name, **{k: v.hex() for k, v in keys.items()}}, indent=1) + "\n"
