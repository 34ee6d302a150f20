"""What makes an attacker's figure worth something: each test fails for its own reason."""

from __future__ import annotations

from typing import Any

import pytest

from fedcxr.questions._trust import trust


def passed_by(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {"raw": 0.95, "correlation": 0.6, "labels": 0.6, "runs": (0.8, 0.81), "rising": False}
    return trust(**{**good, **changes})


def test_who_passes_is_trusted() -> None:
    assert passed_by() == {
        "beats_correlation": True,
        "beats_labels": True,
        "seeds_agree": True,
        "rising": False,
        "reasons": [],
        "correlation_auc": 0.6,
        "labels_auc": 0.6,
    }


@pytest.mark.parametrize(
    ("changes", "failed", "reason"),
    [
        ({"correlation": 0.95}, {"beats_correlation": False}, "correlation reaches 0.950, it 0.950"),
        ({"labels": 0.96}, {"beats_labels": False}, "the findings alone reach 0.960, it 0.950"),
        ({"runs": (0.8, 0.831)}, {"seeds_agree": False}, "from two seeds it reaches 0.800 and 0.831"),
        ({"rising": True}, {"rising": True}, "its own validation still rises"),
    ],
)
def test_each_failure_has_its_reason(changes: dict[str, Any], failed: dict[str, bool], reason: str) -> None:
    told = passed_by(**changes)
    assert {key: told[key] for key in failed} == failed
    assert [reason in said for said in told["reasons"]] == [True]


def test_who_recognises_everybody_need_not_be_better() -> None:
    assert passed_by(raw=0.99, correlation=0.999, labels=0.999)["reasons"] == []


def test_what_is_unknown_is_no_reason_and_no_praise() -> None:
    told = passed_by(raw=None, runs=(0.8, None), rising=None)
    assert (told["beats_correlation"], told["beats_labels"], told["seeds_agree"], told["rising"]) == (None,) * 4
    assert told["reasons"] == []
