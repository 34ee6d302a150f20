"""A hospital signs what leaves it, and whoever receives it checks before looking further."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from fedcxr.errors import BadSignature, ConfigError
from fedcxr.keys import context
from fedcxr.keys.identity import PublicIdentity

if TYPE_CHECKING:  # a key agent has no business with what releases are made of
    from fedcxr.release import Release

PURPOSE = "release"
HELLO = "introduction"


class Signer(Protocol):
    """Somebody who signs: an identity, or whoever keeps one."""

    @property
    def public(self) -> PublicIdentity: ...

    def sign(self, purpose: str, message: bytes) -> bytes:
        """A signature that counts for this purpose and no other."""
        ...


def sign_release(release: Release, identity: Signer) -> Release:
    """The release with its site's signature over everything else in it."""
    if release.site != identity.public.name:
        raise ConfigError("a site signs its own releases", given=f"{identity.public} for {release.site}")
    return replace(release, signature=identity.sign(PURPOSE, bytes.fromhex(release.digest())))


def verify_release(release: Release, signer: PublicIdentity) -> None:
    """Refuse a release that is not signed, not by this signer, or not of this signer's site.

    A signature does not say when: that a release answers this request must be told from its facts, which it covers.
    """
    if release.site != signer.name:
        raise BadSignature("a release of another site", given=release.site, allowed=signer.name)
    signer.verify(PURPOSE, bytes.fromhex(release.digest()), release.signature)


def sign_hello(identity: Signer, run: str, nonce: bytes) -> bytes:
    """A node's signature that it is this site, in this run and in answer to this question."""
    return identity.sign(HELLO, context(HELLO, run, nonce))


def verify_hello(signer: PublicIdentity, run: str, nonce: bytes, signature: bytes) -> None:
    """Refuse a node that is not this site's."""
    signer.verify(HELLO, context(HELLO, run, nonce), signature)
