"""How well outlines agree: as MONAI measures it, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedcxr.errors import DataError
from fedcxr.metrics.surfaces import AREAS, DISTANCES, agreement, outline


def masks(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (12, 12)) -> np.ndarray:  # (n, h, w)
    """A film for each box: rows from and to, columns from and to."""
    drawn = np.zeros((len(boxes), *size), dtype=np.bool_)
    for film, (top, bottom, left, right) in enumerate(boxes):
        drawn[film, top:bottom, left:right] = True
    return drawn


def hand_made() -> tuple[np.ndarray, np.ndarray]:
    """What is apart, inside one another, the same, at the film's edge, all of it, and one pixel far away."""
    found = [(1, 3, 1, 3), (4, 8, 4, 8), (2, 9, 3, 7), (0, 12, 0, 4), (0, 12, 0, 12), (5, 6, 5, 6)]
    true = [(8, 11, 6, 11), (2, 10, 3, 11), (2, 9, 3, 7), (3, 12, 0, 5), (2, 7, 2, 7), (0, 1, 11, 12)]
    return masks(*found), masks(*true)


def at_random() -> tuple[np.ndarray, np.ndarray]:
    """Specks of every density, on films that are not square."""
    rng = np.random.default_rng(0)
    shares = rng.uniform(0.02, 0.98, (2, 40, 1, 1))
    found, true = rng.random((2, 40, 17, 23)) < shares
    return found, true


@pytest.mark.slow  # MONAI takes seconds to import
@pytest.mark.filterwarnings("ignore:monai:FutureWarning")  # of its own functions, which call one another
def test_figures_are_monais() -> None:
    metrics = pytest.importorskip("monai.metrics", reason="the extra `seg` is not installed")
    from monai.metrics.utils import get_edge_surface_distance

    for found, true in (hand_made(), at_random()):
        ours = agreement(found, true)
        f, t = (torch.from_numpy(m).unsqueeze(1).float() for m in (found, true))
        rates = {"false_negatives": "fnr", "false_positives": "fpr"}
        confusion = metrics.get_confusion_matrix(f, t)
        theirs = {
            "dice": metrics.compute_dice(f, t),
            "jaccard": metrics.compute_iou(f, t),
            **{name: metrics.compute_confusion_matrix_metric(rate, confusion) for name, rate in rates.items()},
            "surface_mean": metrics.compute_average_surface_distance(f, t, include_background=True, symmetric=True),
            "hausdorff": metrics.compute_hausdorff_distance(f, t, include_background=True),
            "hausdorff_95": metrics.compute_hausdorff_distance(f, t, include_background=True, percentile=95),
        }
        both_ways = [get_edge_surface_distance(a[0], b[0], symmetric=True)[1] for a, b in zip(f, t, strict=True)]
        theirs["surface_std"] = torch.stack([torch.cat(list(ways)).std(correction=0) for ways in both_ways])
        assert theirs.keys() == ours.keys()
        for name, values in theirs.items():
            np.testing.assert_allclose(ours[name], values.numpy().ravel(), atol=2e-6, err_msg=name)


def test_a_square_moved_by_one_by_hand() -> None:
    """3 x 3 and the same one column on: 6 of 9 pixels in common; of 8 pixels of each outline 4 lie 1 away, 4 on it."""
    told = agreement(masks((2, 5, 2, 5)), masks((2, 5, 3, 6)))
    expected = {"dice": 12 / 18, "jaccard": 6 / 12, "false_negatives": 3 / 9, "false_positives": 3 / (144 - 9)}
    assert {name: told[name][0] for name in AREAS} == pytest.approx(expected)
    ways = np.array([1, 1, 1, 0, 0, 0, 0, 1] * 2)  # one column is outside the other square, a pixel is inside its ring
    expected = {"surface_mean": ways.mean(), "surface_std": ways.std(), "hausdorff": 1.0, "hausdorff_95": 1.0}
    assert {name: told[name][0] for name in DISTANCES} == pytest.approx(expected)


def test_an_outline_is_what_touches_what_is_outside_or_the_films_edge() -> None:
    assert len(outline(masks((2, 5, 2, 5))[0])) == 8
    assert len(outline(np.ones((4, 4), dtype=np.bool_))) == 12


def test_what_is_empty_has_no_figure_rather_than_a_good_one() -> None:
    nothing, something = masks((0, 0, 0, 0)), masks((2, 5, 2, 5))
    assert all(np.isnan(values).all() for values in agreement(something, nothing).values())
    assert all(np.isnan(values).all() for values in agreement(nothing, nothing).values())
    told = {name: values[0] for name, values in agreement(nothing, something).items()}
    assert [told[name] for name in AREAS] == [0.0, 0.0, 1.0, 0.0]
    assert np.isnan([told[name] for name in DISTANCES]).all()


def test_masks_of_other_sizes_are_not_compared() -> None:
    with pytest.raises(DataError, match=r"masks of the same shape; given: \(1, 12, 12\) and \(1, 8, 8\)"):
        agreement(masks((0, 1, 0, 1)), masks((0, 1, 0, 1), size=(8, 8)))
