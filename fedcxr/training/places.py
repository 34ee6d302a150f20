"""Where things are on films, cell by cell of a network's map: what extra heads learn that nobody asks afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from fedcxr.cohort import BOXES, ORGANS, Annotation, Cohort, Organ
from fedcxr.training import Offsets, moved

Labels = npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN
Rows = npt.NDArray[np.intp]
Size = tuple[int, int]  # of a map, in cells

OF_ORGANS = 0.5  # what their loss weighs beside that of findings' names, which is 1
OF_FINDINGS = 1.0
SHOWN = 5.0  # times that a cell counts in which a finding is: most are without


@dataclass(frozen=True)
class Places:
    """What one site knows of places on its films, any of which may lack any of it.

    Of an organ a cell tells its share, of a finding whether a box of it reaches into the cell. Nothing is known where a
    film has no mask, and where it has a finding that nobody has drawn a box of; where it has not, no cell has it.
    """

    cohort: Cohort
    organs: tuple[Organ, ...]  # channels, before those of findings
    labels: Labels  # of findings whose places are told; all unknown at a site without boxes
    boxes: pd.DataFrame  # BOXES of this cohort and their `column` of labels, which have the finding

    @classmethod
    def of(cls, cohort: Cohort, labels: Labels, findings: Sequence[str], asked: Sequence[Annotation]) -> Self:
        """What is asked for; `labels` are of these findings, which are named as in boxes."""
        organs = tuple(organ for organ in ORGANS if organ in asked)
        drawn, asked_for = cohort.annotations.boxes, "boxes" in asked
        boxes = cohort.boxes() if asked_for and drawn is not None else pd.DataFrame(columns=[*BOXES])
        if not asked_for:
            labels = labels[:, :0]
        elif drawn is None or not len(drawn):  # findings would be learnt to be nowhere
            labels = np.full_like(labels, np.nan)
        return cls(cohort, organs, labels, _confirmed(boxes, labels, findings))

    @property
    def known(self) -> tuple[Annotation, ...]:
        """What of it the site has anything of."""
        there = (organ for organ in self.organs if self._masked(organ).any())
        return (*there, *(() if np.isnan(self.labels).all() else ("boxes",)))

    def loss(self, said: Tensor, rows: Rows, by: Offsets) -> Tensor:
        """Of logits (n, channels, h, w) that heads have said of these films, moved by these offsets."""
        height, width = said.shape[2:]
        return places_loss(said, self.cells(rows, by, (height, width)).to(said.device), len(self.organs))

    def cells(self, rows: Rows, by: Offsets, size: Size) -> Tensor:  # (n, channels, h, w) in [0, 1], or NaN: unknown
        """What is known of each cell of these films, moved with them."""
        organs = [self._organ(organ, rows, by, size)[:, None] for organ in self.organs]
        return torch.cat([*organs, self._findings(rows, by, size)], dim=1)

    def _organ(self, organ: Organ, rows: Rows, by: Offsets, size: Size) -> Tensor:  # (n, h, w)
        cells = torch.full((len(rows), *size), torch.nan)
        drawn = self._masked(organ)[rows]
        if drawn.any():
            masks = moved(self.cohort.mask(organ, rows[drawn]), by[:, drawn])
            cells[torch.from_numpy(drawn)] = F.adaptive_avg_pool2d(torch.from_numpy(masks).float(), size)
        return cells

    def _masked(self, organ: Organ) -> npt.NDArray[np.bool_]:  # (n,)
        there = organ in self.cohort.annotations.masks
        return self.cohort.masked(organ) if there else np.zeros(len(self.cohort), dtype=np.bool_)

    def _findings(self, rows: Rows, by: Offsets, size: Size) -> Tensor:  # (n, k, h, w)
        cells = without(torch.from_numpy(self.labels[rows]), size)
        shown = pd.DataFrame({"film": rows, "place": np.arange(len(rows))}).merge(self.boxes, on="film")
        if len(shown):
            pairs, pair = np.unique(shown[["place", "column"]].to_numpy(np.intp), axis=0, return_inverse=True)
            drawn = np.zeros((len(pairs), *self.cohort.size), dtype=np.bool_)
            for number, (x, y, w, h) in zip(pair, shown[["x", "y", "w", "h"]].to_numpy(np.float64), strict=True):
                drawn[number, _touched(y, h), _touched(x, w)] = True
            within = torch.from_numpy(moved(drawn, by[:, pairs[:, 0]])).float()
            cells[tuple(torch.from_numpy(pairs).unbind(1))] = F.adaptive_max_pool2d(within, size)
        return cells


def without(labels: Tensor, size: Size) -> Tensor:  # (n, k, h, w) of 0 or NaN
    """What labels alone tell of cells: a film without a finding has it nowhere, and one with it somewhere."""
    return torch.where(labels == 0, 0.0, torch.nan)[:, :, None, None].repeat(1, 1, *size)


def places_loss(said: Tensor, cells: Tensor, organs: int) -> Tensor:
    """Mean cross-entropy over the cells that are known, of organs, which come first, and of findings; of none 0."""
    of_organs = _mean_known(said[:, :organs], cells[:, :organs], 1.0)
    return OF_ORGANS * of_organs + OF_FINDINGS * _mean_known(said[:, organs:], cells[:, organs:], SHOWN)


def _mean_known(said: Tensor, cells: Tensor, shown: float) -> Tensor:
    known = ~cells.isnan()
    weight, targets = torch.tensor(shown, device=said.device), cells.nan_to_num(0.0)
    losses = F.binary_cross_entropy_with_logits(said.float(), targets, pos_weight=weight, reduction="none")
    return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)


def _confirmed(boxes: pd.DataFrame, labels: Labels, findings: Sequence[str]) -> pd.DataFrame:
    """Those of what a film is labelled with: others would teach the contrary of its label."""
    places = {finding: column for column, finding in enumerate(findings[: labels.shape[1]])}
    column = boxes["finding"].map(places)
    boxes, column = boxes[column.notna()], column.dropna().astype(np.intp)
    found = boxes.assign(column=column, film=boxes["film"].astype(np.intp))
    return found.loc[labels[found["film"].to_numpy(), column.to_numpy()] == 1]


def _touched(start: float, length: float) -> slice:
    """All pixels that a box touches, one at least."""
    first = max(int(np.floor(start)), 0)
    return slice(first, max(first + 1, int(np.ceil(start + length))))
