"""Making the shipped verifier: rounds that end, and a batch of one hospital as often as of all."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest

from fedcxr.adversaries._shipped import Verifier
from fedcxr.errors import ConfigError
from fedcxr.rng import stream
from fedcxr.training.compute import Compute
from fedcxr.training.distortion import Distortion

MAKES = Path(__file__).resolve().parents[2] / "scripts" / "makes"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(MAKES))


@pytest.mark.parametrize(("first", "steps", "expected"), [(5, 40, [5, 5, 10, 20]), (5, 17, [5, 5, 7]), (9, 4, [4])])
def test_each_round_is_as_long_as_all_before_it(first: int, steps: int, expected: list[int]) -> None:
    from verifier import rounds

    assert [planned for _, planned in rounds(first, steps, 60)] == expected


def test_no_round_begins_that_there_is_no_time_for() -> None:
    from verifier import rounds

    taken = []
    for _, planned in rounds(10, 10_000, 1 / 600):  # a tenth of a second, at 500 steps a second at best
        taken.append(planned)
        time.sleep(planned / 500)
    assert 10 <= sum(taken) <= 60


def test_what_is_made_can_be_loaded_and_says_how_it_was_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import verifier

    monkeypatch.setattr(verifier, "UNSEEN_PEOPLE", 20)
    monkeypatch.setenv("FEDCXR_CACHE", str(tmp_path / "cache"))
    options = {"people": 40, "size": 16, "batch": 4, "steps": 3, "first": 1, "width": 4, "device": "cpu"}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    own = tmp_path / "own.safetensors"
    monkeypatch.setattr("sys.argv", ["verifier", *arguments, "--out", str(own)])
    verifier.main()
    made = Verifier.load(Compute.choose("cpu"), own)
    assert made.size == 16
    assert made.made["seen"].startswith("40 phantom people, ")
    assert made.made["steps"] in (0, 1, 2, 3)  # of the best round, if any was better than none
    told = capsys.readouterr().out
    assert hashlib.sha256(own.read_bytes()).hexdigest() in told
    assert made.scores(np.zeros((2, 30, 20), dtype=np.uint8), np.ones((1, 16, 16), dtype=np.uint8)).shape == (2, 1)


def test_pairs_are_two_films_of_one_person_often_of_one_hospital() -> None:
    from verifier import Album, Course

    people = np.repeat(np.arange(40), 2)
    album = Album(np.zeros((80, 8, 8), dtype=np.uint8), people, people % 4)
    course = Course(album, 8, stream(0), Compute.choose("cpu"), Distortion())
    drawn = [course._drawn() for _ in range(200)]
    local = np.mean([len(set(people % 4)) == 1 for people in drawn])
    assert 0.7 < local < 0.9
    with pytest.raises(ConfigError, match="40 of 40 people, --batch 41"):
        Course(album, 41, stream(0), Compute.choose("cpu"), Distortion())
