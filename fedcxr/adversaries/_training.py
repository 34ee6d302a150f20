"""How verifiers learn: from pairs of a film as it was released and another, clean film of the same person.

Several networks learn side by side from the same pairs: protecting a film often costs more than looking at it. None
notices the others: each has its own part of the loss, and its optimiser scales every weight by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fedcxr.adversaries._sampler import OwnPairSampler
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Films, Protect
from fedcxr.metrics import auc
from fedcxr.models.siamese import Siamese, partner_loss
from fedcxr.pairs.sampler import Rows
from fedcxr.questions import Answer
from fedcxr.questions._rising import HELD_OUT, SCORES, SHARES, STEPS, at
from fedcxr.rng import stream
from fedcxr.training import arrays_of, loaded, predict, shifted, to_tensor
from fedcxr.training.compute import Compute
from fedcxr.training.rising import Ascent, Figures, Rung, best, rise
from fedcxr.view import Weights

Shown = Callable[[Rows, np.random.Generator], Films]
Scores = npt.NDArray[np.float32]  # (released, known)

JUDGED = 300  # held-out people at most: beyond that a look costs more than it tells
FEWEST_JUDGES = 8  # held-out people with two films, with whom an AUC begins to mean something
HELD_BACK = 0.1  # share of one's own people, where nobody is held out already

_FIGURES = "figures"


@dataclass(frozen=True)
class Views:
    """One's own films as they are and as they would be released, moved a little each time they are looked at.

    `released` runs a mechanism, or looks up what somebody else's mechanism made of these very films.
    """

    clean: Films  # (n, h, w)
    released: Shown
    shift: int = 1  # pixels

    def known(self, rows: Rows, rng: np.random.Generator) -> Films:
        return shifted(self.clean[rows], self.shift, rng)

    @classmethod
    def unprotected(cls, films: Films, shift: int) -> Views:
        return cls.protected(films, (), shift)

    @classmethod
    def protected(cls, films: Films, versions: Sequence[Protect], shift: int) -> Views:
        """Protected anew every time; of versions learnt at several hospitals each look meets one."""

        def released(rows: Rows, rng: np.random.Generator) -> Films:
            # Moved first and protected second, as a release would be: a grid of cells stays where it was.
            moved = shifted(films[rows], shift, rng)
            if not versions:
                return moved
            version = versions[int(rng.integers(len(versions))) if len(versions) > 1 else 0]
            return version(moved, rng)

        return cls(films, released, shift)


class Team(nn.ModuleList):
    """Networks that learn from the same pairs."""

    @property
    def members(self) -> list[Siamese]:
        return [network for network in self if isinstance(network, Siamese)]


@dataclass(frozen=True)
class Lessons:
    """What the pairs of a batch are."""

    people: int = 24  # in a batch, with two films each
    same_source: float = 0.9  # share of batches from one hospital
    lone: float = 0.0  # chance that somebody with a single film takes part, with that film twice
    sharpness: float = 8.0  # factor on logits inside the softmax

    def loss(
        self, sampler: OwnPairSampler, views: Views, compute: Compute, team: Team, rng: np.random.Generator
    ) -> Tensor:
        first, second = sampler.draw(self.people, self.same_source, rng, self.lone)
        shown = np.concatenate([views.released(first, rng), views.known(second, rng)])
        films = to_tensor(shown, compute)
        losses = []
        for network in team.members:
            embedded = network.embed(films)
            logits = network.compare(embedded[: len(first)], embedded[len(first) :])
            losses.append(partner_loss(logits, self.sharpness))
        return torch.stack(losses).sum()


@dataclass(frozen=True)
class Examination:
    """Pairs of one's own people whom nobody has learnt from: one film as released, and another."""

    released: Films
    known: Films
    people: npt.NDArray[np.int64]  # whose each film is

    @classmethod
    def of(cls, own: Owned, views: Views, rng: np.random.Generator) -> Examination | None:
        """None where too few are held out."""
        rows = np.flatnonzero(own.held_out)
        people, films = np.unique(own.people[rows], return_counts=True)
        several = rng.permutation(people[films > 1])[:JUDGED]
        if len(several) < FEWEST_JUDGES:
            return None
        rows = rows[np.isin(own.people[rows], several)]
        # In small portions, so that films meet all versions of a mechanism.
        portions = np.array_split(rows, max(1, len(rows) // 16))
        released = np.concatenate([views.released(portion, rng) for portion in portions])
        return cls(released, own.films[rows], own.people[rows])

    @property
    def apart(self) -> npt.NDArray[np.bool_]:  # (n, n)
        """Nobody is asked about a film that they have."""
        return ~np.eye(len(self.people), dtype=bool)

    @property
    def genuine(self) -> npt.NDArray[np.bool_]:  # (n, n)
        return np.asarray(self.people[:, None] == self.people[None])

    def figures(self, team: Team, compute: Compute) -> Figures:
        """Every network's AUC."""
        apart, genuine = self.apart, self.genuine
        scores = [compared(network, self.released, self.known, compute) for network in team.members]
        return tuple(auc(genuine[apart], each[apart]) for each in scores)


def with_held_out(own: Owned) -> Owned:
    """The same films with people held out: those who were already, or else every tenth, if so many can be spared."""
    people, films = np.unique(own.people[own.held_out], return_counts=True)
    if (films > 1).sum() >= FEWEST_JUDGES:
        return own
    people, films = np.unique(own.people[~own.held_out], return_counts=True)
    several = people[films > 1]
    most = round(HELD_BACK * len(several))
    if most < FEWEST_JUDGES:
        return own
    held_back = stream(len(several), "held back").permutation(several)[:most]
    return Owned(own.films, own.people, own.sources, own.held_out | np.isin(own.people, held_back))


def learn(
    team: Team,
    own: Owned,
    views: Views,
    lessons: Lessons,
    ascent: Ascent,
    compute: Compute,
    streams: Callable[[str], np.random.Generator],
    progress: Callable[[int, int], None] | None = None,
) -> list[Rung[Team]]:
    """Rise with one's own people, and stop by those of them who are held out."""
    examination = Examination.of(own, views, streams("examination"))

    def judge(team: Team) -> Figures | None:
        return None if examination is None else examination.figures(team, compute)

    loss = partial(lessons.loss, OwnPairSampler.owned(own), views, compute)
    with compute.session():
        return rise(team, loss, judge, ascent, compute, streams, progress)


def compared(network: Siamese, released: Films, known: Films, compute: Compute) -> Scores:
    """The logit of every (released, known) pair: each film is embedded once."""
    with compute.session(), torch.inference_mode():
        first, second = (
            torch.from_numpy(predict(network, films, compute)).to(compute.device) for films in (released, known)
        )
        scores: Scores = network.compare(first, second).cpu().numpy()
    return scores


def kept(rungs: Sequence[Rung[Team]]) -> Weights:
    """Rungs as arrays, for those who go on from them in another process."""
    arrays: Weights = {}
    for rung in rungs:
        arrays |= {f"{rung.steps}/{name}": array for name, array in arrays_of(rung.network).items()}
        if rung.figures is not None:
            arrays[f"{rung.steps}/{_FIGURES}"] = np.array(rung.figures)
    return arrays


def recalled(arrays: Weights, team: Callable[[], Team]) -> list[Rung[Team]]:
    """What `kept` wrote, lowest first."""
    by_rung: dict[int, Weights] = {}
    for path, array in arrays.items():
        rung, _, name = path.partition("/")
        by_rung.setdefault(int(rung), {})[name] = array
    found = []
    for steps, weights in sorted(by_rung.items()):
        figures = weights.pop(_FIGURES, None)
        judged = None if figures is None else tuple(float(figure) for figure in figures)
        found.append(Rung(steps, loaded(team(), weights), judged))
    return found


def told(
    rungs: Sequence[Rung[Team]], score: Callable[[Team], Scores], figure: Callable[[Rung[Team]], float | None]
) -> Answer:
    """An attacker's answer: that of the rung which its own people like best, and all those along the way."""
    scores = [score(rung.network) for rung in rungs]
    chosen = next(place for place, rung in enumerate(rungs) if rung is best(rungs))
    figures = [figure(rung) for rung in rungs]
    held_out = np.full(len(SHARES), np.nan, dtype=np.float32)
    held_out[len(SHARES) - len(rungs) :] = [np.nan if told is None else told for told in figures]
    return {
        **{at(2 ** (len(rungs) - 1 - place)): earlier for place, earlier in enumerate(scores[:-1])},
        SCORES: scores[chosen],
        STEPS: np.array(rungs[-1].steps),
        HELD_OUT: held_out,
    }
