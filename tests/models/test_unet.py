"""A U-Net gives back pictures of the size it was given, and owes its weights to one generator."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from fedcxr.models.unet import UNet, UNetDesign, unet
from fedcxr.rng import stream

SMALL = UNetDesign(widths=(4, 6, 8))
PAPERS = {
    "prichexy": UNetDesign(widths=(32, 64, 128, 256, 512), outputs=2, activation="tanh"),
    "privacy": UNetDesign(widths=(16, 32, 64), slope=0.2, activation="sigmoid"),
}


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (1, 1), (3, 64)])
def test_any_size_goes_in_and_comes_out(size: tuple[int, int]) -> None:
    network = unet(UNetDesign(widths=(4, 6, 8, 8), outputs=3), stream(1)).eval()
    assert network(torch.rand(2, 1, *size)).shape == (2, 3, *size)


def test_padding_repeats_the_edge_and_is_cropped_away() -> None:
    network = unet(SMALL, stream(1)).eval()
    films = torch.rand(2, 1, 30, 29)
    padded = nn.functional.pad(films, (0, 3, 0, 2), mode="replicate")
    torch.testing.assert_close(network(films), network(padded)[..., :30, :29])


@pytest.mark.parametrize("name", PAPERS)
def test_networks_of_the_papers(name: str) -> None:
    design = PAPERS[name]
    network = unet(design, stream(1)).train()
    pictures = network(torch.rand(2, 1, 32, 32))
    low, high = {"tanh": (-1, 1), "sigmoid": (0, 1)}[design.activation]
    assert pictures.shape == (2, design.outputs, 32, 32)
    assert low < pictures.min() < pictures.max() < high
    assert (pictures - (low + high) / 2).abs().mean() < 0.6 * (high - low) / 2, "begins saturated"
    slopes = {layer.negative_slope for layer in network.modules() if isinstance(layer, nn.LeakyReLU)}
    assert slopes == ({0.2} if design.slope else set())


def test_number_of_weights_by_hand() -> None:
    """Widths 2 and 4, no normalisation: 3x3 convolutions with bias, a 2x2 way up, a 1x1 head."""
    network = UNet(UNetDesign(widths=(2, 4), normalisation="none"))
    down = (9 * 1 * 2 + 2) + (9 * 2 * 2 + 2) + (9 * 2 * 4 + 4) + (9 * 4 * 4 + 4)
    up = 4 * 4 * 2 + 2
    merge = (9 * 4 * 2 + 2) + (9 * 2 * 2 + 2)
    assert sum(p.numel() for p in network.parameters()) == down + up + merge + (2 + 1)


@pytest.mark.parametrize(("normalisation", "mixes"), [("batch", True), ("group", False), ("none", False)])
def test_only_batch_norm_mixes_films(normalisation: Literal["batch", "group", "none"], mixes: bool) -> None:
    network = unet(UNetDesign(widths=(4, 6, 8), normalisation=normalisation), stream(1)).train()
    films = torch.rand(3, 1, 16, 16)
    together, alone = network(films)[:1], network(films[:1])
    assert (together - alone).abs().max().item() > 1e-4 if mixes else torch.allclose(together, alone, atol=1e-5)


def test_weights_come_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    one, same, other = (unet(SMALL, stream(seed)).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_memory_format_and_precision_change_nothing_that_matters() -> None:
    network = unet(SMALL, stream(1)).eval()
    films = torch.rand(2, 1, 24, 24)
    plain = network(films)
    last = network.to(memory_format=torch.channels_last)(films.to(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, last, atol=1e-5, rtol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(films).dtype == torch.float32


def test_every_weight_learns() -> None:
    network = unet(SMALL, stream(1)).train()
    network(torch.rand(4, 1, 16, 16)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters() if p.ndim > 1)
