"""A hospital signs what leaves it, and whoever receives it checks before looking further."""

from __future__ import annotations

from dataclasses import replace

from fedcxr.errors import BadSignature, ConfigError
from fedcxr.keys.identity import Identity, PublicIdentity
from fedcxr.release import Release

PURPOSE = "release"


def sign_release(release: Release, identity: Identity) -> Release:
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
