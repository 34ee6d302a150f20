"""Codes as bytes: exactly there and back, always in the same length, and nothing else is read as one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.codes import (
    PER_MAP,
    Codes,
    Shape,
    entropy_bits,
    pack,
    pack_support,
    unpack,
    unpack_support,
    values_of,
)
from fedcxr.errors import DataError
from fedcxr.rng import stream

SHAPES = st.builds(
    Shape,
    st.integers(1, PER_MAP),
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([1, 2, 3, 4, 8]),
)


def code_of(shape: Shape, seed: int) -> Codes:
    rng = stream(seed, "code")
    size = (shape.maps, PER_MAP, shape.rows, shape.columns)
    code: npt.NDArray[np.int8] = (rng.integers(1, 128, size) * rng.choice([-1, 1], size)).astype(np.int8)
    for square in squares(code, shape):
        square[rng.permutation(square.size).reshape(square.shape) >= shape.s * square.size // PER_MAP] = 0
    return code.reshape(shape.code)


def squares(code: Codes, shape: Shape) -> Iterator[Codes]:
    """The cells that share their numbers, one square after another, to be written to."""
    split, t = code.reshape(shape.maps, PER_MAP, shape.rows, shape.columns), shape.together
    for number, i, j in product(range(shape.maps), range(0, shape.rows, t), range(0, shape.columns, t)):
        yield split[number, :, i : i + t, j : j + t]


@given(shape=SHAPES, seed=st.integers(0))
def test_there_and_back_in_a_known_length(shape: Shape, seed: int) -> None:
    code = code_of(shape, seed)
    packed = pack(code, shape)
    assert len(packed) == shape.support_bytes + shape.kept
    np.testing.assert_array_equal(unpack(packed, shape), code)


@pytest.mark.parametrize("s", [1, 8, 32, 64])
@pytest.mark.parametrize("last", [False, True])
def test_the_first_and_the_last_choice_of_channels(s: int, last: bool) -> None:
    shape = Shape(s, 1, 1, 1)
    support = np.zeros((PER_MAP, 1, 1), dtype=bool)
    support[PER_MAP - s if last else 0 :][:s] = True
    packed = pack_support(support, shape)
    number = int.from_bytes(packed, "big") >> (8 * len(packed) - shape.support_bits) if packed else 0
    assert number == (math.comb(64, s) - 1 if last else 0)
    np.testing.assert_array_equal(unpack_support(packed, shape), support)


@given(shape=SHAPES.filter(lambda shape: shape.s < PER_MAP and shape.rows > shape.together), seed=st.integers(0))
def test_a_number_may_not_go_to_another_square(shape: Shape, seed: int) -> None:
    code = code_of(shape, seed)
    giver, *_, taker = squares(code, shape)
    giver[tuple(np.argwhere(giver != 0)[0])] = 0
    taker[tuple(np.argwhere(taker == 0)[0])] = 1
    assert np.count_nonzero(code) == shape.kept
    with pytest.raises(DataError, match="same number of values"):
        pack(code, shape)


def test_what_is_no_code_is_refused() -> None:
    shape = Shape(8, 1, 2, 2)
    code = code_of(shape, 1)
    with pytest.raises(DataError, match="wrong length"):
        unpack(pack(code, shape)[:-1], shape)
    with pytest.raises(DataError, match="that there are not"):
        unpack_support(b"\xff" * shape.support_bytes, shape)
    code[:, 0, 0] = 1
    with pytest.raises(DataError, match="same number of values"):
        values_of(code, shape)
    with pytest.raises(DataError, match="another shape"):
        pack(code[:, :1], shape)


@given(shape=SHAPES.filter(lambda shape: shape.together > 1), seed=st.integers(0), data=st.data())
def test_a_damaged_support_is_refused_or_is_another_one(shape: Shape, seed: int, data: st.DataObject) -> None:
    bits = np.unpackbits(np.frombuffer(pack_support(code_of(shape, seed) != 0, shape), np.uint8))
    bits = bits[: shape.cells * shape.support_bits]
    bits[data.draw(st.lists(st.integers(0, len(bits) - 1), min_size=1, max_size=4, unique=True))] ^= 1
    packed = np.packbits(bits).tobytes()
    try:
        support = unpack_support(packed, shape)
    except DataError:
        return
    assert pack_support(support, shape) == packed


def test_what_a_shared_support_cannot_be() -> None:
    """Two squares of 2 x 2 cells with a number for each cell: eight places; the high part of each is its cell."""
    shape = Shape(1, 1, 2, 4, together=2)
    steps, low = 8 + 8, 8 * 6

    def packed(high: list[int], rest: list[int]) -> bytes:
        bits = np.zeros(steps + low, dtype=np.uint8)
        bits[np.array(high) + np.arange(len(high))] = 1
        bits[steps:] = [place >> bit & 1 for place in rest for bit in range(6)]
        return np.packbits(bits).tobytes()

    every = [5] * 8
    assert unpack_support(packed([0, 1, 2, 3, 4, 5, 6, 7], every), shape)[5].all()
    assert unpack_support(packed([0, 0, 2, 3, 4, 5, 6, 7], [4, *every[1:]]), shape)[4:6, 0, 0].all()
    with pytest.raises(DataError, match="another number"):
        unpack_support(packed([0, 1, 2, 3, 4, 5, 6], every), shape)
    with pytest.raises(DataError, match="that there are not"):
        unpack_support(packed([0, 1, 2, 3, 4, 5, 6, 8], every), shape)  # a ninth cell
    with pytest.raises(DataError, match="not in order"):
        unpack_support(packed([0, 0, 2, 3, 4, 5, 6, 7], every), shape)  # one place twice
    with pytest.raises(DataError, match="same number of values"):
        unpack_support(packed([0, 1, 1, 3, 4, 5, 6, 7], [5, 5, 6, 5, 5, 5, 5, 5]), shape)  # 2 is in the other square


def test_entropy_of_four_equal_symbols_is_two_bits_each() -> None:
    assert entropy_bits(np.array([0, 1, 2, 3] * 5)) == pytest.approx(40)
    assert entropy_bits(np.zeros(9, dtype=int)) == 0
    assert entropy_bits(np.array([[0, 1], [5, 5]]), axis=0) == pytest.approx(2)


def test_a_film_that_ends_within_a_cell_has_that_cell() -> None:
    assert Shape.of_film((256, 250), 8) == Shape(8, 1, 32, 32)
    assert Shape.of_film((1, 9), 8) == Shape(8, 1, 1, 2)


@pytest.mark.parametrize("s", [1, 4, 8, 16])
def test_a_shared_support_takes_little_more_than_it_must(s: int) -> None:
    """No fixed length is below the logarithm of how many choices a square has."""
    least = math.log2(math.comb(16 * PER_MAP, 16 * s)) / 16
    assert least < Shape(s, 1, 32, 32, together=4).support_bits < 1.25 * least
