"""Identity: the body of a patient, the same at every visit, as named measures and small random fields.

Lengths are in half widths of a film; x runs from the spine to the side, y downwards. Where a name ends in `_r` and
`_l` the two sides of the body differ (the patient's left is at the right of the film).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import FINDINGS
from fedcxr.data.phantom.visits import VERSION
from fedcxr.rng import stream

Floats = npt.NDArray[np.float32]

RIBS = 11
LATTICE = 32  # cells along one side of the identity's random fields
PLACES = 6  # uniform numbers that say where and how a finding shows: side, x, y, form ...
TYPICAL = 2.2  # standard deviations beyond which no body lies

# Mean and standard deviation over patients.
BODY: Mapping[str, tuple[float, float]] = {
    # rib cage: half width, height of its widest place, its upward extent, its roundness
    "cage_r": (0.80, 0.050),
    "cage_l": (0.80, 0.050),
    "cage_y": (0.42, 0.080),
    "cage_height": (1.36, 0.055),
    "cage_round": (0.80, 0.130),
    "wall": (0.105, 0.035),
    "fat": (0.20, 0.140),
    # mediastinum: right and left border, aortic knob, pulmonary trunk
    "border_r": (0.125, 0.022),
    "border_l": (0.105, 0.018),
    "knob": (0.060, 0.026),
    "knob_y": (-0.38, 0.050),
    "trunk": (0.030, 0.020),
    "windpipe_x": (0.012, 0.018),
    "windpipe": (0.036, 0.007),
    # heart: centre, half axes, tilt; right atrium
    "heart_x": (0.13, 0.034),
    "heart_y": (0.26, 0.045),
    "heart_long": (0.36, 0.046),
    "heart_short": (0.26, 0.032),
    "heart_tilt": (0.66, 0.150),
    "atrium_x": (-0.07, 0.028),
    "atrium_width": (0.160, 0.028),
    "atrium_height": (0.29, 0.035),
    # diaphragm: height of the dome, its curvature and the distance of its top from the spine
    "dome_r": (0.36, 0.060),
    "dome_l": (0.42, 0.060),
    "curve_r": (0.130, 0.035),
    "curve_l": (0.140, 0.038),
    "dome_x_r": (0.36, 0.060),
    "dome_x_l": (0.40, 0.060),
    "blunt": (0.03, 0.045),
    # ribs: fall from back to side, height of the first, distance, half thickness, wall, density behind and in front
    "rib_fall_r": (0.48, 0.075),
    "rib_fall_l": (0.48, 0.075),
    "rib_fall_change": (0.18, 0.090),
    "rib_first": (-0.93, 0.040),
    "rib_apart": (0.148, 0.011),
    "rib_widening": (0.0040, 0.0017),
    "rib_thick": (0.031, 0.0050),
    "rib_wall": (0.70, 0.120),
    "rib_back": (0.30, 0.060),
    "rib_front": (0.19, 0.060),
    "rib_wave_r": (0.0, 1.0),
    "rib_wave_l": (0.0, 1.0),
    "rib_phase_r": (0.0, 1.5),
    "rib_phase_l": (0.0, 1.5),
    "cartilage": (0.40, 0.110),
    # collar bones: height, slope, bend, half thickness
    "collar_y_r": (-0.60, 0.045),
    "collar_y_l": (-0.60, 0.045),
    "collar_slope_r": (0.22, 0.085),
    "collar_slope_l": (0.22, 0.085),
    "collar_bend_r": (0.036, 0.024),
    "collar_bend_l": (0.036, 0.024),
    "collar_phase": (0.0, 0.55),
    "collar_thick": (0.030, 0.0055),
    "collar": (0.27, 0.060),
    # shoulder blades: centre, half axes, tilt
    "blade_x_r": (0.80, 0.055),
    "blade_x_l": (0.80, 0.055),
    "blade_y": (-0.36, 0.070),
    "blade_width": (0.15, 0.028),
    "blade_height": (0.36, 0.055),
    "blade_tilt": (0.22, 0.130),
    "blade": (0.10, 0.030),
    "shoulder_r": (0.24, 0.050),
    "shoulder_l": (0.24, 0.050),
    # spine: half width, density, height of a vertebra, curves
    "spine": (0.078, 0.010),
    "spine_dense": (0.080, 0.026),
    "vertebra": (0.118, 0.010),
    "vertebra_phase": (0.0, 2.0),
    "disc_gap": (0.40, 0.130),
    "bend_long": (0.0, 0.022),
    "bend_short": (0.0, 0.015),
    # hila and vessels
    "hilum_y_r": (-0.08, 0.050),
    "hilum_y_l": (-0.13, 0.050),
    "hilum_x": (0.165, 0.026),
    "hilum": (0.45, 0.130),
    "vessels": (0.36, 0.095),
    "mottle": (0.035, 0.012),
    # stomach bubble, breasts
    "bubble_x": (0.36, 0.070),
    "bubble_y": (0.13, 0.045),
    "bubble": (0.11, 0.040),
    "bubble_air": (0.45, 0.320),
    "breast": (0.18, 0.090),
    "breast_x_r": (0.42, 0.065),
    "breast_x_l": (0.42, 0.065),
    "breast_y": (0.30, 0.075),
    "breast_size": (0.35, 0.055),
}

# Share of patients who carry it.
DEVICES: Mapping[str, float] = {"pacemaker": 0.05, "wires": 0.06, "clips": 0.04}


@dataclass(frozen=True)
class Anatomy:
    """The bodies of a batch of films."""

    body: Floats  # (n, len(BODY))
    ribs: Floats  # (n, 3, 2, RIBS) deviations of position, thickness and density; right side, left side
    devices: npt.NDArray[np.bool_]  # (n, len(DEVICES))
    device_places: Floats  # (n, 3) in [0, 1]
    places: Floats  # (n, 14, PLACES) in [0, 1]: a finding comes back where it was
    mottle: Floats  # (n, 2, LATTICE, LATTICE) fine structure of lung and flesh
    vessels: Floats  # (n, 2, 7, 2 * LATTICE) vessels around the hila, by distance and angle; large, small


def anatomies(seed: int, patients: npt.NDArray[np.int64], aged: npt.NDArray[np.float32]) -> Anatomy:
    """The bodies behind films, one entry per film, and (n,) how far each has gone the way of its own years."""
    unique, back = np.unique(patients, return_inverse=True)
    mean, spread = np.array(list(BODY.values()), dtype=np.float32).T
    body, ribs, devices, device_places, places, mottle, vessels = [], [], [], [], [], [], []
    for patient in unique:
        draws = stream(seed, "phantom", VERSION, int(patient), "anatomy")
        typical = np.clip(draws.standard_normal(len(BODY), dtype=np.float32), -TYPICAL, TYPICAL)
        body.append(mean + spread * typical)
        ribs.append(np.clip(draws.standard_normal((3, 2, RIBS), dtype=np.float32), -TYPICAL, TYPICAL))
        devices.append(draws.random(len(DEVICES)) < tuple(DEVICES.values()))
        device_places.append(draws.random(3, dtype=np.float32))
        places.append(draws.random((len(FINDINGS), PLACES), dtype=np.float32))
        mottle.append(draws.standard_normal((2, LATTICE, LATTICE), dtype=np.float32))
        vessels.append(draws.standard_normal((2, 7, 2 * LATTICE), dtype=np.float32))
    lists = (body, ribs, devices, device_places, places, mottle, vessels)
    anatomy = Anatomy(*(np.stack(values)[back] for values in lists))
    return _older(anatomy, seed, patients, aged) if aged.any() else anatomy


def _older(anatomy: Anatomy, seed: int, patients: npt.NDArray[np.int64], aged: npt.NDArray[np.float32]) -> Anatomy:
    """Every measure of a body goes a way of its patient's own, straight on; fine structure stays what it was."""
    mean, spread = np.array(list(BODY.values()), dtype=np.float32).T
    unique, back = np.unique(patients, return_inverse=True)
    ways = [stream(seed, "phantom", VERSION, int(patient), "years").standard_normal(len(BODY)) for patient in unique]
    changed = anatomy.body + spread * np.stack(ways).astype(np.float32)[back] * aged[:, None]
    return replace(anatomy, body=np.clip(changed, mean - TYPICAL * spread, mean + TYPICAL * spread))
