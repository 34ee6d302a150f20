"""Networks that restore: they begin by changing nothing, and critics learn from what they are shown alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedcxr.adversaries._inputs import Inputs
from fedcxr.adversaries._restoration import PatchGan, Shown, restored
from fedcxr.adversaries._restoring import Learning, Size, network_of
from fedcxr.rng import stream
from fedcxr.training import to_tensor
from fedcxr.training.compute import Compute

FP32 = Compute.choose("cpu", "fp32")
SIZE = Size(widths=(2, 3), critic=(3, 4), cell=2)
FILMS = stream(1, "films").integers(0, 256, (3, 17, 24)).astype(np.uint8)
CODES = stream(1, "codes").integers(-9, 9, (3, 64, 3, 3)).astype(np.int8)


@pytest.mark.parametrize("attacker", ["unet", "vnet", "gan", "cyclegan"])
@pytest.mark.parametrize("codes", [None, CODES])
def test_untrained_it_leaves_a_release_as_it_is(attacker: Learning, codes: np.ndarray | None) -> None:
    inputs = Inputs(FILMS, codes)
    network = network_of(attacker, SIZE, 0 if attacker == "cyclegan" else inputs.channels, stream(1))
    np.testing.assert_array_equal(restored(network, inputs, FP32), FILMS)


def test_a_generator_hears_of_its_critic_and_the_critic_not_of_its_generator() -> None:
    network = network_of("gan", SIZE, 0, stream(1))
    assert isinstance(network, PatchGan)
    shown, films = Shown.of(Inputs(FILMS), FP32), to_tensor(FILMS[::-1].copy(), FP32)
    network.loss(shown, films).backward()
    of_critic = [weight.grad.clone() for weight in network.critic.parameters() if weight.grad is not None]
    network.zero_grad()
    beside, made = shown.pictures, network(shown).detach()
    real, caught = (network.critic(torch.cat((beside, picture), 1)) for picture in (films, made))
    (torch.nn.functional.softplus(-real).mean() / 2 + torch.nn.functional.softplus(caught).mean() / 2).backward()
    for before, weight in zip(of_critic, network.critic.parameters(), strict=True):
        torch.testing.assert_close(before, weight.grad)
    assert network.generator.network.head.weight.grad is None  # of the critic's part of the loss, nothing passes on
