"""Networks are built from a generator only."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from fedcxr.models.architectures import ARCHITECTURES
from fedcxr.models.backbone import Design
from fedcxr.models.initialise import build
from fedcxr.rng import stream


def weights(architecture: str, seed: int) -> dict[str, torch.Tensor]:
    return build(lambda: Design(architecture, 4).backbone(), stream(seed)).state_dict()


@pytest.mark.parametrize("architecture", ["narrow", "densenet121"])
def test_weights_depend_on_the_seed_alone_and_global_state_stays(architecture: str) -> None:
    before = random.getstate(), repr(np.random.get_state()), torch.get_rng_state()
    first = weights(architecture, 1)
    assert (random.getstate(), repr(np.random.get_state())) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])
    torch.rand(7)
    second, other = weights(architecture, 1), weights(architecture, 2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_number_is_initialised(architecture: str) -> None:
    network = build(lambda: Design(architecture, 4).backbone(), stream(1))
    for name, tensor in network.state_dict().items():
        assert torch.isfinite(tensor.float()).all(), name
        if name.endswith("running_var"):
            assert (tensor == 1).all(), name
        elif name.endswith("running_mean"):
            assert (tensor == 0).all(), name
    with torch.inference_mode():
        features = network.eval()(torch.rand(2, 1, 64, 64))
    assert features.shape == (2, network.features)
    assert features.std() > 0.01


def test_threads_build_what_they_would_build_alone() -> None:
    alone = [weights("narrow", seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: weights("narrow", seed), range(8)))
    for one, other in zip(alone, together, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_convolution_keeps_the_variance_of_its_input() -> None:
    layer = build(lambda: nn.Conv2d(64, 64, 3, padding=1), stream(1))
    with torch.no_grad():
        out = layer(torch.randn(4, 64, 16, 16, generator=torch.Generator().manual_seed(1)))
    assert out.var().item() == pytest.approx(2.0, rel=0.2)  # 2: half of it is lost in the ReLU


def test_a_layer_without_a_rule_is_refused_and_not_left_to_chance() -> None:
    with pytest.raises(TypeError, match="no rule to initialise Embedding"):
        build(lambda: nn.Sequential(nn.Embedding(3, 4)), stream(1))
