"""Would a radiomics study of released films find what it finds of the films themselves?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import Annotation, Cohort, Organ
from fedcxr.errors import DataError
from fedcxr.metrics import Bools, Ids
from fedcxr.metrics._ranking import Weights, row_means
from fedcxr.metrics.agreement import CLASSES, class_of, constant, icc, relative_errors
from fedcxr.metrics.bootstrap import central_interval, replicates_of
from fedcxr.metrics.frechet import frechet
from fedcxr.metrics.paired import of_films
from fedcxr.metrics.radiomics import BINS, FAMILIES, NAMES, features
from fedcxr.rng import stream
from fedcxr.table import Row, Table, figure, span
from fedcxr.tasks import Bench, Evidence, Main, Task
from fedcxr.verdict.utility import texture as in_words
from fedcxr.view import Array, Rows

CHUNK = 16  # films between two words of progress
LUNGS: Organ = "lungs"
LEAST = BINS  # pixels inside a mask: fewer cannot fill the bins
SPLITS = 20  # random halves of the patients, for the floor of a distance

Floats = npt.NDArray[np.float64]
EXCELLENT = CLASSES["good"]  # what is above
TITLES = {
    "firstorder": "greys (first order)",
    "glcm": "neighbours (GLCM)",
    "glrlm": "runs (GLRLM)",
    "glszm": "zones (GLSZM)",
    "gldm": "dependence (GLDM)",
    "ngtdm": "tones (NGTDM)",
}


@dataclass(frozen=True)
class Compared:
    """Features of films and of what became of them, in rows of their own: those that vary and that all films have."""

    names: tuple[str, ...]  # f
    ours: Floats  # (n, f) of the films themselves
    theirs: Floats  # (n, f)
    patients: Ids  # (n,)

    def mean_icc(self, times: Weights) -> Floats:  # (r,)
        return row_means(icc(self.ours, self.theirs, times.astype(np.float64)))

    def excellent(self, times: Weights) -> Floats:  # (r,)
        return _share(icc(self.ours, self.theirs, times.astype(np.float64)))


class Texture(Task):
    """How 93 radiomics features of each film of the test split agree with those of the film it was made of.

    RE and ARE are the mean over films of (released - original) / original and of its size; the ICC is that of absolute
    agreement, ICC(A,1). Its class: poor up to .40, fair up to .60, good up to .75, excellent above. `excellent` is the
    share of features in that class. Films of 8 bit as they are, pixels of 1 mm, 64 bins. `unauthorised` has the same
    of what films look like to somebody without a key, where there are keys.

    `frd` is the Frechet distance of all released films from all films themselves, in features less the films' mean over
    their standard deviation; `between_halves` the same of the one half of the patients from the other's own films, and
    `floor` of the other's own films from the one's: what differs when nothing was changed.
    """

    paper: ClassVar[str | None] = (
        "Shiri et al., JBI 2024 (93 features, RE, ARE, ICC); Konz et al., arXiv 2412.01496 (`frd`)"
    )
    deviations: ClassVar[str | None] = (
        "ICC(A,1): a shift that all films have in common counts as disagreement. FRD of these 93 features, "
        "without filtered ones, and not its logarithm. A released film is read inside the mask of its original."
    )
    bounds: ClassVar[tuple[str, ...]] = tuple(
        f"{arm}{path}"
        for arm in ("", "unauthorised.")
        for path in ("mean_icc", "excellent", "families.*.mean_icc", "features.*.icc")
    )

    main: ClassVar[Main | None] = Main(
        "mean_icc", "ICC", "how closely radiomics features of what was shared agree with those of the films themselves"
    )

    where: Literal["auto", "lungs", "film"] = pydantic.Field(
        default="auto", description="inside lung masks, on the whole film, or inside masks if films have any"
    )
    bootstraps: int = pydantic.Field(default=500, ge=1)

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        return (LUNGS,) if self.where == "lungs" else ()

    def applies(self, evidence: Evidence) -> bool:
        return super().applies(evidence) and bool((evidence.origin >= 0).any())

    def demand(self, cohort: Cohort) -> None:
        """Lungs that are to be read inside of; how many pixels they have is looked at where they are."""
        test = cohort.where("test")
        if self.where == LUNGS and not (LUNGS in test.annotations.masks and test.masked(LUNGS).any()):
            raise _unmarked(len(test))

    def measure(self, evidence: Evidence, bench: Bench) -> dict[str, Any]:
        somebodys = evidence.origin >= 0
        seen: list[tuple[Array, Bools]] = [
            (evidence.view.forms["films"], evidence.rows("test") & somebodys & evidence.view.opened)
        ]
        if evidence.unauthorised is not None:
            seen.append((evidence.unauthorised, evidence.lent("test")[0] & somebodys))
        asked = np.unique(np.concatenate([evidence.origin[rows] for _, rows in seen]))
        inside, films = self._inside(evidence.cohort, asked)
        rows = [np.flatnonzero(some & np.isin(evidence.origin, films)) for _, some in seen]
        told, steps = 0, len(films) + sum(map(len, rows))

        def read(shown: Array, some: Rows, behind: Rows) -> Floats:  # (n, len(NAMES))
            nonlocal told
            found = [np.empty((0, len(NAMES)))]
            for start in range(0, len(some), CHUNK):
                part = slice(start, start + CHUNK)
                masks = evidence.cohort.mask(LUNGS, behind[part]) if inside == LUNGS else None
                found.append(features(np.asarray(shown[some[part]], dtype=np.uint8), masks))
                told += len(found[-1])
                bench.progress("texture", told, steps)
            return np.concatenate(found)

        with bench.compute.session():
            own = read(evidence.clean, films, films)
            arms = []
            for (shown, _), some in zip(seen, rows, strict=True):
                behind = evidence.origin[some]
                ours, theirs = own[np.searchsorted(films, behind)], read(shown, some, behind)
                arms.append(self._figures(ours, theirs, evidence.patients[some], bench.seed))
                if not arms[1:]:
                    self._keep(ours, theirs, evidence.patients[some], bench)
        about = {"inside": inside, "without_mask": len(asked) - len(films)}
        return {**about, **arms[0], "unauthorised": {**about, **arms[1]} if arms[1:] else None}

    def _inside(self, cohort: Cohort, films: Rows) -> tuple[str, Rows]:
        """Where to look, and on which of some films one can."""
        if not len(films):
            raise DataError("texture is measured on the test split", given="no film", do="use a larger cohort")
        if self.where == "film" or LUNGS not in cohort.annotations.masks:
            drawn = films[:0]
        else:
            drawn = films[cohort.masked(LUNGS)[films]]
            parts = [drawn[start : start + CHUNK] for start in range(0, len(drawn), CHUNK)]
            pixels = [cohort.mask(LUNGS, part).sum(axis=(1, 2)) for part in parts]
            drawn = drawn[np.concatenate([np.zeros(0), *pixels]) >= LEAST]
        if self.where == LUNGS and not len(drawn):
            raise _unmarked(len(films))
        return (LUNGS, drawn) if len(drawn) else ("film", films)

    def _keep(self, ours: Floats, theirs: Floats, patients: Ids, bench: Bench) -> None:
        some = _varying(ours, theirs, patients)
        for name, of_drawn in (("mean_icc", some.mean_icc), ("excellent", some.excellent)):
            bench.keep(name, of_films(patients, of_drawn) if some.names else None)

    def _figures(self, ours: Floats, theirs: Floats, patients: Ids, seed: int) -> dict[str, Any]:
        some = _varying(ours, theirs, patients)
        agreement = icc(some.ours, some.theirs) if len(ours) else np.full(len(some.names), np.nan)
        intervals = self._intervals(some, seed)
        family = np.array([name.split("_")[0] for name in some.names])
        errors = np.array(relative_errors(some.ours, some.theirs))

        def told(which: Bools) -> dict[str, Any]:
            return {
                "features": int(which.sum()),
                "mean_icc": _mean(agreement[which], intervals[:, which]),
                "excellent": _excellent(agreement[which], intervals[:, which]),
                "median_are": _number(np.nanmedian(errors[1, which])) if np.isfinite(errors[1, which]).any() else None,
                "classes": _classes(agreement[which]),
            }

        return {
            "films": len(ours),
            **told(np.ones(len(some.names), dtype=np.bool_)),
            "families": {name: told(family == name) for name in FAMILIES},
            "features": {
                name: {
                    "re": _number(errors[0, column]),
                    "are": _number(errors[1, column]),
                    "icc": _figure(agreement[column], intervals[:, column]),
                    "class": None if np.isnan(agreement[column]) else class_of(float(agreement[column])),
                }
                for column, name in enumerate(some.names)
            },
            "constant": [name for name in NAMES if name not in some.names],
            "frd": _distance(some, seed),
        }

    def _intervals(self, some: Compared, seed: int) -> Floats:  # (replicates, f)
        if len(np.unique(some.patients)) < 2:
            return np.full((1, len(some.names)), np.nan)

        def drawn(times: Weights) -> Floats:
            return icc(some.ours, some.theirs, times.astype(np.float64))

        # The same draws of patients whatever was shared.
        return replicates_of(drawn, some.patients, stream(seed, "texture", "bootstrap"), self.bootstraps)

    def table(self, figures: Mapping[str, Any]) -> Table:
        rows = [_row("all", figures), *(_row(TITLES[name], one) for name, one in figures["families"].items())]
        if figures["unauthorised"] is not None:
            rows.append(_row("all, as they look without a key", figures["unauthorised"]))
        notes = [
            "ICC: agreement with the films themselves, 1 at best; excellent: share of features above .75; ARE: how far "
            "a feature is off, as a share of itself",
        ]
        distance = figures["frd"]
        if distance["floor"] is not None:
            notes.append(
                f"Frechet distance of radiomics: {distance['value']:.1f} from the films themselves; between halves of "
                f"the patients {distance['between_halves']:.1f}, and {distance['floor']:.1f} where nothing was changed"
            )
        if figures["constant"]:
            notes.append(f"left out, since it does not vary: {', '.join(figures['constant'])}")
        if figures["without_mask"]:
            notes.append(f"left out, since no lungs are marked on them: {figures['without_mask']} films")
        heads = ("mean ICC", "95 % interval", "excellent", "ARE, median", *CLASSES)
        return Table(
            "How much texture is kept: 93 radiomics features", heads, tuple(rows), tuple(notes), in_words(figures)
        )


def _unmarked(films: int) -> DataError:
    return DataError(
        "texture inside the lungs needs masks of them",
        given=f"none of {LEAST} pixels or more on {films} films of the test split",
        do="set tasks.texture.where to film",
    )


def _row(about: str, figures: Mapping[str, Any]) -> Row:
    mean, are = figures["mean_icc"], figures["median_are"]
    counts = (str(figures["classes"][name]) for name in CLASSES)
    off = "unknown" if are is None else f"{are:.3g}"
    return Row(about, (figure(mean["value"]), span(mean["ci95"]), figure(figures["excellent"]["value"]), off, *counts))


def _varying(ours: Floats, theirs: Floats, patients: Ids) -> Compared:
    """Without features that are the same of all films, or that a film of odd shape does not have."""
    known = np.isfinite(ours).all(axis=0) & np.isfinite(theirs).all(axis=0)
    kept = known & ~constant(np.where(known, ours, 0.0)) if len(ours) else np.zeros(len(NAMES), dtype=np.bool_)
    return Compared(tuple(np.array(NAMES)[kept].tolist()), ours[:, kept], theirs[:, kept], patients)


def _distance(some: Compared, seed: int) -> dict[str, float | None]:
    """The Frechet distance, and what it is between halves of the patients."""
    unknown: dict[str, float | None] = {"value": None, "between_halves": None, "floor": None}
    if len(some.ours) < 2 or not some.names:
        return unknown
    mean, scale = some.ours.mean(axis=0), some.ours.std(axis=0)
    ours, theirs = (some.ours - mean) / scale, (some.theirs - mean) / scale
    halves = list(_halves(some.patients, stream(seed, "texture", "halves")))
    found = unknown | {"value": frechet(theirs, ours)}
    if halves:
        found["between_halves"] = float(np.mean([frechet(theirs[one], ours[~one]) for one in halves]))
        found["floor"] = float(np.mean([frechet(ours[one], ours[~one]) for one in halves]))
    return found


def _halves(patients: Ids, rng: np.random.Generator) -> Iterator[Bools]:
    """Random halves of the patients, where each has two films or more."""
    names, owner = np.unique(patients, return_inverse=True)
    for _ in range(SPLITS):
        half = (rng.permutation(len(names)) < len(names) // 2)[owner]
        if min(half.sum(), (~half).sum()) >= 2:
            yield half


def _classes(agreement: Floats) -> dict[str, int]:
    found = [class_of(value) for value in agreement[~np.isnan(agreement)].tolist()]
    return {name: found.count(name) for name in CLASSES}


def _share(agreement: Floats) -> Floats:  # (r,) of (r, f)
    """The share of excellent ones among those that are known."""
    return row_means(np.where(np.isnan(agreement), np.nan, agreement > EXCELLENT))


def _mean(agreement: Floats, replicates: Floats) -> dict[str, Any]:
    return _figure(row_means(agreement[None])[0], row_means(replicates))


def _excellent(agreement: Floats, replicates: Floats) -> dict[str, Any]:
    return _figure(_share(agreement[None])[0], _share(replicates))


def _figure(value: float, replicates: Floats) -> dict[str, Any]:
    ends = None if np.isnan(value) else central_interval(replicates)
    return {"value": _number(value), "ci95": None if ends is None else list(ends)}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
