"""What is told of any count of things that have a grey level and a size: runs, zones, or pixels and those like them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcxr.metrics.radiomics._levels import BINS, TINY, Floats

LEVEL = np.arange(1, BINS + 1, dtype=np.float64)
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counted:
    """How many things of each level and size each of m films, or directions of films, has."""

    table: Floats  # (m, BINS, k)
    sizes: Floats  # (k,) that occur

    @classmethod
    def of(cls, owners: Whole, levels: Whole, sizes: Whole, m: int) -> Counted:
        """Of things, (t,) each: whose, of which level from 1 on, and how large."""
        found = np.flatnonzero(np.bincount(sizes))
        place = np.zeros(int(found[-1]) + 1, dtype=np.int64)
        place[found] = np.arange(len(found))
        codes = (owners * BINS + levels - 1) * len(found) + place[sizes]
        table = np.bincount(codes, minlength=m * BINS * len(found)).reshape(m, BINS, -1)
        return cls(table.astype(np.float64), found.astype(np.float64))

    def features(self, small: str, large: str, size: str, gray: str, emphasis: str) -> dict[str, Floats]:
        """14 features, (m,) each, under the names that are usual for what was counted; nan where there is nothing."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._features(small, large, size, gray, emphasis)

    def _features(self, small: str, large: str, size: str, gray: str, emphasis: str) -> dict[str, Floats]:
        things = self.things
        by_level, by_size = self.table.sum(axis=2), self.table.sum(axis=1)
        inverse, square = self.table @ self.sizes**-2, self.table @ self.sizes**2  # (m, BINS)
        level, shares = by_level / things[:, None], self.table / things[:, None, None]
        sizes = by_size / things[:, None]
        means = (level @ LEVEL)[:, None], (sizes @ self.sizes)[:, None]
        return {
            f"{small}Emphasis": by_size @ self.sizes**-2 / things,
            f"{large}Emphasis": by_size @ self.sizes**2 / things,
            "GrayLevelNonUniformity": (by_level**2).sum(axis=1) / things,
            f"{size}NonUniformity": (by_size**2).sum(axis=1) / things,
            f"{size}NonUniformityNormalized": (by_size**2).sum(axis=1) / things**2,
            "GrayLevelVariance": (level * (LEVEL - means[0]) ** 2).sum(axis=1),
            f"{gray}Variance": (sizes * (self.sizes - means[1]) ** 2).sum(axis=1),
            f"{gray}Entropy": -(shares * np.log2(shares + TINY)).sum(axis=(1, 2)),
            f"LowGrayLevel{emphasis}": by_level @ LEVEL**-2 / things,
            f"HighGrayLevel{emphasis}": by_level @ LEVEL**2 / things,
            f"{small}LowGrayLevelEmphasis": inverse @ LEVEL**-2 / things,
            f"{small}HighGrayLevelEmphasis": inverse @ LEVEL**2 / things,
            f"{large}LowGrayLevelEmphasis": square @ LEVEL**-2 / things,
            f"{large}HighGrayLevelEmphasis": square @ LEVEL**2 / things,
        }

    @property
    def things(self) -> Floats:  # (m,)
        return np.asarray(self.table.sum(axis=(1, 2)))

    def beside_pixels(self, percentage: str) -> dict[str, Floats]:
        """Two more, of things that cover each pixel once."""
        by_level = self.table.sum(axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "GrayLevelNonUniformityNormalized": (by_level**2).sum(axis=1) / self.things**2,
                percentage: self.things / (self.table.sum(axis=1) @ self.sizes),
            }
