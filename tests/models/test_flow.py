"""Flow: nothing moves where nothing should, nothing moves too far, and a displacement means the same at every size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fedcxr.models.flow import Flow, flow, moved, smooth
from fedcxr.rng import stream


def films(n: int, h: int, w: int) -> Tensor:
    return torch.from_numpy(stream(1, "films").random((n, 1, h, w), dtype=np.float32))


def wild(reach: float, cell: int = 1, interpolated: bool = False) -> Flow:
    """A flow that moves everything as far as it can."""
    network = flow((4, 8), cell, reach, stream(2), interpolated).eval()
    with torch.no_grad():
        weight = network.generator.head.weight
        weight.copy_(50 * torch.from_numpy(stream(3).standard_normal(tuple(weight.shape), dtype=np.float32)))
    return network


def eight_bits(shown: Tensor) -> Tensor:
    return (shown * 255).round().to(torch.uint8)


@pytest.mark.parametrize("cell", [1, 2, 4])
@pytest.mark.parametrize("size", [(64, 64), (32, 128)])
def test_mu_zero_is_the_exact_identity(size: tuple[int, int], cell: int) -> None:
    shown = films(2, *size)
    with torch.inference_mode():
        assert torch.equal(wild(0.0, cell)(shown), shown)


@pytest.mark.parametrize("size", [(50, 70), (101, 37), (33, 33)])
def test_mu_zero_gives_the_same_bytes_at_any_size_up_to_the_corners(size: tuple[int, int]) -> None:
    grey = torch.from_numpy(stream(4).integers(0, 256, (3, 1, *size), dtype=np.uint8))
    with torch.inference_mode():
        assert torch.equal(eight_bits(wild(0.0)(grey / 255.0)), grey)


def test_training_starts_at_the_identity_and_can_leave_it() -> None:
    network, shown = flow((4, 8), 2, 0.1, stream(2)), films(2, 64, 64)
    protected = network(shown)
    assert torch.equal(protected, shown)
    (protected * films(1, 64, 64)).sum().backward()
    assert network.generator.head.weight.grad is not None
    assert network.generator.head.weight.grad.abs().max() > 0


@pytest.mark.parametrize("size", [(64, 64), (51, 70)])
def test_between_the_centres_of_cells_the_field_goes_on_in_a_straight_line(size: tuple[int, int]) -> None:
    generator = wild(0.1, cell=4, interpolated=True).generator
    generator.activation = "none"  # which would bend the line
    with torch.inference_mode():
        field = generator(films(2, *size))
    bends = field.diff(n=2, dim=-1)[..., 2:]  # centres lie at 1.5, 5.5, 9.5 ...: between them nothing bends
    straight = bends[..., [place for place in range(bends.shape[-1]) if place % 4 in (0, 1)]]
    assert field.shape[-2:] == size
    assert straight.abs().max() < 1e-4 * bends.abs().max()


@pytest.mark.parametrize("side", [32, 64, 100])
def test_no_pixel_comes_from_further_away_than_mu(side: int) -> None:
    reach = 0.1
    with torch.inference_mode():
        pixels = wild(reach).displacement(films(2, side, side)) * side / 2
    assert pixels.abs().max() <= reach * side / 2 * (1 + 1e-5)
    assert pixels.abs().max() > 0.8 * reach * side / 2


def test_a_displacement_is_the_same_share_of_small_and_large_films() -> None:
    """An edge in the middle moves by mu half sides: 8 pixels of 64 and 32 of 256."""
    for side in (64, 256):
        edge = (torch.arange(side) >= side // 2).float().expand(1, 1, side, side)
        shifted = moved(edge, torch.tensor([-0.25, 0.0])[None, :, None, None].expand(1, 2, side, side))
        assert shifted[0, 0, 0].round().argmax() == side // 2 + side // 8


def test_smoothing_is_the_same_share_of_small_and_large_films() -> None:
    """A step is as wide, as a share of the film, after smoothing at 64 and at 256 pixels."""
    widths = {}
    for side in (128, 256, 512):
        step = (torch.arange(side) >= side // 2).float().expand(1, 2, side, side)
        profile = smooth(step)[0, 0, side // 2]
        widths[side] = float((profile.diff() * torch.arange(1, side).sub(side / 2).square()).sum().sqrt()) / side
    assert widths[128] == pytest.approx(widths[256], rel=0.15)
    assert widths[512] == pytest.approx(widths[256], rel=0.05)


@pytest.mark.parametrize("size", [(64, 64), (256, 256), (40, 90)])
def test_smoothing_leaves_a_constant_field_alone_at_every_border(size: tuple[int, int]) -> None:
    torch.testing.assert_close(smooth(torch.full((1, 2, *size), 0.7)), torch.full((1, 2, *size), 0.7))


def test_smoothing_at_256_is_the_papers_kernel() -> None:
    point = torch.zeros(1, 2, 256, 256)
    point[0, 0, 100, 100] = 1.0
    weights = torch.exp(-0.5 * (torch.arange(-4, 5) / 2.0).square())
    weights = weights / weights.sum()
    torch.testing.assert_close(smooth(point)[0, 0, 96:105, 96:105], weights[:, None] * weights)
    assert smooth(point)[0, 0].count_nonzero() == 81
    assert smooth(point)[0, 1].count_nonzero() == 0


def test_nothing_comes_from_beyond_the_edge() -> None:
    shown = films(1, 16, 16) * 0.5 + 0.5
    away = moved(shown, torch.full((1, 2, 16, 16), 3.0))
    torch.testing.assert_close(away, shown[..., -1:, -1:].expand_as(shown))


def test_a_place_that_is_no_number_does_not_pass_for_a_corner() -> None:
    displacement = torch.zeros(1, 2, 8, 8)
    displacement[0, 1, 2, 3] = torch.nan
    protected = moved(films(1, 8, 8), displacement)
    assert protected.isnan().sum() == 1
    assert protected[0, 0, 2, 3].isnan()
