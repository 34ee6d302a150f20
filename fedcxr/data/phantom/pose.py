"""How a patient stood before the detector at one visit, and the anatomical coordinates of every pixel that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcxr.cohort import FINDINGS
from fedcxr.data.phantom.anatomy import PLACES, TYPICAL
from fedcxr.data.phantom.shapes import Brush, Traits
from fedcxr.data.phantom.visits import VERSION, Visits
from fedcxr.rng import stream

Floats = npt.NDArray[np.float32]

LANES = 32  # pixels a CPU takes at once: rows are padded to a multiple, or the last ones would round differently

# Mean and standard deviation over visits.
POSE: Mapping[str, tuple[float, float]] = {
    "tilt": (0.0, 0.032),  # radians in the plane of the film
    "zoom": (0.08, 0.050),
    "aspect": (0.0, 0.018),
    "right": (0.0, 0.045),
    "down": (0.0, 0.055),
    "breath": (0.0, 0.90),
    "turn": (0.0, 0.040),  # around the body's axis: moves front against back
    "lean": (0.0, 0.45),  # towards the tube: moves front ribs against back ribs
    "arms": (0.0, 0.90),
    "sway_x": (0.0, 0.012),
    "sway_y": (0.0, 0.011),
    "sway_phase": (0.0, 1.0),
    "heart_beat": (0.0, 0.035),
    "gas": (0.0, 0.90),
    "congestion": (0.0, 0.90),  # fullness of the vessels
    "haze": (0.0, 0.90),  # of the lung, without meaning
    "voltage": (0.0, 0.13),
    "scatter": (0.50, 0.30),
    "noise": (0.0, 0.40),
    "window": (0.0, 0.10),
    "level": (0.0, 0.08),
    "gamma": (0.0, 0.16),
}

PLACE_JITTER = 0.06


@dataclass(frozen=True)
class Moment:
    """What differs between the visits of a patient."""

    pose: Floats  # (n, len(POSE))
    chance: Floats  # (n, 8) in [0, 1]: tubes, collimation, markers
    jitter: Floats  # (n, 14, PLACES) moves a finding a little


def moments(seed: int, visits: Visits) -> Moment:
    """Draws the circumstances of every film."""
    mean, spread = np.array(list(POSE.values()), dtype=np.float32).T
    pose, chance, jitter = [], [], []
    for patient, visit in zip(visits.patient, visits.visit, strict=True):
        draws = stream(seed, "phantom", VERSION, int(patient), int(visit), "pose")
        pose.append(mean + spread * np.clip(draws.standard_normal(len(POSE), dtype=np.float32), -TYPICAL, TYPICAL))
        chance.append(draws.random(8, dtype=np.float32))
        jitter.append(PLACE_JITTER * draws.standard_normal((len(FINDINGS), PLACES), dtype=np.float32))
    return Moment(np.stack(pose), np.stack(chance), np.stack(jitter))


@dataclass(frozen=True)
class Frame:
    """Where in the body each pixel lies. All fields: (n, size, columns), columns >= size."""

    x: Tensor  # from the middle of the spine, positive on the patient's left
    y: Tensor  # downwards, apex of the lung about -0.93, follows the breath
    row: Tensor  # downwards, does not follow the breath
    front: Tensor  # x of structures near the breast bone
    back: Tensor  # x of structures near the spine
    middle: Tensor  # x of the heart
    away: Tensor  # |x|
    leftness: Tensor  # 1 on the patient's left, 0 on the right, between over the spine

    def by_side(self, right: Tensor, left: Tensor) -> Tensor:
        """A trait that differs between the sides."""
        return torch.lerp(right, left, self.leftness)

    def take(self, films: Tensor) -> Frame:
        """Some films of the batch."""
        return Frame(*(field[films] for field in vars(self).values()))


def frame(size: int, body: Traits, pose: Traits, expansion: Tensor) -> Frame:
    """Coordinates of all pixels; `expansion` stretches the lungs beyond the breath."""
    columns = -(-size // LANES) * LANES
    film_x = ((torch.arange(columns) + 0.5) / size * 2 - 1)[None, None, :]
    film_y = ((torch.arange(size) + 0.5) / size * 2 - 1)[None, :, None]
    zoom = torch.exp(-pose["zoom"])
    cos, sin = torch.cos(pose["tilt"]) * zoom, torch.sin(pose["tilt"]) * zoom
    across, down = film_x - pose["right"], film_y - pose["down"]
    x = (cos * across + sin * down).mul_(1 + pose["aspect"])
    row = (cos * down - sin * across).mul_(1 - pose["aspect"])
    x.add_(pose["sway_x"] * torch.sin(2.2 * row + pose["sway_phase"]))
    row.add_(pose["sway_y"] * torch.sin(2.4 * x + 2 * pose["sway_phase"]))

    y = (row + 0.8).div_(1 + 0.025 * pose["breath"] + expansion).sub_(0.8)
    x.sub_(body["bend_long"] * torch.sin(1.6 * y)).sub_(body["bend_short"] * torch.sin(3.1 * y + 0.7))
    return Frame(
        x=x,
        y=y,
        row=row,
        front=x - 0.7 * pose["turn"],
        back=x + 0.5 * pose["turn"],
        middle=x - 0.2 * pose["turn"],
        away=x.abs(),
        leftness=Brush(2 / size).edge(x, 0.16),
    )
