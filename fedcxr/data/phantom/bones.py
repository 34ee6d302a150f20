"""Ribs, collar bones, shoulder blades and spine: how much denser bone makes the path of the beam."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from fedcxr.data.phantom.anatomy import RIBS
from fedcxr.data.phantom.scene import Scene
from fedcxr.data.phantom.shapes import Brush, Traits, bump, disc, smooth

TOP, BOTTOM = -1.3, 1.3  # heights between which a table of ribs is kept


def ribs(scene: Scene, deviations: Tensor) -> Tensor:
    """Back halves of the ribs falling outwards, front halves falling inwards, from one table of their heights."""
    brush, at, chest, body, pose = scene.brush, scene.at, scene.chest, scene.body, scene.pose
    table = _rib_table(brush, body, deviations)  # (n, 2 * heights)
    fall = at.by_side(body["rib_fall_r"], body["rib_fall_l"]) * (1 + 0.06 * pose["breath"])
    fall.mul_(1 + body["rib_fall_change"] * at.y)
    wave = at.by_side(body["rib_wave_r"], body["rib_wave_l"])
    phase = at.by_side(body["rib_phase_r"], body["rib_phase_l"])
    wave.mul_(torch.sin(chest.lateral.mul(4.5).add_(phase))).mul_(0.014)
    rim = chest.half_width + 0.03
    steepest = 1 - max(0.005, 1.5 * brush.pixel)  # beyond, ribs fall more than a pixel per pixel and would break up

    turned = (1 - chest.lateral.square()).clamp_(min=0).mul_(pose["turn"])  # the outline stays where it is
    x = at.x + 0.5 * turned
    around = (x / rim).abs_()
    inside = brush.edge(0.994 - around, 0.02)
    towards = (1 - around.clamp_(max=steepest).square()).sqrt_()  # 1 at the spine, 0 where the rib turns to the front
    height = at.y - 0.5 * fall + wave
    sweep = fall.mul_(towards).mul_(0.5)
    behind = _look_up(table, height + sweep + 0.10 * around * towards + 0.02 * pose["lean"], x > 0)
    longer = (1 / (towards + 0.35)).mul_(0.75)  # the beam runs along the rib where it turns
    behind.mul_(longer).mul_(brush.edge(at.away - 0.03, 0.08)).mul_(inside)

    x = at.x - 0.7 * turned
    around = (x / rim).abs_()
    inside = brush.edge(0.994 - around, 0.02)
    towards = (1 - around.clamp_(max=steepest).square()).sqrt_()
    before = _look_up(table, height - sweep - 0.04 * pose["lean"], x > 0)
    before.mul_((1 / (towards + 0.35)).mul_(0.75)).mul_(smooth(around - body["cartilage"], 0.025))
    before.mul_(inside).mul_(smooth(at.y + 0.90, 0.05))
    shown = chest.above.mul(0.6).add_(0.4)  # under the diaphragm they drown in scatter
    return behind.mul_(body["rib_back"]).add_(before.mul_(body["rib_front"])).mul_(shown)


def _rib_table(brush: Brush, body: Traits, deviations: Tensor) -> Tensor:
    """Thickness of bone over height, one row for each side, smoothed to the pixel: hollow tubes with dense walls."""
    heights = round(4 * (BOTTOM - TOP) / brush.pixel)
    number = torch.arange(RIBS)[None, None, :]
    position = body["rib_first"] + body["rib_apart"] * number + body["rib_widening"] * number * (number - 1) / 2
    position = position + 0.012 * deviations[:, 0]
    thick = body["rib_thick"] * (1 + 0.15 * deviations[:, 1]) * (0.85 + 0.03 * number)
    dense = 1 + 0.22 * deviations[:, 2]
    height = torch.linspace(TOP, BOTTOM, heights)
    table = torch.zeros(len(deviations), 2, heights)
    for rib in range(RIBS):
        across = (height - position[:, :, rib, None]).div_(thick[:, :, rib, None]).square_()
        tube = disc(across) - 0.85 * body["rib_wall"] * disc(across * 1.6)
        lower_edge = bump(across.sub_(0.80), 0.25).mul_(0.25)  # the walls are what one sees first
        table += tube.add_(lower_edge).mul_(dense[:, :, rib, None])
    return functional.avg_pool1d(table, 5, stride=1, padding=2).flatten(1)


def _look_up(table: Tensor, height: Tensor, left: Tensor) -> Tensor:
    heights = table.shape[1] // 2
    entry = height.sub_(TOP).mul_((heights - 1) / (BOTTOM - TOP)).add_(0.5).clamp_(0, heights - 1).long()
    entry.add_(left, alpha=heights)
    return table.gather(1, entry.flatten(1)).view_as(height)


def collar_bones(scene: Scene) -> Tensor:
    """S-shaped, from the breast bone upwards to the shoulder, dense at its ends."""
    brush, at, body, pose, signs = scene.brush, scene.at, scene.body, scene.pose, scene.signs
    out = at.front.abs().sub_(0.06)
    slope = at.by_side(body["collar_slope_r"], body["collar_slope_l"]) + 0.05 * pose["arms"]
    bend = at.by_side(body["collar_bend_r"], body["collar_bend_l"])
    start = at.by_side(body["collar_y_r"], body["collar_y_l"]) - 0.05 * signs.ap - 0.03 * pose["arms"]
    axis = start.sub_(slope.mul_(out)).add_(bend.mul_(torch.sin(out.mul(8.5).add_(body["collar_phase"]))))
    thick = bump(out, 0.12).mul_(0.5).add_(smooth(out - 0.5, 0.1), alpha=0.25).add_(1).mul_(body["collar_thick"])
    seen = thick.clamp(min=0.9 * brush.pixel)
    across = (at.y - axis).div_(seen).square_()
    wall = disc(across).sub_(disc(across * 1.7).mul_(0.55))
    ends = brush.edge(out, 0.04).mul_(brush.edge(0.78 - out, 0.12))
    return wall.mul_(ends).mul_(thick.div_(seen)).mul_(1.5 * body["collar"])


def shoulders(scene: Scene) -> Tensor:
    """Shoulder blades, over the lungs in AP films, and the heads of the upper arms."""
    brush, at, body, pose, signs = scene.brush, scene.at, scene.body, scene.pose, scene.signs
    x = at.away - (at.by_side(body["blade_x_r"], body["blade_x_l"]) + 0.05 * pose["arms"] - 0.08 * signs.ap)
    y = at.y - body["blade_y"]
    cos, sin = torch.cos(body["blade_tilt"]), torch.sin(body["blade_tilt"])
    rim = (x * (cos / body["blade_width"]) + y * (sin / body["blade_width"])).square_()
    rim.add_((y * (cos / body["blade_height"]) - x * (sin / body["blade_height"])).square_())
    inside = 1 - rim
    blade = brush.edge(inside, 0.24).add_(brush.line(inside, 0.12), alpha=1.2).mul_(body["blade"])
    head = (at.away - (1.02 + 0.04 * pose["arms"])).square_().add_((at.y + 0.60).square_()).mul_(-1 / 0.030).add_(1)
    return blade.add_(brush.edge(head, 0.35), alpha=0.15).add_(brush.line(head, 0.12), alpha=0.12)


def spine(scene: Scene) -> Tensor:
    """Vertebral bodies with gaps between, their roots and spines."""
    brush, at, body = scene.brush, scene.at, scene.body
    off = at.back.abs()
    turn = (at.y * (2 * math.pi / body["vertebra"])).add_(body["vertebra_phase"])
    wide = body["spine"] * (1 + 0.12 * at.y)
    gap = torch.cos(turn).mul_(0.5).add_(0.5)
    gap.mul_(gap.square())
    side = wide - off
    column = brush.edge(side, 0.03).add_(brush.line(side - 0.008, 0.012), alpha=0.5)
    roots = brush.line(off - 0.6 * wide, 0.018).mul_(torch.cos(turn - 0.8).sub_(1).mul_(5).exp_())
    spines = brush.line(off, 0.016).mul_(torch.cos(turn + 1.2).sub_(1).mul_(3).exp_())
    column.mul_(1 - body["disc_gap"] * gap)
    return column.add_(roots, alpha=0.7).add_(spines, alpha=0.6).mul_(body["spine_dense"])
