"""Which policies nobody would choose: another is as useful and gives as little away, and better in one of the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Policy = Mapping[str, Any]


def dominated(policies: Sequence[Policy]) -> list[dict[str, Any] | None]:
    """By whom, and whether surely; None: by nobody, or nobody can tell.

    What an attack reached whose control failed, or that still rises, may be more in truth: such a policy dominates
    only if its figure holds. Risks of different questions are never compared.
    """
    return [_by(policy, policies) for policy in policies]


def _by(policy: Policy, others: Sequence[Policy]) -> dict[str, Any] | None:
    better = [other for other in others if other is not policy and _beats(other, policy)]
    if not better:
        return None
    sure = [other for other in better if _trusted(other)]
    best = max(sure or better, key=lambda other: float(other["utility"]["value"]))
    return {"name": best["name"], "surely": bool(sure)}


def _beats(one: Policy, other: Policy) -> bool:
    if one["risk"]["question"] != other["risk"]["question"]:
        return False
    gain, loss = one["utility"]["value"], one["risk"]["value"]
    than, lost = other["utility"]["value"], other["risk"]["value"]
    if None in (gain, loss, than, lost):
        return False
    return bool(gain >= than and loss <= lost and (gain > than or loss < lost))


def _trusted(policy: Policy) -> bool:
    return bool(policy["risk"]["conclusive"]) and not policy["risk"]["lower_bound"]
