"""Films of phantom patients: pose, body, findings, the path of the beam and the detector, for a batch at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcxr.data.phantom import bones, lungs
from fedcxr.data.phantom.anatomy import BODY, Anatomy, anatomies
from fedcxr.data.phantom.detector import develop
from fedcxr.data.phantom.devices import add_devices
from fedcxr.data.phantom.findings import add_opacities, collapse, hernia
from fedcxr.data.phantom.pose import POSE, Moment, frame, moments
from fedcxr.data.phantom.scene import Scene
from fedcxr.data.phantom.shapes import Brush, Traits, bump, disc, sampled, smooth
from fedcxr.data.phantom.signs import Signs
from fedcxr.data.phantom.texture import Texture
from fedcxr.data.phantom.thorax import expansion, thorax
from fedcxr.data.phantom.visits import Visits

PIXELS_AT_ONCE = 1 << 18  # one map of a batch fits a core's cache: 64 films of 64 px, 4 of 256 px


def render(seed: int, visits: Visits, size: int) -> npt.NDArray[np.uint8]:  # (n, size, size)
    """The films of these visits. A film is the same whichever others are asked for."""
    films = np.empty((len(visits), size, size), dtype=np.uint8)
    with one_thread():
        for batch in _batches(len(visits), size):
            chosen = visits.take(batch)
            anatomy, moment = anatomies(seed, chosen.patient, chosen.aged), moments(seed, chosen)
            scene = _scene(seed, chosen, size, anatomy, moment)
            thickness = _path_of_the_beam(scene, chosen, anatomy, moment)
            chance = torch.from_numpy(moment.chance)
            films[batch] = develop(scene, thickness, chosen, chance)
    return films


def outlines(seed: int, visits: Visits, size: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Masks (n, size, size) of the lungs and of the heart as a radiologist would outline them."""
    lung, heart = (np.empty((len(visits), size, size), dtype=bool) for _ in range(2))
    with one_thread():
        for batch, scene in scenes(seed, visits, size):
            lung[batch] = (scene.chest.lungs() > 0.5)[..., :size].numpy()
            heart[batch] = (scene.chest.heart * scene.chest.above > 0.5)[..., :size].numpy()
    return lung, heart


