"""A simulation's keys: the seed gives all of them, so that a run can be repeated.

Whoever knows the scenario can draw them again: they protect nothing from the experimenter, who holds all films anyway.
At a hospital keys are in its vault, and nothing of this is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fedcxr.keys import MasterKey, ReleaseKey
from fedcxr.keys.identity import Identity, PublicIdentity
from fedcxr.keys.keyring import Epoch, Grant, Keyring
from fedcxr.keys.provider import Job, KeyProvider
from fedcxr.keys.stream import KEY_BYTES
from fedcxr.learning.spending import Spending
from fedcxr.rng import stream
from fedcxr.scenario import Scenario


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

    def begin(self, job: Job, images: Sequence[str], spending: Spending | None = None) -> ReleaseKey:
        """No ledger is kept: a simulation supposes that its films are asked for the first time."""
        self._ring = self._ring.begun(job, images)
        return self._ring.release_key(self._ring.made(job.name))

    def stream(self, job: Job, *path: str | int, images: Sequence[str] = ()) -> np.random.Generator:
        return stream(self._seed, *path)  # whatever the job: the experimenter must find the films' order again

    def envelopes(self, job: Job) -> dict[str, bytes]:
        return self._ring.envelopes(self._ring.made(job.name))


def simulated(scenario: Scenario, site: str) -> KeyProvider:
    """Who keeps a site's secrets in a simulation of this scenario."""
    return Simulated(scenario.root, site, scenario.grant)


def simulated_identity(seed: int, name: str) -> Identity:
    """Who somebody is in a simulation: a site, or the coordinator."""
    return Identity(stream(seed, "identity", name).bytes(Identity.length), name)


def simulated_register(seed: int, names: Sequence[str]) -> dict[str, PublicIdentity]:
    """By name, whose signatures count in a simulation."""
    return {name: simulated_identity(seed, name).public for name in names}
