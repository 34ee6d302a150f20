"""What a federation's model is compared with: learning without borders, without the others, and without any film."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import Annotation, Cohort
from fedcxr.errors import DataError
from fedcxr.methods import Method, Round, RunContext, Weights
from fedcxr.rng import stream
from fedcxr.storage.artefacts import digest_of
from fedcxr.storage.checkpoint import digest
from fedcxr.storage.version import versions
from fedcxr.tasks import Bench, Evidence

POINTS = 20  # of a curve over rounds


def beginning(evidence: Evidence) -> Weights | None:
    """What all sites of a federation started from; None: there was no federation."""
    return next((weights for number, weights in evidence.rounds() if number == 0), None)


def references(
    evidence: Evidence, start: Weights, bench: Bench, figures: Callable[[Method, Weights], dict[str, Any]]
) -> dict[str, Any]:
    """The figures of where learning began, of all films at one place, and of each site alone, with their mean.

    At one place as many steps are taken as at all sites together, and at each site as many as it takes among the
    others. A site with too few films to learn from has no figure, and without films it is left out.
    """
    train, plain = evidence.films("train"), evidence.method.unguarded()

    def after(films: npt.NDArray[np.bool_], who: str, sites: int = 1) -> dict[str, Any]:
        return figures(plain, _learnt(plain, evidence.cohort.take(films), start, bench, who, sites))

    def by_itself(films: npt.NDArray[np.bool_], site: str) -> dict[str, Any]:
        try:
            told: dict[str, Any] = after(films, f"{site} alone")["mean_auc"]
        except DataError:
            return {"value": None, "ci95": None}
        return told

    own = {site: train & (evidence.sites == site) for site in sorted(set(evidence.sites))}
    alone = {site: by_itself(films, site) for site, films in own.items() if films.any()}
    known = [one["value"] for one in alone.values() if one["value"] is not None]
    mean = {"value": float(np.mean(known)) if known else None, "ci95": None}
    return {
        "together": after(train, "all films", len(own)),
        "alone": {"mean_auc": mean, "by_site": alone},
        "start": figures(plain, start),
    }


def curve(evidence: Evidence, auc: Callable[[Method, Weights], float | None]) -> list[dict[str, Any]]:
    """How good the federation's model was after some of its rounds, the first and the last among them."""
    learning = evidence.method.learning
    assert learning is not None, "there was a federation"
    last = learning.rounds
    shown = {round(number) for number in np.linspace(0, last, min(last, POINTS) + 1)}
    return [
        {"round": number, "mean_auc": auc(evidence.method, weights)}
        for number, weights in evidence.rounds()
        if number in shown
    ]


def _learnt(plain: Method, cohort: Cohort, start: Weights, bench: Bench, who: str, sites: int) -> Weights:
    """What one place learns in as many rounds as so many sites go through; other runs may have done so before."""
    context = RunContext.on(bench.compute)
    assert plain.learning is not None, "there was a federation"
    rounds = plain.learning.rounds * sites

    def learn() -> Weights:
        weights = start
        for number in range(rounds):
            rng = stream(bench.seed, "reference", number)
            weights = plain.learn(cohort, rng, context, weights, Round(number, rounds))
            bench.progress(f"learning from {who}", number + 1, rounds)
        return weights

    if bench.artefacts is None:
        return learn()
    key = bench.artefacts.key(
        "reference",
        method=plain.spec(),
        films=digest_of(cohort.films()),
        places=[_digest(cohort, annotation) for annotation in plain.annotations],
        labels=digest_of(cohort.labels),
        findings=list(cohort.findings),
        start=digest(start),
        rounds=rounds,
        seed=bench.seed,
        compute=bench.compute.settings,
        versions=versions([type(plain)]),
    )
    return dict(bench.artefacts.made(key, learn))


def _digest(cohort: Cohort, annotation: Annotation) -> str | None:
    """What stands for what somebody has drawn on films; None: nobody has."""
    if annotation not in cohort.annotations.names:
        return None
    if annotation == "boxes":
        return digest_of(np.frombuffer(cohort.boxes().to_csv(index=False).encode(), dtype=np.uint8))
    drawn = cohort.masked(annotation)
    return f"{digest_of(drawn)} {digest_of(cohort.mask(annotation, np.flatnonzero(drawn)))}"
