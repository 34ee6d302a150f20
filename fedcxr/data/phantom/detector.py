"""From the path of the beam to a developed film: absorption, scatter, quantum noise, window, processing, borders."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from fedcxr.data.phantom.scene import Scene
from fedcxr.data.phantom.shapes import Traits
from fedcxr.data.phantom.styles import numbers, stamp, style_of
from fedcxr.data.phantom.texture import Texture
from fedcxr.data.phantom.visits import Visits

SHARE_WITH_MARKER = 0.7


def develop(scene: Scene, thickness: Tensor, visits: Visits, chance: Tensor) -> npt.NDArray[np.uint8]:
    """Films (n, size, size) from the thickness of tissue (n, size, columns) the beam has crossed."""
    pose, signs, texture = scene.pose, scene.signs, scene.texture
    styles = [style_of(texture.seed, int(source)) for source in visits.source]
    names, values = numbers(styles)
    style = Traits(names, torch.from_numpy(values))

    rays = thickness.clamp_(min=-0.05).mul_(-2.1 * torch.exp(0.6 * pose["voltage"])).exp_()
    veil = pose["scatter"].clamp(0, 1.2) * style["scatter"] * 0.22 * (1 + 0.7 * signs.ap)
    rays.add_(_blurred(rays, texture, 10).mul_(veil)).div_(1 + veil)
    quanta = texture.grain().mul_(0.0033 * style["grain"] * torch.exp(pose["noise"]))
    rays.add_(quanta.mul_(rays.clamp(min=0.002).sqrt_()))

    grey = rays.clamp_(min=0.004).log_().neg_()
    dark, bright = _window(grey, texture)
    grey.sub_(dark).mul_(0.80 * style["contrast"] * (1 + pose["window"]) / (bright - dark + 1e-3))
    grey.add_(0.13 + style["level"] + 0.8 * pose["level"])
    if any(one.detail for one in styles):
        grey.add_((grey - _blurred(grey, texture, 20)).mul_(style["detail"]))
    grey.mul_(1 / 1.1).clamp_(1e-4, 1).log_().mul_(style["gamma"] * torch.exp(pose["gamma"])).exp_()
    _collimate(grey, style, chance, texture)

    films = grey[..., : texture.size].mul(255).round_().to(torch.uint8).numpy()
    for film, one, luck in zip(films, styles, chance.tolist(), strict=True):
        if luck[3] < SHARE_WITH_MARKER:
            stamp(film, one, 0.8 + 0.5 * luck[4], luck[5])
    return np.ascontiguousarray(films)


def _blurred(field: Tensor, texture: Texture, cells: int) -> Tensor:
    """The field seen through a grid of cells, per film and without convolutions."""
    coarse = functional.adaptive_avg_pool2d(field[:, None, :, : texture.size], cells)
    size = (texture.size, texture.size)
    wide = functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)[:, 0]
    return functional.pad(wide, (0, texture.columns - texture.size))


def _window(grey: Tensor, texture: Texture) -> tuple[Tensor, Tensor]:
    """Grey values that become dark and bright, from quantiles of each film alone."""
    cells = functional.adaptive_avg_pool2d(grey[:, None, :, : texture.size], 16).flatten(1)
    ordered = cells.sort(dim=1).values
    count = ordered.shape[1]
    return ordered[:, int(0.10 * count), None, None], ordered[:, int(0.95 * count), None, None]


def _collimate(grey: Tensor, style: Traits, chance: Tensor, texture: Texture) -> None:
    """Paints the border of films whose beam was narrowed, in place."""
    place = ((torch.arange(texture.columns) + 0.5) / texture.size * 2 - 1).abs()
    luck = chance[:, :, None, None]
    films = (luck[:, 6] < style["collimated"])[:, 0, 0].nonzero()[:, 0]
    if not len(films):
        return
    half = (0.94 + 0.06 * luck[:, 7])[films]
    soft = texture.size / 4  # a ramp of two pixels' width
    inside = ((half - place[None, None, :]) * soft).add_(0.5).clamp_(0, 1)
    inside = inside * ((half + 0.02 - place[None, : texture.size, None]) * soft).add_(0.5).clamp_(0, 1)
    grey[films] = grey[films] * inside + style["border"][films] * (1 - inside)
