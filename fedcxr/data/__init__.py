"""Where cohorts come from: one file per kind of source."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self

from fedcxr.cohort import Annotation, Cohort
from fedcxr.partition import Partition
from fedcxr.plugins import Plugin

Progress = Callable[[int, int], None]  # films done, films in all


def cache_folder() -> Path:
    """Where rendered and packed cohorts are kept."""
    return Path(os.environ.get("FEDCXR_CACHE") or Path.home() / ".cache" / "fedcxr")


def secret_file() -> Path:
    """The file of the secret by which this site's patients are called; it is made if there is none."""
    from fedcxr.data import _pseudonyms  # which takes a while to import

    return _pseudonyms.secret_file()


class Source(Plugin):
    """A place films are read from; its fields are the keys under `cohort:` in a scenario."""

    real: ClassVar[bool] = True  # films of people, until a source says otherwise
    elsewhere: ClassVar[bool] = False  # whether nobody but a hospital can open them

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """What its cohorts carry beside films, told before any is opened; each film may still be without."""
        return ()

    @abstractmethod
    def open(self, cache: Path, *, workers: int = 1, progress: Progress | None = None) -> Cohort:
        """The whole cohort, its pixels memory-mapped from a store in `cache` that is made on first use."""

    def peopled(self, root: int) -> Self:
        """This source with other people in it where they are made up, as a random stream from `root` has it."""
        return self

    def others(self, root: int, people: int | None = None) -> Self:
        """Films of people like its own, none of whom is one of them, where people are made up: so many, or as many.

        Nobody is made up of real ones: their source as it is.
        """
        return self

    def resolved_for(self, sites: int, partition: Partition) -> Self:
        """This source, filled in where it depends on how many sites there are; real data never does."""
        return self
