"""A hospital signs what leaves it, and whoever receives it checks before looking further."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fedcxr.errors import BadSignature, ConfigError
from fedcxr.keys import context
from fedcxr.keys.identity import PublicIdentity

if TYPE_CHECKING:  # a key agent has no business with what releases are made of
    from fedcxr.release import Packed, Release

PURPOSE = "release"
HELLO = "introduction"
ANSWER = "answer"


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
    return release.with_signature(identity.sign(PURPOSE, bytes.fromhex(release.digest())))


def verify_release(data: bytes, signer: PublicIdentity) -> Packed:
    """What has arrived, before any of it is unpacked; refused if it is not signed, or not as this signer's own.

    A signature does not say when: that a release answers this request must be told from its facts, which it covers.
    """
    from fedcxr.release import Packed

    packed = Packed.from_bytes(data)
    signer.verify(PURPOSE, bytes.fromhex(packed.digest), packed.signature)
    if packed.header.site != signer.name:
        raise BadSignature("a release of another site", given=packed.header.site, allowed=signer.name)
    return packed


def sign_hello(identity: Signer, run: str, nonce: bytes) -> bytes:
    """A node's signature that it is this site, in this run and in answer to this question."""
    return identity.sign(HELLO, context(HELLO, run, nonce))


def verify_hello(signer: PublicIdentity, run: str, nonce: bytes, signature: bytes) -> None:
    """Refuse a node that is not this site's."""
    signer.verify(HELLO, context(HELLO, run, nonce), signature)


def sign_answer(identity: Signer, asked: bytes, told: bytes) -> bytes:
    """A site's signature on all that it answers: digests of what it was asked, and of what it says."""
    return identity.sign(ANSWER, context(ANSWER, asked, told))


def verify_answer(signer: PublicIdentity, asked: bytes, told: bytes, signature: bytes) -> None:
    """Refuse an answer that is not this site's, or not to this question."""
    signer.verify(ANSWER, context(ANSWER, asked, told), signature)
