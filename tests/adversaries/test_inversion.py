"""An update tells the gradient behind it, and a gradient the film behind it, as far as each optimiser lets it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import DrawnMasks
from holdings import leak, open_view
from torch import nn
from torch.nn import functional as F

from fedcxr.adversaries._inverting import Descent, Distance, Prior, inverted
from fedcxr.adversaries._surrogate_relu import SurrogateRelu
from fedcxr.adversaries._told_gradient import Told
from fedcxr.adversaries._told_statistics import Statistics
from fedcxr.adversaries.inversion import Inversion
from fedcxr.codes.support import correlation
from fedcxr.cohort import BOXES, COLUMNS, Annotations, Cohort
from fedcxr.errors import ConfigError
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import RunContext
from fedcxr.methods._network import NetworkMethod
from fedcxr.methods.dp_sgd import DpSgd
from fedcxr.methods.fedavg import FedAvg
from fedcxr.rng import stream
from fedcxr.training import Plan, to_tensor
from fedcxr.training.compute import Compute
from fedcxr.training.one_step import OneStep
from fedcxr.view import Films, Weights

CPU = Compute.choose("cpu", "fp32")
SIDE = 24
NOTHING_DRAWN = Annotations()


@cache
def blobs(films: int) -> Films:
    """Smooth pictures that differ."""
    waves = stream(7, "blobs").normal(0, 1, (films, 4, 4))
    shown = F.interpolate(torch.from_numpy(waves)[:, None], size=(SIDE, SIDE), mode="bicubic")[:, 0].numpy()
    return (128 + 40 * shown).clip(0, 255).astype(np.uint8)


def stepped(
    method: NetworkMethod, films: int, annotations: Annotations = NOTHING_DRAWN
) -> tuple[OneStep, Weights, Weights, Films]:
    """A site's step on so many films, as the coordinator knows it; and the films."""
    shown = blobs(40)[:films]
    labels = pd.DataFrame((np.arange(films)[:, None] == np.arange(2)).astype(float), columns=list(method.findings))
    index = pd.concat([pd.DataFrame({column: [""] * films for column in COLUMNS}), labels], axis=1)
    batch, start = Cohort.whole(shown, index, method.findings, annotations), method.initial(stream(3, "start"))
    after = method.update(batch, start, stream(4), RunContext("cpu", "fp32"))
    step = method.one_step(start, batch.labels.astype(np.float32), batch.size, CPU)
    assert step is not None
    return step, start, after, shown


def of(**parameters: object) -> FedAvg:
    return FedAvg.model_validate({"width": 4, "findings": ("Mass", "Nodule"), "batch": 5, **parameters})


@pytest.mark.parametrize("norm", ["shared", "local", "group"])
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_an_update_tells_the_gradient(optimiser: str, norm: str) -> None:
    step, before, after, films = stepped(of(optimiser=optimiser, norm=norm, learning_rate=0.01), 3)
    told = Told.by(step, before, after)
    own = torch.autograd.grad(step.loss(to_tensor(films, CPU)), step.weights)
    for name, one, other in zip(step.names, told.gradients, told.bent(own), strict=True):
        missed = (one - other).norm() / other.norm()
        assert missed < (1e-2 if optimiser == "sgd" else 0.3), name  # AdamW's step leaves less of large ones


def test_an_update_tells_the_gradient_of_places_to_whoever_finds_them() -> None:
    """What the attacker seeks along with films is all that it lacks; where boxes cannot be is known by the findings."""
    boxes = pd.DataFrame([(0, "Mass", 8, 8, 8, 8), (1, "Nodule", 0, 0, 8, 16)], columns=list(BOXES))
    masks = DrawnMasks(np.repeat(np.arange(SIDE)[:, None] < 8, SIDE, axis=1)[None].repeat(3, axis=0), np.ones(3, bool))
    method = of(optimiser="sgd", norm="group", learning_rate=0.01, anatomy=("lungs", "boxes"))
    step, before, after, films = stepped(method, 2, Annotations({"lungs": masks}, boxes))
    told = Told.by(step, before, after)

    def missed() -> float:
        own = torch.autograd.grad(step.loss(to_tensor(films, CPU)), step.weights)
        one, other = (torch.cat([part.flatten() for part in parts]) for parts in (told.gradients, told.bent(own)))
        return float((one - other).norm() / one.norm())

    (odds,) = step.sought
    assert odds.shape == (2, 3, 3, 3)
    assert missed() > 0.1
    with torch.no_grad():
        odds.fill_(-30)
        odds[:, 0, 0] = odds[0, 1, 1, 1] = odds[1, 2, :2, 0] = 30
        odds[0, 2] = odds[1, 1] = 5  # which the labels deny, and so nobody asks
    assert missed() < 1e-2


