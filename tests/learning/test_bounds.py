"""Weights from elsewhere: numbers that would end the process of whoever computes with them are refused by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr import protocol
from fedcxr.cohort import FINDINGS, Cohort
from fedcxr.errors import Refused
from fedcxr.learning.bounds import LARGEST, LONGEST_STEP, check_alike, check_update, check_weights
from fedcxr.methods import Round, Weights
from fedcxr.release import Release
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import simulated

MakeCohort = Callable[..., Cohort]
MakeScenario = Callable[..., Scenario]

SMALL: dict[str, Any] = {
    "widths": (4, 8), "width": 4, "batch": 6, "dimensions": 8,
    "steps_classifier": 1, "steps_verifier": 1, "steps": 4, "rounds": 2, "fit": "federated",
}  # fmt: skip


def floats(*numbers: float) -> npt.NDArray[np.float32]:
    return np.array(numbers, dtype=np.float32)


def filled(weights: Weights, number: float) -> Weights:
    return {name: np.full_like(a, number) if a.dtype.kind == "f" else a for name, a in weights.items()}


@given(st.floats(width=32))
def test_a_weight_is_a_number_within_the_bound_or_refused(number: float) -> None:
    weights = {"other": floats(), "a": floats(0.0, number)}
    if abs(number) <= LARGEST:  # not so if it is NaN
        check_weights(weights, "site-1")
    else:
        with pytest.raises(Refused, match=r"weights of site-1 are not finite, or too large .*given: a: "):
            check_weights(weights, "site-1")


def test_a_variance_is_not_negative_and_other_weights_may_be() -> None:
    check_weights({"a.running_var": floats(0.0, 15.0), "a.running_mean": floats(-1.0)}, "site-1")
    with pytest.raises(Refused, match=r"variance of site-1 is negative; given: a\.running_var: -1"):
        check_weights({"a.running_var": floats(1.0, -1.0)}, "site-1")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"a": floats(1.0, 2.0)}, r"given: a: \(2,\) float32; allowed: \(1,\) float32"),
        ({"a": np.ones(1)}, r"given: a: \(1,\) float64; allowed: \(1,\) float32"),
        ({}, "given: a: missing"),
        ({"a": floats(1.0), "b": floats(1.0)}, r"given: b: \(1,\) float32; allowed: none of this name"),
    ],
    ids=["shape", "type", "missing", "more"],
)
def test_weights_of_another_network_are_refused(weights: Weights, said: str) -> None:
    with pytest.raises(Refused, match=f"weights of site-1 are of another network; {said}"):
        check_alike(weights, {"a": floats(1.0)}, "site-1")


def test_a_round_goes_so_far_and_no_further() -> None:
    start = {"a": floats(-LONGEST_STEP / 2), "films": np.array([3])}
    check_update({"a": floats(LONGEST_STEP / 2), "films": np.array([9])}, start, "site-1")
    with pytest.raises(Refused, match="an update of site-1 goes too far in one round; given: a: "):
        check_update({"a": floats(LONGEST_STEP), "films": np.array([3])}, start, "site-1")


def sent(weights: Weights) -> Release:
    return Release("update", protocol.COORDINATOR, "prichexy_net", {}).publishing(weights)


def test_a_site_neither_learns_nor_releases_with_what_is_no_weight(
    make_scenario: MakeScenario, make_cohort: MakeCohort
) -> None:
    scenario = make_scenario(method={"name": "prichexy_net", **SMALL})
    cohort, keys = make_cohort(size=32), simulated(scenario, "site-1")
    bad = sent(filled(protocol.initial_step(scenario).weights, 3e38))
    with pytest.raises(Refused, match="weights of coordinator are not finite, or too large"):
        protocol.learn_step(scenario, "site-1", cohort, keys, bad, Round(0, 2))
    with pytest.raises(Refused, match="weights of coordinator are not finite, or too large"):
        protocol.site_step(scenario, "site-1", cohort, keys, bad)


def test_a_site_tests_nothing_that_is_no_weight(make_scenario: MakeScenario, make_cohort: MakeCohort) -> None:
    scenario = make_scenario(method="none", tasks={"findings": {}})
    facts = {"task": "findings", "findings": list(FINDINGS)}
    message = Release("update", protocol.COORDINATOR, "none", {}, facts).publishing({"head.bias": floats(3e38)})
    job = protocol.job_of(scenario, "test", "findings", message)
    with pytest.raises(Refused, match="weights of coordinator are not finite, or too large"):
        protocol.test_step(scenario, "site-1", make_cohort(), simulated(scenario, "site-1"), message, job)


def test_a_site_learns_from_its_own_networks_weights_alone(
    make_scenario: MakeScenario, make_cohort: MakeCohort
) -> None:
    scenario = make_scenario(method={"name": "prichexy_net", **SMALL})
    cohort, keys = make_cohort(size=32), simulated(scenario, "site-1")
    start, head = protocol.initial_step(scenario).weights, "generator.head.weight"
    for wrong in (
        {**start, head: start[head].astype(np.float16)},
        {**start, head: start[head].ravel()},
        {**start, f"{head}.too": start[head]},
    ):
        with pytest.raises(Refused, match=r"weights of coordinator are of another network; given: .*head"):
            protocol.learn_step(scenario, "site-1", cohort, keys, sent(wrong), Round(0, 2))


# A crash ends the process that has it, so these learn in one of their own.
LEARNS = """
import sys
from pathlib import Path
import numpy as np
from fedcxr import plugins
from fedcxr.data.phantom import Phantom
from fedcxr.errors import FedcxrError
from fedcxr.methods import Round, RunContext

films = Phantom(patients=30, size=32).open(Path(sys.argv[1])).where("train")
for name in ("prichexy_net", "privacy_net"):
    method = plugins.build("method", {"name": name, **SMALL})
    start = {
        n: np.full_like(a, 3e38) if a.dtype.kind == "f" else a
        for n, a in method.initial(np.random.default_rng(0)).items()
    }
    for precision in ("fp32", "bf16"):
        context = RunContext("cpu", precision)
        for work in (
            lambda: method.learn(films, np.random.default_rng(1), context, start, Round(0, 2)),
            lambda: method.protector(start, context)(films.films(), np.random.default_rng(2)),
        ):
            try:
                work()
            except FedcxrError as error:
                print(type(error).__name__, flush=True)
"""


def test_methods_meet_huge_weights_with_an_error_and_not_with_a_crash(nobodys_own_files: Path) -> None:
    """Behind the bounds: a training can come to such numbers by itself."""
    outcome = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", f"SMALL = {SMALL!r}{LEARNS}", str(nobodys_own_files / "cache")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr[:2000]
    assert outcome.stdout.split() == ["TrainingDiverged", "DataError"] * 4
