"""Who is linked, and how sure is that: the rule that makes sentences of attackers' entries in result.json.

A rule for five cases, looked for in this order. *Linked*: an attacker whose controls held does better than chance
beyond doubt. *No conclusion*: nobody does, but an attacker failed a control, or has no interval. *Open*: all controls
held, but the best may do better than `NEAR`, still rises or is not trusted. *Not found*: none of all that. Whoever was
not asked is *unknown*. No case is called safe: what these attackers do not find another may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fedcxr.table import share
from fedcxr.verdict import GUESSING, IN_BRACKETS, LONGER, Figure, inconclusive, times

Entry = Mapping[str, Any]
Level = Literal["unknown", "linked", "no conclusion", "open", "not found"]

NEAR = 0.6  # AUC: whoever may reach more has not been shown to be near chance
TOO_FEW = "there are too few patients for an interval"
HARDLY = 0.02  # AUC by which a protection must lower an attack for more than "hardly anything"


@dataclass(frozen=True)
class Wording:
    """What a question about pairs of films is called."""

    linked: str  # the headline if somebody is
    shown: str  # what an attacker chooses between
    first: str | None = None  # what its first guess among all is about; None: it makes none


PEOPLE = Wording(
    "Patients can be re-identified from what was released.",
    "Shown what was released of one film, another film of the same patient and a film of somebody else",
    "Asked whose a film is among all known ones",
)
RELEASES = Wording(
    "What was released of one patient can be told to belong together.",
    "Shown what was released of one film, of another of the same patient and of a film of somebody else",
)


@dataclass(frozen=True)
class Attack:
    """One attacker's entry, as far as a verdict rests on it."""

    entry: Entry

    @property
    def name(self) -> str:
        return f"{self.entry['adversary']}, {self.entry['attacker']}"

    @property
    def auc(self) -> Figure:
        return Figure.of(self.entry["auc"])

    @property
    def conclusive(self) -> bool:
        return bool(self.entry["conclusive"])

    @property
    def links(self) -> bool:
        """Better than chance beyond doubt, and than guesses about so few patients."""
        value, smallest = self.auc.value, self.entry["smallest_auc"]
        return self.auc.surely_above(GUESSING) and value is not None and value > (smallest or GUESSING)

    @property
    def open(self) -> tuple[str, ...]:
        """Why one that links nobody may still be about to."""
        why = []
        if self.auc.high is not None and self.auc.high > NEAR:
            why.append(f"{self.name} may be right in {times(self.auc.high)} of 100")
        if self.entry["converged"] is False:
            why.append(f"{self.name} was still rising when it was stopped")
        why += [f"{self.name} is not trusted: {reason}" for reason in self.entry["trust"]["reasons"]]
        return tuple(why)


def level(entries: Sequence[Entry]) -> Level:
    """The rule above."""
    attacks = [Attack(entry) for entry in entries]
    if not any(attack.auc.value is not None for attack in attacks):
        return "unknown"
    if any(attack.links and attack.conclusive for attack in attacks):
        return "linked"
    if not all(attack.conclusive and attack.auc.high is not None for attack in attacks):
        return "no conclusion"
    return "open" if any(attack.links or attack.open for attack in attacks) else "not found"


def linkage(entries: Sequence[Entry], floor: Mapping[str, Any] | None, wording: Wording = PEOPLE) -> tuple[str, ...]:
    """A headline and the sentences that it rests on; `floor` is what the findings alone give away."""
    reached = level(entries)
    if reached == "unknown":
        return ("Nothing is known: no attacker has a figure.",)
    attacks = [Attack(entry) for entry in entries]
    scored = [attack for attack in attacks if attack.auc.value is not None]
    counted = [attack for attack in scored if attack.links and attack.conclusive] or scored
    best = max(counted, key=lambda attack: attack.auc.value or 0.0)
    alone = Figure.of(floor["auc"] if floor else None)
    return (
        _headline(reached, wording),
        *_found(best, wording),
        *_doubted(attacks, reached),
        *_unsettled(attacks, reached),
        *_compared(best, reached),
        *_beside_findings(best, alone, reached),
        *_rests_on(best),
        *_at_least(attacks, reached),
    )


