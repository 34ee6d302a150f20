"""What leaves a site leaves under its keys: hidden with them, with envelopes for whom it grants them, and signed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from fedcxr.keys import ReleaseKey, context
from fedcxr.keys.signatures import Signer, sign_release

if TYPE_CHECKING:  # a key agent has no business with what releases are made of
    from fedcxr.learning.spending import Spending
    from fedcxr.release import Release

SERVER = "server"  # what the coordinator is called as a recipient of keys

Work = Literal["release", "learn", "test"]


@dataclass(frozen=True)
class Job:
    """One thing that a site is asked for. Asked in other words, or with other weights, it is another job."""

    kind: Work
    run: str
    part: str = ""  # the round of learning, or the task that is tested
    digest: str = ""  # SHA-256 of everything that the answer depends on, but for the site's own films and keys

    @classmethod
    def of(cls, kind: Work, run: str, part: str, scenario: str, told: Release | None = None) -> Job:
        """The job of a request: the scenario as a text, and what was sent along with it."""
        sent = "" if told is None else told.digest()
        return cls(kind, run, part, hashlib.sha256(context("job", kind, run, part, scenario, sent)).hexdigest())

    @property
    def name(self) -> str:
        """What a site calls it: a release has the name of its run."""
        return self.run if self.kind == "release" else f"{self.run}/{self.kind}-{self.part}"

    @property
    def facts(self) -> dict[str, Any]:
        """What an answer tells of the request it answers, so that none can stand in for another."""
        return {"run": self.run, "request": self.digest}


class KeyProvider(Protocol):
    """Who keeps a site's secrets."""

    @property
    def identity(self) -> Signer: ...

    def begin(self, job: Job, images: Sequence[str], spending: Spending | None = None) -> ReleaseKey:
        """Note a job before anything is done for it, and give its key; row i is the image the site calls `images[i]`.

        The same job may be begun again, to go on with it. Another one of its name, or with other images, is refused,
        and so is one that costs the people behind the images more than their hospital promised.
        """
        ...

    def stream(self, job: Job, *path: str | int, images: Sequence[str] = ()) -> np.random.Generator:
        """What is random about a job that concerns these images. Whoever could draw it could subtract the noise."""
        ...

    def envelopes(self, job: Job) -> dict[str, bytes]:
        """Fingerprint -> envelope, for everyone who may open (some of) what is released."""
        ...


def signed(release: Release, key_provider: KeyProvider, about: Mapping[str, Any]) -> Release:
    """The release as it leaves: it tells which request it answers, and its site stands by all of it."""
    return sign_release(replace(release, facts={**release.facts, **about}), key_provider.identity)
