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
class Boxes:
    """Where findings are on films: plain arrays, since they are asked for at every step."""

    film: Rows  # (m,) in order
    column: Rows  # (m,) of the findings
    ends: npt.NDArray[np.int64]  # (m, 2, 2) of the pixels touched: down and right, first and behind the last

    @classmethod
    def of(cls, drawn: pd.DataFrame, labels: Labels, findings: Sequence[str]) -> Self:
        """Those of what a film is labelled with: others would teach the contrary of its label."""
        number = {finding: column for column, finding in enumerate(findings)}
        column = np.array([number.get(finding, -1) for finding in drawn["finding"]], dtype=np.intp)
        film = drawn["film"].to_numpy(np.intp)
        first = drawn[["y", "x"]].to_numpy(np.float64)
        last = np.ceil(first + drawn[["h", "w"]].to_numpy(np.float64)).astype(np.int64)
        first = np.floor(first).astype(np.int64)
        ends = np.stack([first, np.maximum(last, first + 1)], axis=2)
        shown = np.flatnonzero((column >= 0) & (labels[film, column] == 1))
        shown = shown[np.argsort(film[shown], kind="stable")]
        return cls(film[shown], column[shown], ends[shown])

    def on(self, rows: Rows) -> tuple[Rows, Rows]:  # (p,) each
        """Which boxes are on these films, and on which of them."""
        begin, end = (np.searchsorted(self.film, rows, side) for side in ("left", "right"))
        place = np.repeat(np.arange(len(rows)), end - begin)
        return np.concatenate([np.arange(0), *map(np.arange, begin, end)]).astype(np.intp), place


@dataclass(frozen=True)
class Places:
    """What one site knows of places on its films, any of which may lack any of it.

    Of an organ a cell tells its share, of a finding whether a box of it reaches into the cell. Nothing is known where a
    film has no mask, and where it has a finding that nobody has drawn a box of; where it has not, no cell has it.
    """

    cohort: Cohort
    organs: tuple[Organ, ...]  # channels, before those of findings
    labels: Labels  # of findings whose places are told; all unknown at a site without boxes
    boxes: Boxes  # columns are those of labels

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
        return cls(cohort, organs, labels, Boxes.of(boxes, labels, findings[: labels.shape[1]]))

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
        boxes, place = self.boxes.on(rows)
        if len(boxes):
            ends, sides = self.boxes.ends[boxes], self.cohort.size
            # A box is as high in all of its columns, so cells are those that it reaches both down and across.
            down, across = (_reached(ends[:, axis], by[axis, place], sides[axis], size[axis]) for axis in range(2))
            column = torch.from_numpy(self.boxes.column[boxes])
            pairs = (torch.from_numpy(place) * cells.shape[1] + column)[:, None, None].expand(-1, *size)
            reached = torch.zeros(cells.shape[0] * cells.shape[1], *size)
            reached.scatter_reduce_(0, pairs, down[:, :, None] * across[:, None, :], "amax")
            shown = torch.zeros(cells.shape[:2], dtype=torch.bool)
            shown[torch.from_numpy(place), column] = True
            cells[shown] = reached.view(cells.shape)[shown]
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


def _reached(ends: npt.NDArray[np.int64], by: npt.NDArray[np.int64], pixels: int, cells: int) -> Tensor:  # (m, cells)
    """Which cells along a film a box reaches that was moved with it: 1 or 0; what `moved` repeats at an edge, too."""
    shown = (np.arange(pixels) + by[:, None]).clip(0, pixels - 1)
    inside = (shown >= ends[:, :1]) & (shown < ends[:, 1:])
    return F.adaptive_max_pool1d(torch.from_numpy(inside).float(), cells)
