"""Differentially private pixelisation: the noisy mean of every cell of a film."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pydantic

from fedcxr.errors import ConfigError
from fedcxr.learning import Guarantee, Report
from fedcxr.methods import Films, ImageMethod, to_eight_bits

WHITE = 255.0


class DpPix(ImageMethod):
    """Every b x b cell of a film becomes one grey value: its mean plus Laplace noise, clipped to 0 ... 255.

    The guarantee holds for films that differ in at most m pixels. It is not one for patients: two films of one
    patient differ nearly everywhere.
    """

    paper: ClassVar[str | None] = "Fan, DBSec 2018 (DP-Pix); the baseline of Packhaeuser et al., MICCAI 2023"
    equations: ClassVar[str | None] = "cell = clip(mean of its c pixels + Laplace(0, 255 m / (c eps)), 0, 255); c = b^2"
    deviations: ClassVar[str | None] = (
        "Where b does not divide the film, a cell at its end holds c < b^2 pixels; its mean moves more when one pixel "
        "changes, so its noise is larger by b^2 / c, which keeps eps. Films are never cropped. The noise is a "
        "floating-point Laplace variable, rounded to 8 bits; every release of a film spends eps again."
    )

    b: int = pydantic.Field(default=8, ge=1, le=4096, description="side of a cell in pixels")
    m: int = pydantic.Field(default=1, ge=1, le=4096**2, description="neighbours differ in at most so many pixels")
    eps: float = pydantic.Field(default=0.1, ge=1e-9, le=1e9, description="privacy loss between neighbours")

    def guarantee(self, reported: Sequence[Report] = ()) -> Guarantee:
        return Guarantee(
            epsilon=self.eps,
            delta=0.0,
            unit="pixel_neighbourhood",
            accountant=f"laplace, for films that differ in at most m = {self.m} pixels",
        )

    def protect(self, films: Films, rng: np.random.Generator) -> Films:
        h, w = films.shape[1:]
        if self.b > min(h, w):
            raise ConfigError(
                "dp_pix: b is larger than the film", given=f"b = {self.b}", allowed=f"1 ... {min(h, w)}, as films go"
            )
        means, pixels = self._cells(films)
        # A film that differs in k pixels of a cell moves its mean by 255 k / pixels at most. The cells' k add up
        # to m at most, so that noise of this scale, cell by cell, spends eps in all.
        noise = rng.laplace(size=means.shape) * (WHITE * self.m / (pixels * self.eps))
        grey = to_eight_bits((means + noise) / WHITE)
        return grey.repeat(self.b, axis=1)[:, :h].repeat(self.b, axis=2)[:, :, :w]

    def _cells(self, films: Films) -> tuple[np.ndarray, np.ndarray]:
        """The mean of every cell, (n, rows, columns), and how many pixels each has, (rows, columns)."""
        _, h, w = films.shape
        down, across = np.arange(0, h, self.b), np.arange(0, w, self.b)
        # Down first: adding whole rows is what NumPy does fastest.
        sums = np.add.reduceat(np.add.reduceat(films, down, axis=1, dtype=np.uint32), across, axis=2)
        pixels = np.outer(np.diff(down, append=h), np.diff(across, append=w))
        return sums / pixels, pixels
