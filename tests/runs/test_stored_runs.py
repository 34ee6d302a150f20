"""What is on file is listed and compared as it lies there; what is damaged is named, and the rest still shown."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from runs_by_hand import outlined

from fedcxr.cli.runs import runs_compare, runs_diff, runs_list, runs_show
from fedcxr.cli.tables import show
from fedcxr.errors import ConfigError, DataError, OtherVersion, UnknownName
from fedcxr.runs import beside, listing
from fedcxr.runs.figures import figures
from fedcxr.runs.stored import Stored, found
from fedcxr.storage.disk import write_json
from fedcxr.verdict import Figure

RESULT: dict[str, Any] = {
    "schema": 1,
    "run": {"id": "noise", "method": "noise", "seed": 0, "device": "cpu"},
    "scenario": {"method": {"name": "noise"}},
    "environment": {"torch": "2.15.0", "numpy": "2.4", "python": "3.11", "platform": "Linux", "precision": "fp32"},
    "sites": [{"name": "site-1", "status": "ok"}],
    "utility": {"findings": {"trained": {"mean_auc": {"value": 0.8, "ci95": [0.75, 0.85]}}}},
    "privacy": {
        "attacks": [
            {
                "question": "linkage",
                "adversary": "verifier",
                "attacker": "naive",
                "auc": {"value": 0.7, "ci95": [0.6, 0.8]},
                "rank1": 0.25,
                "seconds": 3.0,
            }
        ],
        "worst_case": {"auc": {"value": 0.7, "ci95": [0.6, 0.8]}},
        "formal": None,
    },
    "cost": {"bytes_up": 1000, "seconds": {"total": 5.0}},
}
SCENARIO: dict[str, Any] = {"name": "hand", "seed": 0, "method": {"name": "noise", "scale": 0.1}}


def written(out: Path, fingerprint: str, result: Any = RESULT, code: str = "a", **scenario: Any) -> Path:
    """A run's folder, as far as a reader of finished runs looks into it."""
    document = SCENARIO | scenario
    folder: Path = out / document["name"] / f"{document['method']['name']}-{fingerprint * 32}-{document['seed']}"
    (folder / "releases").mkdir(parents=True)
    write_json(folder / "run.json", {"format": 2, "versions": {"fedcxr": code}})
    (folder / "scenario.yaml").write_text(yaml.safe_dump(document))
    write_json(folder / "releases" / "site-1.json", {"digest": "d" * 64})
    if result is not None:
        write_json(folder / "result.json", result)
    return folder


def changed(auc: list[float]) -> dict[str, Any]:
    """The result with another AUC of the trained classifier: its value and the ends of its interval."""
    other = deepcopy(RESULT)
    other["utility"]["findings"]["trained"]["mean_auc"] = {"value": auc[0], "ci95": auc[1:]}
    return other


# Lists ----------------------------------------------------------------------------------------------------------------


def test_runs_are_listed_with_their_figures_and_damaged_ones_with_the_reason(tmp_path: Path) -> None:
    done, unfinished, cut = (
        written(tmp_path, digit, result) for digit, result in zip("abc", (RESULT, None, None), strict=True)
    )
    (cut / "result.json").write_text('{"schema": 1, "sit')
    told = {one.folder: one for one in listing.below(tmp_path)}
    assert told[str(done)].state == "done"
    assert told[str(done)].figures == {"trained": 0.8, "worst": 0.7, "member": None}
    assert told[str(unfinished)].state == "unfinished"
    assert told[str(cut)].state == "damaged"
    assert "result.json" in str(told[str(cut)].because)


def test_a_run_without_findings_is_known_by_the_main_figures_of_its_tasks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    outlines = {"segmentation": outlined(0.9), "fidelity": {"ssim": {"value": 0.5}}, "theirs:Task": {"value": 0.4}}
    both = written(tmp_path, "a", RESULT | {"utility": {**RESULT["utility"], **outlines}})
    runs_list(tmp_path)
    assert "segmentation" not in capsys.readouterr().out  # findings tell them apart
    alone = written(tmp_path, "b", RESULT | {"utility": outlines}, method={"name": "sealed"})
    written(tmp_path, "c", method={"name": "none"})
    told = {one.folder: one for one in listing.below(tmp_path)}
    assert told[str(alone)].tasks == told[str(both)].tasks == {"segmentation": 0.9}
    assert told[str(alone)].figures["trained"] is None
    shown = listing.table(list(told.values()))
    cells = {row.about: dict(zip(shown.heads, row.cells, strict=True)) for row in shown.rows}
    assert {about.partition("-")[0]: (one["trained"], one["segmentation"]) for about, one in cells.items()} == {
        "noise": ("0.800", "0.900"),
        "sealed": ("", "0.900"),
        "none": ("0.800", ""),
    }
    assert any(note.startswith("segmentation: Dice, how well") for note in shown.notes)
    runs_compare(["noise-a", "sealed-b"], tmp_path)
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["segmentation", "0.900", "0.900"] in said
    assert ["trained", "0.800"] in said


