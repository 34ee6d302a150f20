"""PriCheXy-Net: the pixels of a film are moved, by little, so that a verifier loses the patient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.errors import TrainingDiverged
from fedcxr.methods import Films, Masks, RunContext, Weights
from fedcxr.methods import _generator as generators
from fedcxr.methods._adversarial import DEVIATIONS, Adversarial, in_parts

if TYPE_CHECKING:
    from torch import Tensor

    from fedcxr.models.flow import Flow

HALF_SIDE = 128.0  # pixels: the unit of mu, on films of the paper's 256 pixels
Pixels = Annotated[str, pydantic.Field(pattern=r"^\d{1,3}(\.\d{1,6})? ?px$")]


class PriCheXyNet(Adversarial):
    """A network deforms each film as little as `mu` allows: findings should stay visible, and identities not."""

    paper: ClassVar[str | None] = "Packhaeuser et al., MICCAI 2023 (PriCheXy-Net)"
    equations: ClassVar[str | None] = (
        "F(x)[p] = x[p - mu G(tanh U(x))[p]], p in [-1, 1]^2; U: U-Net, G: Gaussian mean, bilinear sampling; "
        "U minimises BCE(C(F(x1)), findings) - log(1 - V(F(x1), x2)), x1 and x2 films of one patient; "
        "classifier C minimises the first term, verifier V recognises F(x1) as the patient of x2"
    )
    deviations: ClassVar[str | None] = (
        "The generator starts as the exact identity, which is what the paper's pre-training as an autoencoder aims "
        "at. The field is smoothed and not the grid, its edge repeated, so that mu = 0 changes nothing; the "
        "kernel (9 pixels, sigma 2, at 256) shrinks with the film. The default mu is 8 times the paper's largest, "
        f"which is a third of a pixel on films of 64. {DEVIATIONS}"
    )

    mu: Annotated[float, pydantic.Field(ge=0, le=1)] | Pixels = pydantic.Field(
        default=0.08,
        description="largest displacement in half sides of a film, or as '1.28 px' of a film of 256 (which is .01)",
    )

    field: Literal["pixels", "cells"] = pydantic.Field(
        default="pixels",
        description="what the generator writes: a displacement for each pixel of a cell, which shows as stairs, or one "
        "for each cell, between whose centres it is interpolated; with cells of one pixel both are the paper's",
    )

    @pydantic.model_validator(mode="after")
    def _inside_the_film(self) -> Self:
        if self.reach > 1:
            raise ValueError(f"mu is {self.mu}, and half a film's side is {HALF_SIDE:g} px")
        return self

    @property
    def reach(self) -> float:
        """The largest displacement in half sides of a film: the same share of films of every size."""
        return self.mu if isinstance(self.mu, float) else float(self.mu.removesuffix("px")) / HALF_SIDE

    @property
    def _interpolated(self) -> bool:
        return self.field == "cells"

    def displacements(self, films: Films, weights: Weights, context: RunContext) -> npt.NDArray[np.float32]:
        import torch

        from fedcxr.training import to_tensor

        flow = cast("Flow", generators.network_of(self.generator, weights)).eval()
        with torch.inference_mode():
            moved = flow.displacement(to_tensor(films, RunContext("cpu", "fp32").compute))
        height, width = films.shape[1:]
        half_sides = np.array([width, height], np.float32).reshape(1, 2, 1, 1) / np.float32(2)
        _refuse_nowhere(moved)
        pixels: npt.NDArray[np.float32] = moved.numpy() * half_sides
        return pixels

    def moved(self, masks: Masks, films: Films, weights: Weights, context: RunContext) -> Masks:
        """Masks through the very field that moves their films; a pixel is inside where half of it is or more."""
        import torch

        from fedcxr.models.flow import moved
        from fedcxr.training import to_device, to_tensor

        generators.check_size(weights, films.shape[1:])
        compute, lying = context.compute, np.empty_like(masks)
        flow = cast("Flow", to_device(generators.network_of(self.generator, weights), compute)).eval()
        with compute.session(), torch.inference_mode(), compute.autocast():
            for some in in_parts(films):
                field = flow.displacement(to_tensor(films[some].copy(), compute))  # a copy: see `protector`
                _refuse_nowhere(field)
                inside = moved(to_tensor(masks[some] * np.uint8(255), compute), field)
                lying[some] = (inside >= 0.5).squeeze(1).cpu().numpy()
        return lying

    def generator(self) -> Flow:
        from fedcxr.models.flow import Flow

        return Flow(self.widths, self.cell, self.reach, self._interpolated)

    def untrained(self, rng: np.random.Generator) -> Flow:
        from fedcxr.models.flow import flow

        return flow(self.widths, self.cell, self.reach, rng, self._interpolated)


def _refuse_nowhere(field: Tensor) -> None:
    """A field that is no number would empty a mask without a word."""
    if not field.isfinite().all():
        raise TrainingDiverged("a generator moves pixels by what is no number", do="train it again")
