"""What each finding looks like: opacity added to the lung, or lung pushed away.

Every function sees only films that show the finding and returns its opacity (n, size, columns) in [0, 1].
Findings that change large shapes (Cardiomegaly, Emphysema, loss of volume) do so in `thorax.py`. Mild cases are
meant to be hard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fedcxr.data.phantom.lungs import hilum
from fedcxr.data.phantom.scene import Scene
from fedcxr.data.phantom.shapes import both, bump, smooth
from fedcxr.data.phantom.thorax import SHARE_OF_BOTH_LUNGS


def add_opacities(scene: Scene, lung: Tensor) -> Tensor:
    """Density of the lungs after every finding has been put where it is present."""
    for finding, opacity in OPACITIES.items():
        films = scene.signs.films(finding)
        if len(films):
            lung[films] = both(lung[films], opacity(scene.take(films)).clamp_(0, 1))
    return lung.clamp_(0.02, 1)


def atelectasis(scene: Scene) -> Tensor:
    """Plates of airless lung and a dense base; the dome above has risen."""
    signs, at = scene.signs, scene.at
    extent = signs.extent("Atelectasis", 0.3)
    slant = (at.away - 0.35).mul_(0.35 * (signs.place("Atelectasis", 4) - 0.5))
    height = scene.chest.to_dome + slant
    reach = scene.brush.edge(at.away - 0.14, 0.08).mul_(smooth(0.30 + 0.40 * extent - at.away, 0.04))
    plates = scene.brush.line(height - (0.09 + 0.07 * signs.place("Atelectasis", 2)), 0.018)
    second = scene.brush.line(height - (0.19 + 0.09 * signs.place("Atelectasis", 1)), 0.014)
    plates = plates.add_(second * (signs.place("Atelectasis", 5) > 0.4)).mul_(0.62).mul_(reach)
    base = bump(scene.chest.to_dome, 0.11).mul_(smooth(0.55 - at.away, 0.08)).mul_(0.48)
    return plates.add_(base).mul_(extent).mul_(scene.on_sides("Atelectasis", SHARE_OF_BOTH_LUNGS))


def consolidation(scene: Scene) -> Tensor:
    """Air replaced by fluid in part of a lobe: dense, even, with a border that is only partly sharp."""
    signs = scene.signs
    x, y = scene.spot("Consolidation", -0.40, 0.30)
    extent = signs.extent("Consolidation", 0.0)
    size = 0.10 + 0.15 * extent
    wide = 0.8 + 0.6 * signs.place("Consolidation", 4)
    rim = ((x / (size * wide)).square_() + (y / (size / wide)).square_()).add_(1e-6).sqrt_()
    rim.add_(scene.texture.field("lobe", 12), alpha=0.45)
    return smooth(1 - rim, 0.18).mul_(0.26 + 0.52 * extent)


def edema(scene: Scene) -> Tensor:
    """Fluid from the hila outwards on both sides, and short horizontal lines near the base."""
    outwards, downwards = hilum(scene)
    extent = scene.signs.extent("Edema", 0.0)
    cloud = scene.texture.field("cloud", 20).mul_(2.0).sigmoid_().mul_(0.6).add_(0.4)
    wings = outwards.square().add_(downwards.square()).mul_(-1 / (0.24 + 0.16 * extent).square()).exp_().mul_(cloud)
    uneven = scene.at.by_side(0.65 + 0.7 * scene.signs.place("Edema", 1), 0.65 + 0.7 * scene.signs.place("Edema", 2))
    lines = torch.cos(75 * scene.at.row + 2 * scene.at.x).sub_(1).mul_(14).exp_()
    lines.mul_(smooth(scene.chest.lateral - 0.72, 0.05)).mul_(smooth(scene.at.y - 0.05, 0.08))
    visible = min(1.0, 0.025 / scene.brush.pixel)  # 0.02 wide lines vanish in larger pixels
    return wings.mul_(0.09 + 0.48 * extent).mul_(uneven).add_(lines, alpha=0.12 * visible).add_(0.02 + 0.09 * extent)


def effusion(scene: Scene) -> Tensor:
    """Fluid between lung and chest wall: from a blunted angle to a level that climbs the wall."""
    extent = scene.signs.extent("Effusion", 0.0)
    climb = (scene.chest.lateral - 0.45).clamp_(min=0).square_().mul_(0.24 + 0.66 * extent)
    deep = scene.body["blunt"].clamp(min=0) + 0.03 * extent + 0.36 * extent * extent
    top = scene.at.by_side(scene.body["dome_r"], scene.body["dome_l"]) + 0.18 - deep
    lying = 0.35 * scene.signs.ap * extent  # in bed the fluid spreads behind the lung as a veil
    fluid = smooth(scene.at.row - top + climb, 0.02).mul_(0.88 - lying)
    veil = smooth(scene.at.row + 0.1, 0.25).mul_(0.5 * lying)
    return fluid.add_(veil).mul_(scene.on_sides("Effusion", 0.35))


def fibrosis(scene: Scene) -> Tensor:
    """A net of scars near the wall and the base."""
    net = bump(scene.texture.field("net-1", 44), 0.20).add_(bump(scene.texture.field("net-2", 44), 0.20))
    edge = smooth(scene.chest.lateral - 0.55, 0.10).add_(0.25)
    base = smooth(scene.at.y + 0.05, 0.16).clamp_(min=0.2)
    return net.mul_(0.38).add_(0.14).mul_(edge).mul_(base).mul_(scene.signs.extent("Fibrosis", 0.3))


def infiltration(scene: Scene) -> Tensor:
    """Mottled haze over a large part of one lung or of both."""
    x, y = scene.spot("Infiltration", -0.30, 0.25)
    patch = x.mul_(1 / 0.30).square_().add_(y.mul_(1 / 0.32).square_()).neg_().exp_()
    spread = bump(scene.at.y - 0.05, 0.40).mul_(0.8 * (scene.signs.place("Infiltration", 3) > 0.55))
    spots = scene.texture.field("spots", 40).mul_(2.6).add_(scene.texture.field("cloud", 20)).sigmoid_()
    extent = scene.signs.extent("Infiltration", 0.25)
    return torch.maximum(patch, spread).mul_(spots.mul_(0.48).add_(0.12)).mul_(extent)


def mass(scene: Scene) -> Tensor:
    """A lump of more than three centimetres with a lobed border."""
    x, y = scene.spot("Mass", -0.45, 0.30)
    radius = 0.095 + 0.075 * scene.signs.extent("Mass", 0.0)
    form = 0.8 + 0.4 * scene.signs.place("Mass", 3)
    rim = (x * x).add_((y * form).square_()).sqrt_().div_(radius)
    rim.add_(scene.texture.field("lobe", 12), alpha=0.10)
    return smooth(1 - rim, 0.07).mul_(0.55 + 0.33 * scene.signs.extent("Mass", 0.0))


def nodule(scene: Scene) -> Tensor:
    """One to three round shadows of up to three centimetres."""
    signs = scene.signs
    extent = signs.extent("Nodule", 0.0)
    radius = 0.052 + 0.032 * extent
    shown = torch.zeros_like(scene.at.x)
    for number in range(3):
        on = (signs.place("Nodule", 5) > (0.0, 0.35, 0.65)[number]) | torch.tensor(number == 0)
        x, y = scene.spot("Nodule", -0.55, 0.32, shift=number)
        x = x if number != 1 else x + 2 * (scene.at.x - x)  # the second sits in the other lung
        round_ = smooth(1 - x.square_().add_(y.square_()).div_(radius * radius), 0.22)
        shown = torch.maximum(shown, round_.mul_(on))
    return shown.mul_(0.70 + 0.22 * extent)


def pleural_thickening(scene: Scene) -> Tensor:
    """A band along the chest wall, thickest at the apex or at the side."""
    signs = scene.signs
    extent = signs.extent("Pleural_Thickening", 0.2)
    to_apex = (scene.at.y + 0.86).mul_(0.9)
    uneven = scene.texture.field("lobe", 12).mul_(0.25).add_(1).clamp_(min=0.4)
    apical = 0.5 + 1.1 * signs.place("Pleural_Thickening", 4)
    wide = (0.036 + 0.075 * extent) * uneven
    band = torch.minimum(scene.chest.from_wall, to_apex / apical)
    return scene.brush.edge(wide - band, 0.03).mul_(0.85).mul_(scene.on_sides("Pleural_Thickening", 0.4))


def pneumonia(scene: Scene) -> Tensor:
    """A patch in the lower half, patchy inside and without a border."""
    x, y = scene.spot("Pneumonia", -0.02, 0.32)
    extent = scene.signs.extent("Pneumonia", 0.15)
    size = 0.15 + 0.09 * extent
    rim = ((x / size).square_() + (y / size).square_()).add_(1e-6).sqrt_()
    rim.add_(scene.texture.field("lobe", 12), alpha=0.5)
    patchy = scene.texture.field("cloud", 20).mul_(3).sigmoid_().mul_(0.5).add_(0.5)
    return smooth(1 - rim, 0.30).mul_(patchy).mul_(0.30 + 0.50 * extent)


OPACITIES: Mapping[str, Callable[[Scene], Tensor]] = {
    "Atelectasis": atelectasis,
    "Consolidation": consolidation,
    "Edema": edema,
    "Fibrosis": fibrosis,
    "Infiltration": infiltration,
    "Mass": mass,
    "Nodule": nodule,
    "Pneumonia": pneumonia,
    "Pleural_Thickening": pleural_thickening,
    "Effusion": effusion,
}


def collapse(scene: Scene, lung: Tensor) -> Tensor:
    """Pneumothorax: air without vessels outside the thin edge of a lung that has shrunk."""
    films = scene.signs.films("Pneumothorax")
    if not len(films):
        return lung
    some = scene.take(films)
    extent = some.signs.extent("Pneumothorax", 0.0)
    to_apex = (some.at.y + 0.84).mul_(0.62)
    round_ = torch.logaddexp(-16 * some.chest.from_wall, -16 * to_apex).mul_(-1 / 16)  # the nearer, without a corner
    shrunk = round_ - (0.02 + 0.19 * extent)
    shrunk.sub_(smooth(-0.2 - some.at.y, 0.12).mul_(0.05 + 0.06 * extent))
    shrunk.add_(smooth(some.at.y - 0.15, 0.10).mul_(0.04 + 0.06 * extent))
    side = some.on_sides("Pneumothorax", 0.0)
    outside = some.brush.edge(-shrunk, 0.02).mul_(side)
    edge = some.brush.line(shrunk, 0.010).mul_(side)
    denser = side.mul(0.10).mul_(1 - outside)
    lung = lung.clone()
    lung[films] = lung[films].mul_(1 - 0.92 * outside).add_(edge, alpha=0.36).add_(denser)
    return lung


def hernia(scene: Scene, thickness: Tensor) -> Tensor:
    """Hernia: stomach behind the heart, round, with a level of fluid under air; drawn on the path of the beam."""
    films = scene.signs.films("Hernia")
    if not len(films):
        return thickness
    some = scene.take(films)
    extent = some.signs.extent("Hernia", 0.0)
    radius = 0.10 + 0.10 * extent
    x = some.at.middle - (0.04 + 0.10 * (some.signs.place("Hernia", 1) - 0.3))
    y = some.at.y - (0.30 - 0.06 * some.signs.place("Hernia", 2))
    rim = (x / radius).square_().add_((y / (0.85 * radius)).square_())
    sac = smooth(1 - rim, 0.10).mul_(1 - 0.3 * some.chest.heart)
    air = smooth(0.72 - rim, 0.10).mul_(some.brush.edge(-y, 0.03))
    thickness = thickness.clone()
    thickness[films] += (0.28 * sac - 0.40 * air) * (0.45 + 0.55 * extent)
    return thickness
