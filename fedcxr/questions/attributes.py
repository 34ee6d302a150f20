"""What do releases tell of people beside who they are? Sex, age, scanner, findings, against the findings alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.knowledge import Holding
from fedcxr.knowledge.own_records import Records
from fedcxr.metrics import MIN_POSITIVES, auc
from fedcxr.metrics.attribute_baseline import from_labels
from fedcxr.metrics.bootstrap import auc_replicates, central_interval
from fedcxr.questions import PROTECTED, Asked, Heard, Part, Question, Setting, of_the_tested
from fedcxr.questions._told_apart import ToldApart
from fedcxr.rng import stream
from fedcxr.table import Row, Table, figure, span
from fedcxr.verdict.recovery import attributes as in_words
from fedcxr.view import View
from fedcxr.world import Roles, World

Scores = npt.NDArray[np.float32]  # (films, columns): higher means more likely true

RAW, SHUFFLED = "control_raw", "control_shuffled"
CHANCE_MAY_MISS_BY = 0.05  # how far from .5 an AUC with shuffled attributes may lie


@dataclass(frozen=True)
class Truth:
    """What is true of the films that are asked about, and of the adversary's own."""

    asked: Records  # (n,)
    own: Records
    patients: npt.NDArray[np.object_]  # (n,)


class Attributes(Question):
    """What do releases tell about sex, age, scanner and findings?

    Asked of every film of the people of the test split. Released findings are seen by everybody, so that what counts
    is how much more a release tells than they do; for a finding, than all others do. Which hospital released a film is
    no question: each release names its site, and with it the scanner wherever a hospital has one.

    `control_raw` is the same attack on unprotected films: it must tell more than the findings alone.
    `control_shuffled` is the same in a world where every attribute is another film's: it must be at chance.
    """

    section: ClassVar[str] = "inference"
    usual: ClassVar[bool] = False  # whether it is asked where a scenario names no question
    knows: ClassVar[tuple[str, ...]] = ("own_films", "own_records", "mechanism", "keys")

    fewest: int = pydantic.Field(
        MIN_POSITIVES, ge=1, le=10_000, description="films with and films without it that an attribute is scored on"
    )

    def settings(self, world: World) -> Mapping[str, Setting]:
        return {
            PROTECTED: Setting(world),
            RAW: Setting(world.unprotected()),
            SHUFFLED: Setting(shuffled(world), smoke=True),  # it fails at any budget
        }

    def roles(self, world: World) -> Roles:
        return of_the_tested(world)

    def ask(self, world: World, roles: Roles, view: View, held: Mapping[str, Holding]) -> Asked | None:
        attacked = world.rows_of(roles.attacked)
        if not attacked.any() or "own_records" not in held:
            return None
        films, own = world.released.films[attacked], world.cohort.take(roles.owned)
        records = Records.of(world.cohort.take(films), own)
        truth = Truth(records, Records.of(own, own), world.cohort.patients[films])
        shape = (len(films), len(records.columns))
        return Asked(view.take(attacked), {"scores": Part(shape, np.float32)}, truth)

    def score(self, heard: Mapping[str, Heard], seed: int) -> list[dict[str, Any]]:
        truth: Truth = heard[PROTECTED].key
        own, itself = truth.own, [column.finding for column in truth.own.columns]
        alone = from_labels(own.targets, own.labels, truth.asked.labels, itself)
        attackers = list(heard[PROTECTED].answers)
        told = {where: [one.answers[attacker]["scores"] for attacker in attackers] for where, one in heard.items()}
        here = Judged.of(truth, [alone, *told[PROTECTED], *told[RAW]], self.fewest, seed)
        chance = Judged.of(heard[SHUFFLED].key, told[SHUFFLED], self.fewest, seed)
        seconds = round(sum(one.seconds for one in heard.values()), 3)
        entries = []
        for place, attacker in enumerate(attackers):
            found = {
                attribute: _figures(here, chance, attribute, (1 + place, 1 + place + len(attackers), place))
                for attribute in dict.fromkeys(column.attribute for column in truth.asked.columns)
            }
            doubted = [name for name, one in found.items() if not one["conclusive"]]
            entries.append(
                {
                    "attacker": attacker,
                    "films": len(truth.patients),
                    "attributes": found,
                    "age_rank_correlation": _rank_correlation(truth.asked, told[PROTECTED][place]),
                    "conclusive": not doubted,
                    "inconclusive_because": f"of {', '.join(doubted)}" if doubted else None,
                    "converged": None,  # nobody asks whether a longer training would have told more
                    "curve": [],
                    "seconds": seconds,
                }
            )
        return entries

    def table(self, entries: Sequence[Mapping[str, Any]], privacy: Mapping[str, Any]) -> Table | None:
        """One line per attribute: the attacker that tells most about it."""
        rows, most = [], {}
        for attribute in entries[0]["attributes"] if entries else ():
            told = [(entry, entry["attributes"][attribute]) for entry in entries]
            scored = [(entry, one) for entry, one in told if one["auc"]["value"] is not None]
            if not scored:
                continue
            entry, best = max(scored, key=lambda pair: pair[1]["auc"]["value"])
            most[attribute] = entry, best
            cells = (
                figure(best["auc"]["value"]),
                span(best["auc"]["ci95"]),
                figure(best["labels_alone"]["value"]),
                _gain(best["over_labels"]),
                figure(best["control_raw_auc"]),
                figure(best["control_shuffled_auc"]),
            )
            about = f"{attribute}: {entry['adversary']}, {entry['attacker']}"
            rows.append(Row(about, cells, "" if best["conclusive"] else "inconclusive"))
        if not rows:
            return None
        return Table(
            "What releases tell about people",
            ("AUC", "95 % interval", "findings alone", "more by", "raw", "shuffled"),
            tuple(rows),
            ("raw must tell more than the findings alone, shuffled must be near .5",),
            in_words(most),
        )


