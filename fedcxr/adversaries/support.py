"""Whose films are these codes? Attackers without a key who compare codes with codes of films they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.adversaries import Adversary, Auxiliary, Leak, Progress, Scores, _support
from fedcxr.adversaries._outsider import Onlooker
from fedcxr.errors import ConfigError, DataError
from fedcxr.methods import Films, Weights, Workshop
from fedcxr.methods._coded import CodeMethod
from fedcxr.methods.sca import Sca
from fedcxr.release import Kind
from fedcxr.rng import stream
from fedcxr.sparse import Codes

if TYPE_CHECKING:
    from fedcxr.compute import Compute
    from fedcxr.methods._codec import Codec

# Torch and scikit-learn are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second.

TOGETHER = 32  # codes compared at once
Likeness = npt.NDArray[np.float32]  # (released, films)


@dataclass(frozen=True)
class _Shown:
    """Films as the attacker sees them."""

    codes: Codes | None  # (n, p, h, w); None: nothing is public
    pictures: Films  # (n, h, w)


class Support(Adversary):
    """`values` compares how often each size of value occurs, which no shuffle hides; `decoded` correlates the film
    with the best picture that the codes give without a key.

    In the control on unprotected films the same is done to the films themselves and their own codes.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"codes"})

    attackers: tuple[Literal["values", "decoded"], ...] = ("values", "decoded")
    own: int = pydantic.Field(
        default=300, ge=2, le=10_000, description="films of its own that it practises on, at most"
    )

    @property
    def running_mechanism(self) -> tuple[str, ...]:
        return tuple(self.attackers)

    def attack(
        self, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Mapping[str, Scores]:
        rng = stream(seed, "support")
        own = self._practice(leak.auxiliary, rng)
        films, people = leak.auxiliary.films[own], leak.auxiliary.people[own]
        scores: dict[str, Scores] = {
            attacker: np.zeros((len(leak.released), len(leak.known)), dtype=np.float32) for attacker in self.attackers
        }
        groups = _groups(leak, rng, Workshop.on(compute))
        with compute.session():
            for done, (rows, codec, shown, hide) in enumerate(groups, start=1):
                practised = hide(films)
                for attacker in self.attackers:
                    alike = _likeness(attacker, practised, films, codec)
                    judge = _calibrated(alike, people)
                    scores[attacker][rows] = judge(_likeness(attacker, shown, leak.known, codec))
                progress("support", done, len(groups))
        return scores

    def _practice(self, auxiliary: Auxiliary, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """Films of people who have two or more, a person's films together."""
        people, films = np.unique(auxiliary.people, return_counts=True)
        several = rng.permutation(people[films > 1])
        rows = [np.flatnonzero(auxiliary.people == person) for person in several[: self.own // 2]]
        if len(rows) < 2:
            raise DataError("this attack practises on people with two films or more, and needs two such people")
        return np.sort(np.concatenate(rows)[: self.own])


Group = tuple[npt.NDArray[np.intp], "Codec", _Shown, Callable[[Films], _Shown]]


def _groups(leak: Leak, rng: np.random.Generator, workshop: Workshop) -> list[Group]:
    """The films under attack by the version of their codec: what is seen of them, and what would be of one's own."""
    coded, method = leak.coded, leak.mechanism
    if coded is None:
        codec = Sca().codec({}, workshop)

        def unprotected(films: Films) -> _Shown:
            return _Shown(codec.encode(films), films)

        return [(np.arange(len(leak.released)), codec, unprotected(leak.released), unprotected)]
    if not isinstance(method, CodeMethod):
        raise ConfigError(
            "these attackers run the codec, so they must be granted the method",
            given="nothing" if method is None else method.plugin_name(),
            allowed="a method that shares codes",
            do="set knowledge.mechanism to true",
        )
    groups: list[Group] = []
    for version, weights in enumerate(leak.learnt or ({},)):
        rows = np.flatnonzero(coded.versions == version)
        if not len(rows):
            continue
        onlooker = Onlooker(method, leak.auxiliary.films, weights, workshop)
        public = None if coded.public is None else coded.public[rows]
        shown = _Shown(public, onlooker.pictures(public, len(rows)))
        groups.append((rows, onlooker.codec, shown, partial(_hidden, onlooker, rng)))
    return groups


def _hidden(onlooker: Onlooker, rng: np.random.Generator, films: Films) -> _Shown:
    public = onlooker.hidden(films, rng)
    return _Shown(public, onlooker.pictures(public, len(films)))


def _likeness(attacker: str, shown: _Shown, films: Films, codec: Codec) -> Likeness:
    """How like each film under attack is to each of these."""
    if attacker == "decoded":
        return _support.correlation(shown.pictures, films)
    if shown.codes is None:
        return np.zeros((len(shown.pictures), len(films)), dtype=np.float32)
    candidates = codec.encode(films)
    parts = [
        _support.candidates_by_values(shown.codes[start : start + TOGETHER], candidates)
        for start in range(0, len(shown.codes), TOGETHER)
    ]
    return -np.log1p(-np.concatenate(parts))


def _calibrated(alike: Likeness, people: npt.NDArray[np.int64]) -> Callable[[Likeness], Scores]:
    """Log-odds at even prior odds that two films so like are of one patient, from pairs of one's own films."""
    # Imported here, because it takes a second.
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped, unused-ignore]

    others = ~np.eye(len(alike), dtype=bool)
    genuine = (people[:, None] == people[None])[others]
    centre, spread = alike[others].mean(), max(float(alike[others].std()), 1e-6)
    model = LogisticRegression(class_weight="balanced").fit(((alike[others] - centre) / spread)[:, None], genuine)
    slope, bias = float(model.coef_[0, 0]), float(model.intercept_[0])
    return lambda likeness: ((likeness - centre) / spread * slope + bias).astype(np.float32)
