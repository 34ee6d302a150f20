"""What learning has cost a site's people, over all runs and coordinators, and whether it may cost them more.

Steps of one kind add up to one entry. What counts as a step, its noise and its rate, is told by the method that learns
(`Method.spending`). One ledger under a promise holds one unit:

- What was spent per film promises nothing to a patient of many films.
- What was spent per patient promises a film less than it seems: a film more makes the patient's contribution another
  one, which may be twice as far away as none.

So what is of another unit than the promise, or comes after something that was, is refused rather than added up. So is
learning that guarantees nothing, where something is promised. Without a promise all of it is noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedcxr.errors import PrivacySpent
from fedcxr.keys.provider import Job
from fedcxr.learning.accounting import epsilon
from fedcxr.learning.spending import Spending, Unit
from sites.budget import Privacy


@dataclass(frozen=True)
class Ledger:
    """Everything that was spent, whether or not anything was promised at the time."""

    spent: tuple[Spending, ...] = ()

    def of(self, unit: Unit) -> tuple[Spending, ...]:
        """What was spent of the privacy of this unit."""
        return tuple(one for one in self.spent if one.unit == unit)

    def adding(self, new: Spending) -> Ledger:
        """The ledger with this as well."""
        alike = [one for one in self.spent if one.model_copy(update={"steps": new.steps}) == new]
        steps = new.steps + sum(one.steps for one in alike)
        others = tuple(one for one in self.spent if one not in alike)
        return Ledger((*others, Spending.model_validate({**new.model_dump(), "steps": steps})))

    def after(self, job: Job, spending: Spending | None, promise: Privacy | None) -> Ledger:
        """The ledger with what this job spends, if what was promised allows it; a promise of nothing is none."""
        if spending is not None:
            return self._within(spending, promise)
        if job.kind == "learn" and promise is not None and promise.epsilon > 0:
            raise PrivacySpent(
                "this learning guarantees nothing, and the hospital promised something",
                given=job.name,
                allowed=f"epsilon {promise.epsilon:g} per {promise.unit}: budget.privacy of the profile",
            )
        return self

    def _within(self, new: Spending, promise: Privacy | None) -> Ledger:
        after = self.adding(new)
        if promise is None:
            return after
        other = [one.unit for one in after.spent if one.unit != promise.unit]
        if other:
            raise PrivacySpent(
                f"nothing is promised to a {promise.unit} by what is spent per {other[0]}",
                given=f"per {new.unit}, after {len(self.spent)} entries per {' and '.join(sorted(set(other)))}",
                allowed=f"budget.privacy of the profile: per {promise.unit}, and nothing else before",
            )
        total = epsilon(after.spent, promise.delta)
        if total > promise.epsilon:
            raise PrivacySpent(
                "this would spend more privacy than the hospital promised",
                given=f"epsilon {total:.4g} at delta {promise.delta:g} per {promise.unit}, all runs together",
                allowed=f"epsilon {promise.epsilon:g}: budget.privacy of the profile",
                do="whether it is raised is the hospital's to decide",
            )
        return after

    def pack(self) -> list[list[object]]:
        return [[one.unit, one.noise_multiplier, one.sample_rate, one.steps] for one in self.spent]

    @classmethod
    def unpack(cls, packed: Sequence[Sequence[Any]]) -> Ledger:
        """What `pack` wrote, as a vault has authenticated it."""
        return cls(
            tuple(
                Spending(unit=unit, noise_multiplier=noise, sample_rate=rate, steps=steps)
                for unit, noise, rate, steps in packed
            )
        )
