"""How far a run is and what it is at, in words, from the events that its processes write.

How much of it is done is a guess: what each stage weighs is what it took in runs of usual size, and the rest is rule of
three. It never goes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.runs import stages

EARLY = 0.05  # of the whole, before which nobody can say how long the rest takes
ALMOST = 0.95  # of a stage: more counts only when its outcome is on file
WORLDS = 3  # in which a question is usually put: the one that is, and two controls
PARTS = 2  # trainings of a usual task

# What stages of ours are called for people; what plug-ins say of theirs is made readable by ENDINGS.
NAMES = {
    "films": "films are opened",
    "sites": "hospitals release their films",
    "federated learning": "hospitals learn together, round by round",
    "fidelity": "released films are compared with their originals",
    "texture": "the texture of released films is compared with that of their originals",
}
ENDINGS = {
    "without a key": "learning from what shows without a key",
    "clean": "learning from unprotected films",
    "released": "learning from what was shared",
    "retrained": "learning from protected films",
}
CONTROLS = {"control_raw": "unprotected films", "control_shuffled": "shuffled identities"}


def named(stage: str) -> str:
    """A stage in words: `attack linkage control_raw: verifier clean` is an attack, for control, by the verifier."""
    if stage in NAMES:
        return NAMES[stage]
    if stage.startswith("attack ") and ": " in stage:
        where, _, what = stage.removeprefix("attack ").partition(": ")
        question, _, world = where.rpartition(" ")
        told = f"attack ({question}) by {named(what)}"
        return told if world == "protected" else f"{told}, as a control: {CONTROLS.get(world, world)}"
    for ending, words in ENDINGS.items():
        if stage.endswith(f" {ending}"):
            return f"{stage.removesuffix(ending).strip()}, {words}"
    return stage


class Journey:
    """Hears the events of one run, and tells how much of `planned` is behind it."""

    def __init__(self, planned: Sequence[str], learns: bool = False) -> None:
        learning = 6.0 if learns else 1.5  # hospitals that learn take longer than all attacks on them
        weights = {stages.COLLECT: learning, stages.TESTED: 1.0, "utility": 1.0, "attack": 2.0}
        self._weights = {stage: weights[stage.partition("-")[0]] for stage in planned}
        self._over: set[str] = set()
        self._shares: dict[str, float] = {}  # how much of each stage of the events is done
        self._furthest = 0.0
        self.at_work: dict[str, float] = {}  # in words: what is not done yet, and how much of it is

    def hear(self, event: Mapping[str, Any]) -> str | None:
        """Take in one event; what has just begun, in words, or None."""
        if event["event"] == "stage" and event["over"]:
            self._over.add(str(event["name"]))
            return None
        if event["event"] == "stage":
            return str(event["name"])
        if event["event"] != "progress":
            return None
        stage, share = str(event["stage"]), event["done"] / max(event["total"], 1)
        begun = stage not in self._shares
        self._shares[stage] = share
        if share < 1:
            self.at_work[named(stage)] = share
        else:
            self.at_work.pop(named(stage), None)
        return named(stage) if begun else None

    @property
    def done(self) -> float:
        """How much of all is, from 0 to 1."""
        whole = sum(self._weights.values())
        behind = sum(weight * self._share(stage) for stage, weight in self._weights.items())
        self._furthest = max(self._furthest, behind / whole if whole else 0.0)
        return self._furthest

    def left(self, seconds: float) -> float | None:
        """How many seconds are, after so many; None: nobody can say yet."""
        return None if self.done < EARLY else seconds * (1 - self.done) / self.done

    def _share(self, planned: str) -> float:
        if planned in self._over:
            return 1.0
        kind, _, name = planned.partition("-")
        if kind == stages.COLLECT:
            return min(ALMOST, max([self._shares.get("sites", 0.0), *self._learning()]))
        if kind == "utility":
            own = [share for stage, share in self._shares.items() if stage.startswith(name)]
            return min(ALMOST, sum(own) / PARTS)
        worlds: dict[str, list[float]] = {}
        for stage, share in self._shares.items():
            if stage.startswith("attack "):
                worlds.setdefault(stage.partition(": ")[0], []).append(share)
        return min(ALMOST, sum(sum(own) / (len(own) + 1) for own in worlds.values()) / WORLDS)

    def _learning(self) -> list[float]:
        """Of what sites do before they release."""
        return [share * ALMOST / 2 for stage, share in self._shares.items() if stage.startswith(("site", "federated"))]


def lasting(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
