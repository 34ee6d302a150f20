"""Training of a classifier: repeatable, from wherever it stands, with rare findings counted more often."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedcxr.metrics import finding_aucs
from fedcxr.models.backbone import Design
from fedcxr.models.classifier import Classifier, classifier
from fedcxr.rng import stream
from fedcxr.training import predict, to_device
from fedcxr.training.classifier import Recipe, class_weights, teach
from fedcxr.training.compute import Compute

FP32 = Compute.choose("cpu", "fp32")
RECIPE = Recipe(steps=30, learning_rate=1e-2, shift=1)


def squares(films: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """Films whose two findings are bright squares in two corners."""
    rng = stream(1, "squares")
    labels = (rng.random((films, 2)) < 0.4).astype(np.float32)
    pixels = rng.integers(0, 100, size=(films, 16, 16), dtype=np.uint8)
    pixels[labels[:, 0] == 1, 2:8, 2:8] += 120
    pixels[labels[:, 1] == 1, 8:14, 8:14] += 120
    return pixels, labels


def untaught() -> Classifier:
    return to_device(classifier(Design(width=4), 2, stream(1, "weights")), FP32)


def taught(network: Classifier, seed: int, recipe: Recipe = RECIPE) -> Classifier:
    teach(network, *squares(), recipe, stream(seed, "batches"), FP32)
    return network


def arrays(network: Classifier) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def test_the_same_stream_teaches_the_same_and_another_does_not() -> None:
    one, same, other = (arrays(taught(untaught(), seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not all(np.array_equal(one[name], other[name]) for name in one)


def test_two_halves_at_two_places_teach_what_is_to_be_taught() -> None:
    """As in a federation: the second place goes on from the weights of the first."""
    network = untaught()
    network.load_state_dict({name: torch.from_numpy(a) for name, a in arrays(taught(untaught(), 1)).items()})
    films, labels = squares()
    before, after = (
        finding_aucs(labels, predict(n, films, FP32), ("Upper", "Lower")).mean_auc
        for n in (untaught(), taught(network, 2))
    )
    assert before is not None
    assert after is not None
    assert after > 0.97 > before


def test_rare_findings_count_more_often_within_a_bound() -> None:
    labels = torch.tensor(
        [[1.0, 1.0, 0.0, torch.nan], [1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    )
    assert class_weights(labels, rare=2.5).tolist() == pytest.approx([1.0, 2.5, 2.5, 2.0])
