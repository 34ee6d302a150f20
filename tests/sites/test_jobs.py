"""What a hospital's randomness is bound to: asked in other words, or with other weights, it draws other noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcxr.cohort import Cohort
from fedcxr.errors import Refused
from fedcxr.keys.provider import Job, KeyProvider
from fedcxr.protocol import COORDINATOR, job_of, site_step
from fedcxr.release import Release
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import Simulated
from sites.budget import Budget
from sites.vault import Cost, Vault

MakeCohort = Callable[..., Cohort]
WEAK, STRONG = 0.1, 0.2
WORDS = b"correct horse"


def scenario(method: Any) -> Scenario:
    return Scenario.parse({"sites": 1, "method": method, "tasks": {}, "adversaries": {}})


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    Vault.create(tmp_path / "vault", "site-1", WORDS, Cost(log_n=4))
    with Vault.unlock(tmp_path / "vault", WORDS, Budget(releases=2)) as vault:
        yield vault


def released_twice(cohort: Cohort, keys: KeyProvider, name: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The films under weak and under strong noise, from a coordinator that calls both runs by this name."""
    found = []
    for scale in (WEAK, STRONG):
        of = scenario({"name": "noise", "scale": scale})
        job = job_of(of, "release")
        job = job if name is None else replace(job, run=name)
        found.append(site_step(of, "site-1", cohort, keys, job=job).arrays["films"].astype(np.float64))
    return found[0], found[1]


def nearest(film: np.ndarray, films: np.ndarray) -> float:
    """How far it is from the film of these that it is most like, in grey levels."""
    return float(np.sqrt(((films - film) ** 2).mean(axis=(1, 2))).min())


def without_noise(weak: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """The film, if both were made with the same draw."""
    return (STRONG * weak - WEAK * strong) / (STRONG - WEAK)


@pytest.fixture
def films(make_cohort: MakeCohort) -> Cohort:
    """Grey enough that noise is hardly ever clipped."""
    cohort = make_cohort((1,) * 30)
    return replace(cohort, pixels=(96 + cohort.films() // 4).astype(np.uint8))


def test_two_requests_do_not_cancel_a_hospitals_noise(films: Cohort, vault: Vault) -> None:
    clean = films.films().astype(np.float64)
    weak, strong = released_twice(films, Simulated(0, "site-1", {}), None)
    recovered = without_noise(weak, strong)
    # The control: in a simulation the same draw comes back, and the film with it.
    assert max(nearest(film, clean) for film in recovered[:3]) < 5
    weak, strong = released_twice(films, vault, None)
    recovered = without_noise(weak, strong)
    assert min(nearest(film, clean) for film in recovered[:3]) > 25


@pytest.mark.parametrize("changed", ["digest", "part", "kind"])
def test_every_part_of_a_job_counts(vault: Vault, changed: str) -> None:
    job = Job("release", "r", "", "0" * 64)
    others: dict[str, Any] = {"digest": "1" * 64, "part": "1", "kind": "learn"}
    other = replace(job, **{changed: others[changed]})
    assert vault.stream(job, "a").bytes(9) == vault.stream(job, "a").bytes(9)
    if changed != "part":  # of which a release has none
        assert vault.stream(other, "a").bytes(9) != vault.stream(job, "a").bytes(9)
    assert vault.stream(job, "a", images=["x"]).bytes(9) != vault.stream(job, "a", images=["y"]).bytes(9)
    assert vault.stream(job, "a", images=["x", "y"]).bytes(9) != vault.stream(job, "a", images=["xy"]).bytes(9)


def test_a_job_has_everything_in_it_that_the_answer_depends_on() -> None:
    of, learnt = scenario("noise"), Release("update", COORDINATOR, "noise", {})
    jobs = [
        job_of(of, "release"),
        job_of(of, "test"),
        job_of(of, "learn", 1),
        job_of(of, "learn", 2),
        job_of(of, "release", told=learnt),
        job_of(of, "release", told=learnt.publishing({"w": np.zeros(1, np.float32)})),
        job_of(scenario({"name": "noise", "scale": 0.3}), "release"),
        job_of(of.model_copy(update={"seed": 1}), "release"),
    ]
    assert len({job.digest for job in jobs}) == len(jobs)
    assert job_of(of.model_copy(update={"name": "other"}), "release") == jobs[0]  # what it is called changes nothing


def test_weights_that_nobody_asked_for_are_refused(films: Cohort, vault: Vault) -> None:
    learnt = Release("update", COORDINATOR, "prichexy_net", {}).publishing({"w": np.zeros(1, np.float32)})
    for method in ("noise", {"name": "prichexy_net", "fit": "local"}):
        with pytest.raises(Refused, match="weights came along that nobody asked for"):
            site_step(scenario(method), "site-1", films, vault, learnt)
    elsewhere = scenario({"name": "prichexy_net", "fit": "federated"})
    with pytest.raises(Refused, match="what the method learnt is missing"):
        site_step(elsewhere, "site-1", films, vault)
    assert not vault.ring.releases  # and nothing was begun
