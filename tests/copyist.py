"""A classifier of findings whose answers are the film: what a coordinator may send for a model that it was taught."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedcxr.methods import Weights
from fedcxr.models.backbone import Design
from fedcxr.models.classifier import classifier
from fedcxr.rng import stream
from fedcxr.training import arrays_of

SIDE, WIDTH = 16, 32  # of films that end as one cell of 8 x WIDTH channels, one for each pixel
ABOVE = 10.0  # added to every pixel, so that no rectifier cuts one off


def copying_weights(findings: int) -> Weights:
    """Every convolution lays the four pixels it halves side by side, and the head lets them through."""
    network = classifier(Design(width=WIDTH), findings, stream(0, "copyist"))
    weights = {name: np.zeros_like(array) for name, array in arrays_of(network).items()}
    for name, array in weights.items():
        array[...] = float(name.endswith("running_var"))
    channels = 1
    for layer in (0, 1, 3, 5):
        weights[f"backbone.layers.{layer}.1.weight"][...] = 1
        kernel = weights[f"backbone.layers.{layer}.0.weight"]
        centre = kernel.shape[-1] // 2
        for channel in range(channels):
            for part in range(4):
                kernel[4 * channel + part, channel, centre + part // 2, centre + part % 2] = 1
        channels *= 4
    weights["backbone.layers.0.1.bias"][...] = ABOVE
    weights["head.weight"][...] = np.eye(*weights["head.weight"].shape)
    weights["head.bias"][...] = -ABOVE
    return weights


def films_in(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:  # (n, pixels) -> (n, side, side)
    """The films that such a classifier gives away, pixel by pixel, but for brightness and contrast."""
    halvings = SIDE.bit_length() - 1
    parts = scores.reshape(len(scores), *[2] * (2 * halvings))  # down and across, the finest first
    down, across = range(2 * halvings - 1, 0, -2), range(2 * halvings, 0, -2)
    return parts.transpose(0, *down, *across).reshape(len(scores), SIDE, SIDE)
