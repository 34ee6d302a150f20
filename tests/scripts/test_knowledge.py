"""What is foreseen of 30,000 people: true where a law is, wide where it cannot be told, and checked where measured."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = (100, 200, 400, 800, 1600, 3000)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "evidences"))
    import knowledge

    monkeypatch.setattr(knowledge, "DRAWS", 200)
    return knowledge


def figures(script: ModuleType, law: str, wide: float, seed: int = 0) -> list[object]:
    """Along one law, from .65 with 100 people to .85 with 3,000, each as uncertain as `wide` in probit units."""
    low, high = (NormalDist().inv_cdf(auc) for auc in (0.65, 0.85))
    at = script.LAWS[law](np.array(PEOPLE, dtype=float))
    heights = low + (high - low) * (at - at[0]) / (at[-1] - at[0])

    def auc(height: float) -> float:
        return NormalDist().cdf(height)

    return [
        script.Figure(law, people, seed, auc(height), (auc(height - 1.96 * wide), auc(height + 1.96 * wide)))
        for people, height in zip(PEOPLE, heights, strict=True)
    ]


@pytest.mark.parametrize(("law", "truth", "grows"), [("grows", 0.930, 1.0), ("saturates", 0.872, 0.0)])
def test_a_law_is_found_and_followed(script: ModuleType, law: str, truth: float, grows: float) -> None:
    curve = script.fitted(figures(script, law, 0.005), 3000)[law]
    value, low, high = curve.at(30_000)
    assert value == pytest.approx(truth, abs=0.005)
    assert low < truth < high
    assert high - low < 0.02
    assert curve.grows == pytest.approx(grows, abs=0.02)


def test_where_it_cannot_be_told_the_interval_holds_both(script: ModuleType) -> None:
    curve = script.fitted(figures(script, "saturates", 0.2), 3000)["saturates"]
    _, low, high = curve.at(30_000)
    assert low < 0.872 < 0.93 < high
    assert 0.05 < curve.grows < 0.95


@pytest.mark.parametrize(("auc", "said"), [(0.930, "as foreseen"), (0.88, "**not as foreseen**")])
def test_what_was_measured_is_compared_and_not_fitted(script: ModuleType, auc: float, said: str) -> None:
    known = figures(script, "grows", 0.01)
    there = [*known, script.Figure("grows", 30_000, 0, auc)]
    *_, line = script.table(there, script.fitted(there, 3000), 3000)
    assert f"| {auc:.3f} | {said} |" in line
    assert "| 0.850, 3,000 |" in line
    assert script.fitted(there, 3000)["grows"].at(30_000) == script.fitted(known, 3000)["grows"].at(30_000)
