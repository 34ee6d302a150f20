"""Labels that are wrong at known rates: what is learnt from them, and what is found out about the rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from fedcxr.label_noise import Rates
from fedcxr.models.classifier import findings_loss
from fedcxr.rng import stream
from fedcxr.training.label_noise import BySite, Correction, confident, corrected_loss, folds

HALF = (0.7, 0.8)  # sensitivity and specificity
CPU = torch.device("cpu")


def correction(*pairs: tuple[float, float] | None, unknown: float | None = None) -> Correction:
    rates = [None if pair is None else Rates(sensitivity=pair[0], specificity=pair[1]) for pair in pairs]
    return Correction.of(rates, unknown, np.zeros((1, len(pairs)), dtype=np.float32), CPU)


def learnt(labels: float, weight: float, known: Correction, smoothing: float) -> float:
    """The logit at which films, of which this share is labelled with the finding, have the lowest loss."""
    logit = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logit], max_iter=100, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        weights = torch.tensor([weight])
        of_each = [
            corrected_loss(logit.float()[None], torch.tensor([[label]]), weights, known, smoothing)
            for label in (1.0, 0.0)
        ]
        loss = labels * of_each[0] + (1 - labels) * of_each[1]
        torch.autograd.backward(loss)
        return loss

    optimiser.step(closure)
    return float(logit.item())


@pytest.mark.parametrize("weight", [1.0, 3.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("present", [0.05, 0.5, 0.8])
def test_what_is_learnt_from_wrong_labels_is_what_right_ones_teach(
    present: float, smoothing: float, weight: float
) -> None:
    labelled = HALF[0] * present + (1 - HALF[1]) * (1 - present)
    found = learnt(labelled, weight, correction(HALF), smoothing)
    smooth = present * (1 - smoothing) + smoothing / 2
    assert found == pytest.approx(math.log(smooth / (1 - smooth)) + math.log(weight), abs=0.02)
    assert learnt(labelled, weight, correction(None), smoothing) != pytest.approx(found, abs=0.1)


def test_a_network_learns_the_truth_and_not_the_labels() -> None:
    """Of one number per film, films' true log odds are twice it, less one."""
    rng = stream(1, "noisy")
    shown = rng.normal(size=20_000).astype(np.float32)
    truth = rng.random(len(shown)) < 1 / (1 + np.exp(1 - 2 * shown))
    labels = np.where(truth, rng.random(len(shown)) < HALF[0], rng.random(len(shown)) >= HALF[1])
    given, told = torch.from_numpy(shown)[:, None], torch.from_numpy(labels.astype(np.float32))[:, None]

    def slope(known: Correction) -> list[float]:
        line = torch.zeros(2, requires_grad=True)
        optimiser = torch.optim.LBFGS([line], max_iter=50, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            loss = corrected_loss(line[0] * given + line[1], told, torch.ones(1), known)
            torch.autograd.backward(loss)
            return loss

        optimiser.step(closure)
        return line.detach().tolist()

    assert slope(correction(HALF)) == pytest.approx([2, -1], abs=0.2)
    assert slope(correction(None))[0] < 1.3


def test_right_labels_are_learnt_as_by_the_plain_loss() -> None:
    rng = stream(2, "plain")
    logits = torch.from_numpy(rng.normal(scale=5, size=(64, 3)).astype(np.float32))
    labels = torch.from_numpy(rng.choice([0.0, 1.0, np.nan], size=(64, 3)).astype(np.float32))
    weights = torch.tensor([1.0, 2.0, 3.0])
    plain = findings_loss(logits, labels, weights, 0.1)
    torch.testing.assert_close(corrected_loss(logits, labels, weights, correction(None, None, None), 0.1), plain)


def test_the_plain_loss_is_what_it_was() -> None:
    """Bit by bit: cross-entropy with the known labels, written down once more."""
    rng = stream(3, "plain")
    logits = torch.from_numpy(rng.normal(scale=5, size=(64, 3)).astype(np.float32))
    labels = torch.from_numpy(rng.choice([0.0, 1.0], size=(64, 3)).astype(np.float32))
    weights = torch.tensor([1.0, 2.0, 3.0])
    each = F.binary_cross_entropy_with_logits(logits, labels * 0.9 + 0.05, pos_weight=weights, reduction="none")
    assert findings_loss(logits, labels, weights, 0.1).item() == (each.sum() / each.numel()).item()


@pytest.mark.parametrize("logit", [-1e30, -1e4, -100.0, 100.0, 1e4, 1e30])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_loss_and_gradient_are_finite_at_any_logit(label: float, logit: float) -> None:
    logits = torch.full((1, 3), logit, requires_grad=True)
    known = correction(HALF, (0.999, 0.999), None)
    loss = corrected_loss(logits[:, :2], torch.full((1, 2), label), torch.tensor([1.0, 3.0]), correction(HALF, HALF))
    whole = corrected_loss(logits, torch.full((1, 3), label), torch.tensor([1.0, 3.0, 2.0]), known)
    torch.autograd.backward(whole)
    assert torch.isfinite(whole)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert loss < -4 * math.log(1 - HALF[1])  # a label that can be wrong refutes nothing: no film costs more than this


def test_an_unknown_label_is_what_it_is_said_to_be_or_nothing() -> None:
    unknown = torch.tensor([[torch.nan, torch.nan]])
    logits = torch.tensor([[0.4, 0.4]], requires_grad=True)
    assert corrected_loss(logits, unknown, torch.ones(2), correction(HALF, HALF)).item() == 0
    labels = np.array([[0.0, np.nan]], dtype=np.float32)  # nobody looked for the second
    rates = [Rates(sensitivity=HALF[0], specificity=HALF[1])] * 2
    soft = Correction.of(rates, 0.3, labels, CPU)
    torch.autograd.backward(corrected_loss(logits, unknown, torch.ones(2), soft))
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == [[True, False]]
    at_rest = torch.full((1, 2), math.log(0.3 / 0.7), requires_grad=True)
    torch.autograd.backward(corrected_loss(at_rest, unknown, torch.ones(2), soft))
    assert at_rest.grad is not None
    assert at_rest.grad.abs().max() < 1e-6


def test_rates_are_found_where_films_tell_and_named_where_they_do_not() -> None:
    rng = stream(4, "confident")
    truth = rng.random((4000, 4)) < 0.3
    right = np.array([[0.8, 0.7, 0.9, 0.5], [0.95, 0.9, 0.9, 0.5]])  # sensitivity, specificity
    labels = np.where(rng.random(truth.shape) < np.where(truth, right[0], right[1]), truth, ~truth).astype(np.float32)
    labels[:, 2] = 0
    labels[::7, 0] = np.nan
    scores = np.where(truth, 3, -3) + rng.normal(size=truth.shape)
    rates, unable = confident(labels, scores.astype(np.float32), ("One", "Other", "Never", "Chance"))
    for found, sensitivity, specificity in zip(rates[:2], *right[:, :2], strict=True):
        assert found is not None
        assert found.sensitivity == pytest.approx(sensitivity, abs=0.05)
        assert found.specificity == pytest.approx(specificity, abs=0.05)
    assert rates[2] is None
    assert unable["Never"] == "no film is labelled with it"
    assert (rates[3] is None) == ("Chance" in unable)


def test_parts_are_as_large_as_can_be_and_of_the_seed() -> None:
    part = folds(101, 2, 1)
    assert np.bincount(part).tolist() == [51, 50]
    assert (part == folds(101, 2, 1)).all()
    assert (part != folds(101, 2, 2)).any()


# Rates of each site's own ---------------------------------------------------------------------------------------------


def test_films_of_a_site_are_allowed_its_own_rates_and_others_what_is_given_of_all() -> None:
    own = Rates(sensitivity=0.6, specificity=0.9)
    found = BySite(correction(HALF, None), ["b", "a", "b"], {"a": own}, learnt=False)
    assert not list(found.parameters())
    at = found.at(torch.tensor([1, 2]))
    torch.testing.assert_close(at.sensitivity, torch.tensor([[0.6, 0.6], [HALF[0], 1.0]]))
    torch.testing.assert_close(at.specificity, torch.tensor([[0.9, 0.9], [HALF[1], 1.0]]))
    assert found.told(("One", "Other"))["a"]["Other"] == pytest.approx(own.model_dump())


def test_by_how_much_sites_differ_is_learnt_along_with_what_films_show() -> None:
    """Of one number per film; a site that misses half shows more of the findings, so that its films look healthier."""
    rng = stream(5, "by site")
    site = rng.integers(3, size=30_000)
    shown = rng.normal(size=len(site)) + np.array([1.0, 0.0, 0.0])[site]
    truth = rng.random(len(shown)) < 1 / (1 + np.exp(1 - 3 * shown))
    true = np.array([[0.5, 0.95, 0.95], [0.95, 0.75, 0.95]])  # sensitivity, specificity
    labels = np.where(rng.random(len(shown)) < np.where(truth, true[0, site], true[1, site]), truth, ~truth)
    films = torch.from_numpy(np.column_stack([shown, np.eye(3)[site]]).astype(np.float32))
    told = torch.from_numpy(labels.astype(np.float32))[:, None]
    every, names = torch.arange(len(site)), [f"site-{number}" for number in site]

    def taught(known: Correction | BySite) -> torch.nn.Linear:
        line = torch.nn.Linear(4, 1)
        torch.nn.init.zeros_(line.weight)
        learning = [*line.parameters(), *(known.parameters() if isinstance(known, BySite) else ())]
        optimiser = torch.optim.Adam(learning, lr=0.02)
        for _ in range(300):
            optimiser.zero_grad()
            torch.autograd.backward(corrected_loss(line(films), told, torch.ones(1), known.at(every)))
            optimiser.step()
        return line

    around = float(true[0].mean()), float(true[1].mean())
    own = BySite(correction(around), names, {}, learnt=True)
    line, misled = taught(own), taught(correction(around))
    sensitivity, specificity = own().detach().numpy()[:, :, 0]
    assert sensitivity[0] < sensitivity[1:].min() - 0.2
    assert specificity[1] < specificity[[0, 2]].min() - 0.1

    def by_site(line: torch.nn.Linear) -> float:
        """How much being of a site counts, beside what a film shows."""
        weights = line.weight.detach().numpy()[0]
        return float(np.ptp(weights[1:]) / weights[0])

    assert by_site(line) < by_site(misled) / 2


@settings(max_examples=50)
@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6), st.floats(0.02, 0.99), st.floats(0.02, 0.99))
def test_no_sites_labels_are_ever_taken_for_the_opposite(apart: list[float], sensitivity: float, share: float) -> None:
    specificity = 1 - sensitivity * share * 0.999  # whatever may be given
    true, false = (torch.tensor([rate, 1.0]) for rate in (sensitivity, specificity))
    every = Correction(true, false, torch.full((2,), torch.nan))
    found = BySite(every, ["a", "b", "c"], {}, learnt=True)
    assert found.apart is not None
    torch.testing.assert_close(found()[:, 0, 0], torch.tensor([sensitivity, specificity]), atol=2e-3, rtol=0)
    with torch.no_grad():
        found.apart[:, :, 0] = torch.tensor(apart).view(2, 3)
        found.apart[:, :, 1] = torch.tensor(apart).view(2, 3)
    rates = found()
    assert (rates[:, :, 0].sum(0) >= 1 - 1e-6).all()
    assert (rates[:, :, 1] == 1).all()  # where labels are taken for right, they are
    labels = torch.tensor([[1.0, torch.nan], [0.0, 1.0], [torch.nan, 0.0]])
    loss = corrected_loss(torch.zeros(3, 2), labels, torch.ones(2), found.at(torch.arange(3)))
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert found.apart.grad is not None
    assert torch.isfinite(found.apart.grad).all()