def scenes(seed: int, visits: Visits, size: int) -> Iterator[tuple[slice, Scene]]:
    """What the films of these visits are drawn from, some films at a time."""
    for batch in _batches(len(visits), size):
        chosen = visits.take(batch)
        anatomy, moment = anatomies(seed, chosen.patient, chosen.aged), moments(seed, chosen)
        yield batch, _scene(seed, chosen, size, anatomy, moment)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums split over threads round differently; a film must not depend on the machine's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def _batches(films: int, size: int) -> Iterator[slice]:
    step = max(1, PIXELS_AT_ONCE // size**2)
    for start in range(0, films, step):
        yield slice(start, start + step)


def _scene(seed: int, visits: Visits, size: int, anatomy: Anatomy, moment: Moment) -> Scene:
    body = Traits(tuple(BODY), torch.from_numpy(anatomy.body))
    pose = Traits(tuple(POSE), torch.from_numpy(moment.pose))
    signs = Signs.of(visits, anatomy, moment)
    brush = Brush(2 / size)
    at = frame(size, body, pose, expansion(signs))
    chest = thorax(brush, at, body, pose, signs)
    films = tuple(zip(visits.patient.tolist(), visits.visit.tolist(), strict=True))
    return Scene(brush, at, chest, body, pose, signs, Texture(seed, films, size, at.x.shape[2]))


def _path_of_the_beam(scene: Scene, visits: Visits, anatomy: Anatomy, moment: Moment) -> Tensor:
    """How much water-equivalent tissue each ray crosses, about 1.3 through the middle of the body."""
    at, chest = scene.at, scene.chest
    mottle = sampled(torch.from_numpy(anatomy.mottle), at.x.mul(1 / 1.05), at.row.mul(1 / 1.05))
    lung = lungs.density(scene, torch.from_numpy(anatomy.vessels), mottle[:, 0])
    lung = collapse(scene, add_opacities(scene, lung))

    thickness, inside = _flesh(scene, torch.from_numpy(visits.female)[:, None, None].float())
    thickness.sub_((1 - lung).mul_(chest.air).mul_(1.02))
    thickness.add_(chest.heart * chest.heart_depth * chest.above.mul(0.5).add_(0.5), alpha=0.10)
    thickness.add_((1 - chest.above).mul_(inside), alpha=0.10)
    thickness.add_((1 - chest.beside).mul_(smooth(0.9 - at.y.abs(), 0.1)), alpha=0.09)
    thickness = hernia(scene, thickness)
    _remove_gas(scene, thickness)

    thickness.add_(bones.spine(scene))
    thickness.add_(bones.ribs(scene, torch.from_numpy(anatomy.ribs)))
    thickness.add_(bones.collar_bones(scene))
    thickness.add_(bones.shoulders(scene))
    thickness.add_(mottle[:, 1].mul_(inside).mul_(0.6 * scene.body["mottle"]))
    devices = torch.from_numpy(anatomy.devices), torch.from_numpy(anatomy.device_places)
    add_devices(scene, thickness, *devices, torch.from_numpy(moment.chance))
    return thickness


def _flesh(scene: Scene, female: Tensor) -> tuple[Tensor, Tensor]:
    """Trunk, shoulders, neck and breasts; with a soft mask of the body."""
    at, body, pose = scene.at, scene.body, scene.pose
    wall = body["wall"] * (1 + body["fat"])
    girdle = smooth(-0.30 - at.y, 0.11)
    outline = scene.chest.half_width + wall
    outline.add_(smooth(at.y - 0.3, 0.2), alpha=0.14).add_(girdle, alpha=0.55)
    inside = smooth(outline - at.away, 0.05)
    trunk = disc((at.x / outline.mul(1.02).clamp_(min=0.36)).square_()).mul_(1.28)
    trunk.mul_(1 - 0.30 * girdle).add_(smooth(outline - at.away, 0.02), alpha=0.20)

    slope = at.by_side(body["shoulder_r"], body["shoulder_l"])
    top = slope.mul_(at.away.mul(1 / 0.95).square_()).add_(0.03 * pose["arms"] - 0.93)
    covered = smooth(at.y - top, 0.03)
    neck = smooth(0.33 - at.away, 0.04)
    trunk.mul_(torch.maximum(covered, neck.mul_(0.85)))
    trunk.add_(girdle.mul_(covered).mul_(smooth(at.away - 0.62, 0.06)), alpha=0.30)

    sideways = (at.away - at.by_side(body["breast_x_r"], body["breast_x_l"])).div_(body["breast_size"])
    down = at.row - body["breast_y"]
    round_ = disc(sideways.square_().add_((down / (0.8 * body["breast_size"])).square_()))
    trunk.add_(round_.mul_(smooth(down + 0.25, 0.2)).mul_(body["breast"].clamp(min=0.02) * female))
    return trunk, inside


def _remove_gas(scene: Scene, thickness: Tensor) -> None:
    """Stomach bubble under the left dome, windpipe and its two branches, in place."""
    at, body, pose = scene.at, scene.body, scene.pose
    x = (at.x - body["bubble_x"]).div_(1.3 * body["bubble"])
    y = (0.9 * body["bubble_y"] + scene.chest.to_dome).div_(0.8 * body["bubble"])
    bubble = smooth(1 - x.square_().add_(y.square_()), 0.15).mul_(1 - scene.chest.above)
    thickness.sub_(bubble.mul_(0.35 * (body["bubble_air"] + 0.25 * pose["gas"]).clamp(0, 1)))
    pipe = scene.brush.edge(body["windpipe"] - (at.middle - body["windpipe_x"]).abs_(), 0.03)
    thickness.sub_(pipe.mul_(smooth(-0.22 - at.y, 0.04)), alpha=0.20)
    branch = bump(at.away.mul(-0.55).add_(at.y).add_(0.22), 0.028)
    branch.mul_(smooth(0.17 - at.away, 0.02)).mul_(smooth(at.y + 0.24, 0.02))
    thickness.sub_(branch, alpha=0.10)
