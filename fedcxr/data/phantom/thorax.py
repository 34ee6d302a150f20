"""The large shapes: rib cage, mediastinum, heart and diaphragm, and what findings do to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedcxr.data.phantom.pose import Frame
from fedcxr.data.phantom.shapes import Brush, Traits, bump, smooth
from fedcxr.data.phantom.signs import Signs

SHARE_OF_BOTH_LUNGS = 0.2  # of collapses


@dataclass(frozen=True)
class Thorax:
    """Shapes as (n, size, columns), soft masks in [0, 1]."""

    half_width: Tensor  # of the rib cage at this height
    lateral: Tensor  # |x| as share of it
    from_wall: Tensor  # distance to the rib cage, positive inside
    above: Tensor  # above the diaphragm
    to_dome: Tensor  # height above the diaphragm
    beside: Tensor  # beside the mediastinum
    heart: Tensor
    heart_depth: Tensor  # in [0, 1], how thick it is along the beam
    zone: Tensor  # lung before mediastinum and heart are taken out
    air: Tensor  # thickness of lung along the beam

    def take(self, films: Tensor) -> Thorax:
        """Some films of the batch."""
        return Thorax(*(field[films] for field in vars(self).values()))

    def lungs(self) -> Tensor:
        """Soft mask of the lungs as a radiologist would outline them."""
        return self.zone * self.beside * (1 - self.heart)


def expansion(signs: Signs) -> Tensor:  # (n, 1, 1)
    """Overinflation of the lungs."""
    return 0.055 * signs.extent("Emphysema", 0.35)


def thorax(brush: Brush, at: Frame, body: Traits, pose: Traits, signs: Signs) -> Thorax:
    """All large shapes of a batch."""
    half_width = _half_width(at, body, pose)
    lateral = at.away / half_width
    from_wall = half_width - at.away
    to_dome = _height_above_diaphragm(at, body, pose, signs)
    above = brush.edge(to_dome, 0.035)
    beside = _beside_mediastinum(brush, at, body, signs)
    heart_inside = _heart(at, body, pose, signs)
    heart = brush.edge(heart_inside, 0.16)
    heart_depth = heart_inside.clamp_(min=0).sqrt_()

    apex = smooth(at.y + 0.80, 0.03)
    zone = brush.edge(from_wall, 0.03).mul_(apex).mul_(above)
    recess = smooth(to_dome + 0.12, 0.05)  # lung behind the dome of the diaphragm
    air = (1 - lateral.square()).clamp_(min=0).sqrt_().mul_(apex)
    air.mul_(above.mul(0.86).add_(recess, alpha=0.14))
    air.mul_(beside.mul(0.86).add_(0.14))
    air.mul_(1 - heart.mul(heart_depth.mul(0.44).add_(0.28)))
    return Thorax(half_width, lateral, from_wall, above, to_dome, beside, heart, heart_depth, zone, air)


def _half_width(at: Frame, body: Traits, pose: Traits) -> Tensor:
    height = ((at.y - body["cage_y"]) / body["cage_height"]).square_().clamp_(max=0.999)
    narrowing = 1 - height * (body["cage_round"] + (1 - body["cage_round"]) * height)
    width = at.by_side(body["cage_r"], body["cage_l"]) * (1 + 0.012 * pose["breath"])
    return width.mul_(narrowing.clamp_(min=1e-3).sqrt_())


def _beside_mediastinum(brush: Brush, at: Frame, body: Traits, signs: Signs) -> Tensor:
    wider = 1 + 0.14 * signs.ap
    border = at.by_side(body["border_r"] * wider, body["border_l"] * wider)
    border.add_(smooth(-0.62 - at.y, 0.05), alpha=0.033)  # great vessels towards the neck
    below_knob = at.y - body["knob_y"]
    knob = bump(below_knob, 0.075).mul_(body["knob"] * (1 + 0.25 * signs.ap))
    trunk = bump(below_knob - 0.17, 0.07).mul_(body["trunk"])
    vein = bump(at.y + 0.34, 0.05).mul_(0.016)
    border.add_(torch.lerp(vein, knob.add_(trunk), at.leftness))
    return brush.edge(at.middle.abs().sub_(border), 0.045)


def _heart(at: Frame, body: Traits, pose: Traits, signs: Signs) -> Tensor:
    """Positive inside, 1 in the middle: the left ventricle and the right atrium, whichever reaches farther."""
    larger = signs.extent("Cardiomegaly", 0.25)
    thin = signs.extent("Emphysema", 0.4)
    scale = 1 + 0.37 * larger + 0.08 * signs.ap - 0.02 * pose["breath"] - 0.10 * thin + pose["heart_beat"]
    x = at.middle - body["heart_x"] * scale
    y = at.y - (body["heart_y"] + 0.02 * pose["breath"])
    cos, sin = torch.cos(body["heart_tilt"]), torch.sin(body["heart_tilt"])
    long, short = body["heart_long"] * scale, body["heart_short"] * scale.clamp(max=1.3)
    ventricle = (x * (cos / long) + y * (sin / long)).square_()
    ventricle.add_((y * (cos / short) - x * (sin / short)).square_())
    atrium_width = body["atrium_width"] * (1 + 0.26 * larger + 0.08 * signs.ap)
    atrium = ((at.middle - body["atrium_x"]) / atrium_width).square_()
    atrium.add_(((y + 0.02) / (body["atrium_height"] * (1 + 0.1 * larger))).square_())
    return 1 - torch.minimum(ventricle, atrium)


def _height_above_diaphragm(at: Frame, body: Traits, pose: Traits, signs: Signs) -> Tensor:
    collapse = signs.extent("Atelectasis", 0.2)
    right, left = signs.sides("Atelectasis", SHARE_OF_BOTH_LUNGS)
    flat = signs.extent("Emphysema", 0.35)
    common = 0.05 * pose["breath"] + 0.09 * flat - 0.05 * signs.extent("Fibrosis", 0.3) - 0.07 * signs.ap
    top = at.by_side(
        body["dome_r"] + common - 0.09 * collapse * right, body["dome_l"] + common - 0.09 * collapse * left
    )
    curve = at.by_side(body["curve_r"], body["curve_l"]) * (1 - 0.7 * flat)
    outwards = (at.away - at.by_side(body["dome_x_r"], body["dome_x_l"])).mul_(1 / 0.44)
    square = outwards.square()
    fall = torch.where(outwards > 0, square + square * square, 0.8 * square)
    return top.add_(curve.mul_(fall).clamp_(max=0.36)).sub_(at.row)
