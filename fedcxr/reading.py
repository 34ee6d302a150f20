"""Who opens a release: a recipient with the keys in its envelope, and nobody with those of another site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedcxr.errors import ConfigError, NotGranted, Refused
from fedcxr.keys import Origin, ReleaseKey, SomeKeys
from fedcxr.keys.envelopes import open_envelope
from fedcxr.keys.identity import Identity, PublicIdentity
from fedcxr.methods import Method
from fedcxr.release import Release


@dataclass(frozen=True)
class Recipient:
    """Somebody with an identity, who may have been granted keys by sites that they know."""

    identity: Identity
    register: Mapping[str, PublicIdentity]  # by site

    def keys(self, release: Release) -> ReleaseKey | SomeKeys:
        """The keys that this release grants them; a clear refusal where it grants none."""
        own, sender = self.identity.public, self.register[release.site]
        envelope = release.envelopes.get(own.fingerprint)
        if envelope is None:
            raise NotGranted(
                f"{release.site} granted nothing to {own.name}",
                given=f"envelopes for {len(release.envelopes)} others",
                do=f"ask {release.site} for a grant",
            )
        return open_envelope(envelope, self.identity, sender, origin_of(release))


def origin_of(release: Release) -> Origin:
    """Under which key a release was made, as its site signed it."""
    told = release.facts.get("key")
    try:
        if not isinstance(told, dict) or told.keys() != {"release", "epoch"}:
            raise TypeError
        return Origin(release.site, told["release"], told["epoch"])
    except (TypeError, ConfigError):
        raise Refused("a release of codes tells which key it was made with", given=release.site) from None


def foreign_keys(method: Method, releases: Sequence[Release], keys: Sequence[ReleaseKey]) -> dict[str, int]:
    """How many films open with the key of another site, tried by force: none, if the keys are what they promise."""
    tried = opened = 0
    for release in releases:
        foreign = next((key for key in keys if key.origin.site != release.site), None)
        if foreign is None:
            continue
        tried += len(release)
        opened += sum(method.opens(release, row, foreign.image_key(str(row))) for row in range(len(release)))
    return {"tried": tried, "opened": opened}
