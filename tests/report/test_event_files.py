"""What TensorBoard reads of stored runs is what is on file of them, once, however often it is exported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from runs_by_hand import put, whole

from fedcxr.errors import ConfigError
from fedcxr.learning import Report
from fedcxr.report import event_files
from fedcxr.runs import Run
from fedcxr.scenario import Scenario

NAIVE = "privacy/attacks.linkage.verifier.retrained"


def read(folder: Path) -> tuple[dict[str, list[tuple[int, float]]], list[str]]:
    """Every scalar and the names of all pictures, as TensorBoard itself finds them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    tags: dict[str, Any] = found.Tags()
    scalars = {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in tags["scalars"]}
    return scalars, tags["images"]


def test_every_run_has_figures_curves_and_pictures_once(tmp_path: Path) -> None:
    told = whole(risk=0.75)
    told["utility"]["findings"]["curve"] = [{"round": 0, "mean_auc": 0.5}, {"round": 1, "mean_auc": 0.625}]
    halves = [{"budget": 0.5, "auc": 0.5, "held_out": None}, {"budget": 1.0, "auc": 0.75}]
    told["privacy"]["attacks"].append({**told["privacy"]["attacks"][0], "attacker": "shadows", "curve": halves})
    folder = put(tmp_path / "study", told)
    (folder / "pictures").mkdir()
    Image.new("L", (30, 20)).save(folder / "pictures" / "site-1.png")
    (folder / "pictures" / "site-2.png").write_bytes(b"no picture")
    for _ in range(2):
        (written,) = event_files.write(tmp_path / "study", tmp_path / "events")
    assert [path for path in (tmp_path / "events").rglob("*") if path.is_file()] == [written]
    scalars, pictures = read(written.parent)
    assert scalars[f"{NAIVE}.auc"] == [(0, 0.75)]
    assert dict(scalars[f"{NAIVE}.auc.low"]) == pytest.approx({0: 0.7})
    assert dict(scalars[f"{NAIVE}.auc by budget"]) == pytest.approx({100: 0.65, 200: 0.75})
    by_share = NAIVE.replace("retrained", "shadows") + ".auc by percent of budget"
    assert scalars[by_share] == [(50, 0.5), (100, 0.75)]
    assert scalars["utility/findings.mean_auc by round"] == [(0, 0.5), (1, 0.625)]
    assert pictures == ["pictures/site-1"]


@pytest.mark.parametrize(("asked", "shown"), [(None, []), (True, ["pictures/site-1"])])
def test_pictures_of_patients_are_there_only_if_they_were_asked_for(
    tmp_path: Path, asked: bool | None, shown: list[str]
) -> None:
    told = whole()
    told["scenario"]["cohort"]["source"] = "folder"
    folder = put(tmp_path, told)
    (folder / "pictures").mkdir()
    Image.new("L", (30, 20)).save(folder / "pictures" / "site-1.png")
    (written,) = event_files.write(folder, tmp_path / "events", asked)
    assert read(written.parent)[1] == shown


def test_epsilon_grows_by_rounds_to_what_is_guaranteed_of_all(tmp_path: Path) -> None:
    method = {"name": "dp_sgd", "epsilon": 2.0, "rounds": 3, "start": "scratch"}
    scenario = Scenario.parse({"sites": 1, "method": method, "tasks": {}, "adversaries": {}, "questions": {}})
    run = Run.place(tmp_path, scenario)
    with run.begun(resume=False):
        for number in (1, 2, 3):
            run.store_reports(number, [Report("site-1", number, 5, {})])
        (run.folder / "result.json").write_bytes((put(tmp_path / "by hand", whole()) / "result.json").read_bytes())
    guaranteed = scenario.method.guarantee(run.reports())
    assert guaranteed is not None
    (written,) = event_files.write(run.folder, tmp_path / "events")
    scalars, _ = read(written.parent)
    steps, spent = zip(*scalars["privacy/formal.epsilon per patient by round"], strict=True)
    assert steps == (1, 2, 3)
    assert 0 < spent[0] < spent[1] < spent[2] == pytest.approx(guaranteed.epsilon)


def test_without_the_extra_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.summary_pb2", None)
    with pytest.raises(ConfigError, match=r'pip install "fedcxr\[tensorboard\]"'):
        event_files.write(put(tmp_path, whole()), tmp_path / "events")
    assert not (tmp_path / "events").exists()
