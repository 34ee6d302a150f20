"""Is an attacker worth its figure? What a badly trained one finds is no privacy: the trust test of each of them."""

from __future__ import annotations

from typing import Any

from fedcxr.table import figure

CEILING = 0.99  # AUC on unprotected films from which nobody needs to be better
SEEDS_MAY_DIFFER_BY = 0.03  # AUC

RULE = (
    "trust: on unprotected films an attacker does better than the correlation of pixels, and than whoever sees the "
    f"findings alone (or reaches {CEILING:g}); from another seed its AUC differs by less than {SEEDS_MAY_DIFFER_BY:g}; "
    "its own validation no longer rises. Null is what was not tried: a second seed costs as much as the first, and the "
    "verifier takes one if it is told `runs: 2`. An attacker that fails is marked; one that is not better than "
    "correlation, or that misses a control, leaves its figure inconclusive."
)


def trust(
    raw: float | None,
    correlation: float | None,
    labels: float | None,
    runs: tuple[float | None, float | None],
    rising: bool | None,
) -> dict[str, Any]:
    """The test from AUCs: on unprotected films, of both baselines on the same pairs, and of two runs of the attack."""
    one, other = runs
    agree = None if one is None or other is None else abs(one - other) < SEEDS_MAY_DIFFER_BY
    beats = {"correlation": _beats(raw, correlation), "labels": _beats(raw, labels)}
    reasons = []
    if beats["correlation"] is False:
        reasons.append(f"on unprotected films correlation reaches {figure(correlation)}, it {figure(raw)}")
    if beats["labels"] is False:
        reasons.append(f"the findings alone reach {figure(labels)}, it {figure(raw)} on unprotected films")
    if agree is False:
        reasons.append(f"from two seeds it reaches {figure(one)} and {figure(other)}")
    if rising:
        reasons.append("its own validation still rises")
    return {
        "beats_correlation": beats["correlation"],
        "beats_labels": beats["labels"],
        "seeds_agree": agree,
        "rising": rising,
        "reasons": reasons,
        "correlation_auc": correlation,
        "labels_auc": labels,
    }


def _beats(raw: float | None, baseline: float | None) -> bool | None:
    if raw is None or baseline is None:
        return None
    return raw > baseline or raw >= CEILING
