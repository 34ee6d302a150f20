"""A study runs each of its scenarios once, survives those that fail, and compares what the others say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedcxr.errors import ConfigError, UnknownName
from fedcxr.runs.study import FIGURES, Options, Study, compare, conduct, keep, load, table

TINY: dict[str, Any] = {
    "sites": 2,
    "cohort": {"source": "phantom", "patients": 20, "size": 16},
    "tasks": {},
    "adversaries": {},
}


def written(tmp_path: Path, **document: Any) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({"name": "tiny", "scenario": TINY, **document}))
    return path


def test_every_case_meets_every_value_and_seed(tmp_path: Path) -> None:
    study = Study.read(
        written(
            tmp_path,
            cases=[{"method": "noise"}, {"method": {"name": "noise", "distribution": "laplace"}}],
            grid={"method.scale": [0.1, 0.2], "sites": [2, 3]},
            seeds=[0, 1],
        )
    )
    cells = list(study.cells())
    assert study.size == 16
    assert len(cells) == 8
    assert len({cell.scenario(seed).id + str(seed) for cell in cells for seed in study.seeds}) == 16
    assert cells[-1].scenario(1).method.spec() == {
        **cells[0].scenario(0).method.spec(),
        "distribution": "laplace",
        "scale": 0.2,
    }
    assert cells[-1].scenario(1).site_names == ("site-1", "site-2", "site-3")
    assert cells[0].described() == "noise, scale 0.1, sites 2"


@pytest.mark.parametrize(
    ("document", "error", "said"),
    [
        ({"grid": {"method.scael": [0.1]}}, UnknownName, "did you mean 'scale'"),
        ({"grid": {"method.scale": 0.1}}, ConfigError, "grid.method.scale"),
        ({"grid": {"method.scale": []}}, ConfigError, "no runs"),
        ({"grid": {"a..b": [1]}}, ConfigError, "not a key"),
        ({"seeds": []}, ConfigError, "seeds"),
        ({"cases": []}, ConfigError, "cases"),
        ({"name": "../up"}, ConfigError, "name"),
        ({"grid": {"seed": list(range(101)), "sites": list(range(1, 101))}}, ConfigError, "too large"),
        ({"scenarios": []}, UnknownName, "did you mean 'scenario'"),
    ],
)
def test_what_a_study_may_not_say(tmp_path: Path, document: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Study.read(written(tmp_path, **{"scenario": {**TINY, "method": "noise"}, **document}))


def test_the_studies_that_are_shipped_can_be_read(root: Path) -> None:
    files = sorted((root / "configs" / "studies").glob("*.yaml"))
    assert files
    for file in files:
        assert Study.read(file).size > 1


@pytest.mark.slow
def test_a_study_goes_on_where_it_stopped_and_past_what_fails(tmp_path: Path) -> None:
    # With 40 sites some have no patients.
    study = Study.read(written(tmp_path, cases=[{"method": "noise"}], grid={"sites": [2, 40]}))
    told: list[str] = []
    failures = conduct(study, Options(tmp_path, engine="inline"), told.append)
    assert len(failures) == 1
    assert "more sites than" in failures[0]
    assert told[0] == "tiny: 0 of 2 runs are on file"
    told.clear()
    assert len(conduct(study, Options(tmp_path, engine="inline", resume=True), told.append)) == 1
    assert told[0] == "tiny: 1 of 2 runs are on file"
    comparison = compare(study, tmp_path)
    keep(comparison, tmp_path)
    assert load(tmp_path / "tiny") == json.loads(json.dumps(comparison))
    assert [row["runs"] for row in comparison["rows"]] == [1, 0]
    assert table(comparison).splitlines()[-1].startswith("| noise, sites 40 | 0 | unknown |")


def test_figures_are_means_and_spreads_over_seeds(tmp_path: Path) -> None:
    study = Study.read(written(tmp_path, seeds=[0, 1]))
    cell = next(study.cells())
    from fedcxr.runs import Run

    for seed, value in ((0, 0.6), (1, 0.8)):
        folder = Run.place(tmp_path, cell.scenario(seed)).folder
        folder.mkdir(parents=True)
        attack = {"attacker": "naive", "auc": {"value": value}, "conclusive": seed == 0}
        result = {
            "utility": {"findings": None},
            "privacy": {"attacks": [attack], "worst_case": {"auc": {"value": 1.0}}},
        }
        (folder / "result.json").write_text(json.dumps(result))
    row = compare(study, tmp_path)["rows"][0]
    assert row["figures"]["naive"] == {"mean": pytest.approx(0.7), "std": pytest.approx(0.1414, abs=1e-4)}
    assert row["figures"]["worst"] == {"mean": 1.0, "std": 0.0}
    assert row["figures"]["trained"] == {"mean": None, "std": None}
    assert row["conclusive"] is False
    assert set(row["figures"]) == set(FIGURES)
