"""The comparison that others can join: rows of stored runs alone, and nothing made up for what no run has asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from runs_by_hand import put, whole

ROOT = Path(__file__).resolve().parents[2]
FIELD = {"cohort": {"source": "phantom", "patients": 800, "size": 64}, "sites": 5, "partition": {"by": "source"}}


def stored(runs: Path, method: dict[str, Any], seed: int, people: int | None = None, **changes: Any) -> Path:
    told = whole(seed=seed, method=method["name"], **changes)
    told["run"] |= {"id": f"{method['name']}-{people}-{len(method)}", "preset": "default", "complete": True}
    folder = put(runs, told)
    knowledge = {"own_films": "train" if people is None else {"people": people}, "pairs": 0}
    (folder / "scenario.yaml").write_text(yaml.safe_dump({**FIELD, "method": method, "knowledge": knowledge}))
    return folder


def made(runs: Path, out: Path) -> tuple[dict[str, list[str]], str]:
    script = ROOT / "scripts" / "makes" / "leaderboard.py"
    done = subprocess.run(
        [sys.executable, str(script), str(runs), "--out", str(out)], capture_output=True, text=True, check=True
    )
    lines = [line.strip("| ") for line in out.read_text().partition("by `scripts/make leaderboard`")[2].splitlines()]
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines if line.startswith("`")]
    return {row[0].strip("`"): row[1:] for row in rows}, done.stderr


def test_each_method_has_a_row_of_its_own_seeds_and_people(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    stored(runs, {"name": "noise"}, 0, useful=0.80, risk=0.90)
    stored(runs, {"name": "noise"}, 1, useful=0.84, risk=0.94)
    stored(runs, {"name": "noise"}, 0, people=1000, risk=0.97)
    stored(runs, {"name": "noise", "scale": 1.0}, 0, useful=0.60, risk=0.70)
    rows, said = made(runs, tmp_path / "board.md")
    assert list(rows) == ["noise", "noise scale 1.0"]
    seeds, trained, _, thousand, many, default, member, picture, sent, guarantee = rows["noise"]
    assert (seeds, trained, many, member, picture, sent, guarantee) == ("2", "0.813", "", "", "", "2.0", "none")
    assert thousand.startswith("0.970 (")
    assert default.startswith("0.920 (")
    assert said == ""


def test_what_proves_nothing_or_cannot_be_read_is_no_figure(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    folder = stored(runs, {"name": "noise"}, 0)
    told = json.loads((folder / "result.json").read_text())
    told["privacy"]["worst_case"]["conclusive"] = False
    (folder / "result.json").write_text(json.dumps(told))
    cut = stored(runs, {"name": "dp_pix"}, 0)
    (cut / "result.json").write_text('{"run": ')
    quick = stored(runs, {"name": "none"}, 0)
    (quick / "result.json").write_text((quick / "result.json").read_text().replace('"default"', '"quick"'))
    rows, said = made(runs, tmp_path / "board.md")
    assert list(rows) == ["noise"]
    assert rows["noise"][5] == ""
    assert said.count("left out") == 1
    assert str(cut) in said
