"""A cohort behind a DataLoader, in this process and in others, and the pixel range of torchxrayvision."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from fedcxr.cohort import Cohort
from fedcxr.errors import DataError
from fedcxr.training.torch_view import FilmDataset, from_xrv, to_xrv

MakeCohort = Callable[..., Cohort]


@pytest.fixture
def mapped(make_cohort: MakeCohort, tmp_path: Path) -> Cohort:
    cohort = make_cohort()
    np.save(tmp_path / "films.npy", cohort.films())
    return Cohort.whole(np.load(tmp_path / "films.npy", mmap_mode="r"), cohort.index)


def test_items_are_films_and_labels(make_cohort: MakeCohort) -> None:
    cohort = make_cohort().take([5, 2, 40])
    films = FilmDataset(cohort)
    film, labels = films[1]
    assert len(films) == 3
    assert film.shape == (1, 16, 16)
    assert film.dtype == labels.dtype == torch.float32
    assert (film[0].numpy() == (cohort.films([1])[0] / np.float32(255))).all()
    assert (labels.numpy() == cohort.labels[1]).all()
    assert (films[-1][0] == films[2][0]).all()
    with pytest.raises(IndexError):
        films[3]
    assert len(list(films)) == 3  # type: ignore[call-overload]  # iteration ends


def test_a_transform_sees_the_film_alone(make_cohort: MakeCohort) -> None:
    film, _ = FilmDataset(make_cohort(), to_xrv)[0]
    assert -1024 <= film.min() < 0 < film.max() <= 1024


def test_a_worker_is_sent_where_the_pixels_are(mapped: Cohort) -> None:
    films = FilmDataset(mapped.take([3, 1]), to_xrv)
    sent = pickle.dumps(films)
    assert len(sent) < 8000  # 60 films of 256 bytes, and more
    assert mapped.films([3]).tobytes() not in sent
    received = pickle.loads(sent)
    assert isinstance(received.cohort.pixels, np.memmap)
    for mine, theirs in zip(films, received, strict=True):  # type: ignore[call-overload]
        assert (mine[0] == theirs[0]).all()
        assert (mine[1] == theirs[1]).all()


@pytest.mark.parametrize("part", [slice(10, None), (slice(None), slice(0, 8)), (slice(None), slice(8, None))])
def test_a_part_of_a_map_is_sent_itself(mapped: Cohort, part: slice) -> None:
    """A view does not know where in the file it begins: its films must not become others'."""
    assert isinstance(mapped.pixels, np.memmap)
    pixels = mapped.pixels[part]
    films = FilmDataset(Cohort.whole(pixels, mapped.index.iloc[: len(pixels)]))
    received = pickle.loads(pickle.dumps(films))
    assert (received[0][0] == films[0][0]).all()
    assert (received[0][0][0].numpy() * 255 == pixels[0]).all()


def test_worker_processes_give_the_same_batches(mapped: Cohort) -> None:
    films = FilmDataset(mapped)
    here = [batch[0] for batch in DataLoader(films, batch_size=25)]
    there = [batch[0] for batch in DataLoader(films, batch_size=25, num_workers=1, multiprocessing_context="fork")]
    assert all((a == b).all() for a, b in zip(here, there, strict=True))


def test_xrv_and_back_is_exact_for_every_grey() -> None:
    films = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    images = to_xrv(films)
    assert images.dtype == torch.float32
    assert (images.min().item(), images.max().item()) == (-1024, 1024)
    assert (from_xrv(images) == films).all()
    assert (from_xrv(to_xrv(films.float() / 255)) == films).all()
    # torchxrayvision.datasets.normalize(films, 255), as published
    theirs = (2 * (films.numpy().astype(np.float32) / 255.0) - 1.0) * 1024
    assert (images.numpy() == theirs).all()


@pytest.mark.parametrize("wrong", [[300.0], [-0.1], [float("nan")]])
def test_other_ranges_are_refused(wrong: list[float]) -> None:
    with pytest.raises(DataError, match="allowed"):
        to_xrv(torch.tensor(wrong))
    with pytest.raises(DataError, match="allowed"):
        from_xrv(torch.tensor(wrong) * 20_000)
