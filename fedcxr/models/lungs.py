"""Where the lungs are on a film: a small U-Net that has seen phantoms only, and a check of what it says.

A mask covers whole lungs, also what lies behind the heart and under opacities, but not the spine between them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from safetensors import SafetensorError
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from fedcxr.errors import ConfigError
from fedcxr.models.shipped import ship_weights, shipped_weights
from fedcxr.models.unet import UNet, UNetDesign

Films = npt.NDArray[np.uint8]  # (n, h, w)
Masks = npt.NDArray[np.bool_]  # (n, h, w)

SHIPPED = Path(__file__).with_suffix(".json")  # written by `scripts/make lungs`
DESIGN = UNetDesign(widths=(12, 24, 32, 48, 64))
SIZE = 128  # pixels; films of any size are brought to it
BATCH = 8  # a larger one leaves the caches: a third of the speed at 64

# What a mask must keep to, and between what whole lungs of 400 phantom patients lie; real films show more around them.
AREA = 0.10, 0.70  # share of the film: .23 to .57
SMALLER_LUNG = 0.35  # share of the larger one: .57 to 1
APART = 0.20  # centre from centre, share of the film's width: .37 to .58
ON_THE_EDGE = 0.35  # share of the film's edge: 0 to .28


@dataclass(eq=False)
class LungFinder:
    """A trained network. It remembers its last answer, for a method asks about the same films twice."""

    network: UNet
    _last: tuple[bytes, Masks] | None = field(default=None, repr=False)  # one value, so that threads cannot mix it up

    @classmethod
    def load(cls, path: Path | None = None) -> LungFinder:
        """The network of this file, or the one that is shipped."""
        with torch.device("meta"):
            network = UNet(DESIGN)
        try:
            stored = safetensors.torch.load(shipped() if path is None else path.read_bytes())
            weights = {name: t.float() if t.is_floating_point() else t for name, t in stored.items()}  # kept as halves
            network.load_state_dict(weights, assign=True)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise ConfigError(
                "cannot read the weights that find lungs",
                given=path or SHIPPED,
                allowed=f"a safetensors file of a U-Net of widths {DESIGN.widths}, as `scripts/make lungs` writes it",
                do=str(error).splitlines()[0],
            ) from None
        network = network.to(memory_format=torch.channels_last)
        return cls(network.eval().requires_grad_(requires_grad=False))

    def masks(self, films: Films) -> Masks:
        """The lungs on films of any size; possibly nonsense: see `implausible`."""
        asked = hashlib.blake2b(repr(films.shape).encode())
        asked.update(np.ascontiguousarray(films).data)
        last = self._last
        if last is None or last[0] != asked.digest():
            parts = [self._find(films[start : start + BATCH]) for start in range(0, len(films), BATCH)]
            answer = np.concatenate(parts) if parts else np.empty(films.shape, dtype=bool)
            answer.flags.writeable = False
            self._last = last = asked.digest(), answer
        return last[1]

    def _find(self, films: Films) -> Masks:
        pixels = torch.tensor(films).to(self.network.head.weight.device)
        with torch.inference_mode():
            small = _resized(pixels.unsqueeze(1).float().div_(255.0), (SIZE, SIZE))
            read = standardised(small).contiguous(memory_format=torch.channels_last)
            logits = _resized(self.network(read), films.shape[1:])
        return np.stack([tidied(mask) for mask in (logits[:, 0] > 0).cpu().numpy()])


def shipped() -> bytes:
    """The weights that come with the package, as safetensors."""
    return shipped_weights(SHIPPED)


def ship(weights: bytes) -> None:
    """Put safetensors in the place of the weights that come with the package."""
    ship_weights(SHIPPED, weights)


def standardised(films: Tensor) -> Tensor:  # (n, 1, h, w)
    """Films without brightness and contrast of their own, as the network reads them."""
    deviation, mean = torch.std_mean(films, dim=(1, 2, 3), keepdim=True)
    return (films - mean) / (deviation + 1e-3)


def tidied(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:  # (h, w)
    """The two largest pieces, without their holes."""
    pieces, count = ndimage.label(mask)
    if count > 2:
        areas = np.bincount(pieces.ravel())
        areas[0] = 0  # what is around them
        mask = np.isin(pieces, np.argsort(areas, kind="stable")[-2:])
    filled: npt.NDArray[np.bool_] = ndimage.binary_fill_holes(mask)
    return filled


def implausible(mask: npt.NDArray[np.bool_]) -> str | None:  # (h, w)
    """Why this cannot be a pair of lungs; None: it can."""
    share = mask.mean()
    if not share:
        return "no lungs found"
    if not AREA[0] <= share <= AREA[1]:
        return f"lungs on {share:.0%} of the film"
    pieces, count = ndimage.label(mask)
    if count != 2:
        return f"{count} {'piece' if count == 1 else 'pieces'} of lung instead of 2"
    one, other = sorted(np.bincount(pieces.ravel())[1:])
    if one < SMALLER_LUNG * other:
        return f"one lung {one / other:.0%} as large as the other"
    (_, left), (_, right) = ndimage.center_of_mass(mask, pieces, (1, 2))
    if abs(left - right) < APART * mask.shape[1]:
        return "both lungs on one side"
    edge = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]]).mean()
    if edge > ON_THE_EDGE:
        return f"lungs on {edge:.0%} of the film's edge"
    return None


def _resized(pictures: Tensor, size: tuple[int, ...]) -> Tensor:
    if pictures.shape[2:] == size:
        return pictures
    return F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
