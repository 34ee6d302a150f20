"""How often the labels that a classifier learns from are right: as was given, as was found out, or as it learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedcxr.label_noise import AROUND, LabelNoise, Rates
from fedcxr.table import figure
from fedcxr.tasks._findings import Labelled

if TYPE_CHECKING:
    import torch

    from fedcxr.training.label_noise import BySite, Correction

FOLDS = 2  # in which labels are read off films that the others taught; each costs a training

# What a classifier that was taught some films (in which fold) says of others: (n, k).
Read = Callable[[int, Labelled, Labelled], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Believed:
    """What the loss of one training is told, and will have learnt."""

    findings: tuple[str, ...]  # k names
    rates: tuple[Rates | None, ...]  # of each; None: its labels are taken for right
    unable: Mapping[str, str]  # findings of which that could not be found out, and why
    correction: Correction | BySite

    @classmethod
    def of(cls, noise: LabelNoise, films: Labelled, seed: int, read: Read, device: torch.device) -> Believed | None:
        """None: nobody doubts these labels."""
        if not noise.on:
            return None
        from fedcxr.training.label_noise import BySite, Correction

        rates, unable = _found_out(noise, films, seed, read) if noise.estimated else _given(noise, films)
        every = Correction.of(rates, noise.unknown, films.labels, device)
        if not noise.by_site:
            return cls(films.findings, rates, unable, every)
        assert films.sites is not None, "whoever learns by site knows whose films are"
        own = BySite(every, list(map(str, films.sites)), noise.sites, learnt=noise.learnt)
        return cls(films.findings, rates, unable, own)

    def told(self) -> dict[str, Any]:
        """For result.json; after learning."""
        from fedcxr.training.label_noise import BySite

        named = zip(self.findings, self.rates, strict=True)
        told: dict[str, Any] = {
            "rates": {name: None if one is None else one.model_dump() for name, one in named},
            "uncorrected": dict(self.unable),
        }
        return told | ({"sites": self.correction.told(self.findings)} if isinstance(self.correction, BySite) else {})


def in_words(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Which labels are taken for right, and which site's are believed least, from what `told` wrote."""
    right = tuple(f"labels taken for right: {name}, since {why}" for name, why in told.get("uncorrected", {}).items())
    sites = {site: _mean(rates) for site, rates in told.get("sites", {}).items()}
    if len(sites) < 2:
        return right
    least = min(sites, key=lambda site: sum(sites[site]))
    sensitivity, specificity = (figure(mean) for mean in sites[least])
    return *right, f"labels believed least: {least}, sensitivity {sensitivity}, specificity {specificity} (mean)"


def _mean(rates: Mapping[str, Mapping[str, float]]) -> tuple[float, float]:
    sensitivity, specificity = (fmean(one[which] for one in rates.values()) for which in ("sensitivity", "specificity"))
    return sensitivity, specificity


def _given(noise: LabelNoise, films: Labelled) -> tuple[tuple[Rates | None, ...], dict[str, str]]:
    nobody = _nobody(films)
    around = Rates(sensitivity=AROUND[0], specificity=AROUND[1]) if noise.learnt else None
    each = zip(films.findings, noise.of(films.findings), strict=True)
    return tuple(None if name in nobody else rates or around for name, rates in each), nobody


def _found_out(
    noise: LabelNoise, films: Labelled, seed: int, read: Read
) -> tuple[tuple[Rates | None, ...], dict[str, str]]:
    """By confident learning; what is given outranks it."""
    from fedcxr.training.label_noise import confident, folds

    scores, part = np.zeros_like(films.labels), folds(len(films.labels), FOLDS, seed)
    for fold in range(FOLDS):
        own = part == fold
        scores[own] = read(fold, films.take(~own), films.take(own))
    found, unable = confident(films.labels, scores, films.findings)
    nobody, given = _nobody(films), noise.of(films.findings)
    rates = tuple(own if own is not None else one for own, one in zip(given, found, strict=True))
    return rates, {name: why for name, why in unable.items() if name in nobody or name not in noise.findings}


def _nobody(films: Labelled) -> dict[str, str]:
    there = zip(films.findings, (films.labels == 1).any(axis=0), strict=True)
    return {name: "no film is labelled with it" for name, some in there if not some}
