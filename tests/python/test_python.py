"""What is typed in Python gives what the commands give: the same runs, as objects, and the same errors."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer.testing
from small import SMALL, figures

import fedcxr
from fedcxr import cli, orders
from fedcxr.errors import ConfigError, ControlFailed, DataError, FedcxrError, UnknownName
from fedcxr.python import Result, StudyResult
from fedcxr.runs import Run
from fedcxr.runs.comparison import FIGURES
from fedcxr.runs.study import Study
from fedcxr.scenario import Scenario
from fedcxr.verdict import Figure

QUICKLY: dict[str, Any] = {"engine": "inline", "progress": False}
NOBODY: dict[str, Any] = {"tasks": {}, "adversaries": {}}
TINY: dict[str, Any] = {"cohort": {"source": "phantom", "patients": 20, "size": 16}, "sites": 2, **NOBODY}


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Result:
    document = {key: value for key, value in SMALL.items() if key not in ("sites", "method")}
    out = tmp_path_factory.mktemp("called")
    return fedcxr.simulate(document, sites=3, method="noise", scale=0.1, out=out, **QUICKLY)


@pytest.mark.slow
def test_a_call_gives_what_the_command_gives(called: Result, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(Scenario.parse(SMALL).to_yaml())
    typed = ["simulate", str(scenario), "--engine", "inline", "--out", str(tmp_path)]
    done = typer.testing.CliRunner().invoke(cli.app, typed, standalone_mode=False)
    assert done.exception is None
    command = Run.place(tmp_path, Scenario.parse(SMALL)).result
    assert command is not None
    assert figures(command) == figures(dict(called.document))
    assert called.folder.name == Run.place(tmp_path, Scenario.parse(SMALL)).folder.name


@pytest.mark.slow
def test_a_result_is_an_object_that_nobody_changes(called: Result) -> None:
    told = called.document["privacy"]["worst_case"]["auc"]
    assert called.worst_case == Figure.of(told)
    assert [site.name for site in called.sites] == ["site-1", "site-2", "site-3"]
    assert {one.attacker for one in called.attackers} == {e["attacker"] for e in called.document["privacy"]["attacks"]}
    assert called.formal is None
    frame = called.frame().set_index("figure")
    assert frame.loc["privacy.worst_case.auc", "value"] == told["value"]
    assert all(path.suffix == ".png" for path in called.pictures())
    assert fedcxr.load(called.folder) == called
    assert {one["recipient"] for one in called.dpia()["recipients"]} == {"server", "partner", "public"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        called.folder = Path()  # type: ignore[misc]


@pytest.mark.slow
def test_a_control_that_failed_is_raised_where_that_is_wanted(called: Result) -> None:
    """Of so few films nothing can be learnt, so that controls fail."""
    with pytest.raises(ControlFailed, match="proves nothing"):
        orders.demand_controls(called.document)


class Tags(HTMLParser):
    """Which elements there are, and what they ask for from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [str(value) for name, value in attrs if name in ("src", "href")]


def document(**changes: Any) -> dict[str, Any]:
    figure = {"value": 0.7, "ci95": [0.6, 0.8]}
    return {
        "schema": 1,
        "run": {"method": "noise", "seed": 0},
        "sites": [],
        "utility": {"findings": {"trained": {"mean_auc": figure}}},
        "privacy": {"worst_case": None, "formal": None},
        "cost": {},
        **changes,
    }


def test_a_notebook_shows_text_as_text_and_asks_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "<b>.png").write_bytes(b"\x89PNG")
    run = Result(tmp_path, document(run={"method": "<script>alert(1)</script>", "seed": 0}))
    tags = Tags()
    tags.feed(run._repr_html_())
    assert "script" not in tags.tags
    assert "b" not in tags.tags
    assert tags.tags.count("img") == 1
    assert all(source.startswith("data:image/png;base64,") for source in tags.sources)
    assert "0.700" in run._repr_html_()
    assert "unknown" in run._repr_html_()  # nobody attacked, which is no figure of 0


