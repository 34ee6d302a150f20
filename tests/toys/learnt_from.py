"""Was this film among those that a shared model was learnt from? A question, and an adversary who looks at its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr.adversaries import Adversary, Leak, Progress
from fedcxr.cohort import COLUMNS, Cohort
from fedcxr.errors import ConfigError
from fedcxr.knowledge import Holding
from fedcxr.methods import Form, Round, RunContext
from fedcxr.metrics import verification
from fedcxr.metrics.bootstrap import auc_interval
from fedcxr.questions import PROTECTED, Answers, Asked, Heard, Part, Question, Setting, no_film
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.table import Row, Table, figure, share, span
from fedcxr.view import Shared, View, Weights
from fedcxr.world import Roles, World

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

OVERFITTED = "control_overfitted"
MUST_REACH = 0.80  # AUC on the over-fitted model below which an attack proves nothing about the shared one

Scores = npt.NDArray[np.float32]  # (n,): the higher, the likelier a member
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """Who was a member, of the films that are asked about."""

    member: Bools  # (n,)
    patients: npt.NDArray[np.object_]  # (n,)


class LearntFrom(Question):
    """Films of the train split were learnt from, those of the test split were not.

    `control_overfitted_auc` is the same attack on a model that learnt a few films by heart: it must succeed.
    `control_members_auc` tells members from members, split in two by lot: it must be at chance.
    """

    knows: ClassVar[tuple[str, ...]] = ("mechanism",)

    films: int = pydantic.Field(16, ge=2, le=1000, description="that the model of the control learns by heart")
    rounds: int = pydantic.Field(40, ge=1, le=1000, description="in which it does")

    def settings(self, world: World) -> Mapping[str, Setting]:
        return {PROTECTED: Setting(world), OVERFITTED: Setting(self._overfitted(world))}

    def _overfitted(self, world: World) -> World:
        """The same world, had all that is shared been learnt from a few films."""
        rng, split = stream(world.seed, "membership", "by heart"), world.cohort.index["split"].to_numpy()
        few = rng.permutation(np.flatnonzero(split == "train"))[: self.films]
        rows = np.concatenate([few, np.flatnonzero(split == "test")])
        small = replace(world, cohort=world.cohort.take(rows), patients=world.patients[rows])
        if world.traces is None:
            return small
        method, weights = world.method, world.method.initial(stream(world.seed, "membership", "initial"))
        for number in range(self.rounds):
            turn = Round(number, self.rounds)
            weights = method.learn(small.cohort.where("train"), rng, world.context, weights, turn)
        learnt = Release("update", "control", method.plugin_name(), {}).publishing(weights)
        nothing = np.zeros(0, dtype=np.intp)
        traces = replace(world.traces, shared=Shared((), learnt), films=nothing, sites=nothing.astype(object))
        return replace(small, traces=traces)

    def roles(self, world: World) -> Roles:
        member, nobody = world.cohort.index["split"].to_numpy() == "train", no_film(world)
        return Roles(attacked=member | world.tested, owned=nobody, known=nobody, member=member)

    def ask(self, world: World, roles: Roles, view: View, held: Mapping[str, Holding]) -> Asked | None:
        if view.model is None:
            return None
        rng = stream(world.seed, "membership", "order")  # in the table's order, members might stand together
        rows = rng.permutation(np.flatnonzero(roles.attacked))
        asked = world.cohort.take(rows)
        given = Holding({"films": asked.films(), "labels": asked.labels}, {"findings": list(asked.findings)})
        nothing = view.take(np.zeros(0, dtype=np.intp))  # of what was released, the model alone
        truth = Truth(roles.member[rows], world.patients[rows])
        return Asked(nothing, {"scores": Part((len(rows),), np.float32)}, truth, given)

    def score(self, heard: Mapping[str, Heard], seed: int) -> list[dict[str, Any]]:
        truth, control = heard[PROTECTED].key, heard[OVERFITTED].key
        halves = truth.member.copy()
        members = np.flatnonzero(truth.member)
        halves[stream(seed, "membership", "halves").permutation(members)[: len(members) // 2]] = False
        entries = []
        for attacker, answer in heard[PROTECTED].answers.items():
            scores, learnt_by_heart = answer["scores"], heard[OVERFITTED].answers[attacker]["scores"]
            report = verification(scores[truth.member], scores[~truth.member])
            caught = verification(learnt_by_heart[control.member], learnt_by_heart[~control.member]).auc
            chance = verification(scores[halves], scores[truth.member & ~halves]).auc
            around = _interval(scores[members], halves[members], truth.patients[members], seed)
            doubts = []
            if caught is None or caught < MUST_REACH:
                doubts.append(f"on an over-fitted model it reaches {figure(caught)}, below {MUST_REACH}")
            if around is None or not around[0] <= 0.5 <= around[1]:
                doubts.append(f"between members and members it reaches {figure(chance)} instead of chance")
            entries.append(
                {
                    "attacker": attacker,
                    "auc": {
                        "value": report.auc,
                        "std": None,
                        "runs": 1,
                        "ci95": _interval(scores, truth.member, truth.patients, seed),
                    },
                    "tpr_at_fpr": report.tpr_at_fpr,
                    "films": {"members": report.genuine, "others": report.impostors},
                    "control_overfitted_auc": caught,
                    "control_members_auc": chance,
                    "conclusive": not doubts,
                    "inconclusive_because": "; ".join(doubts) or None,
                    "seconds": round(sum(one.seconds for one in heard.values()), 3),
                }
            )
        return entries

    def table(self, entries: Sequence[Mapping[str, Any]], privacy: Mapping[str, Any]) -> Table:
        rows = [
            Row(
                f"{entry['adversary']}, {entry['attacker']}",
                (
                    figure(entry["auc"]["value"]),
                    span(entry["auc"]["ci95"]),
                    share(entry["tpr_at_fpr"]["0.01"]),
                    figure(entry["control_overfitted_auc"]),
                    figure(entry["control_members_auc"]),
                ),
                "" if entry["conclusive"] else "inconclusive",
            )
            for entry in entries
        ]
        heads = ("AUC", "95 % interval", "at 1 % FPR", "over-fitted", "among members")
        notes = ("over-fitted and among members are controls, to be near 1 and .5",)
        return Table("Whose films were learnt from", heads, tuple(rows), notes)


def _interval(scores: Scores, member: Bools, patients: npt.NDArray[np.object_], seed: int) -> list[float] | None:
    """95 % interval of an AUC over films, by patients."""
    bounds = auc_interval(scores, member, patients, patients, stream(seed, "bootstrap", "membership"))
    return list(bounds) if bounds else None


class LossThreshold(Adversary):
    """The less a model errs on a film, the likelier it has seen it."""

    paper: ClassVar[str | None] = "Yeom et al., CSF 2018"
    deviations: ClassVar[str | None] = "Mean cross-entropy over all findings that are known of a film."
    answers: ClassVar[tuple[str, ...]] = ("learnt_from:LearntFrom",)
    reads: ClassVar[frozenset[Form]] = frozenset({"model"})

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        if leak.mechanism is None or leak.view.model is None or leak.given is None:
            raise ConfigError("the loss of a model takes the model", do="set knowledge.mechanism to true")
        judged = leak.mechanism.judged(_anonymous(leak.given), leak.view.model, RunContext.on(compute))
        log_odds, labels = judged.scores.astype(np.float64), judged.labels
        losses = np.logaddexp(0.0, log_odds) - np.where(np.isnan(labels), 0.0, labels) * log_odds
        known = ~np.isnan(labels)
        mean = np.where(known, losses, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        progress("membership", len(mean), len(mean))
        return {"loss": {"scores": -mean.astype(np.float32)}}


def _anonymous(given: Holding) -> Cohort:
    """The films that are asked about, as a cohort of people of whom nothing but the findings is known."""
    films, findings = np.asarray(given.arrays["films"], dtype=np.uint8), tuple(given.facts["findings"])
    index = pd.DataFrame(np.asarray(given.arrays["labels"]), columns=list(findings))
    unknown = pd.DataFrame({column: [""] * len(films) for column in COLUMNS})
    return Cohort.whole(films, pd.concat([unknown, index], axis=1), findings)
