"""Heads that learn where things are: what cells are told, that they move with films, and what learns from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from fedcxr.cohort import BOXES, Annotations, Cohort
from fedcxr.models.backbone import Design
from fedcxr.models.classifier import Classifier, classifier
from fedcxr.models.narrow import Stride
from fedcxr.rng import stream
from fedcxr.tasks._references import _digest as digest
from fedcxr.training import moved, offsets, predict, to_device
from fedcxr.training.classifier import Recipe, teach
from fedcxr.training.compute import Compute
from fedcxr.training.places import OF_FINDINGS, OF_ORGANS, SHOWN, Places, places_loss

FP32 = Compute.choose("cpu", "fp32")
FINDINGS = ("Mass", "Edema")
STILL = np.zeros((2, 4), dtype=np.int64)
EVERY = np.arange(4)
MakeCohort = Callable[..., Cohort]
Boxes = Sequence[tuple[int, str, float, float, float, float]]


def boxed(cohort: Cohort, boxes: Boxes) -> Cohort:
    return replace(cohort, annotations=Annotations({}, pd.DataFrame(boxes, columns=list(BOXES))))


def places(cohort: Cohort, labels: list[list[float]]) -> Places:
    return Places.of(cohort, np.array(labels, dtype=np.float32), FINDINGS, ["boxes"])


def test_a_cell_has_a_finding_that_a_box_reaches_into(make_cohort: MakeCohort) -> None:
    """By hand: with and without boxes, absent, unknown, in two boxes, denied by the label, over the film's edge."""
    boxes = [(0, "Mass", 7.5, 0, 1, 8), (1, "Edema", 0, 0, 1, 1), (1, "Edema", 12, 12, 9, 9), (3, "Mass", 0, 0, 4, 4)]
    told = places(boxed(make_cohort((1,) * 4), boxes), [[1, 0], [1, 1], [np.nan, 0], [0, 1]])
    cells = told.cells(EVERY, STILL, (2, 2)).numpy()
    unknown, nowhere = [[np.nan] * 2] * 2, [[0, 0], [0, 0]]
    expected = [[[[1, 1], [0, 0]], nowhere], [unknown, [[1, 0], [0, 1]]], [unknown, nowhere], [nowhere, unknown]]
    np.testing.assert_array_equal(cells, np.array(expected, dtype=np.float32))
    assert told.known == ("boxes",)


def test_a_cell_tells_which_share_of_it_is_organ(make_cohort: MakeCohort, annotated: Callable[..., Cohort]) -> None:
    """Of those films that have a mask; of sides that are no multiple of 8 as well. Other sites' films have none."""
    cohort = annotated(make_cohort((1,) * 4, size=20), organs=["heart"])
    told = Places.of(cohort, cohort.labels, cohort.findings, ["lungs", "heart"])
    cells = told.cells(EVERY, STILL, (3, 3))
    assert cells.shape == (4, 2, 3, 3)
    assert cells[:, 0].isnan().all()
    drawn = cohort.masked("heart")
    assert torch.equal(~cells[:, 1].isnan().flatten(1).any(1), torch.from_numpy(drawn))
    mask = cohort.mask("heart", np.flatnonzero(drawn))
    assert cells[drawn, 1, 0, 0].numpy() == pytest.approx(mask[:, :7, :7].mean((1, 2)))
    assert told.known == ("heart",)
    alone = Places.of(make_cohort((1,) * 4), cohort.labels, cohort.findings, ["lungs", "heart", "boxes"])
    assert alone.known == ()
    assert alone.cells(EVERY, STILL, (2, 2)).isnan().all()


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 23), st.integers(0, 23), st.integers(1, 24), st.integers(1, 24)),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 5),
    st.integers(0, 99),
)
def test_boxes_move_with_the_film(boxes: list[tuple[int, int, int, int, int]], pixels: int, seed: int) -> None:
    """A film that is bright where its boxes are is moved as films are in training: its bright cells are those told."""
    rng = stream(seed, "films")
    films = np.zeros((4, 24, 24), dtype=np.uint8)
    for film, x, y, w, h in boxes:
        films[film, y : y + h, x : x + w] = 255
    cohort = boxed(_of(films), [(film, "Mass", x, y, w, h) for film, x, y, w, h in boxes])
    rows = rng.permutation(4)
    by = offsets(4, pixels, rng)
    shown = torch.from_numpy(moved(films[rows], by)).float()[:, None]
    boxes_on = torch.from_numpy(films[rows].any((1, 2)))
    cells = places(cohort, [[1, 0]] * 4).cells(rows, by, (3, 3))[:, :1]
    assert torch.equal(cells[boxes_on], (F.adaptive_max_pool2d(shown, (3, 3)) > 0).float()[boxes_on])


def _of(films: npt.NDArray[np.uint8]) -> Cohort:
    from fedcxr.cohort import COLUMNS

    index = pd.DataFrame({column: [""] * len(films) for column in COLUMNS})
    return Cohort.whole(films, index, ())