def test_a_frame_without_pandas_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r'pip install "fedcxr\[notebook\]"'):
        Result(tmp_path, document()).frame()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"method": "noise", "scael": 0.2}, UnknownName, "did you mean 'scale'"),
        ({"method": "nose"}, UnknownName, "did you mean 'noise'"),
        ({"engine": "rays"}, UnknownName, "did you mean 'ray'"),
        ({"settings": {"cohort.patients": object}}, ConfigError, "no plain value"),
        ({"settings": {"cohort..size": 3}}, ConfigError, "needs a key"),
        ({"sites": "many"}, ConfigError, "sites"),
        ({"scenario": "/nowhere/scenario.yaml"}, ConfigError, "cannot read the scenario"),
        ({"ray_address": "here:1", "engine": "inline"}, ConfigError, "needs the engine ray"),
        ({"fresh_secret": True, "resume": True}, ConfigError, "a secret already"),
    ],
)
def test_what_is_wrong_is_raised_before_anything_runs(
    arguments: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        fedcxr.simulate(**{"out": tmp_path, **arguments})
    assert not list(tmp_path.iterdir())


def test_a_call_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    before, mask = dict(os.environ), os.umask(0o022)
    try:
        fedcxr.simulate(TINY, method="noise", out=tmp_path, **QUICKLY)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(mask)
    assert dict(os.environ) == before


def test_after_a_package_was_imported_its_name_is_still_what_is_called() -> None:
    importlib.import_module("fedcxr.audit")
    with pytest.raises(DataError, match="no such folder"):
        fedcxr.audit(original="/nowhere", released="/nowhere-else")
    with pytest.raises(AttributeError, match="'fedcxr' has no attribute 'simulat'"):
        fedcxr.simulat  # noqa: B018
    assert {"simulate", "study", "audit", "load", "__version__"} <= set(dir(fedcxr))
    assert issubclass(ConfigError, FedcxrError)


@pytest.mark.slow
def test_a_study_is_conducted_from_a_mapping_and_compared(tmp_path: Path) -> None:
    plan = {"name": "tiny", "scenario": {**TINY, "method": "noise"}, "grid": {"method.scale": [0.1, 0.2]}}
    plan["constraints"] = ["cost.bytes_up <= 1"]
    told = fedcxr.study(plan, out=tmp_path, jobs=2, **QUICKLY)
    assert [arm.differs for arm in told.arms] == [{"method.scale": 0.1}, {"method.scale": 0.2}]
    assert [arm.meets for arm in told.arms] == [False, False]
    assert told.arms[0].constraints[0]["because"]
    assert len(told.results()) == 2
    assert told.frame()["policy"].tolist() == ["scale 0.1", "scale 0.2"]
    assert told.frame()["worst"].isna().all()


def test_a_study_tells_of_every_task_that_was_measured(tmp_path: Path) -> None:
    known, unknown = {"mean": 0.9, "std": None, "ci95": [0.8, 1.0]}, {"mean": None, "std": None, "ci95": None}
    row: dict[str, Any] = {"name": "films", "differs": {}, "conclusive": None, "meets": None, "constraints": []}
    row |= {"folders": [], "figures": {**dict.fromkeys(FIGURES, unknown), "trained": known}}
    told = StudyResult(
        tmp_path,
        {
            "study": "board",
            "tasks": {"findings": {}, "texture": {}},
            "rows": [{**row, "tasks": {"findings": known, "texture": known}}, {**row, "tasks": {}}],
        },
    )
    assert [arm.tasks["texture"] for arm in told.arms] == [Figure(0.9, 0.8, 1.0), Figure(None)]
    frame = told.frame()
    assert frame["texture low"].tolist()[0] == 0.8
    assert frame["texture"].isna().tolist() == [False, True]
    assert "findings" not in frame  # whose main figure is `trained`
    shown = told._repr_html_()
    assert "<th>trained</th><th>texture</th>" in shown
    assert "<td>0.900</td><td>unknown</td>" in shown


def test_a_study_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'grid'"):
        fedcxr.study({"gird": {}}, out=tmp_path)
    with pytest.raises(UnknownName, match="unknown engine"):
        fedcxr.study({}, engine="rays", out=tmp_path)
    assert not list(tmp_path.iterdir())
    assert Study.model_fields.keys() >= {"grid"}
    assert isinstance(StudyResult(tmp_path, {"study": "<i>", "tasks": {}, "rows": []})._repr_html_(), str)
    assert "<i>" not in StudyResult(tmp_path, {"study": "<i>", "tasks": {}, "rows": []})._repr_html_()
    with pytest.raises(ConfigError, match="not a run"):
        fedcxr.load(tmp_path)
