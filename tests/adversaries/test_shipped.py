"""The verifier that comes with the package tells phantoms apart, on films of any size; damaged weights are one line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from fedcxr.adversaries._shipped import SHIPPED, Verifier, shipped
from fedcxr.data.phantom import Phantom
from fedcxr.data.phantom.render import render
from fedcxr.errors import ConfigError
from fedcxr.metrics import auc
from fedcxr.models.shipped import shipped_weights
from fedcxr.training.compute import Compute

REACHED = 0.9  # AUC on phantoms as they are, less a margin
CPU = Compute.choose("cpu", "fp32")


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return shipped(CPU)


@pytest.fixture(scope="module")
def phantoms() -> tuple[np.ndarray, np.ndarray]:
    """Films of people that were not trained on, and whose they are."""
    visits = Phantom(patients=30, size=80, seed=77, mean_visits=2)._visits()
    return render(77, visits, 80), visits.patient


def test_phantoms_it_has_not_seen_are_told_apart(verifier: Verifier, phantoms: tuple[np.ndarray, np.ndarray]) -> None:
    films, people = phantoms
    scores = verifier.scores(films, films)
    a, b = np.triu_indices(len(films), 1)
    assert auc(people[a] == people[b], scores[a, b]) > REACHED


def test_a_film_of_another_size_is_the_same_film(verifier: Verifier, phantoms: tuple[np.ndarray, np.ndarray]) -> None:
    films = phantoms[0][:6]
    larger = films.repeat(2, axis=1).repeat(2, axis=2)
    scores = verifier.scores(films, larger)
    assert (scores.argmax(1) == np.arange(6)).all()
    assert verifier.scores(films[:2], larger[:0]).shape == (2, 0)


def test_it_says_how_it_was_made(verifier: Verifier) -> None:
    assert "no real film" in verifier.made["seen"]
    assert verifier.made["size"] == verifier.size


def test_what_is_written_is_what_is_read(
    verifier: Verifier, phantoms: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    content = verifier.write(tmp_path / "own.safetensors")
    again = Verifier.load(CPU, tmp_path / "own.safetensors")
    films = phantoms[0][:4]
    assert content == shipped_weights(SHIPPED)
    assert again.made == verifier.made
    assert (again.scores(films, films) == verifier.scores(films, films)).all()


def _without_header(path: Path) -> None:
    safetensors.torch.save_file(safetensors.torch.load(shipped_weights(SHIPPED)), path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: None,
        lambda path: path.write_text("not weights"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(shipped_weights(SHIPPED)[:-1000]),
        lambda path: path.mkdir(),
        _without_header,
    ],
    ids=["absent", "text", "empty", "cut off", "a folder", "no header"],
)
def test_unusable_weights_are_one_line(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    path = tmp_path / "own.safetensors"
    spoil(path)
    with pytest.raises(ConfigError, match=r"own\.safetensors") as caught:
        Verifier.load(CPU, path)
    assert "\n" not in str(caught.value)


def test_shipped_weights_are_those_that_were_measured() -> None:
    """docs/results.md reports on these bytes, whatever they are wrapped in."""
    assert (
        hashlib.sha256(shipped_weights(SHIPPED)).hexdigest()
        == "f973e094fbd988285053e5db6fd18cc528b50845055197492f216943350fdc53"
    )


def test_shipped_weights_are_small() -> None:
    assert SHIPPED.stat().st_size < 5_400_000  # 4 MB as text
