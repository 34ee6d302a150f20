"""What results hold of each attack: one attacker in one run, its figure, what that is measured against, and its doubts.

An attack's figure here is a rate of success between 0 and 1: an AUC is how often the right one of two is picked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedcxr.report._residual import together
from fedcxr.verdict import GUESSING, Figure, ended

Entry = Mapping[str, Any]
Result = Mapping[str, Any]

BLIND = ("prior", "mean")  # attackers that look at no release: controls of the others
CHANCE, FINDINGS = "chance", "findings alone"
NO_CONTROL = "it was not tried where it must succeed, so that a low figure proves nothing"


@dataclass(frozen=True)
class Spread:
    """How an attack's success is spread over patients."""

    what: str
    quantiles: Mapping[str, float | None]
    worst: float | None
    control: float | None = None  # what the same would be by chance; None: it is no rate of success
    patients: int | None = None
    always_found: int | None = None
    never_found: int | None = None


@dataclass(frozen=True)
class Sighting:
    """One attacker in one run."""

    seed: int
    adversary: str
    attacker: str
    attack: Figure
    against: str  # what the control is
    control: float | None
    gain: Figure | None = None  # over the control, where that was measured on the same people
    held: bool = True  # whether the attack's own controls held
    doubt: str | None = None
    converged: bool | None = None
    spread: Spread | None = None
    people: int | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)  # further figures of it, for the reader

    @property
    def who(self) -> tuple[str, str]:
        return self.adversary, self.attacker


def findings_are_told(result: Result) -> bool:
    """Whether the adversary can read the findings of released films."""
    floor = result["privacy"].get("label_floor")
    return floor is not None and floor["auc"]["value"] is not None


def first_guess(result: Result) -> Iterator[Sighting]:
    for entry in _asked(result, "linkage"):
        by_chance, people = _first_by_chance(entry), entry["per_patient"]
        spread = Spread(
            "share of a patient's films whose first guess is right",
            people["rank1"],
            people["rank1"]["1"],
            by_chance,
            people["patients"],
            people["always_found"],
            people["never_found"],
        )
        yield _sighting(result, entry, _first(entry), CHANCE, by_chance, spread=spread, people=people["patients"])


def _first(entry: Entry) -> Figure:
    """The share of films whose patient is guessed first; its interval from those of patients with few and with many."""
    found = Figure(entry["rank1"])
    groups = [one for one in entry["at_risk"] if one["trait"] == "films"]
    if found.value is None or not groups:
        return found
    whole = together([(one["films"], Figure.of(one["rank1"])) for one in groups])
    return Figure(found.value, whole.low, whole.high)


def _first_by_chance(entry: Entry) -> float | None:
    """Of a guesser who picks any of the known films: how many of them are the patient's, on average."""
    pairs, asked = entry["pairs"], entry["open_set"]
    films = asked["mated"] + asked["unknown"]
    compared = pairs["genuine"] + pairs["impostor"]
    return pairs["genuine"] * films / (compared * asked["mated"]) if asked["mated"] and compared else None


def unique_findings(result: Result) -> Iterator[Sighting]:
    """Counted, not attacked, so that there is one figure per run and no attacker."""
    for entry in _asked(result, "linkage")[:1] if findings_are_told(result) else ():
        groups = {one["is"]: one for one in entry["at_risk"] if one["trait"] == "findings"}
        films = sum(one["films"] for one in groups.values())
        lone = groups.get("nobody else's", {"films": 0, "patients": 0})
        if films:
            counted = {"patients": lone["patients"], "films": lone["films"], "of_films": films}
            share = Figure(lone["films"] / films)
            people = entry["per_patient"]["patients"]
            yield Sighting(
                result["run"]["seed"], "", "counted", share, "none", None, people=people, beside=counted, converged=True
            )


def verification(result: Result) -> Iterator[Sighting]:
    for entry in _asked(result, "linkage"):
        floor = result["privacy"]["label_floor"]["auc"]["value"] if findings_are_told(result) else None
        against, control = (CHANCE, GUESSING) if floor is None else (FINDINGS, max(floor, GUESSING))
        beside = {"same_hospital": entry["same_site_auc"], "found_at_1_of_100_false": entry["tpr_at_fpr"]["0.01"]}
        yield _linking(result, entry, against, control, beside)


def by_findings(result: Result) -> Iterator[Sighting]:
    """An attacker who sees no film."""
    if findings_are_told(result) and _asked(result, "linkage"):
        people = _asked(result, "linkage")[0]["per_patient"]["patients"]
        floor = Figure.of(result["privacy"]["label_floor"]["auc"])
        yield Sighting(
            result["run"]["seed"], "", "findings alone", floor, CHANCE, GUESSING, people=people, converged=True
        )


def inner(across: bool) -> Callable[[Result], Iterator[Sighting]]:
    def seen(result: Result) -> Iterator[Sighting]:
        asked = result["scenario"]["questions"].get("inner_linkage") or {}
        if (asked.get("across") == "sites") is across:
            for entry in _asked(result, "inner_linkage"):
                labels = entry["trust"]["labels_auc"] if findings_are_told(result) else None
                against, control = (CHANCE, GUESSING) if labels is None else (FINDINGS, max(labels, GUESSING))
                yield _linking(result, entry, against, control, {})

    return seen


