"""Boxes around what phantom films show of findings, from the same opacities that the films are drawn with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fedcxr.cohort import BOXES
from fedcxr.data.phantom.findings import OPACITIES
from fedcxr.data.phantom.render import one_thread, scenes
from fedcxr.data.phantom.scene import Scene
from fedcxr.data.phantom.visits import Visits

VERSION = 1  # of what boxes are drawn around, which a store keeps

HEART = 0.5  # of its soft mask, as it is outlined


def boxes(seed: int, visits: Visits, size: int) -> pd.DataFrame:  # BOXES
    """Around at least half of the largest opacity in the lungs, in each lung on its own; around a heart that is large.

    Emphysema, hernia and pneumothorax have none: they take something away, or lie elsewhere.
    """
    found: list[pd.DataFrame] = []
    with one_thread():
        for batch, scene in scenes(seed, visits, size):
            for finding, films, inside in _shown(scene):
                there, box = _around(inside[..., :size])
                table = pd.DataFrame(box, columns=list(BOXES[2:]))
                table.insert(0, "film", batch.start + films.numpy()[there])
                table.insert(1, "finding", finding)
                found.append(table)
    empty = pd.DataFrame({name: pd.Series(dtype=object if name == "finding" else np.int64) for name in BOXES})
    return pd.concat([empty, *found]).sort_values("film", kind="stable", ignore_index=True)


def _shown(scene: Scene) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Findings, on which films, and which pixels (n, size, columns) show them; a film may come twice."""
    films = scene.signs.films("Cardiomegaly")
    chest = scene.take(films).chest
    yield "Cardiomegaly", films, chest.heart * chest.above > HEART
    for finding, opacity in OPACITIES.items():
        films = scene.signs.films(finding)
        if not len(films):
            continue
        some = scene.take(films)
        left = some.at.x > 0
        shown = opacity(some).clamp(0, 1) * some.chest.lungs()
        inside = (shown > 0) & (shown >= shown.amax((1, 2), keepdim=True) / 2)
        for side in (left, ~left):
            yield finding, films, inside & side


def _around(inside: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Which films (n,) have anything inside, and x, y, w and h of it on those."""
    down, across = inside.any(2), inside.any(1)
    there = down.any(1)
    ends = [_ends(where[there]) for where in (across, down)]
    (x, w), (y, h) = ends
    return there.numpy(), torch.stack([x, y, w, h], dim=1).numpy()


def _ends(where: Tensor) -> tuple[Tensor, Tensor]:  # (n, size), some of each row
    """Where it begins, and how long it is."""
    first, last = where.int().argmax(1), where.shape[1] - where.flip(1).int().argmax(1)
    return first, last - first
