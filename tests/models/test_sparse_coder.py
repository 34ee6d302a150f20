"""The coder gives films back: exactly if it keeps everything, at any size, and well if it keeps little."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.data.phantom import Phantom
from fedcxr.metrics.similarity import similarity
from fedcxr.models.sparse_coder import (
    BOUND,
    LARGEST,
    PER_MAP,
    SparseCoder,
    from_steps,
    lapped_dct,
    sparse_coder,
    to_steps,
)
from fedcxr.rng import stream


@pytest.fixture(scope="module")
def films() -> torch.Tensor:
    random = stream(1, "films").random((2, 1, 72, 70), dtype=np.float32)
    return torch.from_numpy(random)


@pytest.mark.parametrize("size", [(8, 8), (45, 70), (64, 64), (3, 17), (1, 1)])
def test_all_numbers_of_a_cell_give_the_film_back_to_its_very_edge(films: torch.Tensor, size: tuple[int, int]) -> None:
    small, coder = films[:, :, : size[0], : size[1]], SparseCoder()
    with torch.no_grad():
        numbers = coder._analyse(small - 0.5, 0)
        assert numbers.shape == (2, PER_MAP, -(-size[0] // 8), -(-size[1] // 8))
        torch.testing.assert_close(coder.decode(numbers, size), small, atol=1e-5, rtol=0)


def test_atoms_have_one_size_so_that_the_largest_numbers_matter_most() -> None:
    synthesis = lapped_dct()[1]
    np.testing.assert_allclose(np.linalg.norm(synthesis.reshape(PER_MAP, -1), axis=1), 1.0, rtol=1e-12)


def test_no_cell_has_a_border(films: torch.Tensor) -> None:
    """An atom's outermost pixels are small against its middle: a block's would be as large as any."""
    synthesis = lapped_dct()[1][:, 0]
    lowest = np.abs(synthesis[0])
    assert lowest[0].max() < 0.15 * lowest.max()


@pytest.mark.parametrize("s", [1, 8, 64])
@pytest.mark.parametrize("maps", [1, 2])
@pytest.mark.parametrize("together", [1, 2, 4])
def test_a_cell_holds_exactly_s_numbers_of_eight_bits(films: torch.Tensor, s: int, maps: int, together: int) -> None:
    """Or a square of cells s for each; of 9 x 9 cells the last square has fewer. On grey films all numbers tie."""
    coder = SparseCoder(maps)
    for shown in (films, torch.zeros_like(films), torch.full_like(films, 0.5), torch.ones_like(films)):
        codes = coder.encode(shown, s, together)
        assert codes.dtype == torch.int8
        assert codes.min() >= -LARGEST
        kept = (codes != 0).reshape(2, maps, PER_MAP, 9, 9)
        for i, j in product(range(0, 9, together), range(0, 9, together)):
            square = kept[..., i : i + together, j : j + together]
            assert (square.sum((2, 3, 4)) == s * square[0, 0, 0].numel()).all()


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 75),
    columns=st.integers(1, 75),
    s=st.integers(1, 32),
    together=st.sampled_from([1, 2, 3, 4, 8]),
    seed=st.integers(0),
)
def test_what_is_kept_of_a_square_is_its_largest(rows: int, columns: int, s: int, together: int, seed: int) -> None:
    film = torch.from_numpy(stream(seed, "film").random((1, 1, rows, columns), dtype=np.float32))
    coder = SparseCoder()
    with torch.no_grad():
        numbers, codes = coder._analyse(film - 0.5, 0), coder.encode(film, s, together)
    for i, j in product(range(0, numbers.shape[2], together), range(0, numbers.shape[3], together)):
        square = np.s_[0, :, i : i + together, j : j + together]
        one, code = numbers[square], codes[square]
        least = one.abs().flatten().sort().values[-s * one[0].numel()]
        torch.testing.assert_close(code.float(), torch.where(one.abs() >= least, to_steps(one), 0.0))


def test_sharing_shows_films_better_in_as_many_numbers(phantoms: np.ndarray) -> None:
    coder = SparseCoder()
    films = torch.from_numpy(phantoms[:, None]).float() / 255
    with torch.inference_mode():
        errors = [(coder(films, 8, together) - films).square().mean((1, 2, 3)).log10().mean() for together in (1, 2, 4)]
    assert errors[0] > errors[1] + 0.02 > errors[2] + 0.04


def test_the_whitest_film_fits_into_eight_bits() -> None:
    coder = SparseCoder()
    numbers = coder._analyse(torch.full((1, 1, 32, 32), 0.5), 0)
    assert 0.6 * BOUND < numbers.abs().max() < BOUND


def test_steps_come_back_as_the_nearest_number() -> None:
    steps = torch.cat([torch.arange(-LARGEST, 0), torch.arange(1, LARGEST + 1)]).float()
    torch.testing.assert_close(to_steps(from_steps(steps)), steps)
    assert from_steps(torch.zeros(1)) == 0
    assert to_steps(torch.tensor([1e-9, -1e-9, 0.0, 99.0])).tolist() == [1, -1, 1, LARGEST]


@pytest.mark.parametrize(("s", "decibels", "alike"), [(4, 30.5, 0.70), (8, 33.5, 0.83), (16, 36.5, 0.91)])
def test_untrained_it_shows_phantoms_well(s: int, decibels: float, alike: float, phantoms: np.ndarray) -> None:
    coder = SparseCoder()
    with torch.inference_mode():
        codes = coder.encode(torch.from_numpy(phantoms[:, None]).float() / 255, s)
        shown = coder.decode(coder.expand(codes), (256, 256)).clamp(0, 1)[:, 0]
    figures = similarity(phantoms, (shown * 255).round().to(torch.uint8).numpy())
    assert figures["psnr"].mean() > decibels
    assert figures["ssim"].mean() > alike


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return Phantom(patients=3, size=256).open(tmp_path_factory.mktemp("films")).films()[:6]


def test_a_second_map_codes_what_the_first_left_over(films: torch.Tensor) -> None:
    with torch.no_grad():
        errors = [(SparseCoder(maps)(films, 4) - films).square().mean() for maps in (1, 2, 3)]
    assert errors[0] > 1.05 * errors[1] > 1.05**2 * errors[2]


def test_a_coder_to_be_trained_starts_as_the_untrained_one(films: torch.Tensor) -> None:
    ready = sparse_coder(1, 16, 1, stream(1, "coder"))
    with torch.no_grad():
        whole = films[..., :64, :64]  # whole cells: nothing is made up beyond the edge
        difference = (ready(whole, 8) - SparseCoder()(whole, 8)).abs()
    assert (difference > 1e-4).float().mean() < 0.01  # two numbers of one size may change places


@pytest.mark.parametrize("together", [1, 4])
def test_gradients_reach_all_that_is_trained_and_are_numbers(films: torch.Tensor, together: int) -> None:
    ready = sparse_coder(2, 16, 1, stream(1, "coder"))
    torch.nn.init.constant_(ready.refinement.last.weight, 0.01)  # type: ignore[union-attr]
    (ready(films, 8, together) - films).square().mean().backward()
    for name, parameter in ready.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_half_precision_shows_nearly_the_same(films: torch.Tensor) -> None:
    coder = SparseCoder()
    with torch.no_grad():
        whole = coder(films, 16)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = coder(films, 16)
    assert (whole - half).abs().mean() < 0.02
