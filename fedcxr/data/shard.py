"""A shard that `fedcxr data shard` made: films and index as they were packed, without the files they came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydantic

from fedcxr.cohort import Annotation, Cohort
from fedcxr.data import Source
from fedcxr.data import _shard as shard


class Shard(Source):
    """The folder that `fedcxr data shard --out` named."""

    root: str = pydantic.Field(min_length=1, description="The shard's folder.")
    verify: bool = pydantic.Field(False, description="Compare every byte with the check sums first.")

    def required_files(self) -> tuple[Path, ...]:
        folder = Path(self.root).expanduser()
        shard.read_manifest(folder)
        return (folder,)

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """What was packed with the films, which only the shard can tell: an error if there is none."""
        return shard.read_manifest(Path(self.root).expanduser()).annotations

    def open(self, cache: Path, *, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> Cohort:
        """The whole cohort, mapped where it lies; nothing is written to `cache`."""
        return shard.open_shard(Path(self.root).expanduser(), verify=self.verify)
