"""Films that are where the site is: what a scenario for hospitals says of each, whose own profile says all the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from fedcxr.cohort import Annotation, Cohort
from fedcxr.data import Source
from fedcxr.errors import Refused


class Own(Source):
    """The hospital's own films; only the hospital knows which, and nobody else can open them."""

    elsewhere: ClassVar[bool] = True

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """Whatever a task asks for: what there is of it, the hospital knows."""
        return ("lungs", "heart", "boxes")

    def required_files(self) -> tuple[Path, ...]:
        raise _elsewhere()

    def open(self, cache: Path, *, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> Cohort:
        raise _elsewhere()


def _elsewhere() -> Refused:
    return Refused(
        "a hospital's own films are opened there and nowhere else",
        given="own",
        do="name a source that is here, such as phantom, or ask hospitals with `fedcxr submit`",
    )
