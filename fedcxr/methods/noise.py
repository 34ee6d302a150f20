"""Additive noise on the whole film, stored in 8 bits."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.methods import ImageMethod, to_eight_bits


class Noise(ImageMethod):
    """Every pixel of a film in [0, 1] gets independent noise; the sum is clipped and rounded back to 8 bits."""

    paper: ClassVar[str | None] = "Vu et al. (noise trade-off): sigma, lambda, beta each 0, .1 ... 1.0"
    deviations: ClassVar[str | None] = "The whole film only; a seeded stream per release, never one shared noise image."

    distribution: Literal["gaussian", "laplace", "exponential"] = "gaussian"
    scale: float = pydantic.Field(
        default=0.2, ge=0.0, le=10.0, description="sigma, lambda or beta as a share of the grey range"
    )

    def protect(self, films: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        match self.distribution:
            case "gaussian":
                noise = rng.standard_normal(films.shape, dtype=np.float32)
            case "laplace":
                noise = rng.laplace(size=films.shape).astype(np.float32)
            case "exponential":
                noise = rng.standard_exponential(films.shape, dtype=np.float32)
        return to_eight_bits(films.astype(np.float32) / 255.0 + np.float32(self.scale) * noise)
