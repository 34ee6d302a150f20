"""Phantom patients: a chest X-ray cohort of any size that belongs to nobody and may be shown to everybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr.cohort import ORGANS, Annotation, Cohort
from fedcxr.data import Source
from fedcxr.data.phantom.labels import Mislabelled, labelled
from fedcxr.data.phantom.visits import Population, Visits, sample
from fedcxr.errors import ConfigError
from fedcxr.partition import Partition
from fedcxr.rng import stream

if TYPE_CHECKING:
    from fedcxr.data.phantom.store import Order

MOST_SOURCES = 1000  # each with a scanner of its own
CHANGES_NO_FILM = ("mislabelled", "boxes")  # of the parameters
HOPELESS = 5.0  # sites without anybody, to be expected: all of them will not be spared

Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class Phantom(Source):
    """Rendered patients with NIH's findings, co-occurrence and persistence, and with an identity that can be learnt."""

    real: ClassVar[bool] = False

    patients: int = pydantic.Field(800, ge=1, le=1_000_000)
    size: int = pydantic.Field(64, ge=16, le=1024, description="Height and width of a film in pixels.")
    seed: int = 0
    mean_visits: float = pydantic.Field(3.6, ge=1, le=40)
    prevalence: Literal["nih", "boosted"] = pydantic.Field(
        "boosted", description="NIH's share of every finding, or at least 8 % of films for the rare ones."
    )
    sources: int = pydantic.Field(5, ge=1, le=MOST_SOURCES, description="Hospitals, each with a scanner of its own.")
    patient_overlap: Share = pydantic.Field(
        0.0, description="Share of the patients with several visits who make them at two hospitals."
    )
    years_between: float = pydantic.Field(0.4, gt=0, le=50, description="Two visits of a patient, on average.")
    aging: float = pydantic.Field(
        0.0, ge=0, le=1, description="What a year does to a body, as a share of what sets people apart."
    )
    splits: tuple[Share, Share, Share] = pydantic.Field(
        (0.7, 0.1, 0.2), description="Shares of patients in train, val and test."
    )
    mislabelled: Mislabelled = pydantic.Field(
        Mislabelled(), description="How often labels of train and val are right; films stay, and test tells the truth."
    )

    boxes: bool = pydantic.Field(False, description="Draw boxes around what each film shows of its findings.")

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if abs(sum(self.splits) - 1) > 1e-6:
            raise ValueError(f"splits must sum to 1, not {sum(self.splits):g}")
        if self.patient_overlap > 0 and self.sources < 2:
            raise ValueError("patient_overlap needs at least two sources")
        if "sources" in self.model_fields_set:
            self.mislabelled.check(self.sources)
        return self

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        return (*ORGANS, "boxes") if self.boxes else ORGANS

    def peopled(self, root: int) -> Self:
        return self.model_copy(update={"seed": int.from_bytes(stream(root, "phantom", self.seed).bytes(16))})

    def others(self, root: int, people: int | None = None) -> Self:
        """Other people of the same hospitals, of whom nobody is tested on."""
        train, val, _ = self.splits
        held_out = val / (train + val) if train + val else 0.0
        number = self.patients if people is None else people
        changed = {"patients": number, "splits": (1 - held_out, held_out, 0.0), "boxes": False}
        return self.peopled(root).model_copy(update=changed)

    def resolved_for(self, sites: int, partition: Partition) -> Self:
        """One hospital per site and the partition's travellers, unless the scenario says otherwise."""
        wanted: dict[str, int | float] = {}
        if partition.by == "source":
            wanted = {"sources": sites, "patient_overlap": partition.patient_overlap}
            if "sources" not in self.model_fields_set:
                self._demand_people(sites)
        left_open = {key: value for key, value in wanted.items() if key not in self.model_fields_set}
        return self.model_validate({**self.model_dump(), **left_open})

    def _demand_people(self, sites: int) -> None:
        """Refuse now what would fail once the films are rendered."""
        if sites > MOST_SOURCES:
            do = "use fewer sites, or set partition.by=iid"
            raise ConfigError(
                "more sites than a phantom has sources", given=sites, allowed=f"1 to {MOST_SOURCES}", do=do
            )
        empty = sites * (1 - 1 / sites) ** self.patients
        if empty > HOPELESS:
            raise ConfigError(
                "some sites would hold no films",
                given=f"{self.patients} patients at {sites} sites, about {empty:.0f} of them without anybody",
                do="use fewer sites, set cohort.patients to ten times as many as sites, or set partition.by=iid",
            )

    def table(self) -> pd.DataFrame:
        """The index table, without rendering anything."""
        return labelled(self._visits().index(), self.mislabelled, self.seed)

    def masks(
        self, rows: Sequence[int] | npt.NDArray[np.intp] | slice
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Outlines (n, size, size) of the lungs and of the heart on the films at these rows of `table()`."""
        from fedcxr.data.phantom.render import outlines

        chosen = self._visits().take(rows if isinstance(rows, slice) else np.asarray(rows, dtype=np.intp))
        return outlines(self.seed, chosen, self.size)

    def open(self, cache: Path, *, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> Cohort:
        """The whole cohort; rendered into `cache` on first use, mapped from there afterwards."""
        from fedcxr.data.phantom import outlines, store

        drawn = {key: value for key, value in self.spec().items() if key not in CHANGES_NO_FILM}
        cohort = store.open_cohort(drawn, self._order, Path(cache), workers, progress)
        index = labelled(cohort.index, self.mislabelled, self.seed)
        annotations = outlines.anatomical(len(cohort), self._order)
        if self.boxes:
            annotations = replace(annotations, boxes=store.open_boxes(drawn, self._order, Path(cache)))
        return replace(cohort, index=index, annotations=annotations)

    def _order(self) -> Order:
        from fedcxr.data.phantom.store import Order

        return Order(self.seed, self.size, self._visits())

    def _visits(self) -> Visits:
        return sample(
            Population(
                seed=self.seed,
                mean_visits=self.mean_visits,
                prevalence=self.prevalence,
                sources=self.sources,
                patient_overlap=self.patient_overlap,
                splits=self.splits,
                years_between=self.years_between,
                aging=self.aging,
            ),
            range(self.patients),
        )
