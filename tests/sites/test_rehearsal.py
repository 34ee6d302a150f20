"""What a node would answer, without asking it: which rule of its profile forbids what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from nodes import card_in, permissive

from sites.check import main
from sites.codes import RULES, Code

SCENARIO = {"sites": {"site-1": "own"}, "method": "noise", "tasks": {"findings": {}}, "adversaries": {}}
DP_SGD = {"method": {"name": "dp_sgd", "rounds": 4}, "tasks": {}}
PROMISE = {"unit": "patient", "epsilon": 50.0, "delta": 1e-4}


@pytest.fixture
def dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """The exit code and the lines, for a profile and a scenario that are changed."""

    def run(profile: dict[str, Any], scenario: dict[str, Any] | str) -> tuple[int, list[str]]:
        files = tmp_path / "hospital.yaml", tmp_path / "scenario.yaml"
        files[0].touch(mode=0o600)
        files[0].write_text(
            yaml.safe_dump(permissive(coordinator=card_in(tmp_path), vault=str(tmp_path / "no-vault"), **profile))
        )
        text = scenario if isinstance(scenario, str) else yaml.safe_dump({**SCENARIO, **scenario})
        files[1].write_text(text)
        code = main([str(files[0]), "--scenario", str(files[1])])
        said = capsys.readouterr()
        assert not (tmp_path / "no-vault").exists()
        return code, (said.out + said.err).splitlines()

    return run


def test_what_the_profile_allows_would_be_done(dry_run: Callable[..., tuple[int, list[str]]]) -> None:
    code, lines = dry_run({}, {})
    assert (code, lines[:-1]) == (0, ["release: would be done", "test findings: would be done"])
    assert "the vault stays closed" in lines[-1]
    code, lines = dry_run({"budget": {"privacy": PROMISE}}, DP_SGD)
    assert (code, lines[:-1]) == (0, ["learn: would be done", "release: would be done"])


@pytest.mark.parametrize(
    ("profile", "scenario", "said"),
    [
        ({"methods": {"sca": {}}}, {}, "everything: forbidden by methods: this method is not allowed; given: noise"),
        ({"methods": {"noise": {"scale": {"at_least": 9}}}}, {}, "everything: forbidden by methods: noise: scale"),
        ({}, {"method": "os:system"}, "everything: forbidden by outside:"),
        ({}, {"sites": {"site-1": {"source": "folder", "root": "/"}}}, "everything: forbidden by cohort:"),
        ({}, {"sites": {"other": "own"}}, "everything: forbidden by site:"),
        ({}, {"methd": "noise"}, "everything: forbidden by what a scenario is: unknown key"),
        ({"learns": ["local"]}, DP_SGD, "everything: forbidden by learns: dp_sgd learns elsewhere"),
        ({}, {"method": {"name": "prichexy_net", "weights": "/etc/shadow"}}, "everything: forbidden by files:"),
        ({"tasks": []}, {}, "test findings: forbidden by tasks:"),
        ({"smallest": 999}, {}, "release: forbidden by smallest: too few films"),
        ({"budget": {"releases": 0}}, {}, "release: forbidden by budget.releases: 1 releases of each film"),
        ({"budget": {"tests": 0}}, {}, "test findings: forbidden by budget.tests:"),
        ({"budget": {"turns": 3, "privacy": PROMISE}}, DP_SGD, "learn: forbidden by budget.turns: 4 turns"),
        ({}, DP_SGD, "learn: forbidden by budget.privacy: this would spend more"),
        ({"budget": {"privacy": {**PROMISE, "epsilon": 0.1}}}, DP_SGD, "learn: forbidden by budget.privacy:"),
        ({"budget": {"privacy": PROMISE}}, {"method": "fedavg", "tasks": {}}, "learn: forbidden by budget.privacy:"),
    ],
    ids=str,
)
def test_what_is_forbidden_is_told_with_its_rule(
    dry_run: Callable[..., tuple[int, list[str]]], profile: dict[str, Any], scenario: dict[str, Any], said: str
) -> None:
    code, lines = dry_run(profile, scenario)
    assert code == 5
    assert any(line.startswith(said) for line in lines), lines


def test_a_slip_of_the_pen_is_none_of_the_scenarios(dry_run: Callable[..., tuple[int, list[str]]]) -> None:
    assert dry_run({"metods": {}}, {})[0] == 2
    assert dry_run({}, "[")[0] == 2


def test_every_reason_that_a_profile_gives_has_its_rule() -> None:
    assert set(Code) - set(RULES) == {Code.REFUSED, Code.FAILED, Code.DISK}