@pytest.mark.parametrize(("noise", "least", "most"), [(0.0, 0.999, 1.0), (2.0, -0.2, 0.2)])
def test_under_differential_privacy_an_update_tells_a_clipped_gradient_or_noise(
    noise: float, least: float, most: float
) -> None:
    findings = ("Mass", "Nodule")
    method = DpSgd(width=4, findings=findings, noise_multiplier=noise, optimiser="sgd", clip=0.1, learning_rate=0.5)
    step, before, after, films = stepped(method, 1)
    own = torch.autograd.grad(step.loss(to_tensor(films, CPU)), step.weights)
    length = torch.cat([part.flatten() for part in own]).norm()
    assert length > 0.2  # longer than it may be
    told = Told.by(step, before, after)
    sent = [part * (0.1 / length / method.batch) for part in own]
    one, other = (torch.cat([p.flatten() for p in parts]) for parts in (told.gradients, told.bent(sent)))
    assert least <= F.cosine_similarity(one, other, dim=0) <= most + 1e-6


def test_what_adamw_tells_is_more_than_signs() -> None:
    """Of the sizes of gradients that differ by orders of magnitude; without a bend, rounding would drown the rest."""
    step, before, after, films = stepped(of(optimiser="adamw", norm="group"), 3)
    told = Told.by(step, before, after).gradients
    own = torch.autograd.grad(step.loss(to_tensor(films, CPU)), step.weights)
    sizes = [torch.cat([part.abs().flatten() for part in parts]) for parts in (told, own)]
    small = (sizes[1] < 1e-3) & (sizes[1] > 1e-6)
    assert small.sum() > 500
    assert np.corrcoef(*(np.log(part[small].clamp(min=1e-9).numpy()) for part in sizes))[0, 1] > 0.95


def test_shared_statistics_tell_those_of_the_batch() -> None:
    step, before, after, films = stepped(of(norm="shared", optimiser="sgd"), 4)
    statistics = Statistics.by(step.network, before, after)
    with statistics.followed() as seen:
        step.loss(to_tensor(films, CPU))
    assert len(seen) == len(statistics.told) == 10
    assert statistics.missed(seen).item() < 1e-6
    with statistics.followed() as others:
        step.loss(to_tensor(blobs(40)[10:14], CPU))
    assert statistics.missed(others).item() > 1e-2
    assert Statistics.by(step.network, before, {k: v for k, v in after.items() if "running" not in k}).told == ()


def test_a_kink_can_be_felt_and_changes_no_value() -> None:
    x = torch.tensor([-2.0, -0.1, 0.1, 2.0], requires_grad=True)
    with SurrogateRelu():
        y = F.relu(x)
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x)
    assert y.tolist() == F.relu(x).tolist()
    assert slope.tolist() == [0, 0, 1, 1]
    assert (bend > 0).all()
    assert bend[1] == pytest.approx(bend[2].item())  # the nearer, the more
    assert bend[1] > 100 * bend[0]
    (plain,) = torch.autograd.grad(F.relu(x).sum(), x, create_graph=True)
    assert not torch.autograd.grad(plain.sum(), x)[0].any()  # what an unaided ReLU tells


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_a_single_film_is_seen_in_its_gradient(distance: Distance) -> None:
    """Of a plain network, far better than in the mean of one's own films, and the better the longer it is sought."""
    drawn = stream(6, "plain")
    network = nn.Sequential(nn.Conv2d(1, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Flatten())
    network.append(nn.Linear(8 * (SIDE // 4) ** 2, 2))
    for weights in network.parameters():
        spread = 1 / np.sqrt(max(weights[0].numel(), 1)) if weights.ndim > 1 else 0.1
        weights.data = torch.from_numpy(drawn.normal(0, spread, tuple(weights.shape)).astype(np.float32))
    truth = torch.tensor([[1.0, 0.0]])
    plan = Plan(1, 0.1, weight_decay=0.0, optimiser="sgd")
    step = OneStep(network, lambda films: F.binary_cross_entropy_with_logits(network(films), truth), plan)
    film = blobs(40)[:1]
    gradients = torch.autograd.grad(step.loss(to_tensor(film, CPU)), step.weights)
    before: Weights = {name: weights.detach().numpy().copy() for name, weights in network.named_parameters()}
    after: Weights = {
        n: np.asarray(before[n], dtype=np.float32) - 0.1 * g.numpy() for n, g in zip(before, gradients, strict=True)
    }
    descent = Descent(distance, 200, 0.1, total_variation=0.01, statistics=0.0)
    with CPU.session():
        shown = inverted(step, (before, after), 1, Prior.of(blobs(40)[1:], CPU), descent, stream(5), lambda done: None)
    likeness = [correlation(pictures, film)[0, 0] for pictures in shown]
    usual = correlation(blobs(40)[1:].mean(axis=0)[None].astype(np.uint8), film)[0, 0]
    assert len(shown) == 3
    assert likeness[0] < likeness[-1]
    assert likeness[-1] > 0.7 > usual + 0.2


def test_who_does_not_know_the_method_cannot_seek() -> None:
    films = blobs(40)
    own = Owned(films, np.arange(40), np.zeros(40, np.int64), np.zeros(40, np.bool_))
    nothing = leak(open_view(films[:0]), own, films, None)
    with pytest.raises(ConfigError, match="must be granted the method"):
        Inversion().answer("inversion", nothing, {}, 1, CPU, lambda *told: None)
