"""The training loop: it learns, it repeats bit by bit, it touches no global state, and it stops when it diverges."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import threadpoolctl  # type: ignore[import-untyped, unused-ignore]
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.errors import FedcxrError, TrainingDiverged
from fedcxr.models.backbone import Design
from fedcxr.models.classifier import classifier
from fedcxr.models.initialise import build
from fedcxr.rng import stream
from fedcxr.training import Plan, epochs, fit, predict, shifted, shifted_along, to_device, to_tensor
from fedcxr.training.compute import Compute

FP32 = Compute.choose("cpu", "fp32")


def toy(films: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise films, half of which have a bright square somewhere; the square is the label."""
    rng = stream(seed, "toy")
    images = rng.integers(0, 120, size=(films, 16, 16), dtype=np.uint8)
    labels = np.arange(films) % 2
    for film, row, column in zip(np.flatnonzero(labels), *rng.integers(10, size=(2, films // 2)), strict=True):
        images[film, row : row + 6, column : column + 6] += 100
    return images, labels.astype(np.float32)


def train(labels: np.ndarray, images: np.ndarray, seed: int = 1, plan: Plan | None = None) -> nn.Module:
    network = to_device(classifier(Design(width=4), 1, stream(seed, "weights")), FP32)
    rng = stream(seed, "batches")
    order = epochs(len(images), 16, rng)
    truth = torch.from_numpy(labels)

    def loss(step: int) -> Tensor:
        rows = next(order)
        logits = network(to_tensor(shifted(images[rows], 1, rng), FP32))[:, 0]
        return F.binary_cross_entropy_with_logits(logits, truth[torch.from_numpy(rows)])

    with FP32.session():
        fit(network, loss, plan or Plan(100, 1e-2), FP32)
    return network


def rank_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    return float((scores[labels == 1][:, None] > scores[labels == 0][None]).mean())


def test_learns_what_can_be_learnt_and_nothing_from_shuffled_labels() -> None:
    images, labels = toy(192, seed=1)
    test_images, test_labels = toy(256, seed=2)
    learnt = predict(train(labels, images), test_images, FP32)[:, 0]
    fooled = predict(train(stream(3).permutation(labels), images), test_images, FP32)[:, 0]
    assert rank_auc(test_labels, learnt) > 0.95
    assert rank_auc(test_labels, fooled) < 0.8


@pytest.mark.parametrize("average", [None, 0.9])
def test_two_runs_are_equal_bit_by_bit(average: float | None) -> None:
    images, labels = toy(64, seed=1)
    plan = Plan(10, 1e-2, average=average)
    first, second = (train(labels, images, plan=plan).state_dict() for _ in range(2))
    other = train(labels, images, seed=2, plan=plan).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def algebra() -> list[int]:
    """Threads of each library of linear algebra that NumPy may use."""
    return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]


def test_a_session_has_as_many_threads_as_it_says() -> None:
    with Compute.choose(threads=1).session():
        assert set(algebra()) == {torch.get_num_threads()} == {1}


def test_global_random_state_and_thread_count_stay_as_they_were() -> None:
    images, labels = toy(32, seed=1)
    before = (random.getstate(), repr(np.random.get_state()), torch.get_rng_state(), torch.get_num_threads(), algebra())
    train(labels, images, plan=Plan(2, 1e-3))
    after = (random.getstate(), repr(np.random.get_state()), torch.get_rng_state(), torch.get_num_threads(), algebra())
    assert before[:2] == after[:2]
    assert before[4] == after[4]
    assert before[3] == after[3]
    assert torch.equal(before[2], after[2])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_training_before_it_spoils_the_weights(bad: float) -> None:
    network = build(lambda: nn.Linear(1, 1), stream(1))
    seen: list[int] = []

    def loss(step: int) -> Tensor:
        seen.append(step)
        factor = bad if step == 2 else 1.0
        return network.weight.sum() ** 2 * factor

    with pytest.raises(TrainingDiverged, match=r"step 3 of 9.*lower the learning rate") as caught:
        fit(network, loss, Plan(9, 1e-3), FP32)
    assert seen == [0, 1, 2]
    assert isinstance(caught.value, FedcxrError)
    assert torch.isfinite(network.weight).all()


def quadratic(plan: Plan, progress: Callable[[int, int], None] | None = None) -> float:
    """Where plain minimisation of (w - 3)^2 from 0 ends."""
    network = build(lambda: nn.Linear(1, 1), stream(1))
    with torch.no_grad():
        network.weight.zero_()
    fit(network, lambda step: (network.weight.sum() - 3) ** 2, plan, FP32, progress)
    return network.weight.item()


def test_progress_counts_every_step() -> None:
    seen: list[tuple[int, int]] = []
    quadratic(Plan(4, 1e-2), lambda step, steps: seen.append((step, steps)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_average_lags_behind_the_last_weights() -> None:
    last = quadratic(Plan(30, 1e-1, weight_decay=0.0))
    averaged = quadratic(Plan(30, 1e-1, weight_decay=0.0, average=0.9))
    assert 0 < averaged < last


def test_the_rate_warms_up_and_ends_near_zero() -> None:
    plan = Plan(steps=100, learning_rate=1.0, warm_up=0.1)
    rates = [plan.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[99] < 0.001


def test_a_shift_moves_a_film_and_repeats_its_edge() -> None:
    ramp = np.broadcast_to(np.arange(8, dtype=np.uint8), (40, 8, 8))
    moved = shifted(ramp, 2, stream(1))
    expected = {tuple(np.clip(np.arange(8) + by, 0, 7)) for by in (-2, -1, 0, 1, 2)}
    assert {tuple(row) for film in moved for row in film} == expected
    assert np.array_equal(shifted(ramp, 0, stream(1)), ramp)


def test_films_a_network_made_are_moved_alike_and_gradients_pass() -> None:
    films = stream(5).random((3, 6, 7), dtype=np.float32)
    made = torch.from_numpy(films).unsqueeze(1).requires_grad_()
    moved = shifted_along(made, 2, stream(1))
    assert np.array_equal(moved.detach().numpy()[:, 0], shifted(films, 2, stream(1)))
    moved.sum().backward()
    assert made.grad is not None
    assert made.grad.sum() == moved.numel()  # every pixel shown came from one


def test_tensors_are_between_zero_and_one() -> None:
    films = np.array([[[0, 255], [51, 102]]], dtype=np.uint8)
    tensor = to_tensor(films, FP32)
    assert tensor.shape == (1, 1, 2, 2)
    torch.testing.assert_close(tensor[0, 0], torch.tensor([[0.0, 1.0], [0.2, 0.4]]))


def test_an_epoch_shows_every_film_once() -> None:
    order = epochs(10, 3, stream(1))
    epoch = np.concatenate([next(order) for _ in range(3)])
    assert len(set(epoch.tolist())) == 9
    assert len(next(epochs(2, 8, stream(1)))) == 2


def test_predictions_do_not_depend_on_the_batch_a_film_is_in() -> None:
    images, labels = toy(32, seed=1)
    network = train(labels, images, plan=Plan(3, 1e-2))
    np.testing.assert_allclose(predict(network, images, FP32, batch=5), predict(network, images, FP32), atol=1e-5)


def test_bf16_learns_too() -> None:
    images, labels = toy(64, seed=1)
    bf16 = Compute.choose("cpu", "bf16")  # emulated where the CPU has none: slower, not different
    network = to_device(classifier(Design(width=4), 1, stream(1)), bf16)
    truth = torch.from_numpy(labels)
    values: list[float] = []

    def loss(step: int) -> Tensor:
        value = F.binary_cross_entropy_with_logits(network(to_tensor(images, bf16))[:, 0].float(), truth)
        values.append(value.item())
        return value

    fit(network, loss, Plan(20, 1e-2), bf16)
    assert values[-1] < 0.5 * values[0]
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
