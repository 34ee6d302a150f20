"""Sessions: trainings side by side end in the bits of trainings in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fedcxr.models.backbone import Design
from fedcxr.models.classifier import classifier
from fedcxr.rng import stream
from fedcxr.storage.checkpoint import digest
from fedcxr.training import Plan, arrays_of, fit, to_device, to_tensor
from fedcxr.training.compute import Compute

Precision = Literal["fp32", "bf16"]

SIDE_BY_SIDE = 2
LONG = 60.0  # seconds until a test that waits for another thread gives up


def trained(compute: Compute, seed: int) -> str:
    """A digest of a tiny network after a few steps in a session of its own."""
    films = stream(seed, "films").integers(0, 256, (16, 32, 32), dtype=np.uint8)
    truth = torch.from_numpy((stream(seed, "labels").random(16) < 0.5).astype(np.float32))
    with compute.session():
        network = to_device(classifier(Design(width=8), 1, stream(seed, "weights")), compute)

        def loss(step: int) -> Tensor:
            # Twice in one step: whether a weight is cast once or again decides in which precision gradients add up.
            logits = [network(to_tensor(films[rows], compute))[:, 0] for rows in (slice(0, 8), slice(8, 16))]
            return F.binary_cross_entropy_with_logits(torch.cat(logits).float(), truth)

        fit(network, loss, Plan(6, 1e-2), compute)
        return digest(arrays_of(network))


def side_by_side(work: Callable[[int], str], seeds: range) -> list[str]:
    together = threading.Barrier(SIDE_BY_SIDE)

    def begun(seed: int) -> str:
        together.wait(LONG)
        return work(seed)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(begun, seeds))


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_side_by_side_trainings_end_in_the_bits_of_trainings_in_turn(precision: Precision) -> None:
    compute, seeds = Compute(torch.device("cpu"), precision), range(2 * SIDE_BY_SIDE)
    in_turn = [trained(compute, seed) for seed in seeds]
    assert len(set(in_turn)) == len(seeds)
    assert side_by_side(lambda seed: trained(compute, seed), seeds) == in_turn


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_in_bf16_sessions_take_turns_on_every_device(device: str, precision: Precision) -> None:
    """Entering one needs no such device."""
    compute, entered = Compute(torch.device(device), precision), threading.Event()

    def enter() -> None:
        with compute.session():
            entered.set()

    with compute.session(), compute.session():  # its own thread may go deeper
        other = threading.Thread(target=enter)
        other.start()
        assert entered.wait(0.3 if precision == "bf16" else LONG) == (precision == "fp32")
    other.join(LONG)
    assert entered.is_set()
