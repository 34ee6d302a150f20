"""What one update of a shared model gives away of the films behind it: the rules that make sentences of the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.verdict import GUESSING, Figure, inconclusive, listed

Entry = Mapping[str, Any]

MORE = "What to do: let the attackers take more steps, or ask about more films."


def inversion(entries: Sequence[Entry], best: Sequence[tuple[Entry, Entry]]) -> tuple[str, ...]:
    """About all attackers; `best` is, of each kind of update, who came nearest, and the figures of that."""
    trusted = [(entry, one) for entry, one in best if entry["conclusive"]]
    shown = [one for _, one in trusted if Figure.of(one["over_mean_db"]).surely_above(0.0)]
    linked = [one for _, one in trusted if Figure.of(one["links"]).surely_above(GUESSING)]
    rising = [one for _, one in best if one["converged"] is False]
    doubts = inconclusive(
        [
            (f"{entry['adversary']}, {entry['attacker']}", entry["inconclusive_because"])
            for entry in entries
            if not entry["conclusive"] and entry["attacker"] != "mean"  # which looks at nothing, and is to fail
        ]
    )
    if linked:
        headline = "Whoever receives an update can make pictures of films of it, and tell by them whose they are."
    elif shown:
        headline = "Whoever receives an update can make pictures of films of it; whose they are was not shown."
    elif trusted and not rising:
        headline = (
            "From these updates nothing of films was made out beyond doubt, which does not prove that nobody can."
        )
    else:
        headline = "No conclusion about what updates show of films."
    said = [headline]
    if shown:
        said.append(
            f"Pictures come nearer to the films than the mean film does at {listed([_kind(o) for o in shown])}."
        )
    if linked:
        said += [f"At {_kind(one)} the right one of two people is picked in {_right(one)}." for one in linked[:1]]
    if rising:
        said.append(f"Still rising when stopped, and so less than there is: {listed([_kind(one) for one in rising])}.")
    return (*said, *doubts, *([MORE] if doubts or rising else []))


def _kind(one: Entry) -> str:
    return f"{one['batch']} {'film' if one['batch'] == 1 else 'films'} {one['when']}"


def _right(one: Entry) -> str:
    films = one["links_of_films"]
    own = "" if films is None else f"; by the films themselves in {Figure.of(films).told}"
    return Figure.of(one["links"]).told + own
