"""Gradients of single films are right in every network: each as if the film had passed alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedcxr.models.backbone import Design
from fedcxr.models.classifier import classifier
from fedcxr.models.out_of_place import out_of_place
from fedcxr.rng import stream
from fedcxr.training import to_device
from fedcxr.training.compute import Compute
from fedcxr.training.per_film import per_film
from fedcxr.training.private import Material, clipped_sum, film_losses

CPU = Compute.choose("cpu", "fp32")


@pytest.mark.parametrize("architecture", ["narrow", "resnet18", "densenet121"])
def test_a_films_gradient_is_that_of_a_pass_of_its_own(architecture: str) -> None:
    design = Design(architecture, width=8, norm="group")
    network, plain = (to_device(classifier(design, 3, stream(0)), CPU) for _ in range(2))
    films = torch.from_numpy(stream(1).random((3, 1, 32, 32), dtype=np.float32))
    films = films.contiguous(memory_format=torch.channels_last)  # as they are read
    labels = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, float("nan")], [1.0, 1.0, 0.0]])

    def alone(film: int) -> torch.Tensor:
        plain.zero_grad()
        torch.autograd.backward(film_losses(plain(films[film : film + 1]), labels[film : film + 1], 0.0).sum())
        return torch.cat([w.grad.flatten() for w in plain.parameters() if w.grad is not None]).double()

    with CPU.session():
        out_of_place(network)
        assert network.state_dict().keys() == plain.state_dict().keys()
        torch.testing.assert_close(network(films), plain(films), rtol=0, atol=0)
        material = Material(lambda rows: films[torch.from_numpy(rows)], labels, [np.array([0]), np.array([1, 2])])
        hooked = per_film(network.train())
        found = torch.stack([clipped_sum(hooked, material, np.array([unit]), 1e6) for unit in range(2)])
        expected = torch.stack([alone(0), (alone(1) + alone(2)) / 2])
    assert float((found - expected).abs().max()) < 1e-4 * float(expected.abs().max())
