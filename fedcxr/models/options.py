"""What a classifier of findings may do beside its backbone, named alike in tasks and methods; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import pydantic

Normalise = Literal["none", "film", "histogram", "bands"]

Scanners = Annotated[
    Normalise,
    pydantic.Field(
        description="films of different scanners are made alike before they are read: each film's own contrast, its "
        "histogram, or the energy of its bands"
    ),
]
Comorbidity = Annotated[
    bool, pydantic.Field(description="what is said of a finding is moved by what is said of all others, as is learnt")
]


def places_of(anatomy: Sequence[str], findings: int) -> int:
    """Of how many things heads learn the places: each organ is one, and with boxes each finding."""
    return sum(findings if one == "boxes" else 1 for one in anatomy)