def test_what_is_unknown_teaches_nothing_and_what_is_known_counts_as_it_weighs() -> None:
    said = stream(1).normal(size=(2, 3, 2, 2))
    logits = torch.tensor(said, requires_grad=True)
    cells = torch.full((2, 3, 2, 2), torch.nan)
    assert places_loss(logits, cells, organs=1).item() == 0
    cells[0, 0, 0, 0], cells[1, 2, 0, 1], cells[1, 1, 1, 1] = 0.25, 1.0, 0.0
    loss = places_loss(logits, cells, organs=1)

    def surprise(x: float, target: float, shown: float = 1.0) -> float:
        p = 1 / (1 + np.exp(-x))
        return float(-shown * target * np.log(p) - (1 - target) * np.log(1 - p))

    of_findings = (surprise(said[1, 2, 0, 1], 1, SHOWN) + surprise(said[1, 1, 1, 1], 0)) / 2
    assert loss.item() == pytest.approx(OF_ORGANS * surprise(said[0, 0, 0, 0], 0.25) + OF_FINDINGS * of_findings)
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad != 0, ~cells.isnan())


# --- learning -----------------------------------------------------------------------------------------------------


def squares(films: int = 96) -> tuple[Cohort, npt.NDArray[np.float32]]:
    """Films with one bright square anywhere, in a box, if they have the finding."""
    rng = stream(1, "squares")
    pixels = rng.integers(0, 100, size=(films, 32, 32), dtype=np.uint8)
    labels = (np.arange(films)[:, None] % 2 == np.arange(2)).astype(np.float32)
    boxes: list[tuple[int, str, float, float, float, float]] = []
    for film, x, y in zip(range(films), *rng.integers(0, 24, (2, films)), strict=True):
        if labels[film, 0]:
            pixels[film, y : y + 8, x : x + 8] += 120
            boxes.append((film, "Mass", x, y, 8, 8))
    return boxed(_of(pixels), boxes), labels


def network(places: int, stride: Stride = 2) -> Classifier:
    return to_device(classifier(Design(width=4, stride=stride), 2, stream(1, "weights"), places=places), FP32)


def without_heads(network: Classifier) -> dict[str, torch.Tensor]:
    return {name: array for name, array in network.state_dict().items() if not name.startswith("places")}


@pytest.mark.parametrize("stride", [2, 4])
def test_heads_learn_where_things_are_and_nobody_hears_of_it(stride: Stride) -> None:
    cohort, labels = squares()
    told = places(cohort, labels.tolist())
    learnt = network(2, stride)
    losses = []
    for steps in (0, 30):
        teach(learnt, cohort.films(), labels, Recipe(steps, 32, 1e-2), stream(2), FP32, places=told)
        with torch.no_grad():
            films = torch.from_numpy(cohort.films())[:, None].float() / 255
            said = learnt.read_with_places(films)
        losses.append(told.loss(said[1], np.arange(len(cohort)), np.zeros((2, len(cohort)), dtype=np.int64)).item())
        torch.testing.assert_close(said[0], torch.from_numpy(predict(learnt, cohort.films(), FP32)))
    assert said[1].shape == (96, 2, 4, 4)
    assert losses[1] < 0.5 * losses[0]
    before = predict(learnt, cohort.films(), FP32)
    assert learnt.places is not None
    learnt.places.weight.data.fill_(torch.nan)
    np.testing.assert_array_equal(predict(learnt, cohort.films(), FP32), before)


def test_a_network_begins_and_learns_as_without_heads_where_there_is_nothing_for_them() -> None:
    """To the last bit; and with places that are all unknown, for what is drawn in training is the same as well."""
    cohort, labels = squares()
    nothing = Places.of(_of(cohort.films()), labels, FINDINGS, ["lungs", "boxes"])
    plain, headed, told_nothing = network(0), network(3), network(3)
    for name, array in without_heads(headed).items():
        assert torch.equal(array, plain.state_dict()[name])
    heads = headed.state_dict()["places.weight"].clone()
    for one, known in ((plain, None), (headed, None), (told_nothing, nothing)):
        teach(one, cohort.films(), labels, Recipe(4, 32), stream(2), FP32, places=known)
    for name, array in plain.state_dict().items():
        assert torch.equal(array, headed.state_dict()[name])
        torch.testing.assert_close(array, told_nothing.state_dict()[name])
    assert torch.equal(headed.state_dict()["places.weight"], heads)


def test_what_is_kept_was_learnt_from_the_same_masks_and_boxes(
    make_cohort: MakeCohort, annotated: Callable[..., Cohort]
) -> None:
    """What somebody learnt in the same way from the same films stands for it only if the same was drawn on them."""
    plain, organs = make_cohort(), ["lungs"]
    one, same, other = (annotated(plain, organs, seed) for seed in (1, 1, 2))
    for annotation in ("lungs", "boxes"):
        assert digest(one, annotation) == digest(same, annotation) != digest(other, annotation)
        assert digest(plain, annotation) is None
