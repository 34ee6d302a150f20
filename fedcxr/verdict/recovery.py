"""What films looked like, and what they tell of people: the rules that make sentences of such figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.verdict import GUESSING, LONGER, Figure, inconclusive, listed, times

Entry = Mapping[str, Any]

CONTROLS = "on unprotected films they tell no more than the findings do, or with shuffled attributes more than chance"


def pictures(entries: Sequence[Entry], best: Entry) -> tuple[str, ...]:
    """About the attackers that show what films looked like; `best` is the one that came nearest."""
    gain, linked = Figure.of(best["over_mean_db"]), best["link_rate"]["value"]
    doubted = [entry for entry in entries if entry["conclusive"] is False]
    doubts = inconclusive(
        [(f"{entry['adversary']}, {entry['attacker']}", entry["inconclusive_because"]) for entry in doubted]
    )
    rising = [entry for entry in entries if entry["converged"] is False]
    if gain.surely_above(0.0):
        headline = "What films looked like is partly recovered."
    elif len(doubted) == len(entries) or best in doubted or gain.low is None or rising:
        headline = "No conclusion about what films looked like."
    else:
        headline = "These attackers made out nothing of films beyond doubt, which does not prove that nobody can."
    said = [headline]
    if gain.value is not None:
        nearer = "nearer to" if gain.value >= 0 else "farther from"
        said.append(f"The best picture is {abs(gain.value):.1f} dB {nearer} the film than the mean of all films is.")
    if linked is not None:
        said.append(
            f"Of all {best['films']} films asked about, it is likest to the right one in {times(linked)} of 100 cases."
        )
    if rising:
        said.append("Some were still rising when they were stopped: longer learning recovers more.")
    return (*said, *doubts, *([LONGER] if doubts else []))


def same_film(entries: Sequence[Entry]) -> tuple[str, ...]:
    """About attackers who hold the very film that a code was made of."""
    best = max(entries, key=lambda entry: entry["auc"]["value"] or 0.0)
    auc, pairs = Figure.of(best["auc"]), best["pairs"]
    if auc.value is None:
        return ("Whether somebody who holds a film recognises its code is unknown.",)
    if auc.surely_above(GUESSING) or auc.low is None:
        return (
            "Somebody who holds a film can tell which code was made of it.",
            f"By {best['attacker']} alone the right one of two codes is picked in {auc.told}, over {pairs} films.",
        )
    return (
        "That somebody who holds a film recognises its code was not shown, and is not ruled out.",
        f"The right one of two codes is picked in {auc.told}, over {pairs} films.",
    )


def attributes(best: Mapping[str, tuple[Entry, Entry]]) -> tuple[str, ...]:
    """About what releases tell of people: for each attribute who tells most of it, and the figures of that."""
    told = {name: one for name, (_, one) in best.items()}
    doubtful = [name for name, one in told.items() if not one["conclusive"]]
    more = [name for name, one in told.items() if Figure.of(one["over_labels"]).surely_above(0.0)]
    rest = [name for name in told if name not in more and name not in doubtful]
    said = []
    if more:
        said.append("More than the findings is given away about people: " + listed(more) + ".")
    elif doubtful:
        said.append("No conclusion about what else is given away about people.")
    else:
        said.append("Nothing beyond the findings was read off beyond doubt, which does not prove that nobody can.")
    if more:
        most = max(more, key=lambda name: float(told[name]["over_labels"]["value"]))
        one, alone = told[most], Figure.of(told[most]["labels_alone"])
        said.append(
            f"Most about {most}: right in {Figure.of(one['auc']).told}; from the findings alone in {alone.told}."
        )
    if rest:
        said.append(f"Not shown, nor ruled out: {listed(rest)}.")
    if len(doubtful) == 1:
        said.append(f"Inconclusive ({doubtful[0]}): {told[doubtful[0]]['inconclusive_because']}.")
    elif doubtful:
        said.append(f"Inconclusive: {listed(doubtful)}. Of each of them, attackers failed a control: {CONTROLS}.")
    known = sorted({int(one["known"]) for one in told.values()})
    films = str(known[0]) if len(known) == 1 else f"{known[0]} to {known[-1]}"
    return (*said, *([LONGER] if doubtful else []), f"This rests on {films} films.")
