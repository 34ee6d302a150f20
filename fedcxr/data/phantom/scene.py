"""A batch of films while it is being drawn: where pixels lie in the body, and whose body it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedcxr.data.phantom.pose import Frame
from fedcxr.data.phantom.shapes import Brush, Traits
from fedcxr.data.phantom.signs import Signs
from fedcxr.data.phantom.texture import Texture
from fedcxr.data.phantom.thorax import Thorax


@dataclass(frozen=True)
class Scene:
    """All that lungs, bones, findings and devices are drawn from; fields cover the same n films."""

    brush: Brush
    at: Frame
    chest: Thorax
    body: Traits
    pose: Traits
    signs: Signs
    texture: Texture

    def take(self, films: Tensor) -> Scene:
        """The same for some of the films."""
        return Scene(
            brush=self.brush,
            at=self.at.take(films),
            chest=self.chest.take(films),
            body=self.body.take(films),
            pose=self.pose.take(films),
            signs=self.signs.take(films),
            texture=self.texture.take(films),
        )

    def spot(self, finding: str, highest: float, lowest: float, shift: int = 0) -> tuple[Tensor, Tensor]:
        """Position of each pixel relative to where the finding sits in one lung."""
        side = torch.where(self.signs.place(finding, 0) > 0.5, 1.0, -1.0)
        x = side * (0.20 + 0.38 * self.signs.place(finding, 1 + shift))
        y = highest + (lowest - highest) * self.signs.place(finding, 2 + shift)
        return self.at.x - x, self.at.y - y

    def on_sides(self, finding: str, share_of_both: float) -> Tensor:
        """1 on the side or sides of the body where the finding is."""
        return self.at.by_side(*self.signs.sides(finding, share_of_both))
