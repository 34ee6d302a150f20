"""Work as it goes on: how much of it is done never goes back, and stages have names that people understand."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from fedcxr.cli import progress
from fedcxr.cli.journey import Journey, lasting, named
from fedcxr.cli.progress import Tail, followed
from fedcxr.cli.site_progress import Sites
from fedcxr.cli.study_progress import StudyScreen, remaining
from fedcxr.runs import stages
from fedcxr.runs.conduct import Standing
from fedcxr.runs.constraints import Constraint
from fedcxr.runs.study import Trial
from fedcxr.scenario import Scenario

SCENARIO = Scenario.parse({"sites": 2, "method": "noise"})
PLANNED = stages.planned(SCENARIO)


def told(stage: str, done: int, total: int = 10) -> dict[str, Any]:
    return {"event": "progress", "stage": stage, "done": done, "total": total}


RUN = [
    told("sites", 0, 2),
    {"event": "stage", "name": "starting Ray", "over": False},
    told("findings clean", 5),
    told("sites", 2, 2),
    {"event": "stage", "name": "collect", "over": True},
    told("attack linkage protected: verifier retrained", 3),
    told("findings clean", 10),
    told("attack linkage control_raw: verifier clean", 10),
    {"event": "stage", "name": "access", "over": True},
    {"event": "stage", "name": "utility-findings", "over": True},
    {"event": "stage", "name": "attack-verifier", "over": True},
]


LOST = {"event": "site", "site": "site-2", "status": "dropped", "round": 1, "reason": "it [broke]"}


def visit(site: str, what: str, **more: Any) -> dict[str, Any]:
    return {"event": "visit", "time": 100.0, "site": site, "round": 1, "what": what, **more}


HOSPITALS = ("charite", "mercy", "ukb")
VISITS = [
    {"event": "begun"},
    *(visit(site, "connected") for site in HOSPITALS),
    *(visit(site, "asked", work="learn") for site in HOSPITALS),
    visit("charite", "answered", work="learn"),
    visit("mercy", "answered", work="learn"),
    {**LOST, "site": "ukb"},
    visit("charite", "asked", work="learn", round=2),
    visit("charite", "answered", work="learn", round=2),
    visit("charite", "asked", work="release"),
    visit("mercy", "asked", work="release"),
    {"event": "site", "time": 101.0, "site": "charite", "round": 1, "status": "ok", "released": 170, "reason": None},
]


def test_what_is_planned_is_what_a_run_keeps() -> None:
    assert PLANNED == ("collect", "utility-findings", "attack-verifier")
    assert stages.attack("my:Attack") == "attack-my.Attack"


@settings(max_examples=30)
@given(st.permutations(RUN), st.booleans())
def test_done_never_goes_back_and_ends_at_all(events: list[dict[str, Any]], learns: bool) -> None:
    journey, before = Journey(PLANNED, learns), 0.0
    for number, event in enumerate(events, start=1):
        journey.hear(event)
        assert before <= journey.done <= 1.0
        assert journey.done < 1.0 or number >= 3
        before = journey.done
    assert journey.done == pytest.approx(1.0)
    assert journey.left(60.0) == pytest.approx(0.0)


def test_before_anything_is_done_nobody_knows_how_long_it_takes() -> None:
    journey = Journey(PLANNED)
    assert journey.left(3.0) is None
    journey.hear({"event": "stage", "name": "collect", "over": True})
    assert journey.left(30.0) == pytest.approx(30.0 * 3 / 1.5)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("sites", "hospitals release their films"),
        ("findings clean", "findings, learning from unprotected films"),
        ("findings without a key", "findings, learning from what shows without a key"),
        (
            "attack linkage control_raw: verifier retrained",
            "attack (linkage) by verifier, learning from protected films, as a control: unprotected films",
        ),
        ("attack linkage protected: support", "attack (linkage) by support"),
        ("site-2: codec", "site-2: codec"),
    ],
)
def test_stages_have_names(stage: str, words: str) -> None:
    assert named(stage) == words


def played(
    folder: Path,
    terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    sites: Sites | None = None,
    heard: Sequence[dict[str, Any]] = (*RUN[:6], LOST),
) -> str:
    monkeypatch.setattr(progress, "LOOK_EVERY", 0.01)
    said, events = io.StringIO(), folder / "events.jsonl"
    console = Console(file=said, width=60, height=20, force_terminal=terminal, highlight=False)
    with followed(Tail(events), Journey(PLANNED), console, sites):
        events.write_text("".join(json.dumps(event) + "\n" for event in heard))
        time.sleep(0.4)
    return said.getvalue()


def test_without_a_terminal_every_stage_is_one_whole_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.strip().split("  ", 1)[-1] for line in played(tmp_path, False, monkeypatch).splitlines()]
    assert lines == [
        "hospitals release their films",
        "starting Ray",
        "findings, learning from unprotected films",
        "attack (linkage) by verifier, learning from protected films",
        "site-2 dropped, round 1: it [broke]",
    ]


def test_on_a_terminal_there_is_one_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = played(tmp_path, True, monkeypatch).rsplit("━", 1)[-1]
    assert "left" in last
    assert "attack (linkage) by verifier" in last


def test_each_hospital_has_a_line_and_news_are_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sites = Sites(HOSPITALS)
    assert sites.lines(0.0, 9) == [f"  {site:7}  not connected yet" for site in HOSPITALS]
    said = played(tmp_path, False, monkeypatch, sites, VISITS).splitlines()
    assert [line.strip().split("  ", 1)[-1] for line in said] == [
        *(f"{site} is connected" for site in HOSPITALS),
        *(f"{site} learns, round 1" for site in HOSPITALS),
        "ukb dropped, round 1: it [broke]",
        *(f"{site} releases its films" for site in HOSPITALS[:2]),
        "charite released 170 films",
    ]
    assert sites.lines(107.4, 9) == [
        "  charite  released 170 films",
        "  mercy    releases its films, for 7 s",
        "  ukb      dropped, round 1: it [broke]",
    ]
    assert sites.lines(107.4, 2)[1:] == ["  and 2 more"]
    (tmp_path / "again").mkdir()
    drawn = played(tmp_path / "again", True, monkeypatch, Sites(HOSPITALS), VISITS).rsplit("━", 1)[-1]
    assert "  charite  released 170 films" in drawn


def test_whoever_joins_a_run_hears_this_attempt_from_its_beginning_and_no_other(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    assert list(Tail(events, since="begun").new()) == []
    events.write_text("".join(json.dumps(event) + "\n" for event in [*VISITS, LOST, *VISITS[:2]]))
    assert list(Tail(events).new()) == []
    assert list(Tail(events, since="begun").new()) == VISITS[1:2]


def test_times_are_told_as_people_say_them() -> None:
    assert [lasting(seconds) for seconds in (7.4, 89.0, 90.0, 3600.0, 7200.0)] == [
        "7 s",
        "89 s",
        "2 min",
        "60 min",
        "2.0 h",
    ]


def test_how_long_a_study_takes_by_hand() -> None:
    assert remaining([], [], 3, 1) is None
    assert remaining([], [(10.0, 0.25)], 2, 1) == pytest.approx(30 + 80)
    assert remaining([20.0, 40.0], [(10.0, 0.9)], 2, 1) == pytest.approx(20 + 60)
    assert remaining([20.0, 40.0], [(10.0, 0.9), (50.0, 0.9)], 2, 2) == pytest.approx((20 + 60) / 2)


def test_a_study_is_a_table_with_what_is_left(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=60, height=8, force_terminal=True)
    screen = StudyScreen(console, jobs=1)
    for number in (1, 2):
        standing = Standing(number, 3, Trial(SCENARIO, "noise, seed 0", ()), tmp_path)
        screen.seen(standing)
        if number == 1:
            screen.seen(replace(standing, state="done"))
    with console.capture() as captured:
        console.print(screen.drawn())
        screen.told("1 of 3: noise")
    said = captured.get()
    assert "1 of 3 runs  0 s, about 0 s left" in said
    assert [line.split()[0] for line in said.splitlines()[2:4]] == ["done", "running"]
    assert said.endswith("1 of 3: noise; about 0 s left\n")


def test_a_study_says_which_runs_meet_their_constraints_as_they_end(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=80, height=20)
    screen = StudyScreen(console, jobs=2)
    bound = (Constraint.parse("cost.bytes_up <= 5"),)
    for number, meets in enumerate((True, False, None), start=1):
        standing = Standing(number, 5, Trial(SCENARIO, f"arm {number}", bound), tmp_path)
        screen.seen(standing)
        screen.seen(replace(standing, state="done", meets=meets))
    for number, constraints in ((4, bound), (5, ())):
        standing = Standing(number, 5, Trial(SCENARIO, f"arm {number}", constraints), tmp_path)
        screen.seen(standing)
    screen.seen(replace(standing, state="done"))
    with console.capture() as captured:
        console.print(screen.drawn())
    _, head, *rows = captured.get().splitlines()
    assert head.split() == ["state", "done", "time", "meets", "run"]
    told = {line.rstrip()[-5:]: line for line in rows}
    assert [("yes" in told[f"arm {n}"], " no " in told[f"arm {n}"]) for n in (1, 2)] == [(True, False), (False, True)]
    assert "cannot be told" in told["arm 3"]
    assert not any(said in told[f"arm {n}"] for n in (4, 5) for said in ("yes", " no ", "told"))
