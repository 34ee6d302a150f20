"""Hospitals' logs as a coordinator keeps and shows them: a few words of each answer, however anybody writes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedcxr import cli
from fedcxr.answer import Answer
from fedcxr.runs import Run, site_logs
from fedcxr.scenario import Scenario

LOG = "keys 1, scenario 0, films 3, work 120, limits 0, sign 2"


def test_each_answer_is_a_line_of_its_hospitals(tmp_path: Path) -> None:
    site_logs.keep(tmp_path, "mercy", "learn", 2, Answer("mercy", "ok", log=LOG))
    few = Answer("charite", "refused", "too few films", "sites/premises.py:128", log="keys 1, scenario 0")
    site_logs.keep(tmp_path, "charite", "release", 1, few)
    site_logs.keep(tmp_path, "ukb", "release", 1, Answer("ukb", "ok"))  # its profile does not say `log`
    assert site_logs.lines(tmp_path) == [
        "charite  release, round 1: keys 1 s, scenario 0 s; too few films (sites/premises.py:128)",
        "mercy  learn, round 2: keys 1 s, scenario 0 s, films 3 s, work 120 s, limits 0 s, sign 2 s; ok",
    ]
    assert [file.stat().st_mode & 0o77 for file in (tmp_path / site_logs.FOLDER).parent.glob("logs")] == [0]


def test_runs_show_prints_them_also_where_too_few_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.place(tmp_path, Scenario.parse({"method": "noise"}))
    with run.begun(resume=False):
        site_logs.keep(run.folder, "mercy", "release", 1, Answer("mercy", "refused", "too few films", log="keys 1"))
    monkeypatch.setattr(sys, "argv", ["fedcxr", "runs", "show", str(run.folder)])
    with pytest.raises(SystemExit, match="3"):
        cli.main()
    said = capsys.readouterr()
    assert said.out == "mercy  release, round 1: keys 1 s; too few films\n"
    assert "this run has no result" in said.err


def test_a_hospital_cannot_fill_the_coordinators_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_logs, "LARGEST", 1000)
    for turn in range(100):
        site_logs.keep(tmp_path, "mercy", "learn", turn, Answer("mercy", "ok", log=LOG))
    assert (tmp_path / site_logs.FOLDER / "mercy.jsonl").stat().st_size < 2000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.dictionaries(
        st.sampled_from(["work", "round", "status", "steps", "reason", "place"]),
        st.sampled_from([LOG, "\x1b[2J", None, 1]) | st.text(max_size=20) | st.lists(st.none(), max_size=2),
    ).map(lambda told: json.dumps(told).encode())
)
def test_whatever_is_in_the_file_a_terminal_only_shows_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / site_logs.FOLDER).mkdir(exist_ok=True)
    (tmp_path / site_logs.FOLDER / "mercy.jsonl").write_bytes(data)
    for line in site_logs.lines(tmp_path):
        assert line.isprintable()
        assert len(line) < 300
