"""What leaves a site leaves under its keys: hidden with them, with envelopes for whom it grants them, and signed.

At a hospital they are in its vault, and so is where its order and noise begin. In a simulation the seed gives all of
it, so that a run can be repeated: whoever knows the scenario can draw it again, and it protects nothing from its
experimenter, who holds all films anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from fedcxr.keys import MasterKey, ReleaseKey
from fedcxr.keys.identity import Identity, PublicIdentity
from fedcxr.keys.keyring import Epoch, Grant, Keyring
from fedcxr.keys.signatures import sign_release
from fedcxr.keys.stream import KEY_BYTES
from fedcxr.release import Release
from fedcxr.rng import stream

SERVER = "server"  # what the coordinator is called as a recipient of keys


class Custodian(Protocol):
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


class Simulated:
    """A simulated site's key ring."""

    def __init__(self, seed: int, site: str, grants: Mapping[str, float]) -> None:
        self._seed = seed
        rng = stream(seed, "site", site, "keys")
        master = MasterKey(rng.bytes(MasterKey.length), site, epoch=1)
        self._ring = Keyring(simulated_identity(seed, site), (Epoch(master, ""),), choosing=rng.bytes(KEY_BYTES))
        for recipient, share in grants.items():
            whole = 1.0 if recipient == site else share  # its own films are open to it
            self._ring = self._ring.granted(Grant(simulated_identity(seed, recipient).public, share=whole))

    @property
    def identity(self) -> Identity:
        return self._ring.identity

    def seed(self, release: str) -> int:
        return self._seed  # the experimenter must find the films' order again

    def begin(self, release: str, images: Sequence[str]) -> ReleaseKey:
        self._ring = self._ring.begun(release, images)
        return self._ring.release_key(self._ring.made(release))

    def envelopes(self, release: str) -> dict[str, bytes]:
        return self._ring.envelopes(self._ring.made(release))


def simulated_identity(seed: int, name: str) -> Identity:
    """Who somebody is in a simulation: a site, or the coordinator."""
    return Identity(stream(seed, "identity", name).bytes(Identity.length), name)


def simulated_register(seed: int, names: Sequence[str]) -> dict[str, PublicIdentity]:
    """By name, whose signatures count in a simulation."""
    return {name: simulated_identity(seed, name).public for name in names}


def signed(release: Release, custodian: Custodian, about: Mapping[str, Any]) -> Release:
    """The release as it leaves: it tells which request it answers, and its site stands by all of it."""
    return sign_release(replace(release, facts={**release.facts, **about}), custodian.identity)
