"""What learning costs the people behind a site's films, where it has a price that can be added up."""

from __future__ import annotations

from typing import Literal

import pydantic

Unit = Literal["record", "patient"]


class Spending(pydantic.BaseModel):
    """So many steps, each a sum over a Poisson sample of clipped contributions, with Gaussian noise.

    One unit more or less in a site's films changes the sum by at most the clipping norm, in which the noise is given.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)

    unit: Unit  # whose contribution is sampled and clipped: a film's, or that of all films of a patient together
    noise_multiplier: float = pydantic.Field(ge=1e-2, le=1e4)  # standard deviation of the noise, in clipping norms
    sample_rate: float = pydantic.Field(ge=1e-8, le=1)  # of each unit, on its own
    steps: int = pydantic.Field(ge=1, le=10**8)
