"""Networks that make of a release the film behind it, and what each of them learns by.

    Supervised   released and clean film in pairs, by the squared error
    PatchGan     the same pairs, by the absolute error and a critic of patches (Isola et al. 2017)
    CycleGan     releases and films of other people, by two critics and the way there and back (Zhu et al. 2017)

A network says what is to be added to what it is shown, so that at first it leaves a release as it is. A critic and whom
it criticises learn in one step from one loss: the one sees pictures that nothing passes back through, the other
a critic that does not learn.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from fedcxr.adversaries._inputs import Inputs
from fedcxr.models.patch_critic import PatchCritic
from fedcxr.models.stem import Synthesis
from fedcxr.models.unet import UNet
from fedcxr.models.vnet import VNet
from fedcxr.training import to_tensor
from fedcxr.training.compute import Compute
from fedcxr.view import Films

AT_ONCE = 1 << 20  # pixels that pass a network together
L1_WEIGHT = 100.0  # beside a critic of the generator's pictures (Isola et al.)
CYCLE_WEIGHT, SAME_WEIGHT = 10.0, 5.0  # beside two critics (Zhu et al.)


@dataclass(frozen=True)
class Shown:
    """Inputs on the device."""

    pictures: Tensor  # (n, 1, h, w) in [0, 1]
    codes: Tensor | None  # (n, c, h / 8, w / 8)

    @classmethod
    def of(cls, inputs: Inputs, compute: Compute) -> Shown:
        codes = None if inputs.codes is None else to_tensor(inputs.codes, compute)
        return cls(to_tensor(inputs.pictures, compute), codes)


class Generator(nn.Module):
    """A network that says what is to be added to a picture; codes enter as one more, which a layer makes of them."""

    def __init__(self, network: UNet | VNet, stem: Synthesis | None) -> None:
        super().__init__()
        self.network = network
        self.stem = stem
        nn.init.zeros_(network.head.weight)

    def seen(self, shown: Shown) -> Tensor:  # (n, 1 or 2, h, w)
        if self.stem is None or shown.codes is None:
            return shown.pictures
        height, width = shown.pictures.shape[-2:]
        drawn = self.stem(shown.codes)[..., :height, :width].float()
        return torch.cat((shown.pictures, drawn), 1)

    def forward(self, seen: Tensor) -> Tensor:
        picture: Tensor = seen[:, :1] + self.network(seen)
        return picture


class Restoration(nn.Module):
    """Networks that learn together, of which one restores films."""

    generator: Generator

    @abstractmethod
    def loss(self, shown: Shown, films: Tensor) -> Tensor:
        """Of a batch of what is released and of clean films (n, 1, h, w)."""

    def forward(self, shown: Shown) -> Tensor:  # (n, 1, h, w), about in [0, 1]
        film: Tensor = self.generator(self.generator.seen(shown))
        return film


class Supervised(Restoration):
    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def loss(self, shown: Shown, films: Tensor) -> Tensor:
        return F.mse_loss(self(shown), films)


class PatchGan(Restoration):
    """The critic sees beside each film, real or made, what it was made of."""

    def __init__(self, generator: Generator, critic: PatchCritic) -> None:
        super().__init__()
        self.generator = generator
        self.critic = critic

    def loss(self, shown: Shown, films: Tensor) -> Tensor:
        seen = self.generator.seen(shown)
        made = self.generator(seen)
        beside = seen.detach()
        fooled = F.softplus(-_fixed(self.critic, torch.cat((beside, made), 1))).mean()
        real = F.softplus(-self.critic(torch.cat((beside, films), 1))).mean()
        caught = F.softplus(self.critic(torch.cat((beside, made.detach()), 1))).mean()
        return L1_WEIGHT * F.l1_loss(made, films) + fooled + (real + caught) / 2


class CycleGan(Restoration):
    """No released film is ever seen with its own clean one."""

    def __init__(
        self, generator: Generator, hiding: Generator, of_films: PatchCritic, of_releases: PatchCritic
    ) -> None:
        super().__init__()
        self.generator = generator
        self.hiding = hiding  # the way there: film to release
        self.of_films = of_films
        self.of_releases = of_releases

    def loss(self, shown: Shown, films: Tensor) -> Tensor:
        released = shown.pictures
        restored, hidden = self.generator(released), self.hiding(films)
        fooled = _unlike_one(_fixed(self.of_films, restored)) + _unlike_one(_fixed(self.of_releases, hidden))
        cycle = F.l1_loss(self.hiding(restored), released) + F.l1_loss(self.generator(hidden), films)
        same = F.l1_loss(self.generator(films), films) + F.l1_loss(self.hiding(released), released)
        judged = [
            _unlike_one(critic(real)) + critic(made.detach()).square().mean()
            for critic, real, made in ((self.of_films, films, restored), (self.of_releases, released, hidden))
        ]
        return fooled + CYCLE_WEIGHT * cycle + SAME_WEIGHT * same + torch.stack(judged).sum() / 2


def _unlike_one(judged: Tensor) -> Tensor:
    """How far a critic is from taking these for real, by least squares."""
    return (judged - 1).square().mean()


def _fixed(critic: PatchCritic, pictures: Tensor) -> Tensor:
    """What a critic says, without its learning from that."""
    weights = {name: weight.detach() for name, weight in critic.named_parameters()}
    judged: Tensor = functional_call(critic, weights, (pictures,))
    return judged


def stem_of(channels: int) -> Synthesis | None:
    """What makes a picture of codes of so many channels, as the coder would if nothing were hidden."""
    if not channels:
        return None
    stem = Synthesis(channels)
    stem.start()
    return stem


def restored(network: Restoration, inputs: Inputs, compute: Compute) -> Films:
    """The films that a network makes of what it is shown."""
    network.eval()
    films = np.empty_like(inputs.pictures)
    together = max(1, AT_ONCE // films[0].size) if len(films) else 1
    with torch.inference_mode(), compute.autocast():
        for start in range(0, len(inputs), together):
            rows = np.arange(start, min(start + together, len(inputs)))
            made = network(Shown.of(inputs.take(rows), compute)).float()
            films[rows] = made.clamp(0, 1).mul(255).round().to(torch.uint8).squeeze(1).cpu().numpy()
    return films
