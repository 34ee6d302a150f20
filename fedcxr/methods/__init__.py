"""Ways of sharing: one file per method. What a method returns is all that leaves a hospital."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import FINDINGS, SPLITS, Cohort
from fedcxr.data._vocabulary import known_by
from fedcxr.errors import DataError
from fedcxr.keys import ImageKey, ReleaseKey
from fedcxr.learning import Guarantee, Learning, Report
from fedcxr.plugins import Plugin, explain
from fedcxr.release import Kind, Release
from fedcxr.view import Appearance, Array, Films, Holder, Shared, View, Weights

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute, Device, Precision

__all__ = [
    "FilmMethod",
    "Films",
    "Form",
    "ImageMethod",
    "Masks",
    "Method",
    "ModelMethod",
    "Progress",
    "Protect",
    "Round",
    "SharesFilms",
    "Weights",
    "Workshop",
    "to_eight_bits",
]

Masks = npt.NDArray[np.bool_]  # (n, h, w)
Protect = Callable[[Films, np.random.Generator], Films]
Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all
Form = Literal["films", "purified", "codes", "model"]  # what a recipient works with: codes without fakes, or as public


def _silently(stage: str, done: int, total: int) -> None:
    pass


def _to_nobody(facts: Mapping[str, Any]) -> None:
    pass


@dataclass(frozen=True)
class Workshop:
    """Where a method works: on which hardware, whom it tells, and which folder keeps what is half done."""

    device: Device = "auto"
    precision: Precision = "auto"
    threads: int = 1
    progress: Progress = _silently
    folder: Path | None = None  # survives a kill and stays at its owner's; None: nothing is kept
    report: Callable[[Mapping[str, Any]], None] = _to_nobody  # takes facts of a learning that everybody may know

    @classmethod
    def on(cls, compute: Compute) -> Workshop:
        """For somebody who has chosen the hardware already."""
        return cls("cuda" if compute.device.type == "cuda" else "cpu", compute.precision, compute.threads)

    @property
    def compute(self) -> Compute:
        """Where networks run; asked for by methods that have one, because it takes torch to answer."""
        from fedcxr.training.compute import Compute

        return Compute.choose(self.device, self.precision, self.threads)


@dataclass(frozen=True)
class Round:
    """One of several turns of a method's learning: a federation averages the sites' weights between turns."""

    number: int = 0
    of: int = 1


@dataclass(frozen=True)
class Judged:
    """What a model says of films, beside what is known of them."""

    findings: tuple[str, ...]
    labels: npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN
    scores: npt.NDArray[np.float32]  # (n, k)


class Method(Plugin):
    """Decides what leaves a hospital; its fields are the keys under `method:` in a scenario."""

    kind: ClassVar[Kind]
    keyed: ClassVar[bool] = False  # whether what it shares is closed to those without keys

    @property
    def forms(self) -> tuple[Form, ...]:
        """What a recipient can make of a release."""
        return ("films",)

    @property
    def learning(self) -> Learning | None:
        """Where, in how many rounds and by which strategy `learn` is used; None: it has nothing to do."""
        return None

    def briefly(self) -> Self:
        """The same method with less learning: what it promises, it promises at any budget."""
        return self

    def initial(self, rng: np.random.Generator) -> Weights:
        """Where all sites of a federation start from."""
        return {}

    def guarantee(self, reported: Sequence[Report] = ()) -> Guarantee | None:
        """The formal guarantee of what was shared, or None: most methods have none and say so.

        `reported` is what every site told of every round of its learning; without a run, nothing.
        """
        return None

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        workshop: Workshop,
        start: Weights | None = None,
        turn: Round = Round(),
    ) -> Weights:
        """What `release` needs, learnt from training films, from `start` if that is given; nothing by default."""
        return {}

    def save(self, weights: Weights, path: Path) -> None:
        """Write down what was learnt, for `weights` of another scenario or for somebody else's programs."""
        from fedcxr.storage.checkpoint import Checkpoint

        Checkpoint(weights, {"method": self.plugin_name()}).write(path)

    @abstractmethod
    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, workshop: Workshop
    ) -> Release:
        """What the hospital `keys.origin.site` shares of these films, in their order."""

    @abstractmethod
    def view(self, shared: Shared, holder: Holder, workshop: Workshop) -> View:
        """What the holder of given keys sees of everything that was shared."""

    def clean(self, form: Form, films: Films, weights: Weights, workshop: Workshop) -> Array | None:
        """Films that nothing was done to, in one of the forms: what a hospital has of its own. None: it has none."""
        return films if form == "films" else None

    @property
    def repeatable(self) -> bool:
        """Whether somebody who knows the method can do to films of their own what was done to those released."""
        return False

    def appearance(self, own: Films, weights: Weights, workshop: Workshop) -> Appearance | None:
        """How what is shared looks to somebody without a key who has these films; None: there is nothing to look at."""
        return None

    def judged(self, cohort: Cohort, model: Weights, workshop: Workshop) -> Judged:
        """What a shared model says of films; asked of methods that share one."""
        raise DataError(f"{self.plugin_name()} shares no model", given=self.kind)

    def displacements(
        self, films: Films, weights: Weights, workshop: Workshop
    ) -> npt.NDArray[np.float32] | None:  # (n, 2, h, w)
        """How far from its place, in pixels, each pixel of a released film comes; None: nothing is moved."""
        return None

    def moved(self, masks: Masks, films: Films, weights: Weights, workshop: Workshop) -> Masks:
        """Where what these masks outline on clean films lies on the released ones; unchanged: nothing is moved."""
        return masks

    def chosen(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """The numbers of codes that an attack decides for by its scores of each: as many as the method keeps."""
        raise DataError(f"{self.plugin_name()} shares no codes", given=self.kind)

    def opens(self, release: Release, row: int, key: ImageKey) -> bool:
        """Whether this key opens this row: of a method that shares without keys, none does."""
        return False


def guarantee_of(method: Method, reported: Sequence[Report] = ()) -> Guarantee | None:
    """What a method guarantees, refused if that is nothing: of no unit, or without a bound."""
    try:
        guarantee = method.guarantee(reported)
        return None if guarantee is None else Guarantee.model_validate(guarantee)
    except pydantic.ValidationError as error:
        raise explain(error, f"the guarantee of {method.plugin_name()}", Guarantee) from None


class SharesFilms(Method):
    """A method whose releases are films, to be looked at by everybody."""

    kind: ClassVar[Kind] = "images"

    def view(self, shared: Shared, holder: Holder, workshop: Workshop) -> View:
        films = np.concatenate([release.arrays["films"] for release in shared.releases])
        return View({"films": films}, np.ones(len(films), dtype=np.bool_), shared.versions)


@dataclass(frozen=True)
class _Protected:
    """Films that look to everybody as they were released."""

    protect: Protect

    def released(self, rows: View) -> Films:
        return np.asarray(rows.forms["films"], dtype=np.uint8)

    def protected(self, films: Films, rng: np.random.Generator) -> Films:
        return self.protect(films, rng)


class FilmMethod(SharesFilms):
    """A method that shares protected films of the same size, with their findings."""

    @abstractmethod
    def protector(self, weights: Weights, workshop: Workshop) -> Protect:
        """How films are protected once `weights` are learnt; films arrive and leave as (n, h, w) uint8."""

    def complaints(self, films: Films) -> Sequence[str | None]:
        """What is wrong with each film for this method; None: nothing. Told in the release, film by film."""
        return [None] * len(films)

    def leaves_out(self) -> bool:
        """Whether films with a complaint are not released at all."""
        return False

    @property
    def repeatable(self) -> bool:
        return True

    def appearance(self, own: Films, weights: Weights, workshop: Workshop) -> Appearance | None:
        return _Protected(self.protector(weights, workshop))

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, workshop: Workshop
    ) -> Release:
        protect = self.protector(weights, workshop)
        protected = np.empty((len(cohort), *cohort.size), dtype=np.uint8)
        complaints: list[str | None] = []
        for films in cohort.chunks():
            films.flags.writeable = False  # a method must not change the hospital's own films
            shared = np.asarray(protect(films, rng))
            if shared.shape != films.shape or shared.dtype != np.uint8:
                raise DataError(
                    f"{self.plugin_name()} returned films of another shape or type",
                    given=f"{shared.shape} {shared.dtype}",
                    allowed=f"{films.shape} uint8",
                )
            protected[len(complaints) : len(complaints) + len(films)] = shared
            complaints += self.complaints(films)
            workshop.progress("release", len(complaints), len(cohort))
        told = [[row, reason] for row, reason in enumerate(complaints) if reason is not None]
        left_out = [row for row, reason in enumerate(complaints) if reason is not None] if self.leaves_out() else []
        kept = np.delete(np.arange(len(cohort)), np.array(left_out, dtype=np.intp))
        split = cohort.index["split"].map(SPLITS.index).to_numpy(dtype=np.int8)
        return Release(
            kind="images",
            site=keys.origin.site,
            method=self.plugin_name(),
            arrays={"films": protected[kept], "findings": cohort.labels[kept], "split": split[kept]},
            facts={
                "findings": list(cohort.findings),
                "splits": list(SPLITS),
                "complaints": told,
                "left_out": left_out,
            },
        )


