"""How often a film is in an answer: what would be averaged is counted, at any size and over all that is asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeCohort, MakeScenario
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import Refused
from fedcxr.keys.provider import Job
from fedcxr.protocol import job_of, site_step
from sites.budget import Budget
from sites.counts import KINDS, Counts
from sites.vault import Cost, Vault

WORDS = b"correct horse battery staple"
IMAGES = ["a", "b", "c"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Vault.create(tmp_path / "ring", "site-1", WORDS, Cost(log_n=4))
    return tmp_path / "ring"


@pytest.fixture
def vault(folder: Path) -> Iterator[Vault]:
    with Vault.unlock(folder, WORDS, Budget(releases=2, turns=3, tests=1)) as vault:
        yield vault


def test_noise_is_not_averaged_away_by_asking_again(
    folder: Path, make_cohort: MakeCohort, make_scenario: MakeScenario
) -> None:
    """Sixty-four runs, each of another seed and so of other noise: what a coordinator makes of all it is answered."""
    cohort = make_cohort((2,) * 6, size=16)
    answers, refusals = list[np.ndarray](), list[str]()
    with Vault.unlock(folder, WORDS, Budget(releases=2)) as vault:
        for seed in range(64):
            scenario = make_scenario(sites=1, method={"name": "noise", "scale": 0.2}, seed=seed)
            try:
                release = site_step(scenario, "site-1", cohort, vault)
            except Refused as refused:
                refusals.append(str(refused))
                continue
            # An attacker who may match the films of several answers; here the hospital's own order does it for them.
            order = vault.stream(job_of(scenario, "release"), "site", "site-1", "order").permutation(len(cohort))
            aligned = np.empty_like(release.arrays["films"], dtype=float)
            aligned[order] = release.arrays["films"]
            answers.append(aligned)
    original = np.asarray(cohort.films(), dtype=float)
    errors = [float(np.sqrt(np.mean((np.mean(some, 0) - original) ** 2))) for some in (answers[:1], answers)]
    assert len(refusals) == 62
    assert all("the budget of these films is spent" in said for said in refusals)
    assert errors[1] > 0.6 * errors[0], "two answers, and no more"


def test_each_kind_has_a_budget_and_no_run_or_method_has_one_of_its_own(vault: Vault) -> None:
    for run in ("r1", "r2"):
        vault.begin(Job("release", run), IMAGES)
    for part in ("1", "2", "3"):
        vault.begin(Job("learn", "r1", part), IMAGES)
    vault.begin(Job("test", "r1", "findings"), IMAGES[:1])
    assert vault.tallies([*IMAGES, "d"]) == [(2, 3, 1), (2, 3, 0), (2, 3, 0), (0, 0, 0)]
    for job in (Job("release", "r3"), Job("learn", "r2", "1"), Job("test", "r2", "findings")):
        with pytest.raises(Refused, match="the budget of these films is spent"):
            vault.begin(job, ["new", "a"])
    assert vault.tallies(["new"]) == [(0, 0, 0)], "a refused job counts for nobody"
    assert len(vault.ring.jobs) == 6
    vault.begin(Job("release", "r3"), ["new"])
    with pytest.raises(Refused, match="budget"):
        vault.begin(Job("release", "r4"), ["other", "other", "other"])  # one film three times


def test_the_same_job_is_counted_once_and_another_under_its_name_refused(vault: Vault, folder: Path) -> None:
    job = Job("release", "r1", digest="ab")
    keys = {vault.begin(job, IMAGES).reveal() for _ in range(5)}
    with Vault.unlock(folder, WORDS) as later:
        keys.add(later.begin(job, IMAGES).reveal())
    assert len(keys) == 1
    with pytest.raises(Refused, match="begun for another request"):
        vault.begin(Job("release", "r1", digest="cd"), IMAGES)
    with pytest.raises(Refused, match="begun with other images"):
        vault.begin(job, IMAGES[:2])
    assert vault.tallies(IMAGES) == [(1, 0, 0)] * 3


def test_a_new_master_key_is_no_new_budget(vault: Vault) -> None:
    for _ in range(2):
        vault.begin(Job("release", "r1"), IMAGES)
        vault.rotate()
    with pytest.raises(Refused, match="budget"):
        vault.begin(Job("release", "r1"), IMAGES)


def test_a_budget_of_nothing_answers_nothing(folder: Path) -> None:
    with Vault.unlock(folder, WORDS, Budget(releases=0)) as vault, pytest.raises(Refused, match="budget"):
        vault.begin(Job("release", "r1"), IMAGES)


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.lists(st.binary(min_size=1, max_size=1), max_size=6))))
def test_counts_are_what_counting_by_hand_gives(jobs: list[tuple[str, list[bytes]]]) -> None:
    counts, by_hand = Counts({}), {kind: Counter[bytes]() for kind in KINDS}
    for kind, films in jobs:
        counts = Counts.unpack(counts.counting(kind, films).pack())
        by_hand[kind].update(films)
    for film in {film for _, films in jobs for film in films} | {b"never"}:
        assert counts.of(film) == tuple(by_hand[kind][film] for kind in KINDS)


def test_a_hundred_thousand_films_are_counted_in_a_second(folder: Path) -> None:
    """NIH's 112,120 films; 416 such releases filled the vault of before, and it could be written and not read."""
    names = [f"{number:08d}_{number % 12:03d}.png" for number in range(112_120)]
    with Vault.unlock(folder, WORDS, Budget(releases=2)) as vault:
        vault.begin(Job("release", "first"), names)
        start = time.process_time()
        vault.begin(Job("release", "second"), names)
        assert time.process_time() - start < 1
        assert vault.tallies(names[:2]) == [(2, 0, 0)] * 2
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert sizes["vault"] < 2000, "what a release adds to the one file is a line"
    assert sizes["1"] < 17 * len(names)
