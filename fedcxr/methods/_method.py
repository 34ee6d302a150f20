"""What every way of sharing promises."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import Annotation, Cohort
from fedcxr.context import RunContext
from fedcxr.errors import DataError
from fedcxr.keys import ImageKey, ReleaseKey
from fedcxr.learning import Guarantee, Learning, Report
from fedcxr.learning.spending import Spending
from fedcxr.plugins import Plugin, explain
from fedcxr.release import Kind, Release
from fedcxr.view import Appearance, Array, Films, Holder, Masks, Nobody, Shared, Told, View, Weights

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute
    from fedcxr.training.one_step import OneStep

Held = tuple[str, tuple[int, ...]]  # type and shape of an array, without the dimension of films
Form = Literal["films", "purified", "codes", "model"]  # what a recipient works with: codes without fakes, or as public


@dataclass(frozen=True)
class Round:
    """One of several turns of a method's learning: a federation averages the sites' weights between turns."""

    number: int = 0
    of: int = 1

    def around(self, steps: int) -> tuple[int, int]:
        """How many steps were taken before this turn, and will be after it, of so many in each."""
        return self.number * steps, (self.of - self.number - 1) * steps


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
    # Values of parameters with which all see films, or whose they are: for experiments and hospitals that list them.
    shows: ClassVar[Mapping[str, tuple[object, ...]]] = {}

    @property
    def forms(self) -> tuple[Form, ...]:
        """What a recipient can make of a release."""
        return ("films",)

    @property
    def judges(self) -> tuple[str, ...]:
        """The findings that a shared model tells of a film; none where no model is shared."""
        return ()

    @property
    def learning(self) -> Learning | None:
        """Where, in how many rounds and by which strategy `learn` is used; None: it has nothing to do."""
        return None

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """What it learns from beside films and findings; a site without learns without."""
        return ()

    def on_smoke_budget(self) -> Self:
        """The same method with less learning: what it promises, it promises at any budget."""
        return self

    def initial(self, rng: np.random.Generator) -> Weights:
        """Where all sites of a federation start from, or what the coordinator does."""
        return {}

    def begun(self, public: Cohort, rng: np.random.Generator, context: RunContext, start: Weights) -> Weights:
        """What the coordinator learns from public films before the sites begin, where learning `begins` with that."""
        return start

    def unguarded(self) -> Method:
        """The same learning with no regard to anybody's privacy, by one site as well: what others are compared with."""
        return self

    @property
    def seals_updates(self) -> bool:
        """Whether what a site sends in a round is for those alone whom it has granted keys."""
        return False

    def counted(self, films: int) -> int:
        """As how many films' an update counts among the other sites', where so many were learnt from."""
        return films

    def guarantee(self, reported: Sequence[Report] = ()) -> Guarantee | None:
        """The formal guarantee of what was shared, or None: most methods have none and say so.

        `reported` is what every site told of every round of its learning; without a run, nothing.
        """
        return None

    def demand(self, cohort: Cohort) -> None:
        """Raise where these films, of whichever site, have nothing that the method could share or learn of them."""

    def check_films(self, cohort: Cohort) -> None:
        """Raise where these films must not be learnt from; asked before learning costs anybody anything."""

    def spending(self, turn: Round) -> Spending | None:
        """What one turn of learning costs the people behind a site's films; None: it guarantees nothing."""
        return None

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        context: RunContext,
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
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, context: RunContext
    ) -> Release:
        """What the hospital `keys.origin.site` shares of these films, in their order."""

    @abstractmethod
    def view(self, shared: Shared, holder: Holder, context: RunContext) -> View:
        """What the holder of given keys sees of everything that was shared."""

    def opened(self, shared: Shared, holder: Holder) -> npt.NDArray[np.bool_]:  # (n,)
        """Which released rows are open to the holder of given keys; all, where there are none."""
        return np.ones(len(shared), dtype=np.bool_)

    @property
    def tells_findings(self) -> bool:
        """Whether findings and splits are released for all to read."""
        return True

    def told(self, release: Release, holder: Holder) -> Told:
        """The findings and splits of a release, as far as the holder of given keys can read them."""
        return Told(release.arrays["findings"].astype(np.float32), release.arrays["split"].astype(np.int8))

    def per_film_told(self, findings: int) -> Mapping[str, Held]:
        """What a release holds of each film's findings and split, where there are so many findings."""
        return {"findings": ("float32", (findings,)), "split": ("int8", ())}

    def complaints(self, films: Films) -> Sequence[str | None]:
        """What is wrong with each film for this method; None: nothing. Told in the release, film by film."""
        return [None] * len(films)

    def per_film(self, size: tuple[int, int]) -> Mapping[str, Held] | None:
        """What a release holds of each film of this size, beside findings and split; None: the method does not say."""
        return None

    def check(self, shared: Shared, context: RunContext) -> None:
        """Refuse what one site shared if a reader could make nothing of it: that must not cost the others theirs.

        By trying, unless a method knows better: as somebody who holds no key.
        """
        self.view(shared, Nobody(), context)

    def clean(self, form: Form, films: Films, weights: Weights, context: RunContext) -> Array | None:
        """Films that nothing was done to, in one of the forms: what a hospital has of its own. None: it has none."""
        return films if form == "films" else None

    @property
    def repeatable(self) -> bool:
        """Whether somebody who knows the method can do to films of their own what was done to those released."""
        return False

    def appearance(self, own: Films, weights: Weights, context: RunContext) -> Appearance | None:
        """How what is shared looks to somebody without a key who has these films; None: there is nothing to look at."""
        return None

    def judged(self, cohort: Cohort, model: Weights, context: RunContext) -> Judged:
        """What a shared model says of films; asked of methods that share one."""
        raise DataError(f"{self.plugin_name()} shares no model", given=self.kind)

    def update(self, batch: Cohort, start: Weights, rng: np.random.Generator, context: RunContext) -> Weights | None:
        """What a site would send that was sent `start` and has learnt from exactly these films.

        None: sites are sent nothing to learn on.
        """
        return None

    def one_step(
        self, start: Weights, labels: npt.NDArray[np.float32], size: tuple[int, int], compute: Compute
    ) -> OneStep | None:
        """The step that `update` takes, for whoever knows all of it but the films, which are of this size.

        None: the method does not say.
        """
        return None

    def displacements(
        self, films: Films, weights: Weights, context: RunContext
    ) -> npt.NDArray[np.float32] | None:  # (n, 2, h, w)
        """How far from its place, in pixels, each pixel of a released film comes; None: nothing is moved."""
        return None

    def moved(self, masks: Masks, films: Films, weights: Weights, context: RunContext) -> Masks:
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