@pytest.mark.parametrize(
    "result",
    [
        [],
        {"schema": 1},
        RESULT | {"schema": 2},
        {"schema": 1, "sites": 3},
        {"schema": 1, "sites": [{}]},
        RESULT | {"privacy": None},
    ],
)
def test_whatever_lies_there_ends_no_list(tmp_path: Path, result: Any) -> None:
    written(tmp_path, "a", result)
    whole = written(tmp_path, "b")
    states = {one.folder: one.state for one in listing.below(tmp_path)}
    assert len(states) == 2
    assert states.pop(str(whole)) == "done"
    assert set(states.values()) == {"damaged"}


def test_a_list_fits_an_ordinary_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    formal = {"epsilon": 2.9979722, "delta": 1e-5, "unit": "pixel_neighbourhood"}
    told = deepcopy(RESULT) | {"privacy": RESULT["privacy"] | {"formal": formal}}
    written(tmp_path, "a", told, method={"name": "prichexy_net"}, seed=1234)
    written(tmp_path, "b", None, name="another-study-with-a-name")
    runs_list(tmp_path)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "per pixel_neighbourhood" in said
    assert "unfinished" in said


def test_runs_at_hospitals_lie_in_the_coordinators_kit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fedcxr.cli.options import Format

    folder = written(tmp_path / "kit" / "runs", "a")
    runs_list(kit=tmp_path / "kit", format=Format.json)
    [told] = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(folder)


@pytest.mark.parametrize(
    "wrong", [{"utility": {"findings": 3}}, {"cost": {"seconds": 5}}, {"privacy": {"attacks": [3], "worst_case": None}}]
)
def test_whoever_shows_or_compares_a_damaged_run_says_so_in_a_line(
    tmp_path: Path, wrong: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, "a", RESULT | wrong)
    written(tmp_path, "b")
    with pytest.raises(DataError, match="what is stored of this run is damaged"):
        runs_show("noise-a", tmp_path)
    with pytest.raises(DataError, match="1 of 2 runs cannot be compared"):
        runs_compare(["noise-a", "noise-b"], tmp_path)
    said = capsys.readouterr()
    assert "noise-bbbbbbbb-0" in said.out
    assert "left out: what is stored of this run is damaged" in said.err


@pytest.mark.parametrize(
    "wrong",
    [
        {"utility": {"findings": {"value": "much"}}},
        {"utility": {"findings": {"value": 1.0, "ci95": [0.5]}}},
        {"environment": ["torch"]},
    ],
)
@pytest.mark.parametrize("names", [("noise-a", "noise-b"), ("noise-b", "noise-a")])
def test_whoever_asks_what_differs_from_a_damaged_run_is_told_which_that_is(
    tmp_path: Path, wrong: dict[str, Any], names: tuple[str, str]
) -> None:
    folder = written(tmp_path, "a", RESULT | wrong)
    written(tmp_path, "b")
    with pytest.raises(DataError, match=f"what is stored of this run is damaged; given: {folder}"):
        runs_diff(*names, tmp_path)


def test_a_note_of_another_shape_is_damage_too(tmp_path: Path) -> None:
    folder = written(tmp_path, "a")
    write_json(folder / "releases" / "site-1.json", ["digest"])
    with pytest.raises(DataError, match=f"is damaged; given: {folder}"):
        Stored.read(folder)


# Names ----------------------------------------------------------------------------------------------------------------


def test_a_run_is_found_by_path_name_and_beginning(tmp_path: Path) -> None:
    first, second = written(tmp_path, "a"), written(tmp_path, "b", seed=1)
    assert found(str(first), tmp_path) == first
    assert found("noise-aaaaaaaa-0", tmp_path) == first
    assert found("noise-b", tmp_path) == second
    with pytest.raises(ConfigError, match="several runs are called so; given: noise; allowed: hand/noise-aaaaaaaa-0"):
        found("noise", tmp_path)
    with pytest.raises(UnknownName, match="did you mean 'noise-aaaaaaaa-0'"):
        found("noise-aaaaaaab-0", tmp_path)