def _linking(result: Result, entry: Entry, against: str, control: float | None, beside: Mapping[str, Any]) -> Sighting:
    people, accepted = entry["per_patient"], entry["per_patient"]["tpr_at_0.01"]
    spread = accepted and Spread(
        "share of a patient's pairs recognised where 1 of 100 pairs of strangers is taken for one",
        accepted,
        accepted["1"],
        0.01,
        people["patients"],
    )
    auc = Figure.of(entry["auc"])
    return _sighting(
        result, entry, auc, against, control, spread=spread or None, people=people["patients"], beside=beside
    )


def same_film(result: Result) -> Iterator[Sighting]:
    for entry in _section(result, "same_film"):
        yield _sighting(result, entry, Figure.of(entry["auc"]), CHANCE, GUESSING, beside={"films": entry["pairs"]})


def membership(result: Result) -> Iterator[Sighting]:
    for entry in _section(result, "membership"):
        point, least = entry["at_fpr"]["0.01"], entry["epsilon_at_least"]
        beside = {
            "found_at_1_of_100_false": None if point is None else point["tpr"],
            "epsilon_at_least": None if least is None else least["value"],
            "contradicts_guarantee": entry["contradicts_epsilon"],
        }
        people, spread = sum(entry["people"].values()), _told_apart(entry, "people who were not learnt from")
        auc = Figure.of(entry["auc"])
        yield _sighting(result, entry, auc, CHANCE, GUESSING, spread=spread, people=people, beside=beside)


def _told_apart(told: Mapping[str, Any], others: str) -> Spread | None:
    """Of single people; None: there are too few others, or the result is of a time when nobody looked."""
    people = told.get("per_patient")
    return people and Spread(
        f"share of a patient's films that are told where 1 of 100 films of {others} is taken for one",
        people["tpr_at_0.01"],
        people["worst"]["tpr_at_0.01"],
        max(people.get("labels_alone", 0.0), 0.01),
        people["patients"],
        people["always_found"],
        people["never_found"],
    )


def attribute(name: str) -> Callable[[Result], Iterator[Sighting]]:
    def seen(result: Result) -> Iterator[Sighting]:
        for entry in _section(result, "inference"):
            one = entry["attributes"].get(name)
            if one is not None:
                doubts = {"conclusive": one["conclusive"], "inconclusive_because": one["inconclusive_because"]}
                against, control = FINDINGS, one["labels_alone"]["value"]
                gain: Figure | None = Figure.of(one["over_labels"])
                if control is not None and control < GUESSING:  # nobody need do worse than guess
                    against, control, gain = CHANCE, GUESSING, None
                beside = {"films": one["known"]}
                more = {"gain": gain, "spread": _told_apart(one, "people to whom it does not apply"), "beside": beside}
                yield _sighting(result, {**entry, **doubts}, Figure.of(one["auc"]), against, control, **more)

    return seen


def reconstruction(result: Result) -> Iterator[Sighting]:
    for entry in _section(result, "recovery"):
        by_chance = 1 / entry["films"] if entry["films"] else None
        beside = {"decibels_over_mean_film": entry["over_mean_db"], "likeness_ssim": entry["ssim"]}
        yield _picture(result, entry, Figure.of(entry["link_rate"]), by_chance, entry["most_recovered"], beside)


def inversion(result: Result) -> Iterator[Sighting]:
    for entry in _section(result, "inversion"):
        for one in entry["updates"]:
            kind = f"{entry['attacker']}, {one['batch']} films {one['when']}"
            beside = {"decibels_over_mean_film": one["over_mean_db"], "films_do": one["links_of_films"]}
            told = {**entry, "attacker": kind, "converged": one["converged"]}
            yield _picture(result, told, Figure.of(one["links"]), GUESSING, one["most_recovered"], beside)


def _picture(
    result: Result, entry: Entry, attack: Figure, control: float | None, most: Mapping[str, Any], beside: Entry
) -> Sighting:
    gains = most["over_mean_db"]
    quantiles = {name: value for name, value in gains.items() if not name.startswith("worst")}
    spread = Spread("decibels by which a film is nearer than the mean film", quantiles, gains["worst_patient"])
    return _sighting(result, entry, attack, CHANCE, control, spread=spread, beside=beside)


def entries(result: Result) -> Iterator[Entry]:
    """Of all attackers, whatever they were asked."""
    sections = (section for section in result["privacy"].values() if isinstance(section, list))
    return (
        one
        for section in sections
        for one in section
        if isinstance(one, Mapping) and "attacker" in one and "question" in one
    )


def _section(result: Result, section: str) -> Sequence[Entry]:
    found: Sequence[Entry] = result["privacy"].get(section) or ()
    return found


def _asked(result: Result, question: str) -> list[Entry]:
    return [entry for entry in _section(result, "attacks") if entry["question"] == question]


def _sighting(
    result: Result, entry: Entry, attack: Figure, against: str, control: float | None, **more: Any
) -> Sighting:
    conclusive = entry.get("conclusive", True)  # a question without controls of its own says nothing of them
    return Sighting(
        result["run"]["seed"],
        entry["adversary"],
        entry["attacker"],
        attack,
        against,
        control,
        held=conclusive is True,
        doubt=None if conclusive is True else entry["inconclusive_because"] or NO_CONTROL,
        converged=ended(entry),
        **more,
    )
