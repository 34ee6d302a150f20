"""Healthy lung: the density of its tissue, with hila, vessels and a fine structure of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fedcxr.data.phantom.scene import Scene
from fedcxr.data.phantom.shapes import Brush, bump, sampled, smooth


def hilum(scene: Scene) -> tuple[Tensor, Tensor]:
    """Position of each pixel relative to the hilum of its side, outwards and downwards."""
    at, body = scene.at, scene.body
    height = at.by_side(body["hilum_y_r"], body["hilum_y_l"]) + 0.02 * scene.pose["breath"]
    return at.away - body["hilum_x"], at.y - height


def density(scene: Scene, vessels: Tensor, mottle: Tensor) -> Tensor:
    """Density of lung tissue in [0, 1] from the patient's lattice of vessels and field (n, size, columns) of mottle."""
    at, body, pose, signs = scene.at, scene.body, scene.pose, scene.signs
    outwards, downwards = hilum(scene)
    emphysema = signs.extent("Emphysema", 0.35)
    congestion = (1 - 0.6 * emphysema) * (1 + 0.14 * pose["congestion"] + 0.35 * signs.extent("Edema", 0.0))
    # Gravity fills the lower vessels; the clamp keeps the apices from turning black.
    branches = _branches(scene.brush, outwards, downwards, at.leftness, vessels).mul_(
        at.y.mul(0.35).add_(1).clamp_(0.6, 1.4)
    )
    root = bump(outwards, 0.055).mul_(bump(downwards, 0.12)).mul_(body["hilum"] * congestion)
    base = 0.19 + 0.04 * signs.ap - 0.11 * emphysema + 0.022 * pose["haze"]
    lung = branches.mul_(0.75 * body["vessels"] * congestion).add_(root).add_(base)
    return lung.add_(mottle * (1.5 * body["mottle"])).add_(scene.texture.field("haze", 20), alpha=0.022)


def _branches(brush: Brush, outwards: Tensor, downwards: Tensor, leftness: Tensor, vessels: Tensor) -> Tensor:
    """Vessels run where a random field of angle and log distance crosses zero: they curve, fork and fan out."""
    square = outwards.square().add_(downwards.square()).add_(2e-3)
    reach = square.log()  # twice the logarithm of the distance, -6.2 in the hilum, about -0.3 at the wall
    angle = torch.atan2(downwards, outwards).mul_(0.5 / math.pi).add_(0.5)  # (0, 1) around the hilum
    field = sampled(vessels, angle.mul_(torch.where(leftness > 0.5, 1.0, -1.0)), reach.mul(0.30).add_(1.15))
    distance = square.sqrt_()
    # A cell of the lattice spans 1/32 of a circle, so the field times the distance rises by about 5 per unit of arc.
    across = Brush(5 * brush.pixel)
    large = across.line(field[:, 0].mul_(distance), 5 * 0.0125)
    small = across.line(field[:, 1].mul_(distance), 5 * 0.0090)
    near, far = smooth(distance - 0.11, 0.03), smooth(distance - 0.20, 0.04)
    fading = distance.mul(-1 / 0.36).exp_()
    return large.mul_(near).mul_(fading).add_(small.mul_(far).mul_(fading.sqrt_()), alpha=0.45)