class ModelMethod(Method):
    """A method that shares the model that was learnt, and no film."""

    kind: ClassVar[Kind] = "update"

    @property
    def forms(self) -> tuple[Form, ...]:
        return ("model",)

    @property
    @abstractmethod
    def learning(self) -> Learning:
        """How the model is learnt: `federated`, or `local`, where each site shares a model of its own."""

    findings: tuple[str, ...] = pydantic.Field(
        default=FINDINGS, min_length=1, description="what the model tells of a film, in this order"
    )

    @abstractmethod
    def predict(self, films: Films, weights: Weights, workshop: Workshop) -> npt.NDArray[np.float32]:  # (n, k)
        """How much each film shows of each of `findings`: the higher, the surer."""

    def judged(self, cohort: Cohort, model: Weights, workshop: Workshop) -> Judged:
        return Judged(self.findings, self.labels(cohort), self.predict(cohort.films(), model, workshop))

    def labels(self, cohort: Cohort) -> npt.NDArray[np.float32]:  # (n, k) of 0, 1 or NaN
        """What is known of each of `findings`; what a hospital never looked for is unknown, and its model learns on."""
        return known_by(cohort, self.findings)

    def view(self, shared: Shared, holder: Holder, workshop: Workshop) -> View:
        nothing = np.zeros(0, dtype=np.intp)
        model = (
            shared.taught[0] if len(shared.taught) == 1 else None
        )  # where each site has its own there is no one model
        return View({}, nothing.astype(np.bool_), nothing.astype(np.int64), model)

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, workshop: Workshop
    ) -> Release:
        """From how many films the site learnt; a model of its own with it, while one of all sites is known to all."""
        told = Release("update", keys.origin.site, self.plugin_name(), {}, {"films": len(cohort.where("train"))})
        return told.publishing(weights) if self.learning.place == "local" else told


class ImageMethod(FilmMethod):
    """A method that learns nothing: a new one needs `protect` alone."""

    @abstractmethod
    def protect(self, films: Films, rng: np.random.Generator) -> Films:
        """Protect some films. Called for one chunk after another with the same generator."""

    def protector(self, weights: Weights, workshop: Workshop) -> Protect:
        return self.protect


def to_eight_bits(films: npt.NDArray[np.floating]) -> Films:
    """Films in [0, 1] as they would be stored: clipped and rounded to 256 grey levels. NaN is refused."""
    if not np.isfinite(films).all():
        raise DataError("a protected film holds a value that is not finite")
    grey: Films = np.round(np.clip(films, 0.0, 1.0) * 255.0).astype(np.uint8)
    return grey
