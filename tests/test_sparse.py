"""Codes as bytes: exactly there and back, always in the same length, and nothing else is read as one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import DataError
from fedcxr.rng import stream
from fedcxr.sparse import PER_MAP, Codes, Shape, entropy_bits, pack, pack_support, unpack, unpack_support, values_of


def code_of(shape: Shape, seed: int) -> Codes:
    rng = stream(seed, "code")
    size = (shape.maps, PER_MAP, shape.rows, shape.columns)
    values = rng.integers(1, 128, size) * rng.choice([-1, 1], size)
    return np.where(rng.random(size).argsort(axis=1) < shape.s, values, 0).astype(np.int8).reshape(shape.code)


@given(
    s=st.integers(1, PER_MAP),
    maps=st.integers(1, 3),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    seed=st.integers(0),
)
def test_there_and_back_in_a_known_length(s: int, maps: int, rows: int, columns: int, seed: int) -> None:
    shape = Shape(s, maps, rows, columns)
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


def test_entropy_of_four_equal_symbols_is_two_bits_each() -> None:
    assert entropy_bits(np.array([0, 1, 2, 3] * 5)) == pytest.approx(40)
    assert entropy_bits(np.zeros(9, dtype=int)) == 0
    assert entropy_bits(np.array([[0, 1], [5, 5]]), axis=0) == pytest.approx(2)


def test_a_film_that_ends_within_a_cell_has_that_cell() -> None:
    assert Shape.of_film((256, 250), 8) == Shape(8, 1, 32, 32)
    assert Shape.of_film((1, 9), 8) == Shape(8, 1, 1, 2)
