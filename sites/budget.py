"""How often a hospital answers for any one film, counted over all runs, all methods and all coordinators."""

from __future__ import annotations

import pydantic


class Budget(pydantic.BaseModel):
    """What every answer takes from: noise that is drawn anew is averaged away by whoever may ask often enough."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)

    releases: int = pydantic.Field(1, ge=0, le=1000, description="how often a film may be released")
    turns: int = pydantic.Field(100, ge=0, le=100_000, description="in how many turns of learning it may take part")
    tests: int = pydantic.Field(4, ge=0, le=1000, description="how many tests it may be used for")
