"""Whether two films are of one patient, told by a network that has seen phantoms only and comes with the package.

It is where an attacker starts who has few films, or none: as it is, or gone on with films of one's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional as F

from fedcxr.errors import ConfigError
from fedcxr.models.backbone import Design
from fedcxr.models.contrast import local_contrast
from fedcxr.models.shipped import ship_weights, shipped_weights
from fedcxr.models.siamese import Siamese
from fedcxr.training import to_device, to_tensor
from fedcxr.training.compute import Compute

Films = npt.NDArray[np.uint8]  # (n, h, w)

SHIPPED = Path(__file__).with_suffix(".json")  # written by `scripts/make verifier`

# Where a film is looked at: as it is, closer, and moved by a few percent of its side. Embeddings are averaged.
VIEWS = ((1.0, 0.0, 0.0), (0.94, 0.0, 0.0), (1.0, 0.04, 0.0), (1.0, -0.04, 0.0), (1.0, 0.0, 0.04), (1.0, 0.0, -0.04))
BATCH = 128


@dataclass(frozen=True)
class Verifier:
    """A trained network with how films must be prepared for it."""

    network: Siamese
    size: int  # pixels of a side that films are brought to
    made: Mapping[str, Any]  # how: design, people, steps, what was measured
    compute: Compute

    @classmethod
    def load(cls, compute: Compute, path: Path | None = None) -> Verifier:
        """The network of this file, or the one that is shipped."""
        try:
            content = shipped_weights(SHIPPED) if path is None else path.read_bytes()
            made, stored = _facts(content), safetensors.torch.load(content)
            with torch.device("meta"):
                network = Siamese(Design(width=made["width"], stride=made["stride"]).backbone(), made["dimensions"])
            weights = {name: t.float() if t.is_floating_point() else t for name, t in stored.items()}  # kept as halves
            network.load_state_dict(weights, assign=True)
        except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                "cannot read the weights that tell whether two films are of one patient",
                given=path or SHIPPED,
                allowed="a safetensors file as `scripts/make verifier` writes it",
                do=(str(error).splitlines() or ["make it anew"])[0],
            ) from None
        return cls(to_device(network, compute).eval(), int(made["size"]), made, compute)

    def write(self, path: Path | None) -> bytes:
        """Keep it as halves; without a path it becomes the one that comes with the package."""
        state = self.network.state_dict().items()
        halves = {name: (t.half() if t.is_floating_point() else t).contiguous().cpu() for name, t in state}
        content = safetensors.torch.save(halves, metadata={"made": json.dumps(dict(self.made))})
        if path is None:
            ship_weights(SHIPPED, content)
        else:
            path.write_bytes(content)
        return content

    def scores(self, first: Films, second: Films) -> npt.NDArray[np.float32]:  # (n, m) logits
        """All pairs; above 0 means more likely the same patient, if these films are like phantoms."""
        with torch.inference_mode():
            logits = self.network.compare(self.embedded(first), self.embedded(second))
        return logits.cpu().numpy()

    def embedded(self, films: Films) -> Tensor:  # (n, d)
        """Each film seen several times, its embeddings averaged; films of any size."""
        means = [torch.empty(0, self.network.head.in_features, device=self.compute.device)]
        with torch.inference_mode(), self.compute.autocast():
            for start in range(0, len(films), BATCH):
                whole = self.resized(films[start : start + BATCH])
                means.append(torch.stack([self._embed(view) for view in views(whole)]).mean(0))
        return torch.cat(means)

    def resized(self, films: Films) -> Tensor:  # (n, 1, size, size) in [0, 1]
        """Films at the size that the network was trained at, as they are before `prepared`."""
        tensor = to_tensor(films, self.compute)
        if tensor.shape[2:] == (self.size, self.size):
            return tensor
        return F.interpolate(tensor, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)

    def _embed(self, films: Tensor) -> Tensor:
        return self.network.embed(prepared(films)).float()


def prepared(films: Tensor) -> Tensor:  # (n, 1, h, w) in [0, 1]
    """Films as the network reads them: without what exposure and printing did."""
    return local_contrast(films).contiguous(memory_format=torch.channels_last)


def views(films: Tensor, chosen: Sequence[tuple[float, float, float]] = VIEWS) -> Iterator[Tensor]:
    """The same films looked at in slightly different ways."""
    for zoom, right, down in chosen:
        matrix = torch.tensor(((zoom, 0.0, right), (0.0, zoom, down)), device=films.device)
        with torch.autocast(films.device.type, enabled=False):  # bf16 would round places to half a pixel
            grid = F.affine_grid(matrix.expand(len(films), 2, 3), list(films.shape), align_corners=False)
        yield F.grid_sample(films, grid, padding_mode="border", align_corners=False)


def shipped(compute: Compute) -> Verifier:
    """The verifier that comes with the package."""
    return Verifier.load(compute)


def _facts(content: bytes) -> Mapping[str, Any]:
    """How it was made, which safetensors keeps in its header: its length in eight bytes, then JSON."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    made: Mapping[str, Any] = json.loads(header["__metadata__"]["made"])
    return made
