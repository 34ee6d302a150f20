"""How often a hospital answers for any one film, and what learning may cost its people: over all runs, methods and
coordinators."""

from __future__ import annotations

import pydantic

from fedcxr.learning.spending import Unit


class Privacy(pydantic.BaseModel):
    """What a hospital promises: all that is ever learnt from its films is (epsilon, delta)-private for each unit."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    unit: Unit = pydantic.Field("patient", description="whose privacy: of all films of a patient, or of one film")
    epsilon: float = pydantic.Field(ge=0, description="the most that all learning together may spend")
    delta: float = pydantic.Field(ge=1e-10, le=0.01, description="at this delta: less than one in the patients")


class Budget(pydantic.BaseModel):
    """What every answer takes from: noise that is drawn anew is averaged away by whoever may ask often enough."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)

    releases: int = pydantic.Field(1, ge=0, le=1000, description="how often a film may be released")
    turns: int = pydantic.Field(100, ge=0, le=100_000, description="in how many turns of learning it may take part")
    tests: int = pydantic.Field(4, ge=0, le=1000, description="how many tests it may be used for")
    # How much is for people to decide who answer for it: nobody who was not asked has promised anything, so nothing.
    privacy: Privacy | None = pydantic.Field(
        Privacy(epsilon=0.0, delta=1e-5),
        description="what methods that guarantee something may spend of it; null: no limit is promised",
    )
