"""A whole run of hospitals in one process: what its events tell of each, and what its folder holds when it is over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nodes import COORDINATOR, OWN, SECRET, SITES, Nodes, named
from PIL import Image

from fedcxr.cli.site_progress import Sites
from fedcxr.runs import Run
from fedcxr.runs.pictures import GAP, TILE, tile
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import simulated_register
from server.hospitals import conduct
from server.register import Register

FEDAVG = {"name": "fedavg", "rounds": 2, "steps": 2, "batch": 4, "width": 4}


def conducted(out: Path, method: Any, grid: Nodes) -> Run:
    compute = {"device": "cpu", "precision": "fp32", "timeout_s": 60.0}
    document = {"sites": OWN, "method": method, "tasks": {"findings": {"steps": 2, "width": 4}}, "compute": compute}
    run = Run.place(out, Scenario.parse({**document, "min_sites": 2}))
    conduct(grid, run, Register(simulated_register(SECRET, SITES), COORDINATOR), None)
    return run


def large(*names: str) -> list[dict[str, Any]]:
    """Hospitals that have films of every split."""
    return [{**node, "patients": 24} for node in named(*names)]


def told(run: Run) -> tuple[list[str], list[str]]:
    """What a person reads while it goes on, and what stands there in the end."""
    sites = Sites(SITES)
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    return [said for event in events if (said := sites.hear(event)) is not None], sites.lines(0.0, len(SITES))


@pytest.fixture(scope="module")
def learnt_together(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return conducted(tmp_path_factory.mktemp("fedavg"), FEDAVG, Nodes(*large(*SITES)))


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """By hospitals of which one has no film to test on."""
    return conducted(tmp_path_factory.mktemp("noise"), "noise", Nodes(*large("site-1", "site-3"), *named("site-2")))


def test_a_person_reads_what_every_hospital_is_at(learnt_together: Run) -> None:
    said, last = told(learnt_together)
    news = ("is connected", "learns, round 1", "releases its films", "released its films", "tests what was learnt")
    for site in SITES:
        assert [line.removeprefix(f"{site} ") for line in said if line.startswith(site)] == [
            *news,
            "tested what was learnt",
        ]
    assert last == [f"  {site}  tested what was learnt" for site in SITES]


def test_a_person_reads_how_many_films_came_and_why_somebody_is_left_out(released: Run) -> None:
    said, last = told(released)
    note = released.release_note("site-2")
    assert note is not None
    assert f"site-2 released {note['released']} films" in said
    assert last == [
        "  site-1  tested what was learnt",
        "  site-2  dropped, round 1: too few films",
        "  site-3  tested what was learnt",
    ]


def test_pictures_are_of_what_was_released_and_a_text_says_what_is_missing(learnt_together: Run, released: Run) -> None:
    pictures = {path.name: path for path in (released.folder / "pictures").iterdir()}
    assert pictures.keys() == {"README.txt", *(f"{site}.png" for site in SITES)}
    for path in pictures.values():
        assert path.stat().st_mode & 0o777 == 0o600
    films = released.releases(SITES)[0].arrays["films"]
    drawn = np.asarray(Image.open(pictures["site-1.png"]))
    assert drawn.shape[1] == 4 * (TILE + GAP) + GAP
    for column, film in enumerate(films[:4]):
        left = GAP + column * (TILE + GAP)
        shown = drawn[:, left : left + TILE]
        rows = [top for top in range(len(shown) - TILE + 1) if np.array_equal(shown[top : top + TILE], tile(film))]
        assert len(rows) == 1
    text = pictures["README.txt"].read_text()
    assert "films as they are never leave a hospital" in text
    assert "hold original films" not in text
    learnt = (learnt_together.folder / "pictures" / "README.txt").read_text()
    assert "TASK.curve.png: each of its points would be a test more" in learnt
    assert "site-1.png: it released no film but what it learnt" in learnt
