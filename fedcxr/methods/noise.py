"""Additive noise on the whole film, outside the lungs or inside them, stored in 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.errors import DataError
from fedcxr.methods import Films, ImageMethod, Masks, ProtectMarked, RunContext, Weights, to_eight_bits
from fedcxr.plugins import File

if TYPE_CHECKING:
    from fedcxr.models.lungs import LungFinder


class Noise(ImageMethod):
    """Every pixel of a film in [0, 1], or of a part of it, gets independent noise; the sum is clipped and rounded."""

    paper: ClassVar[str | None] = "Vu et al. (noise trade-off): sigma, lambda, beta each 0, .1 ... 1.0"
    deviations: ClassVar[str | None] = (
        "A seeded stream per release, never one shared noise image. Lungs are found by a U-Net trained on phantoms, "
        "and include what lies behind the heart; a mask that cannot be right is reported and dealt with."
    )

    distribution: Literal["gaussian", "laplace", "exponential"] = "gaussian"
    scale: float = pydantic.Field(
        default=0.2, ge=0.0, le=10.0, description="sigma, lambda or beta as a share of the grey range"
    )
    where: Literal["all", "outside_lungs", "inside_lungs"] = "all"
    weights: File | None = pydantic.Field(
        default=None, description="a safetensors file that finds lungs, as `scripts/make lungs` writes it; null: ours"
    )
    on_bad_mask: Literal["whole", "skip", "fail"] = pydantic.Field(
        default="whole",
        description="if the lungs found on a film cannot be right: noise on the whole film, leave it out, or stop",
    )

    def required_files(self) -> tuple[Path, ...]:
        if self.weights is None or self.where == "all":
            return ()
        self._finder()
        return (Path(self.weights),)

    def marks(self, films: Films) -> Masks | None:
        """Which pixels get noise. Lungs move with their film; found anew, they differ at its edge and at theirs."""
        return None if self.where == "all" else self._noised(films)

    def marked_protector(self, weights: Weights, context: RunContext) -> ProtectMarked:
        return self.protect

    def protect(self, films: Films, rng: np.random.Generator, marks: Masks | None = None) -> Films:
        # Drawn for all pixels: a film's noise does not depend on other films' masks.
        noisy = to_eight_bits(films.astype(np.float32) / 255.0 + np.float32(self.scale) * self._noise(films.shape, rng))
        noised = self.marks(films) if marks is None else marks
        return noisy if noised is None else np.where(noised, noisy, films)

    def complaints(self, films: Films) -> Sequence[str | None]:
        if self.where == "all":
            return [None] * len(films)
        return _complaints(self._lungs(films))

    def leaves_out(self) -> bool:
        return self.where != "all" and self.on_bad_mask == "skip"

    def _noise(self, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        match self.distribution:
            case "gaussian":
                return rng.standard_normal(shape, dtype=np.float32)
            case "laplace":
                return rng.laplace(size=shape).astype(np.float32)
            case "exponential":
                return rng.standard_exponential(shape, dtype=np.float32)

    def _noised(self, films: Films) -> Masks:
        """Which pixels get noise; films that `skip` leaves out afterwards get it everywhere too."""
        lungs = self._lungs(films)
        complaints = _complaints(lungs)
        bad = np.array([complaint is not None for complaint in complaints], dtype=bool)
        if self.on_bad_mask == "fail" and bad.any():
            raise DataError(
                f"the lungs found on {bad.sum()} of {len(films)} films cannot be right",
                given=next(filter(None, complaints)),
                do="set on_bad_mask to whole or skip, or weights to a network that knows such films",
            )
        noised = lungs.copy() if self.where == "inside_lungs" else ~lungs
        noised[bad] = True
        return noised

    def _lungs(self, films: Films) -> Masks:
        from fedcxr.training.compute import Compute

        # Never the GPU, never bf16: which films are complained about must not depend on the machine.
        with Compute.choose("cpu", "fp32").session():
            return self._finder().masks(films)

    def _finder(self) -> LungFinder:
        return _loaded(self.weights)


def _complaints(lungs: npt.NDArray[np.bool_]) -> list[str | None]:
    """What is wrong with what was found on each film."""
    from fedcxr.models.lungs import implausible

    return [implausible(mask) for mask in lungs]


@lru_cache(maxsize=4)
def _loaded(weights: str | None) -> LungFinder:
    from fedcxr.models.lungs import LungFinder

    return LungFinder.load(None if weights is None else Path(weights).expanduser())
