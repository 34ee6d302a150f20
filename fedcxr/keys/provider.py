"""What leaves a site leaves under its keys: hidden with them, with envelopes for whom it grants them, and signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from fedcxr.keys import ReleaseKey
from fedcxr.keys.identity import Identity
from fedcxr.keys.signatures import sign_release
from fedcxr.release import Release

SERVER = "server"  # what the coordinator is called as a recipient of keys


class KeyProvider(Protocol):
    """Who keeps a site's secrets."""

    @property
    def identity(self) -> Identity: ...

    def seed(self, release: str) -> int:
        """Where this site's random streams begin. Whoever knows it can draw the same noise again and subtract it."""
        ...

    def begin(self, release: str, images: Sequence[str]) -> ReleaseKey:
        """The key of a release; row i of it is the image that the site calls `images[i]`."""
        ...

    def envelopes(self, release: str) -> dict[str, bytes]:
        """Fingerprint -> envelope, for everyone who may open (some of) it."""
        ...


def signed(release: Release, key_provider: KeyProvider, about: Mapping[str, Any]) -> Release:
    """The release as it leaves: it tells which request it answers, and its site stands by all of it."""
    return sign_release(replace(release, facts={**release.facts, **about}), key_provider.identity)
