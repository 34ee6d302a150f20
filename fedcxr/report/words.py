"""What a report's words mean, for somebody who meets them here for the first time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A question to attackers: a head for its figures, and what whoever answers it has before them."""

    head: str
    task: str


QUESTIONS: Mapping[str, Asked] = {
    "linkage": Asked("Who is found again", "Shown a release, another film of its patient and one of somebody else"),
    "inner_linkage": Asked(
        "Which releases are of one patient", "Shown a release, another of the same patient and one of somebody else"
    ),
    "membership": Asked(
        "Who was learnt from", "Shown a patient that the model learnt from and one that it did not learn from"
    ),
}

GLOSSARY: Mapping[str, str] = {
    "policy": "one way of sharing, with all its settings",
    "AUC": "how often, of two cases, the right one is picked: 0.5 is guessing, 1 is never wrong",
    "interval": "where the figure would lie for 95 of 100 draws of other patients; of several runs, the widest",
    "worst case": "the attacker who does best; a policy is as safe as that one leaves it",
    "at least (≥)": "a lower bound: it was not shown that the attacker, with more effort, would not reach more",
    "control": "the same attack where the answer is known: on unprotected films it must succeed, with names dealt at "
    "random it must fail",
    "inconclusive": "a control failed or there were too few patients: the figure proves nothing, a low one "
    "least of all",
    "converged": "doubling the effort no longer helped the attacker",
    "dominated": "another policy is at least as useful and gives no more away, and is better in one of the two",
    "unprotected": "the same learning on films as they are: the most that there is to be had",
    "membership": "whether a patient is one of those that a model learnt from",
    "epsilon": "how much likelier any outcome may be with somebody's data than without: by a factor of e to this; "
    "delta is the chance that it is more",
    "unit": "of what a guarantee hides the presence: a pixel, a film (record), a patient or a hospital (site)",
}


def threat(knowledge: Mapping[str, Any]) -> list[str]:
    """What the attackers held and could do, a sentence for each kind of knowledge."""
    said = []
    for name, granted in knowledge.items():
        tell = KNOWLEDGE.get(name)
        first = next(iter(granted.values()), None) if isinstance(granted, Mapping) else granted
        said.append(tell(first) if tell else f"{name}: {first}.")
        if isinstance(granted, Mapping) and len(granted) > 1:
            rest = ", ".join(f"{key} {value}" for key, value in list(granted.items())[1:] if value is not None)
            said[-1] += f" ({rest})" if rest else ""
    return said


def _share(value: Any) -> str:
    return f"{value:.0%}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


KNOWLEDGE: Mapping[str, Callable[[Any], str]] = {
    "demographics": lambda known: (
        "They know sex and age of whoever is on a film." if known else "They do not know sex or age of anybody."
    ),
    "keys": lambda sites: (
        f"They hold the keys of {sites} hospitals, leaked or by collusion." if sites else "They hold no hospital's key."
    ),
    "known_films": lambda share: (
        f"They hold {_share(share)} of each attacked patient's films from elsewhere, with the name, but never the film "
        "that was released."
    ),
    "mechanism": lambda known: (
        "They can run the method on films of their own, with all it learnt: nothing rests on its being secret."
        if known
        else "They do not know the method."
    ),
    "own_films": lambda of: f"They own films of people who are not attacked ({of}), and learn from them.",
    "own_records": lambda known: (
        "Of their own films they know sex, age, findings and scanner."
        if known
        else "Of their own films they know nothing but whose they are."
    ),
    "pairs": lambda most: (
        f"Of {most} of their own films they hold the release as well."
        if most
        else "Of no film do they hold both original and release."
    ),
    "releases": lambda times: (
        f"Every film was released {times} times, and they see all." if times != 1 else "Every film is released once."
    ),
    "updates": lambda seen: {
        "model": "Of a shared model they see its end.",
        "rounds": "Of a shared model they see every round.",
        "sites": "Of a shared model they see what each hospital sent in every round.",
    }.get(str(seen), f"Of a shared model they see: {seen}."),
}
