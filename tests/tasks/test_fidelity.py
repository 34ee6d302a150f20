"""Fidelity against scikit-image where it is installed, against hand-made cases, and against scikit-learn."""

from __future__ import annotations

import json
from typing import Any

import evidences
import numpy as np
import pytest
from sklearn.metrics import r2_score

from fedcxr import plugins
from fedcxr.errors import DataError
from fedcxr.metrics.similarity import joint_histogram, similarity, ssim
from fedcxr.tasks import Bench, Evidence
from fedcxr.tasks.fidelity import Fidelity
from fedcxr.training.compute import Compute
from fedcxr.view import View


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(3, 40, 53)), axis=1), axis=2)
    films = np.clip(128 + 4 * smooth, 0, 255).astype(np.uint8)
    return films, np.clip(films + rng.normal(3, 12, films.shape), 0, 255).astype(np.uint8)


def test_figures_are_scikit_images(pair: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    films, others = pair
    figures = similarity(films, others)
    settings = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for row, (film, other) in enumerate(zip(films, others, strict=True)):
        assert figures["ssim"][row] == pytest.approx(metrics.structural_similarity(film, other, **settings), abs=1e-12)
        assert figures["psnr"][row] == pytest.approx(metrics.peak_signal_noise_ratio(film, other, data_range=255))
        assert figures["rmse"][row] == pytest.approx(metrics.mean_squared_error(film, other) ** 0.5)


# What scikit-image 0.26 says of these films, for machines without it.
SKIMAGE_SSIM = [0.5184403310452135, 0.8532248723940897, 0.5832626266102495]


def test_figures_are_those_that_scikit_image_gave(pair: tuple[np.ndarray, np.ndarray]) -> None:
    films, others = pair
    np.testing.assert_allclose(ssim(films, others), SKIMAGE_SSIM, atol=1e-9)


def test_r2_is_scikit_learns(pair: tuple[np.ndarray, np.ndarray]) -> None:
    films, others = pair
    expected = [r2_score(film.ravel(), other.ravel()) for film, other in zip(films, others, strict=True)]
    np.testing.assert_allclose(similarity(films, others)["r2"], expected)


def test_three_pixels_by_hand() -> None:
    figures = similarity(np.array([[[10, 20, 30]]], dtype=np.uint8), np.array([[[13, 20, 24]]], dtype=np.uint8))
    assert figures["mae"][0] == 3
    assert figures["me"][0] == -1
    assert figures["rmse"][0] == pytest.approx(15**0.5)
    assert figures["psnr"][0] == pytest.approx(10 * np.log10(255**2 / 15))
    assert figures["r2"][0] == pytest.approx(1 - 15 / (200 / 3))
    assert np.isnan(figures["ssim"][0])  # smaller than its window


def test_the_joint_histogram_counts_every_pixel_once() -> None:
    films = np.array([[[0, 255, 128, 127]]], dtype=np.uint8)
    others = np.array([[[255, 255, 0, 0]]], dtype=np.uint8)
    np.testing.assert_array_equal(joint_histogram(films, others, 2), [[1, 1], [1, 1]])
    assert joint_histogram(films, others, 256)[128, 0] == 1


def evidence(clean: np.ndarray, released: np.ndarray, split: list[int], **changes: Any) -> Evidence:
    return evidences.evidence(clean, released, np.zeros((len(clean), 1), np.float32), split, **changes)


def measure(some: Evidence) -> dict[str, Any]:
    return Fidelity().measure(some, Bench(1, Compute.choose("cpu")))


def test_only_the_test_split_counts(pair: tuple[np.ndarray, np.ndarray]) -> None:
    films, others = pair
    told = measure(evidence(films, others, [0, 2, 2]))
    figures = similarity(films[1:], others[1:])
    for name, values in figures.items():
        assert told[name] == {"value": pytest.approx(values.mean()), "std": pytest.approx(values.std())}
    assert told["films"] == 2
    assert np.sum(told["joint_histogram"]) == films[1:].size
    json.dumps(told, allow_nan=False)


def test_films_that_come_back_exactly_have_no_psnr_and_no_error(pair: tuple[np.ndarray, np.ndarray]) -> None:
    told = measure(evidence(pair[0], pair[0], [2, 2, 2]))
    assert told["psnr"] == {"value": None, "std": None}
    assert told["exact"] == 3
    assert told["ssim"] == {"value": pytest.approx(1.0), "std": pytest.approx(0.0)}
    json.dumps(told, allow_nan=False)


def test_without_a_test_split_there_is_nothing_to_measure(pair: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(DataError, match="test split"):
        measure(evidence(*pair, [0, 0, 1]))


def test_films_are_compared_with_those_they_were_made_of(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """In another order, twice, or of nobody at all: such a row has nothing to be compared with."""
    films, others = pair
    origin = np.array([2, -1, 2])
    told = measure(evidence(films, others, [2, 2, 2], origin=origin))
    figures = similarity(films[[2, 2]], others[[0, 2]])
    assert told["mae"] == {"value": pytest.approx(figures["mae"].mean()), "std": pytest.approx(figures["mae"].std())}
    assert told["films"] == 2
    assert not Fidelity().applies(evidence(films, others, [2, 2, 2], origin=np.full(3, -1)))
    assert Fidelity().applies(evidence(films, others, [2, 2, 2], origin=origin))


def test_what_is_closed_is_compared_as_it_looks_without_a_key(pair: tuple[np.ndarray, np.ndarray]) -> None:
    films, others = pair
    opened = np.array([True, False, False])
    view = View({"films": np.where(opened[:, None, None], films, 0).astype(np.uint8)}, opened, np.zeros(3, np.int64))
    told = measure(evidence(films, others, [2, 2, 2], view=view, unauthorised=others))
    assert (told["films"], told["exact"]) == (1, 1)
    assert told["unauthorised"]["films"] == 3
    assert told["unauthorised"]["mae"]["value"] == pytest.approx(similarity(films, others)["mae"].mean())


def test_it_is_known_by_its_name() -> None:
    assert isinstance(plugins.build("task", {"name": "fidelity", "bins": 8}), Fidelity)
