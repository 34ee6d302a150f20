"""A coordinator signs what it asks and a hospital what leaves it; whoever receives it checks before looking further."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from fedcxr.errors import BadSignature, ConfigError
from fedcxr.keys import context
from fedcxr.keys.identity import PublicIdentity

if TYPE_CHECKING:  # a key agent has no business with what releases are made of
    from fedcxr.release import Packed, Release

PURPOSE = "release"
REQUEST = "request"
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


def sign_request(coordinator: Signer, asked: bytes) -> bytes:
    """A coordinator's signature on a greeting or a request, by the digest of all of it, which tells the two apart."""
    return coordinator.sign(REQUEST, context(REQUEST, asked))


def verify_request(coordinators: Sequence[PublicIdentity], asked: bytes, signature: bytes) -> PublicIdentity:
    """Which of these asked this; refused if none of them did."""
    for known in coordinators:
        try:
            known.verify(REQUEST, context(REQUEST, asked), signature)
        except BadSignature:
            continue
        return known
    raise BadSignature(
        "this is not signed by the coordinator", allowed=" or ".join(map(str, coordinators)) or "nobody's signature"
    )


def sign_hello(identity: Signer, coordinator: PublicIdentity, asked: bytes) -> bytes:
    """A node's signature that it is this site, to this coordinator and in answer to this greeting."""
    return identity.sign(HELLO, context(HELLO, coordinator.fingerprint, asked))


def verify_hello(signer: PublicIdentity, coordinator: PublicIdentity, asked: bytes, signature: bytes) -> None:
    """Refuse a node that is not this site's, or that said so to somebody else."""
    signer.verify(HELLO, context(HELLO, coordinator.fingerprint, asked), signature)


def sign_answer(identity: Signer, coordinator: PublicIdentity, asked: bytes, told: bytes) -> bytes:
    """A site's signature on all that it answers: to whom, and digests of what it was asked and of what it says."""
    return identity.sign(ANSWER, context(ANSWER, coordinator.fingerprint, asked, told))


def verify_answer(
    signer: PublicIdentity, coordinator: PublicIdentity, asked: bytes, told: bytes, signature: bytes
) -> None:
    """Refuse an answer that is not this site's, not to this coordinator, or not to this question."""
    signer.verify(ANSWER, context(ANSWER, coordinator.fingerprint, asked, told), signature)
