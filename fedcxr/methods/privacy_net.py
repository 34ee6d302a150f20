"""Privacy-Net: a network redraws each film so that a verifier loses the patient."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pydantic

from fedcxr.methods._adversarial import DEVIATIONS, Adversarial

if TYPE_CHECKING:
    from fedcxr.models.unet import UNet, UNetDesign

SLOPE = 0.2  # of LeakyReLU


class PrivacyNet(Adversarial):
    """A network predicts the film to be released itself: findings should stay visible, and identities not."""

    paper: ClassVar[str | None] = (
        "Kim et al., Privacy-Net (2019/2021), as the baseline of Packhaeuser et al., MICCAI 2023"
    )
    equations: ClassVar[str | None] = (
        "F(x) = sigmoid U(x), first trained for |F(x) - x|^2; then U minimises BCE(C(F(x1)), findings) - "
        "log(1 - V(F(x1), x2)), x1 and x2 films of one patient; C and V learn on F(x1) too"
    )
    deviations: ClassVar[str | None] = DEVIATIONS

    learning_rate: float = pydantic.Field(default=1e-3, gt=0, le=10, description="of the generator")
    steps_autoencoder: int = pydantic.Field(
        default=100, ge=0, le=10**9, description="of the generator alone, as an autoencoder"
    )

    def _autoencoding(self) -> int:
        return self.steps_autoencoder

    def generator(self) -> UNet:
        from fedcxr.models.unet import UNet

        return UNet(self._design())

    def untrained(self, rng: np.random.Generator) -> UNet:
        from fedcxr.models.unet import unet

        return unet(self._design(), rng)

    def _design(self) -> UNetDesign:
        from fedcxr.models.unet import UNetDesign

        return UNetDesign(widths=self.widths, outputs=1, activation="sigmoid", slope=SLOPE, stride=self.cell)
