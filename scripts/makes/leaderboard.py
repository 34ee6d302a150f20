"""The public comparison of methods, of stored runs alone: docs/leaderboard.md.

    scripts/make leaderboard RUNS ...           # folders of runs, of studies, or of many of either
    scripts/make leaderboard RUNS --out FILE

A run counts if it says what it was made of (result.json and scenario.yaml), was made with the preset `default` or
`paper`, and attacked with every default attacker or more. What no run has asked stays empty: nothing is made up for it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from fedcxr import plugins
from fedcxr.table import figure, span

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = (1_000, 30_000)  # whom attackers own to learn from
HEAD = ("method", "seeds", "trained", "frozen", *(f"linked, {n:,} people" for n in PEOPLE), "linked, by default",
        "member", "picture", "MB a hospital", "guarantee")  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What is on file of one run."""

    scenario: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def counts(self) -> bool:
        complete, preset = self.result["run"]["complete"], self.result["run"]["preset"]
        return bool(complete) and preset in ("default", "paper")

    @property
    def field(self) -> tuple[str, str]:
        """What must be equal where figures are compared: films and budget."""
        cohort, sites, by = self.scenario["cohort"], self.scenario["sites"], self.scenario["partition"]["by"]
        films = [f"{key} {value}" for key, value in cohort.items() if key in ("source", "patients", "size")]
        return ", ".join([*films, f"{sites} sites by {by}"]), self.result["run"]["preset"]

    @property
    def entry(self) -> str:
        """The method, and whatever of it, and of what attackers are granted, is not as it comes."""
        spec = dict(self.scenario["method"])
        name = spec.pop("name")
        changed = _changed(plugins.load("method", name), spec)
        for kind, value in self.scenario["knowledge"].items():
            knowledge = plugins.load("knowledge", kind)
            given = value if isinstance(value, Mapping) else {next(iter(knowledge.model_fields)): value}
            if kind != "own_films" and _changed(knowledge, given):
                changed.append(f"{kind} {value}")
        return " ".join([name, *changed])

    @property
    def people(self) -> int | None:
        """How many people the attackers were given to learn from; None: those of the scenario's own films."""
        own = self.scenario["knowledge"]["own_films"]
        return own.get("people") if isinstance(own, Mapping) else None

    def utility(self, arm: str) -> float | None:
        told = (self.result["utility"].get("findings") or {}).get(arm)
        return None if told is None else told["mean_auc"]["value"]

    def linked(self) -> tuple[float, Sequence[float] | None] | None:
        worst = self.result["privacy"]["worst_case"]
        if worst is None or worst["question"] != "linkage" or not worst["conclusive"]:
            return None
        return worst["auc"]["value"], worst["auc"]["ci95"]

    def best(self, question: str, *path: str) -> float | None:
        """The best of all attackers at a question, by one figure of theirs."""
        found = []
        for entry in self.result["privacy"].get(question) or ():
            told: Any = entry if entry.get("conclusive") is not False else {}
            for key in path:
                told = (told or {}).get(key)
            if told is not None:
                found.append(told)
        return max(found, default=None)


def _changed(plugin: type[plugins.Plugin], given: Mapping[str, Any]) -> list[str]:
    """What is not as it comes, as far as it can be said in a word."""
    usual = plugin.model_fields
    other = {key: value for key, value in given.items() if key not in usual or usual[key].default != value}
    return [f"{key} {value}" for key, value in other.items() if isinstance(value, str | int | float)]


def main() -> None:
    """Read all runs, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "leaderboard.md")
    options = parser.parse_args()
    fields: dict[tuple[str, str], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for field, entry, run in _read(options.runs):
        fields[field][entry].append(run)
    if not fields:
        sys.exit("error: no run that counts lies here; allowed: runs that ended, of the preset default or paper")
    before, _, _ = (ROOT / "docs" / "leaderboard.md").read_text(encoding="utf-8").partition(MARK)
    options.out.write_text(before + MARK + "\n" + "\n".join(_tables(fields)), encoding="utf-8")
    print(f"{options.out}: {sum(map(len, fields.values()))} entries")


MARK = "<!-- below: by `scripts/make leaderboard`, of stored runs -->"


def _read(folders: Iterable[Path]) -> Iterable[tuple[tuple[str, str], str, Run]]:
    for path in sorted({file for folder in folders for file in folder.rglob("result.json")}):
        try:
            scenario = yaml.safe_load((path.parent / "scenario.yaml").read_text(encoding="utf-8"))
            run = Run(scenario, json.loads(path.read_text(encoding="utf-8")))
            if run.counts:
                yield run.field, run.entry, run
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            print(f"left out: {path.parent}: {type(error).__name__} {error}", file=sys.stderr)


def _tables(fields: Mapping[tuple[str, str], Mapping[str, Sequence[Run]]]) -> Iterable[str]:
    for (films, preset), entries in sorted(fields.items()):
        yield f"\n## {films}; preset {preset}\n"
        yield "| " + " | ".join(HEAD) + " |"
        yield "|---" * len(HEAD) + "|"
        for entry, runs in sorted(
            entries.items(), key=lambda item: -(_mean(run.utility("trained") for run in item[1]) or 0)
        ):
            yield "| " + " | ".join(_row(entry, runs)) + " |"
        yield ""


def _row(entry: str, runs: Sequence[Run]) -> Sequence[str]:
    megabytes = fmean(run.result["cost"]["bytes_up"] / len(run.result["sites"]) for run in runs) / 1e6
    return (
        f"`{entry}`",
        str(len({run.result["run"]["seed"] for run in runs})),
        _told(_mean(run.utility("trained") for run in runs)),
        _told(_mean(run.utility("frozen") for run in runs)),
        *(_linked([run for run in runs if run.people == people]) for people in PEOPLE),
        _linked([run for run in runs if run.people is None]),
        _told(_mean(run.best("membership", "auc", "value") for run in runs)),
        _told(_mean(run.best("reconstruction", "ssim", "value") for run in runs)),
        f"{megabytes:.1f}",
        _guarantee(runs),
    )


def _linked(runs: Sequence[Run]) -> str:
    """The mean over seeds of the worst attacker, and the widest of its intervals."""
    told = [found for run in runs if (found := run.linked()) is not None]
    if not told:
        return ""
    spans = [interval for _, interval in told if interval is not None]
    widest = max(spans, key=lambda one: one[1] - one[0], default=None)
    return f"{figure(fmean(value for value, _ in told))} ({span(widest)})"


def _guarantee(runs: Sequence[Run]) -> str:
    formal = [told for run in runs if (told := run.result["privacy"]["formal"])]
    return f"epsilon {max(one['epsilon'] for one in formal):.3g} per {formal[0]['unit']}" if formal else "none"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _told(value: float | None) -> str:
    return "" if value is None else figure(value)


if __name__ == "__main__":
    main()
