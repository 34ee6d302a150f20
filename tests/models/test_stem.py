"""The layer that makes films of codes, before a network that learns from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedcxr.models.backbone import Design
from fedcxr.models.classifier import classifier
from fedcxr.models.sparse_coder import CELL, SparseCoder
from fedcxr.models.stem import Synthesis
from fedcxr.rng import stream


@pytest.mark.parametrize("maps", [1, 2])
def test_at_the_start_it_is_the_untrained_coder(maps: int) -> None:
    coder = SparseCoder(maps).eval()
    stem = Synthesis(64 * maps)
    stem.start()
    films = torch.from_numpy(stream(3).random((2, 1, 48, 64), dtype=np.float32))
    with torch.inference_mode():
        codes = coder.encode(films, 8)
        shown, decoded = stem(codes.float()), coder.decode(coder.expand(codes), (48, 64))
    assert shown.shape == films.shape
    inside = np.s_[:, :, CELL:-CELL, CELL:-CELL]  # beyond an edge the coder knows a mirror
    torch.testing.assert_close(shown[inside], decoded[inside], atol=1e-5, rtol=0)


def test_a_classifier_of_purified_codes_trains_it_along() -> None:
    network = classifier(Design(width=4, channels=64, placed=True), 3, stream(1))
    start = classifier(Design(width=4, channels=64, placed=True), 3, stream(2))
    assert isinstance(network.stem, Synthesis)
    assert isinstance(start.stem, Synthesis)
    assert torch.equal(network.stem.weight, start.stem.weight)  # it is known, not drawn
    codes = torch.from_numpy(stream(4).integers(-9, 10, (4, 64, 8, 8))).float()
    network(codes).square().sum().backward()
    assert network.stem.weight.grad is not None
    assert network.stem.weight.grad.abs().sum() > 0


def test_codes_whose_channels_mean_nothing_get_none() -> None:
    assert not isinstance(classifier(Design(width=4, channels=64), 3, stream(1)).stem, Synthesis)
