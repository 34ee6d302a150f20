"""The verifier's comparison and its loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fedcxr.models import siamese as module
from fedcxr.models.backbone import Design
from fedcxr.models.siamese import partner_loss, siamese
from fedcxr.rng import stream


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(stream(seed).standard_normal(shape, dtype=np.float32))


@pytest.mark.parametrize("cells", [1, 40, 1 << 22])
def test_compare_is_the_head_on_every_pair(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELLS", cells)  # one row at a time, a few, all at once
    network = siamese(Design(width=4), 6, stream(1))
    first, second = numbers(2, 5, 6), numbers(3, 3, 6)
    with torch.no_grad():
        network.head.bias.fill_(0.7)
        together = network.compare(first, second)
        for i in range(5):
            for j in range(3):
                alone = network.head((first[i] - second[j]).abs())
                assert together[i, j].item() == pytest.approx(alone.item(), abs=1e-5)
    assert together.shape == (5, 3)


def test_comparing_stays_in_full_precision_under_autocast() -> None:
    network = siamese(Design(width=4), 6, stream(1))
    first, second = numbers(2, 5, 6), numbers(3, 3, 6)
    with torch.no_grad():
        plain = network.compare(first, second)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(network.compare(first, second), plain)


def test_the_loss_of_two_pairs_is_what_one_gets_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    softmax = [math.log(1 + math.exp(d)) for d in (0 - 2, 1 - 3)], [math.log(1 + math.exp(d)) for d in (1 - 2, 0 - 3)]
    genuine = [math.log(1 + math.exp(-d)) for d in (2, 3)]
    impostor = [math.log(1 + math.exp(d)) for d in (0, 1)]
    expected = sum(sum(part) / 2 for part in (*softmax, genuine, impostor)) / 2
    assert partner_loss(logits, sharpness=1.0).item() == pytest.approx(expected, abs=1e-6)


def test_the_loss_falls_when_partners_score_higher_than_all_others() -> None:
    mixed = numbers(1, 6, 6)
    assert partner_loss(mixed + 5 * torch.eye(6), 4.0) < partner_loss(mixed, 4.0)


def test_an_embedding_has_the_dimensions_asked_for() -> None:
    network = siamese(Design(width=4), 6, stream(1)).eval()
    embedded = network.embed(torch.rand(3, 1, 32, 48))
    assert embedded.shape == (3, 6)
    assert 0 < embedded.min().item() < embedded.max().item() < 1
