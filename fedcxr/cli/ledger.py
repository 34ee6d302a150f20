"""What `fedcxr keys show` says of the privacy that learning has cost a hospital's people."""

from __future__ import annotations

import math
from typing import Any

USUAL_DELTA = 1e-5  # where no profile says at which


def privacy_spent(ledger: Any, promise: Any) -> list[dict[str, Any]]:
    """For each unit of which something was spent or promised: how much, and of how much. Both come from `sites`."""
    from fedcxr.learning.accounting import epsilon, epsilon_rdp

    delta = USUAL_DELTA if promise is None else promise.delta
    facts = []
    for unit in ("patient", "record"):
        spent, promised = ledger.of(unit), promise is not None and promise.unit == unit
        if spent or promised:
            facts.append(
                {
                    "unit": unit,
                    "epsilon": epsilon(spent, delta),
                    "epsilon_rdp": epsilon_rdp(spent, delta),
                    "delta": delta,
                    "promised": promise.epsilon if promised else None,
                    "steps": sum(one.steps for one in spent),
                }
            )
    return facts


def privacy_lines(facts: list[dict[str, Any]]) -> list[str]:
    """The same for people to read. Spent privacy is rounded up."""
    lines = []
    for said in facts:
        figure = f"{math.ceil(said['epsilon'] * 1000) / 1000:g}"
        of = "" if said["promised"] is None else f" of {said['promised']:g}"
        spent = f"epsilon {figure}{of} at delta {said['delta']:g}, {said['steps']} steps"
        lines.append(f"privacy spent per {said['unit']}: {spent}")
    return lines
