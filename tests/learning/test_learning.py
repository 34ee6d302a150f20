"""What a method says of its learning, what sites tell of it, and what a guarantee must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import ConfigError, Refused, UnknownName
from fedcxr.learning import LONGEST_REPORT, Guarantee, Learning, Report
from fedcxr.methods import guarantee_of
from fedcxr.methods.none import Unprotected
from fedcxr.release import Release
from fedcxr.scenario import Scenario

REST: dict[str, Any] = {"tasks": {}, "adversaries": {}}


def greyer(sites: int = 3, **parameters: Any) -> Scenario:
    method = {"name": "learners:Greyer", "fit": "federated", **parameters}
    return Scenario.parse({**REST, "sites": sites, "method": method})


def test_learning_is_a_federated_average_unless_told_otherwise() -> None:
    learning = Learning("federated", 3)
    assert learning == Learning("federated", 3, "fedavg", {})
    assert (learning.aggregation.fewest, learning.aggregation.remembers) == (1, False)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"strategy": "fedadm"}, "unknown strategy; given: fedadm; .*did you mean 'fedadam'"),
        ({"strategy": "fedadam", "options": {"etta": 1.0}}, "in strategy fedadam; given: etta; .*did you mean 'eta'"),
        ({"options": {"eta": 1.0}}, "unknown key in strategy fedavg"),
        ({"strategy": "fedadam", "options": {"eta": -1.0}}, "strategy fedadam: eta: "),
        ({"strategy": "fedprox"}, "strategy fedprox: proximal_mu: "),
        ({"strategy": "krum", "options": {"num_malicious_nodes": 1}}, "krum needs more sites; given: 3 .*: 5 or more"),
        ({"strategy": "bulyan", "options": {"num_malicious_nodes": 1}}, "needs more sites; given: 3 .*: 7 or more"),
    ],
    ids=str,
)
def test_a_strategy_that_cannot_be_is_refused_with_the_scenario(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        greyer(**wrong)
    assert caught.value.exit_code == 2


def test_the_sites_that_must_answer_are_counted() -> None:
    krum = {"strategy": "krum", "options": {"num_malicious_nodes": 1}}
    assert greyer(sites=5, **krum).needed_sites == 5
    method = {"name": "learners:Greyer", "fit": "federated", **krum}
    with pytest.raises(ConfigError, match="needs more sites; given: 4"):
        Scenario.parse({**REST, "sites": 5, "min_sites": 4, "method": method})


@pytest.mark.parametrize("alone", ["local", "public"])
@pytest.mark.parametrize("more", [{"rounds": 2}, {"strategy": "fedadam"}, {"options": {"eta": 1.0}}])
def test_only_a_federation_has_rounds_and_a_strategy(alone: Any, more: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="only a federation"):
        Learning(alone, **more)


def test_no_other_places_and_no_learning_without_a_round() -> None:
    with pytest.raises(UnknownName, match="did you mean 'federated'"):
        Learning("fedrated")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a round or more; given: 0"):
        Learning("federated", 0)


# Reports --------------------------------------------------------------------------------------------------------------


def update(**facts: Any) -> Release:
    return Release("update", "site-1", "m", {}, facts)


def test_a_site_reports_its_films_and_what_its_method_told() -> None:
    assert Report.of(update(films=7, reported={"steps": 3}), 2) == Report("site-1", 2, 7, {"steps": 3})
    assert Report.of(update(films=7), 1).facts == {}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary(), inner),
)


@given(films=PLAIN | st.integers(1, 9), reported=PLAIN)
def test_whatever_a_site_tells_is_a_report_or_refused(films: object, reported: object) -> None:
    try:
        report = Report.of(update(films=films, reported=reported), 1)
    except Refused:
        return
    assert report.films > 0
    assert report.facts == reported


@pytest.mark.parametrize("films", [0, -1, True, 1.0, "7", None])
def test_an_update_is_of_films(films: object) -> None:
    with pytest.raises(Refused, match="of no film"):
        Report.of(update(films=films), 1)


@pytest.mark.parametrize("told", [{"a": float("nan")}, {"a": b"x"}, ["a"], {"a": "x" * LONGEST_REPORT}], ids=repr)
def test_what_is_told_is_plain_and_short(told: object) -> None:
    with pytest.raises(Refused, match="tells of its learning"):
        Report.of(update(films=1, reported=told), 1)


# Guarantees -----------------------------------------------------------------------------------------------------------


class Promising(Unprotected):
    """Promises whatever it is told to."""

    promise: dict[str, Any]

    def guarantee(self, reported: Sequence[Report] = ()) -> Guarantee | None:
        return Guarantee(**self.promise)


SOUND = {"epsilon": 1.5, "delta": 1e-5, "unit": "patient", "accountant": "rdp"}


def test_a_guarantee_says_what_it_protects() -> None:
    assert guarantee_of(Promising(promise=SOUND)) == Guarantee(**SOUND)
    assert guarantee_of(Unprotected()) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epsilon": float("inf")}, "epsilon: .*finite"),
        ({"epsilon": float("nan")}, "epsilon: .*finite"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"delta": 1.0}, "delta"),
        ({"unit": "hospital"}, "unit"),
    ],
    ids=str,
)
def test_a_guarantee_of_nothing_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"the guarantee of .*Promising: {said}"):
        guarantee_of(Promising.model_construct(promise={**SOUND, **wrong}))


def test_a_guarantee_without_a_unit_is_refused() -> None:
    without = {name: value for name, value in SOUND.items() if name != "unit"}
    with pytest.raises(ConfigError, match="unit: Field required"):
        guarantee_of(Promising(promise=without))
