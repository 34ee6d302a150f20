"""How re-identification grows with the people an adversary owns films of, and what it would be with 30,000 of them.

scripts/evidence ladder configs/studies/knowledge.yaml --out attacks
scripts/evidence knowledge --attacks attacks --picture docs/pictures/knowledge-curves.png
scripts/evidence knowledge --figures figures.json --picture curves.png

`--figures` takes a JSON list of {"method", "people", "seed", "auc", "ci"} instead of attacks. Both may be given.

The law. In probit units, in which the AUC of an attacker is the distance of its two score distributions, a curve is a
straight line, either in log people (it grows without end) or in one over the root of people (it saturates, as an
estimate does whose error averages out). Each has two parameters, and few points cannot tell which is true; so each
draw of the bootstrap takes the law that fits it better, and what is foreseen is the middle of all draws, with 95 % of
them around it. A draw takes seeds with replacement and moves each figure as far as its own interval allows. The luck
of who was attacked, which all figures of a curve share, is drawn as if it were each one's own: the interval is rather
too wide. Figures beyond `--up-to` people are not fitted: where 30,000 were measured, they check what was foreseen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.rng import stream
from fedcxr.runs.colours import CURVES
from fedcxr.storage.disk import read_json

Floats = npt.NDArray[np.float64]

TARGET = 30_000  # people: as many as NIH's collection has
DRAWS = 2000
EDGE = 1e-4  # an AUC of 1 has no probit
UNKNOWN = 0.05  # probit units: what a few hundred attacked films usually leave open


def _grows(people: Floats) -> Floats:
    return np.log(people)


def _saturates(people: Floats) -> Floats:
    return -1 / np.sqrt(people)


LAWS: Mapping[str, Callable[[Floats], Floats]] = {"grows": _grows, "saturates": _saturates}


@dataclass(frozen=True)
class Figure:
    """What one attack reached."""

    method: str
    people: int
    seed: int
    auc: float
    ci: tuple[float, float] | None = None


@dataclass(frozen=True)
class Curve:
    """A law with offset and slope for each draw of one method's figures."""

    lines: tuple[tuple[str, float, float], ...]

    @classmethod
    def fitted(cls, figures: Sequence[Figure], rng: np.random.Generator) -> Curve:
        """To figures of two numbers of people or more; of three, if there is to be anything to choose by."""
        people = np.array([figure.people for figure in figures], dtype=np.float64)
        heights, spreads = _probit(np.array([figure.auc for figure in figures])), _spreads(figures)
        lines = []
        for _ in range(DRAWS):
            rows = np.concatenate([rng.choice(here, size=len(here)) for here in _same(people)])
            moved = heights[rows] + spreads[rows] * rng.standard_normal(len(rows))
            lines.append(_fit(people[rows], moved, spreads[rows]))
        return cls(tuple(lines))

    @property
    def grows(self) -> float:
        """The share of draws that take the law without an end."""
        return float(np.mean([law == "grows" for law, *_ in self.lines]))

    def at(self, people: float) -> tuple[float, float, float]:
        """The AUC with so many people, and its 95 % interval."""
        values = _auc(
            np.array([offset + slope * float(LAWS[law](np.array(people))) for law, offset, slope in self.lines])
        )
        middle, low, high = np.quantile(values, [0.5, 0.025, 0.975])
        return float(middle), float(low), float(high)