def _headline(reached: Level, wording: Wording) -> str:
    said: dict[Level, str] = {
        "linked": wording.linked,
        "no conclusion": "No conclusion: what these attackers found proves nothing, neither good nor bad.",
        "open": "Open: nobody was found beyond doubt, and that somebody can be is not ruled out.",
        "not found": "These attackers found nobody, which does not prove that nobody can.",
    }
    return said[reached]


def _found(best: Attack, wording: Wording) -> list[str]:
    said = [f"{wording.shown}, the best attacker ({best.name}) picks the right one in {best.auc.told}; {IN_BRACKETS}."]
    rank1, queries = best.entry["rank1"], best.entry["pairs"]["queries"]
    if wording.first is not None and rank1 is not None:
        about = best.entry["per_patient"]
        said.append(
            f"{wording.first}, its first guess was right for {share(rank1)} of the {queries} asked about: "
            f"always for {about['always_found']} of {about['patients']} patients, never for {about['never_found']}."
        )
    return said


def _doubted(attacks: Sequence[Attack], reached: Level) -> list[str]:
    """Attackers that failed a control or have no interval: why, and what to do; a high figure stands meanwhile."""
    failed = [(attack.name, str(attack.entry["inconclusive_because"])) for attack in attacks if not attack.conclusive]
    failed += [(attack.name, TOO_FEW) for attack in attacks if attack.conclusive and attack.auc.high is None]
    said = inconclusive(failed)
    if said and reached == "no conclusion":
        said.append("Until a run has said otherwise, take it that patients are found as often as the figures say.")
    if said:
        said.append(LONGER)
    return said


def _unsettled(attacks: Sequence[Attack], reached: Level) -> list[str]:
    if reached != "open":
        return []
    why = [reason for attack in attacks for reason in attack.open]
    smallest = max((attack.entry["smallest_auc"] or GUESSING for attack in attacks), default=GUESSING)
    why += [f"among so few patients up to {times(smallest)} of 100 may be chance"] if smallest > GUESSING else []
    return [f"Not ruled out, because {'; '.join(why)}.", LONGER]


def _compared(best: Attack, reached: Level) -> list[str]:
    """With the same attack on films that nothing was done to."""
    raw, value = best.entry["control_raw_auc"], best.auc.value
    if raw is None or value is None:
        return ["How it does on unprotected films is unknown."]
    said = f"On unprotected films it is right in {times(raw)} of 100"
    if reached != "linked":
        return [f"{said}."]
    return [f"{said}: the protection {'stops hardly anything' if value > raw - HARDLY else 'makes it harder'}."]


def _beside_findings(best: Attack, alone: Figure, reached: Level) -> list[str]:
    """With somebody who sees no film, and both films' findings."""
    if alone.value is None or best.auc.value is None:
        return []
    said = f"Who sees no film but the findings is right in {alone.told}"
    if reached == "linked" and alone.high is not None and best.auc.surely_above(alone.high):
        return [f"{said}: what was released of films gives away more than that."]
    if reached == "linked":
        return [f"{said}: whether films give away more than that is not sure."]
    if alone.surely_above(GUESSING):
        return [f"{said}: wherever the findings are known, people are linked by them, whatever is done to films."]
    return [f"{said}."]


def _rests_on(best: Attack) -> list[str]:
    pairs, patients = best.entry["pairs"], best.entry["per_patient"]["patients"]
    return [
        f"This rests on {patients} patients who were looked for: {pairs['genuine']:,} pairs of films of one patient, "
        f"{pairs['impostor']:,} of two, {pairs['queries']:,} queries."
    ]


def _at_least(attacks: Sequence[Attack], reached: Level) -> list[str]:
    if reached != "linked":
        return []
    rising = [attack.name for attack in attacks if attack.entry["converged"] is False]
    longer = f" Still rising: {'; '.join(rising)}; --budget 4 lets it learn on." if rising else ""
    return [f"Whoever tries harder, or owns more films, finds at least as many.{longer}"]
