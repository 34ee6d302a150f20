"""A V-Net gives back pictures of the size it was given; a critic says one number for each patch."""

from __future__ import annotations

import pytest
import torch

from fedcxr.models.patch_critic import patch_critic, patches
from fedcxr.models.vnet import VNetDesign, vnet
from fedcxr.rng import stream


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_any_size_goes_in_and_comes_out(size: tuple[int, int], stride: int) -> None:
    network = vnet(VNetDesign((2, 3, 4, 5), inputs=2, stride=stride), stream(1)).eval()
    assert network(torch.rand(2, 2, *size)).shape == (2, 1, *size)


def test_levels_are_as_deep_as_in_the_paper() -> None:
    network = vnet(VNetDesign((2,) * len(VNetDesign().widths)), stream(1))
    assert [_convolutions(level) for level in network.levels] == [1, 2, 3, 3, 3]
    assert [_convolutions(level) for level in network.merge] == [3, 3, 2, 1]


def _convolutions(level: torch.nn.Module) -> int:
    return sum(isinstance(layer, torch.nn.Conv2d) for layer in level.modules())


def test_weights_depend_on_the_seed_alone() -> None:
    one, other, another = (vnet(VNetDesign((2, 3)), stream(seed)).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], another[name]) for name in one)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_a_critic_judges_patches_as_long_as_there_are_some(layers: int) -> None:
    critic = patch_critic(2, (3,) * layers, stream(1))
    fewest = next(side for side in range(1, 100) if patches(side, layers))
    for side in (fewest, fewest + 1, 2 * fewest):
        assert critic(torch.rand(1, 2, side, 40)).shape == (1, 1, patches(side, layers), patches(40, layers))
    with pytest.raises(RuntimeError):
        critic(torch.rand(1, 2, fewest - 1, 40))