def shuffled(world: World) -> World:
    """A world in which attributes mean nothing: each of them another film's, drawn apart from all others.

    Within the people who are attacked and within all others, so that each attribute stays as frequent as it was.
    """
    index, test = world.cohort.index.copy(), world.tested
    for column in ("sex", "age", "source", *world.cohort.findings):
        values = index[column].to_numpy(copy=True)
        for part, name in ((test, "test"), (~test, "auxiliary")):
            values[part] = stream(world.seed, "control", "attributes", name, column).permutation(values[part])
        index[column] = values
    return replace(world, cohort=replace(world.cohort, index=index))


@dataclass(frozen=True)
class Judged:
    """Several scores of the same films: their AUCs column by column, and the same in draws of patients."""

    truth: Truth
    targets: npt.NDArray[np.float32]  # (n, columns); NaN as well where there are too few films of either kind
    scores: Sequence[Scores]
    values: npt.NDArray[np.float64]  # (scores, columns)
    replicates: npt.NDArray[np.float64]  # (scores, draws, columns)

    @classmethod
    def of(cls, truth: Truth, scores: Sequence[Scores], fewest: int, seed: int) -> Judged:
        targets = truth.asked.targets
        enough: npt.NDArray[np.bool_] = np.minimum((targets == 1).sum(axis=0), (targets == 0).sum(axis=0)) >= fewest
        scored = np.where(enough, targets, np.float32(np.nan))
        known: npt.NDArray[np.bool_] = ~np.isnan(scored)
        values = [
            [auc(scored[known[:, c], c] == 1, one[known[:, c], c]) if enough[c] else np.nan for c in range(len(enough))]
            for one in scores
        ]
        rng = stream(seed, "bootstrap", "attributes")
        return cls(truth, scored, scores, np.array(values), auc_replicates(scored, scores, truth.patients, rng))

    def about(self, attribute: str) -> list[int]:
        """The columns of an attribute that are scored."""
        columns = enumerate(self.truth.asked.columns)
        own = [place for place, column in columns if column.attribute == attribute]
        return [place for place in own if not np.isnan(self.targets[:, place]).all()]

    def figure(self, attribute: str, which: int, than: int | None = None) -> dict[str, Any]:
        """The mean AUC of its columns by one of the scores, or how much higher it is than by another."""
        columns = self.about(attribute)
        if not columns:
            return {"value": None, "ci95": None}
        value, drawn = self.values[which, columns].mean(), self.replicates[which][:, columns].mean(axis=1)
        if than is not None:
            value = value - self.values[than, columns].mean()
            drawn = drawn - self.replicates[than][:, columns].mean(axis=1)
        ends = central_interval(drawn)
        return {"value": float(value), "ci95": None if ends is None else list(ends)}

    def people(self, attribute: str, which: int) -> ToldApart:
        """How many of single people's films are told by one of the scores, of those with it and of those without."""
        columns, (_, people) = self.about(attribute), np.unique(self.truth.patients, return_inverse=True)
        asked = [(self.scores[which][:, column], self.targets[:, column]) for column in columns]
        if len(columns) == 1:  # of several, what is not true of one is true of another
            asked += [(-scores, 1 - true) for scores, true in asked]
        return ToldApart.of_films(asked, people)

    def unknown(self, attribute: str) -> int:
        """Films of which it is not known."""
        columns = [place for place, column in enumerate(self.truth.asked.columns) if column.attribute == attribute]
        return int(np.isnan(self.truth.asked.targets[:, columns]).any(axis=1).sum())