def main() -> None:
    """Print the table, and draw if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", type=Path, nargs="*", default=[], help="folders of `scripts/evidence ladder`")
    parser.add_argument("--figures", type=Path, help="a JSON list of figures")
    parser.add_argument("--attacker", help="whose figures; the worst unless given")
    parser.add_argument("--up-to", type=int, default=3000, help="people; figures of more are compared, not fitted")
    parser.add_argument("--picture", type=Path, help="where to draw the curves")
    chosen = parser.parse_args()
    figures = [Figure(**{**one, "ci": _pair(one.get("ci"))}) for one in _listed(chosen.figures)]
    figures += [figure for folder in chosen.attacks for figure in _of_attacks(folder, chosen.attacker)]
    curves = fitted(figures, chosen.up_to)
    print("\n".join(table(figures, curves, chosen.up_to)))
    if chosen.picture and curves:
        _draw(figures, curves, chosen.up_to, chosen.picture)


def fitted(figures: Sequence[Figure], up_to: int) -> dict[str, Curve]:
    """A curve for each method of which there are figures of two numbers of people or more."""
    curves = {}
    for method in dict.fromkeys(figure.method for figure in figures):
        mine = [figure for figure in figures if figure.method == method and figure.people <= up_to]
        if len({figure.people for figure in mine}) > 1:
            curves[method] = Curve.fitted(mine, stream(0, "knowledge", method))
    return curves


def table(figures: Sequence[Figure], curves: Mapping[str, Curve], up_to: int) -> Iterator[str]:
    """Markdown: the most that was measured within the fit, and 30,000 as foreseen and as measured."""
    yield f"| method | measured, people | {TARGET:,} people, foreseen (95 %) | grows on in | measured | |"
    yield "|---|---|---|---|---|---|"
    for method, curve in curves.items():
        mine = [figure for figure in figures if figure.method == method]
        most = max(figure.people for figure in mine if figure.people <= up_to)
        value, low, high = curve.at(TARGET)
        there = [figure.auc for figure in mine if figure.people == TARGET]
        last = f"{_mean(mine, most):.3f}, {most:,}"
        foreseen = f"{value:.3f} ({low:.3f} to {high:.3f})"
        measured = f"{np.mean(there):.3f}" if there else "-"
        verdict = "" if not there else "as foreseen" if low <= np.mean(there) <= high else "**not as foreseen**"
        yield f"| {method} | {last} | {foreseen} | {curve.grows:.0%} of draws | {measured} | {verdict} |"


def _listed(file: Path | None) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [] if file is None else json.loads(file.read_text(encoding="utf-8"))
    return told


def _of_attacks(folder: Path, attacker: str | None) -> Iterator[Figure]:
    """Of the attacks that were told of how many people there are films, and nothing else of what is known."""
    for file in sorted(folder.glob("*.json")):
        attacked = read_json(file)
        granted = dict(attacked["asked"].get("knowledge", {}))
        own = granted.pop("own_films", None)
        if granted or not isinstance(own, dict) or own.keys() != {"people"}:
            continue
        entry = _entry(attacked["attacks"], attacker)
        if entry is not None:
            method = _described(attacked["asked"]["method"])
            yield Figure(method, own["people"], attacked["seed"], entry["auc"]["value"], _pair(entry["auc"]["ci95"]))


def _entry(attacks: Sequence[Mapping[str, Any]], attacker: str | None) -> Mapping[str, Any] | None:
    entries = [one for one in attacks if attacker in (None, one["attacker"])]
    known = [one for one in entries if one["question"] == "linkage" and one["auc"]["value"] is not None]
    return max(known, key=lambda one: float(one["auc"]["value"]), default=None)


def _described(method: Mapping[str, Any] | str) -> str:
    """Its name, and the values of whatever it is told, in whatever order that stands in the study."""
    if isinstance(method, str):
        return method
    return " ".join(str(value) for _, value in sorted(method.items(), key=lambda told: (told[0] != "name", told[0])))


def _pair(told: Sequence[float] | None) -> tuple[float, float] | None:
    return None if told is None else (told[0], told[1])


def _mean(figures: Sequence[Figure], people: int) -> float:
    return float(np.mean([figure.auc for figure in figures if figure.people == people]))


# The law --------------------------------------------------------------------------------------------------------------


def _probit(auc: Floats) -> Floats:
    return np.array([NormalDist().inv_cdf(float(value)) for value in np.clip(auc, EDGE, 1 - EDGE)])


def _auc(probit: Floats) -> Floats:
    return np.array([NormalDist().cdf(float(value)) for value in probit])


def _spreads(figures: Sequence[Figure]) -> Floats:
    """Standard errors in probit units; a figure without an interval is as uncertain as the others of its curve."""
    known = [None if f.ci is None else float(np.diff(_probit(np.array(f.ci)))[0]) / (2 * 1.96) for f in figures]
    usual = float(np.median([one for one in known if one is not None] or [UNKNOWN]))
    return np.array([usual if one is None else max(one, EDGE) for one in known])


def _same(people: Floats) -> list[npt.NDArray[np.intp]]:
    """The places of figures of as many people: those of several seeds."""
    return [np.flatnonzero(people == number) for number in np.unique(people)]


def _fit(people: Floats, heights: Floats, spreads: Floats) -> tuple[str, float, float]:
    """The law that leaves less, with its offset and slope."""
    found: list[tuple[float, str, float, float]] = []
    for name, law in LAWS.items():
        at = np.stack([np.ones(len(people)), law(people)], axis=1) / spreads[:, None]
        (offset, slope), *_ = np.linalg.lstsq(at, heights / spreads, rcond=None)
        left = float(((at @ [offset, slope] - heights / spreads) ** 2).sum())
        found.append((left, name, float(offset), float(slope)))
    return min(found)[1:]


# The picture ----------------------------------------------------------------------------------------------------------


def _draw(figures: Sequence[Figure], curves: Mapping[str, Curve], up_to: int, file: Path) -> None:
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(8, 5), layout="constrained")
    axes = picture.subplots()
    for colour, (method, curve) in zip(CURVES, curves.items(), strict=False):
        mine = [figure for figure in figures if figure.method == method]
        least = min(figure.people for figure in mine)
        people = np.geomspace(least, max(TARGET, *(figure.people for figure in mine)), 60)
        value, low, high = np.array([curve.at(number) for number in people]).T
        axes.fill_between(people, low, high, color=colour, alpha=0.12, linewidth=0)
        inside = people <= up_to
        axes.plot(people[inside], value[inside], color=colour, linewidth=1.8, label=method)
        axes.plot(people[~inside], value[~inside], color=colour, linewidth=1.8, linestyle="--")
        for figure in mine:
            filled = colour if figure.people <= up_to else "white"
            bars = (
                None
                if figure.ci is None
                else [[max(figure.auc - figure.ci[0], 0)], [max(figure.ci[1] - figure.auc, 0)]]
            )
            axes.errorbar(
                figure.people, figure.auc, yerr=bars, color=colour, marker="o", markersize=7, markerfacecolor=filled,
                markeredgewidth=1.5, elinewidth=1, capsize=2, linestyle="none",
            )  # fmt: skip
    axes.axvline(TARGET, color="grey", linewidth=0.8, linestyle=":")
    axes.axhline(0.5, color="grey", linewidth=0.8)
    axes.set_xscale("log")
    ticks = [100, 300, 1000, 3000, 10_000, 30_000]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], minor=False)
    axes.minorticks_off()
    axes.set_ylim(0.45, 1.02)
    axes.set_xlabel("people the adversary owns films of", fontsize=12)
    axes.set_ylabel("AUC of the attack", fontsize=12)
    axes.tick_params(labelsize=11)
    axes.set_title("Filled: measured and fitted. Open: measured, not fitted. Dashed: foreseen.", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=10, loc="lower right")
    picture.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
