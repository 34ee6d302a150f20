"""What an attacker does to a released film before comparing it: undo as much of the protection as can be undone.

Learnt from films of one's own, protected anew at every step: by a filter, where protection adds something that does not
depend on the place (Wiener 1949, with spectra measured on pairs of a protected and a clean film), or by a network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcxr.methods import Films, to_eight_bits

if TYPE_CHECKING:
    from torch import Tensor

    from fedcxr.adversaries._views import Shown
    from fedcxr.training import Plan
    from fedcxr.training.compute import Compute

Restore = Callable[[Films], Films]

BATCH = 32  # films
WIDTHS = (16, 32, 64)  # channels of the network, level by level
CELL = 2  # pixels: side of what it reads and writes at once
AT_ONCE = 1 << 21  # pixels that pass it together: 512 films of 64 px, 32 of 256 px
LEAST = 1e-9  # power


def wiener(protected: Films, films: Films) -> Restore:
    """The linear filter that brings protected films nearest to the clean ones, around the mean film of each."""
    clean, hidden = (some.astype(np.float64) / 255 for some in (films, protected))
    means = clean.mean(axis=0), hidden.mean(axis=0)
    wanted, seen = np.fft.rfft2(clean - means[0]), np.fft.rfft2(hidden - means[1])
    power = (np.abs(seen) ** 2).mean(axis=0)
    gain = (wanted * seen.conj()).mean(axis=0) / np.maximum(power, LEAST)

    def restore(released: Films) -> Films:
        apart = np.fft.rfft2(released / 255.0 - means[1])
        found: npt.NDArray[np.float64] = np.fft.irfft2(gain * apart, s=released.shape[1:]) + means[0]
        return to_eight_bits(found)

    return restore


def learn(protected: Shown, films: Films, rng: np.random.Generator, compute: Compute, plan: Plan) -> Restore:
    """A U-Net that draws films as they were before they were protected, by mean squared error.

    `protected` shows these films as they would be released, anew every time. The network sees a film as released and as
    filtered, and adds to the latter; at first nothing, so that it starts where the filter ends.
    """
    import torch
    from torch.nn import functional as F

    from fedcxr.models.unet import UNetDesign, unet
    from fedcxr.training import epochs, fit, to_device, to_tensor

    filtered = wiener(protected(np.arange(len(films)), rng), films)
    network = unet(UNetDesign(widths=WIDTHS, stride=CELL, inputs=2), rng)
    with torch.no_grad():
        network.head.weight.zero_()
    network = to_device(network, compute)
    batches = epochs(len(films), BATCH, rng)

    def restored(released: Films) -> Tensor:  # (n, 1, h, w)
        seen, near = (to_tensor(some, compute) for some in (released, filtered(released)))
        drawn: Tensor = near + network(torch.cat([seen, near], dim=1))
        return drawn

    def loss(step: int) -> Tensor:
        rows = next(batches)
        return F.mse_loss(restored(protected(rows, rng)), to_tensor(films[rows], compute))

    with compute.session():
        fit(network, loss, plan, compute)

    def restore(released: Films) -> Films:
        whole = np.empty_like(released)
        step = max(1, AT_ONCE // max(1, released[0].size)) if len(released) else 1
        with compute.session(), torch.inference_mode(), compute.autocast():
            for start in range(0, len(released), step):
                some = slice(start, start + step)
                shown = restored(released[some].copy())  # what is given may be read-only
                whole[some] = to_eight_bits(shown.float().squeeze(1).cpu().numpy())
        return whole

    return restore
