"""How the way back is learnt: from films of one's own, protected anew for every batch, until it stops helping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from torch import Tensor

from fedcxr.adversaries._inputs import Inputs, Protecting, Released
from fedcxr.adversaries._restoration import (
    CycleGan,
    Generator,
    PatchGan,
    Restoration,
    Shown,
    Supervised,
    restored,
    stem_of,
)
from fedcxr.adversaries._views import Marked
from fedcxr.errors import ConfigError, DataError
from fedcxr.knowledge.own_films import Owned
from fedcxr.metrics.similarity import similarity
from fedcxr.models.patch_critic import patch_critic, patches
from fedcxr.models.unet import UNetDesign, unet
from fedcxr.models.vnet import VNetDesign, vnet
from fedcxr.training import Offsets, moved, offsets, to_device, to_tensor
from fedcxr.training.compute import Compute
from fedcxr.training.rising import Ascent, Figures, Rung, rise
from fedcxr.view import Films, Rows

Learning = Literal["unet", "vnet", "gan", "cyclegan"]
Streams = Callable[[str], np.random.Generator]

JUDGED = 64  # held-out films at most: beyond that a look costs more than it tells
FEWEST_JUDGES = 4  # held-out films, with which a mean begins to mean something
EXACT = 60.0  # dB, at which nothing is left to be gained


@dataclass(frozen=True)
class Size:
    """Of the networks."""

    widths: tuple[int, ...]  # channels of a generator, level by level
    critic: tuple[int, ...]  # channels of a critic, layer by layer
    cell: int  # side of the cells that a generator reads and writes


def network_of(attacker: Learning, size: Size, codes: int, rng: np.random.Generator) -> Restoration:
    """Networks ready to be trained, on inputs with codes of so many channels."""
    inputs = 2 if codes else 1

    def generator(codes: int) -> Generator:
        inputs = 2 if codes else 1
        if attacker == "vnet":
            return Generator(vnet(VNetDesign(size.widths, inputs, size.cell), rng), stem_of(codes))
        return Generator(unet(UNetDesign(size.widths, inputs=inputs, stride=size.cell), rng), stem_of(codes))

    match attacker:
        case "gan":
            return PatchGan(generator(codes), patch_critic(inputs + 1, size.critic, rng))
        case "cyclegan":  # films cannot be turned into others' codes, so that the way there leads to pictures
            critics = (patch_critic(1, size.critic, rng) for _ in range(2))
            return CycleGan(generator(0), generator(0), *critics)
        case _:
            return Supervised(generator(codes))


@dataclass(frozen=True)
class Lessons:
    """What a batch is made of."""

    own: Owned
    released: Released  # the films under attack, and how one's own would be
    batch: int
    shift: int  # pixels
    compute: Compute

    def pairs(self, network: Restoration, rng: np.random.Generator) -> Tensor:
        """Films of one's own as they would be released, and as they are."""
        # Moved first and protected second, as a release would be: a grid of cells stays where it was.
        rows, by, versions = *self._drawn(rng), self.released.versions
        films, marks = moved(self.own.films[rows], by), self._marked(rows)
        protect = versions[int(rng.integers(len(versions)))]
        return self._loss(network, protect(films, rng, None if marks is None else moved(marks, by)), films)

    def strangers(self, network: Restoration, rng: np.random.Generator) -> Tensor:
        """Films under attack as they were released, and others of one's own as they are."""
        inputs = self.released.inputs
        shown = inputs.take(rng.integers(len(inputs), size=self.batch))
        rows, by = self._drawn(rng)
        return self._loss(network, shown, moved(self.own.films[rows], by))

    def _drawn(self, rng: np.random.Generator) -> tuple[Rows, Offsets]:
        """Films of a batch, and by how much each is moved."""
        rows = np.flatnonzero(~self.own.held_out)
        return rows[rng.integers(len(rows), size=self.batch)], offsets(self.batch, self.shift, rng)

    @cached_property
    def _marked(self) -> Marked:
        return Marked(self.own.films, self.released.marks)

    def _loss(self, network: Restoration, shown: Inputs, films: Films) -> Tensor:
        return network.loss(Shown.of(shown, self.compute), to_tensor(films, self.compute))


@dataclass(frozen=True)
class Examination:
    """Films of people from whom nothing is learnt, as they would be released, and the mean of all others."""

    films: Films
    inputs: Inputs
    mean: Films  # (n, h, w), the same picture again and again

    @classmethod
    def of(cls, own: Owned, versions: tuple[Protecting, ...], rng: np.random.Generator) -> Examination | None:
        """None where too few are held out, or nothing is known of how films are released."""
        rows = np.flatnonzero(own.held_out)
        if len(rows) < FEWEST_JUDGES or not versions:
            return None
        films = own.films[np.sort(rng.permutation(rows)[:JUDGED])]
        shares = np.array_split(films, min(len(versions), len(films)))
        protected = [protect(share, rng) for protect, share in zip(versions, shares, strict=False)]
        codes = [one.codes for one in protected if one.codes is not None]
        inputs = Inputs(np.concatenate([one.pictures for one in protected]), np.concatenate(codes) if codes else None)
        mean = np.round(own.films[~own.held_out].mean(axis=0)).astype(np.uint8)
        return cls(films, inputs, np.broadcast_to(mean, films.shape))

    def figures(self, network: Restoration, compute: Compute) -> Figures:
        """How many dB its pictures are nearer to the films than the mean film is."""
        near, usual = (
            np.minimum(similarity(self.films, pictures)["psnr"], EXACT).mean()
            for pictures in (restored(network, self.inputs, compute), self.mean)
        )
        return (float(near - usual),)


def learn(
    attacker: Learning,
    lessons: Lessons,
    size: Size,
    ascent: Ascent,
    streams: Streams,
    progress: Callable[[int, int], None],
) -> list[Rung[Restoration]]:
    """Rise by one's own films, and where there are pairs stop by those of people who are held out."""
    if lessons.own.held_out.all():
        raise DataError(
            "a reconstruction learns from films of people who are not held out",
            given=f"{len(lessons.own.films)} films, all of held-out people",
            do="give it a larger auxiliary cohort",
        )
    side = min(lessons.own.films.shape[1:])
    if attacker in ("gan", "cyclegan") and patches(side, len(size.critic)) < 1:
        raise ConfigError(
            "the critic has too many layers for films so small",
            given=f"{len(size.critic)} layers, films of {side} pixels",
            do="shorten `critic`",
        )
    released, compute = lessons.released, lessons.compute
    paired = attacker != "cyclegan"
    examination = Examination.of(lessons.own, released.versions, streams("examination")) if paired else None
    network = network_of(attacker, size, released.inputs.channels if paired else 0, streams("weights"))

    def judge(network: Restoration) -> Figures | None:
        return None if examination is None else examination.figures(network, compute)

    loss = lessons.pairs if paired else lessons.strangers
    with compute.session():
        return rise(to_device(network, compute), loss, judge, ascent, compute, streams, progress)
