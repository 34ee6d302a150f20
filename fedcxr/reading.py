"""What a recipient makes of a release: the films that the keys in its envelope open, and why others stay closed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcxr.codes import Codes
from fedcxr.errors import BrokenSeal, ConfigError, NotGranted, Refused
from fedcxr.keys import Origin, ReleaseKey, SomeKeys
from fedcxr.keys.envelopes import open_envelope
from fedcxr.keys.identity import Identity, PublicIdentity
from fedcxr.methods import Films, Method, Weights, Workshop
from fedcxr.methods._coded import CodeMethod
from fedcxr.release import Release


@dataclass(frozen=True)
class Reading:
    """A release as one recipient sees it."""

    films: Films  # (n, h, w); blank where they are closed
    opened: npt.NDArray[np.bool_]  # (n,)
    codes: Codes  # (n, c, h, w) without fakes; empty where they are closed, and where the method shares none
    refusal: str | None = None  # why nothing, or not everything, is open


def read(
    method: Method, release: Release, reader: Identity, sender: PublicIdentity, weights: Weights, workshop: Workshop
) -> Reading:
    """Open what can be opened; what a method shares without keys is open to all."""
    if not isinstance(method, CodeMethod):
        films = method.seen(release, weights, workshop)
        return Reading(films, np.ones(len(release), dtype=np.bool_), np.zeros((len(release), 0, 0, 0), dtype=np.int8))
    films = np.zeros((len(release), *release.size), dtype=np.uint8)
    codes = np.zeros((len(release), *method.shape(release.size).code), dtype=np.int8)
    opened = np.zeros(len(release), dtype=np.bool_)
    try:
        keys = granted(release, reader, sender)
        rows = method.rows(release, keys)
        codes[rows] = method.purified(release, keys, weights)
    except Refused as why:
        return Reading(films, opened, codes, str(why))
    opened[rows] = True
    films[rows] = method.decoded(codes[rows], release, weights, workshop)
    some = f"{sender.name} granted {len(rows)} of {len(release)} images to {reader.public.name}"
    return Reading(films, opened, codes, None if opened.all() else some)


def granted(release: Release, reader: Identity, sender: PublicIdentity) -> ReleaseKey | SomeKeys:
    """The keys that this release grants the reader; a clear refusal where it grants none."""
    envelope = release.envelopes.get(reader.public.fingerprint)
    if envelope is None:
        raise NotGranted(
            f"{release.site} granted nothing to {reader.public.name}",
            given=f"envelopes for {len(release.envelopes)} others",
            do=f"ask {release.site} for a grant",
        )
    return open_envelope(envelope, reader, sender, origin_of(release))


def origin_of(release: Release) -> Origin:
    """Under which key a release was made, as its site signed it."""
    told = release.facts.get("key")
    try:
        if not isinstance(told, dict) or told.keys() != {"release", "epoch"}:
            raise TypeError
        return Origin(release.site, told["release"], told["epoch"])
    except (TypeError, ConfigError):
        raise Refused("a release of codes tells which key it was made with", given=release.site) from None


def foreign_keys(method: CodeMethod, releases: Sequence[Release], keys: Sequence[ReleaseKey]) -> dict[str, int]:
    """How many films open with the key of another site, tried by force: none, if the keys are what they promise."""
    tried = opened = 0
    for release in releases:
        foreign = next((key for key in keys if key.origin.site != release.site), None)
        if foreign is None:
            continue
        for row in range(len(release)):
            tried += 1
            with contextlib.suppress(BrokenSeal):
                method.find(release, row, foreign.image_key(str(row)))
                opened += 1
    return {"tried": tried, "opened": opened}
