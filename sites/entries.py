"""What a hospital's journal says of each thing that happens: no patient, no film, no key and no path."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.keys.keyring import Grant
from fedcxr.keys.provider import Job
from fedcxr.learning.accounting import epsilon
from sites.budget import Budget
from sites.counts import ALLOWED, KINDS, Tally
from sites.ledger import Ledger

USUAL_DELTA = 1e-5  # where no promise says at which
DECIMALS = 1e4  # privacy that was spent is rounded up


def signed(job: Job, digest: bytes, said: Mapping[str, str]) -> dict[str, Any]:
    """Of an answer that may leave: which one, and the digest that its signature is over."""
    return {"kind": job.kind, "run": job.run, "part": job.part, **said, "digest": digest.hex()}


def used(job: Job, tallies: Sequence[Tally], budget: Budget) -> dict[str, Any]:
    """Of how many films it is, in how many answers of this kind one of them is now at most, and may be."""
    most = max((tally[KINDS[job.kind]] for tally in tallies), default=0)
    return {"films": len(tallies), "most": most, "allowed": int(getattr(budget, ALLOWED[job.kind]))}


def spent(ledger: Ledger, budget: Budget) -> dict[str, Any] | None:
    """What all learning so far has cost; None while nothing was spent."""
    if not ledger.spent:
        return None
    promise = budget.privacy
    unit = ledger.spent[-1].unit if promise is None else promise.unit
    delta = USUAL_DELTA if promise is None else promise.delta
    total = epsilon(ledger.of(unit), delta)
    rounded = math.ceil(total * DECIMALS) / DECIMALS if math.isfinite(total) else None
    return {"unit": unit, "epsilon": rounded, "delta": delta}


def refused(job: Job | None, code: str, line: str, said: Mapping[str, str]) -> dict[str, Any]:
    """Of a request that was not done: what the coordinator was told."""
    begun = {} if job is None else {"kind": job.kind, "run": job.run, "part": job.part}
    return {**begun, **said, "code": code, **({"line": line} if line else {})}


def grant(new: Grant) -> dict[str, Any]:
    """Of keys that somebody is given."""
    return {"recipient": new.recipient.fingerprint, "of": new.what, "runs": list(new.releases)}
