"""A card: what a hospital hands to the others so that they know it, and know it again when it renews its keys.

A renewed card carries a signature by each identity before it. Whoever knows the hospital by one of those need not
telephone again: the hospital they know says who follows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from fedcxr.errors import BadSignature, ConfigError, Refused
from fedcxr.keys import context
from fedcxr.keys.identity import Identity, PublicIdentity

PURPOSE = "identity card"
SUCCESSION = "succession of an identity"
KIND = "identity"
FORMAT = 2
FIELDS = {"fedcxr", "format", "name", "verifying", "sealing", "follows", "signature"}
LONGEST = 1 << 14  # characters, all of them ASCII
MOST_PREDECESSORS = 16  # what fits; whoever missed more renewals compares the fingerprint again


@dataclass(frozen=True)
class Succession:
    """The fingerprint of an earlier identity, and its signature that the card's follows it."""

    fingerprint: str
    signature: bytes


@dataclass(frozen=True)
class Card:
    """A public identity, and those it follows. Its signature shows that one hand holds the keys and chose the name."""

    public: PublicIdentity
    follows: tuple[Succession, ...]
    signature: bytes

    @classmethod
    def issue(cls, identity: Identity, earlier: Sequence[Identity] = ()) -> Self:
        """The card of an identity that follows these, the last of them last."""
        of = identity.public
        follows = tuple(
            Succession(old.public.fingerprint, old.sign(SUCCESSION, _succession(old.public, of)))
            for old in earlier[-MOST_PREDECESSORS:]
        )
        return cls(of, follows, identity.sign(PURPOSE, _whole(of, follows)))

    @classmethod
    def read(cls, text: str) -> Self:
        """A card, which may come from anyone. That it is whole does not say whose it is: compare fingerprints."""
        document = _document(text)
        card = cls._of(document) if document else None
        if card is None:  # raised here, so that no cause shows what was read
            raise BadSignature("this is no identity card", allowed="what `fedcxr keys show --card` wrote")
        card.public.verify(PURPOSE, _whole(card.public, card.follows), card.signature)
        card.public.seal(b"", b"")  # granted to, a key that cannot be written to would end every release to come
        return card

    @classmethod
    def _of(cls, document: dict[str, Any]) -> Self | None:
        try:
            name, verifying, sealing, follows, signature = (
                document[key] for key in ("name", "verifying", "sealing", "follows", "signature")
            )
            if document.keys() != FIELDS or len(follows) > MOST_PREDECESSORS:
                return None
            public = PublicIdentity(name, bytes.fromhex(verifying), bytes.fromhex(sealing))
            earlier = tuple(
                Succession(bytes.fromhex(fingerprint).hex(), bytes.fromhex(signed)) for fingerprint, signed in follows
            )
            return cls(public, earlier, bytes.fromhex(signature))
        except (KeyError, ValueError, TypeError, ConfigError):
            return None

    @property
    def text(self) -> str:
        """What to hand to the others."""
        public = self.public
        document = {
            "fedcxr": KIND,
            "format": FORMAT,
            "name": public.name,
            "verifying": public.verifying.hex(),
            "sealing": public.sealing.hex(),
            "follows": [[one.fingerprint, one.signature.hex()] for one in self.follows],
            "signature": self.signature.hex(),
        }
        return json.dumps(document, indent=1) + "\n"

    def check_follows(self, known: PublicIdentity) -> None:
        """Refuse a card that whom we know did not sign as the next one of the same name."""
        signature = next((one.signature for one in self.follows if one.fingerprint == known.fingerprint), None)
        if self.public.name != known.name or signature is None:
            raise Refused(
                "this card does not follow the one that is known",
                given=str(self.public),
                allowed=f"a card that {known} signed as its next",
                do="ask the site which is theirs; if the new one is, revoke the old one first",
            )
        known.verify(SUCCESSION, _succession(known, self.public), signature)


def _succession(old: PublicIdentity, new: PublicIdentity) -> bytes:
    return context(SUCCESSION, old.fingerprint, new.fingerprint)


def _whole(public: PublicIdentity, follows: Sequence[Succession]) -> bytes:
    """All that is on a card but for its own signature."""
    return context(
        PURPOSE, FORMAT, public.fingerprint, *(p for one in follows for p in (one.fingerprint, one.signature))
    )


def _document(text: str) -> dict[str, Any] | None:
    """The object that a text holds, if it says that it is a card; one of another format is refused by name."""
    try:
        document = json.loads(text) if len(text) <= LONGEST else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("fedcxr") != KIND:
        return None
    given = document.get("format")
    if type(given) is not int or not 0 < given < 1000:
        return None
    if given != FORMAT:
        raise BadSignature(
            "this card was written by another version of fedcxr",
            given=f"format {given}",
            allowed=f"format {FORMAT}",
            do="ask its owner for a new card, and compare its fingerprint over the telephone",
        )
    return document