@pytest.mark.parametrize(
    ("result", "error", "said"),
    [
        (None, DataError, "no result"),
        ({"schema": 2}, OtherVersion, "another schema; given: 2"),
        ([], OtherVersion, "given: a list"),
        ({"schema": 1, "sites": []}, DataError, "no run, scenario, environment, utility, privacy, cost"),
    ],
)
def test_what_is_no_finished_run_is_refused_in_a_line(
    tmp_path: Path, result: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Stored.read(written(tmp_path, "a", result))


# Comparisons ----------------------------------------------------------------------------------------------------------


def test_figures_are_named_by_where_they_stand_and_times_are_none() -> None:
    told = figures(RESULT)
    assert told["utility.findings.trained.mean_auc"] == Figure(0.8, 0.75, 0.85)
    assert told["privacy.attacks.linkage.verifier.naive.auc"] == Figure(0.7, 0.6, 0.8)
    assert told["privacy.attacks.linkage.verifier.naive.rank1"] == Figure(0.25)
    assert told["privacy.formal"] == Figure(None)
    assert not any("seconds" in name for name in told)


def test_runs_stand_beside_each_other_and_one_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, "a")
    written(tmp_path, "b", changed([0.6, 0.5, 0.7]), method={"name": "noise", "scale": 0.3})
    written(tmp_path, "c", None)
    with pytest.raises(DataError, match="1 of 3 runs cannot be compared"):
        runs_compare(["noise-a", "noise-b", "noise-c"], tmp_path)
    said = capsys.readouterr()
    lines = {line.split("  ")[0]: line.split()[-2:] for line in said.out.splitlines() if line.strip()}
    assert lines["method.scale"] == ["0.1", "0.3"]
    assert lines["trained"] == ["0.800", "0.600"]
    assert "left out: this run has no result" in said.err


def test_a_key_that_one_scenario_lacks_is_not_shown_as_none(tmp_path: Path) -> None:
    runs = [written(tmp_path, "a"), written(tmp_path, "b", method={"name": "dp_pix", "cell": 4})]
    told = beside.compared([Stored.read(run) for run in runs])
    assert [run["differs"] for run in told["runs"]] == [
        {"method.name": "noise", "method.scale": 0.1},
        {"method.name": "dp_pix", "method.cell": 4},
    ]
    assert [row.about for row in beside.compared_table(told).rows][:2] == ["method.name", "trained"]


def differ(tmp_path: Path, left: Any, right: Any, **other: Any) -> dict[str, Any]:
    runs = written(tmp_path / "1", "a", left), written(tmp_path / "2", "a", right, **other)
    return beside.diff(*map(Stored.read, runs))


def test_a_run_that_repeats_is_said_to(tmp_path: Path) -> None:
    told = differ(tmp_path, RESULT, RESULT)
    assert not told["not_reproduced"]
    assert told["figures"] == []
    assert beside.verdict(told)[0].startswith("The same run twice")


def test_the_same_scenario_and_code_with_other_bytes_or_figures_is_said_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = differ(tmp_path, RESULT, changed([0.79, 0.75, 0.85]), name="called-otherwise")
    assert told["not_reproduced"]
    bytes_too = tmp_path / "2" / "called-otherwise" / f"noise-{'a' * 32}-0"
    write_json(bytes_too / "releases" / "site-1.json", {"digest": "e" * 64})
    runs_diff(str(tmp_path / "1" / "hand" / bytes_too.name), str(bytes_too), tmp_path)
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("NOT REPRODUCED")
    assert "releases of site-1 have other digests and 1 figures differ" in " ".join(
        beside.verdict(beside.diff(*(Stored.read(p) for p in (tmp_path / "1" / "hand" / bytes_too.name, bytes_too))))
    )


@pytest.mark.parametrize("other", [{"code": "b"}, {"seed": 1}, {"method": {"name": "noise", "scale": 0.3}}])
def test_of_another_scenario_or_code_other_figures_are_expected(tmp_path: Path, other: dict[str, Any]) -> None:
    told = differ(tmp_path, RESULT, changed([0.6, 0.5, 0.7]), **other)
    assert not told["not_reproduced"]
    assert beside.verdict(told)[0].startswith("Different: ")


@pytest.mark.parametrize(
    ("auc", "said"),
    [([0.6, 0.5, 0.7], "apart"), ([0.7, 0.6, 0.76], "within"), ([0.9, 0.86, 0.95], "apart"), ([0.7], "no interval")],
)
def test_a_difference_is_told_against_both_intervals(tmp_path: Path, auc: list[float], said: str) -> None:
    [one] = differ(tmp_path, RESULT, changed(auc), seed=1)["figures"]
    assert one["figure"] == "utility.findings.trained.mean_auc"
    assert one["difference"] == pytest.approx(auc[0] - 0.8)
    assert one["told"] == said


def test_what_differs_fits_an_ordinary_terminal(tmp_path: Path) -> None:
    from rich.console import Console

    told = differ(tmp_path, RESULT, changed([0.6, 0.5, 0.7]), method={"name": "noise", "scale": 0.3, "where": "x" * 99})
    console = Console(width=80, record=True)
    for table in beside.diff_tables(told):
        show(table, console)
    assert max(map(len, console.export_text().splitlines())) <= 80
