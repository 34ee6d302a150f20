"""What is not body: pacemaker, wires and clips that stay with a patient, tubes and electrodes that come and go."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fedcxr.data.phantom.anatomy import DEVICES
from fedcxr.data.phantom.scene import Scene
from fedcxr.data.phantom.shapes import bump, smooth

SHARE_WITH_TUBE = 0.35  # of AP films


def add_devices(scene: Scene, thickness: Tensor, carried: Tensor, places: Tensor, chance: Tensor) -> None:
    """Adds every device to the path of the beam, in place, on the films that have it."""
    drawings = {"pacemaker": _pacemaker, "wires": _wires, "clips": _clips}
    for column, device in enumerate(DEVICES):
        films = carried[:, column].nonzero()[:, 0]
        if len(films):
            thickness[films] += drawings[device](scene.take(films), places[films, :, None, None])
    films = ((chance[:, 0] < SHARE_WITH_TUBE) & (scene.signs.ap[:, 0, 0] > 0)).nonzero()[:, 0]
    if len(films):
        thickness[films] += _tube(scene.take(films), chance[films, :, None, None])


def _pacemaker(scene: Scene, place: Tensor) -> Tensor:
    """A box under the left collar bone and a lead to the heart."""
    at, brush = scene.at, scene.brush
    x = at.front - 0.50 - 0.12 * place[:, 0]
    y = at.y + 0.47 + 0.10 * place[:, 1]
    can = brush.edge(1 - (x / 0.085).pow(4) - (y / 0.070).pow(4), 0.3)
    along = ((at.y + 0.47) / 0.80).clamp(0, 1)
    lead = 0.50 - 0.45 * torch.sin(along * (math.pi / 2)).clamp(min=1e-3).sqrt()
    wire = brush.line(at.front - lead, 0.010).mul_(brush.edge(at.y + 0.47, 0.05)).mul_(brush.edge(0.30 - at.y, 0.05))
    return can.add_(wire, alpha=0.5)


def _wires(scene: Scene, place: Tensor) -> Tensor:
    """Loops that hold the breast bone together after surgery."""
    at = scene.at
    loops = torch.cos(at.y * (2 * math.pi / 0.115) + 6 * place[:, 0]).sub_(1).mul_(30).exp_()
    across = smooth(0.030 - (at.front + 0.004).abs(), 0.006)
    return loops.mul_(across).mul_(smooth(0.35 - at.y, 0.02)).mul_(smooth(at.y + 0.35, 0.02)).mul_(0.55)


def _clips(scene: Scene, place: Tensor) -> Tensor:
    """Three short pieces of metal close to each other."""
    at = scene.at
    drawn = torch.zeros_like(at.x)
    for number in range(3):
        x = at.x - (0.20 + 0.22 * place[:, number])
        y = at.row - (-0.25 + 0.5 * place[:, (number + 1) % 3] + 0.07 * number)
        drawn += scene.brush.line(x + 0.4 * y, 0.009).mul_(bump(y, 0.022))
    return drawn.mul_(0.8)


def _tube(scene: Scene, chance: Tensor) -> Tensor:
    """A line from the neck, and often two electrodes on the chest."""
    at, brush = scene.at, scene.brush
    schedule = -0.25 + 0.5 * chance[:, 1] + 0.30 * torch.sin(2.5 * at.row + 6 * chance[:, 1])
    tube = brush.line(at.x - schedule, 0.010).mul_(smooth(0.7 * chance[:, 2] - at.row, 0.03)).mul_(0.22)
    x, y = (at.x + 0.06).abs_() - 0.45 - 0.2 * chance[:, 1], at.row + 0.55 - 0.3 * chance[:, 2]
    electrode = brush.edge(1 - (x.square_() + y.square_()) / 0.0008, 0.5)
    return tube.add_(electrode.mul_(chance[:, 2] > 0.4), alpha=0.45)