ALONE = 0  # which of the scores are those of the findings alone


def _figures(here: Judged, chance: Judged, attribute: str, which: tuple[int, int, int]) -> dict[str, Any]:
    """`which` of the scores are the attacker's: on releases, on unprotected films, and in the shuffled world."""
    protected, unprotected, drawn = which
    raw, shuffled = here.figure(attribute, unprotected), chance.figure(attribute, drawn)
    alone, over = here.figure(attribute, ALONE), here.figure(attribute, unprotected, ALONE)
    doubts = _doubts(raw["value"], over["ci95"], alone["value"], shuffled["value"], shuffled["ci95"])
    unknown, people = here.unknown(attribute), here.people(attribute, protected).told()
    by_labels = here.people(attribute, ALONE).rates
    return {
        "auc": here.figure(attribute, protected),
        "labels_alone": alone,
        "over_labels": here.figure(attribute, protected, ALONE),
        "per_patient": people and {**people, "labels_alone": float(by_labels.mean())},
        "known": len(here.targets) - unknown,
        "unknown": unknown,
        "control_raw_auc": raw["value"],
        "control_raw_over_labels": over,
        "control_shuffled_auc": shuffled["value"],
        "conclusive": not doubts,
        "inconclusive_because": "; ".join(doubts) or None,
    }


def _doubts(
    raw: float | None,
    over: Sequence[float] | None,
    alone: float | None,
    chance: float | None,
    spread: Sequence[float] | None,
) -> list[str]:
    if raw is None or alone is None or chance is None:
        return ["too few films with it, or without it"]
    doubts = []
    if over is None or over[0] <= 0:
        doubts.append(f"on unprotected films it reaches {figure(raw)}, not surely above the findings' {figure(alone)}")
    wide = spread is not None and spread[0] <= 0.5 <= spread[1]  # with few films, chance itself is
    if abs(chance - 0.5) > CHANCE_MAY_MISS_BY and not wide:
        doubts.append(f"with shuffled attributes it reaches {figure(chance)} instead of chance")
    return doubts


def _rank_correlation(asked: Records, scores: Scores) -> float | None:
    """Spearman's, of age and what is said for the oldest band against what is said for the youngest."""
    bands = [place for place, column in enumerate(asked.columns) if column.attribute == "age"]
    known = asked.age >= 0
    ages, older = asked.age[known], (scores[:, bands[-1]] - scores[:, bands[0]])[known]
    if len(ages) < 2 or not np.ptp(ages) or not np.ptp(older):
        return None
    ranks = [np.unique(values, return_inverse=True)[1] for values in (ages, older)]
    return float(np.corrcoef([_mean_ranks(rank) for rank in ranks])[0, 1])


def _mean_ranks(level: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Ranks, those that tie all in the middle of their places."""
    counts = np.bincount(level)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[level])


def _gain(told: Mapping[str, Any]) -> str:
    value, ends = told["value"], told["ci95"]
    if value is None:
        return "unknown"
    return f"{value:+.3f}" if ends is None else f"{value:+.3f} ({ends[0]:+.3f} to {ends[1]:+.3f})"
