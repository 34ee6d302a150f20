"""Keyed numbers: the same for the same key on every machine, and no value or order likelier than another."""

from __future__ import annotations

import copy
import pickle
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedcxr.keys.stream import KeyedStream, generator

KEY = bytes(range(32))


def stream(number: int = 0) -> KeyedStream:
    return KeyedStream(number.to_bytes(32))


def test_is_chacha20_from_its_first_block() -> None:
    """RFC 8439, A.1, test vector 1: key, nonce and counter are all zero."""
    assert KeyedStream(bytes(32)).draw(16).hex() == "76b8e0ada0f13d90405d6ae55386bd28"


@given(st.binary(min_size=32, max_size=32))
def test_numpys_distributions_draw_from_the_same_keystream(key: bytes) -> None:
    assert generator(key).bytes(200) == KeyedStream(key).draw(200)


@given(st.integers(0, 40), st.booleans())
def test_a_training_that_draws_under_a_key_goes_on_where_it_stopped(drawn: int, halves: bool) -> None:
    """What a checkpoint keeps of a generator is enough, also between the halves of a 64-bit word."""
    one, other = generator(KEY), generator(bytes(32))
    one.integers(0, 1 << 31, drawn, dtype=np.int32 if halves else np.int64)
    other.bit_generator.state = one.bit_generator.state
    assert other.standard_normal(9, np.float32).tolist() == one.standard_normal(9, np.float32).tolist()


def test_what_a_key_draws_never_changes() -> None:
    """A change here would make every release shuffled so far impossible to read."""
    drawn = KeyedStream(KEY)
    assert drawn.permutation(8).tolist() == [7, 6, 1, 5, 0, 3, 4, 2]
    assert drawn.integers(4, 1000).tolist() == [296, 579, 384, 108]
    assert drawn.signs(8).tolist() == [-1, 1, 1, 1, -1, -1, 1, -1]
    assert drawn.uniform(2).tolist() == [0.614703949265664, 0.6063842806944576]


@given(st.lists(st.integers(0, 100), max_size=8))
def test_bytes_do_not_depend_on_how_they_are_asked_for(sizes: list[int]) -> None:
    one, other = stream(), stream()
    assert b"".join(one.draw(n) for n in sizes) == other.draw(sum(sizes))


@given(st.binary(min_size=32, max_size=32), st.integers(0, 300))
def test_a_permutation_holds_everything_once_and_can_be_undone(key: bytes, n: int) -> None:
    order = KeyedStream(key).permutation(n)
    plain = np.arange(n) * 3
    back = np.empty_like(plain)
    back[order] = plain[order]
    assert sorted(order.tolist()) == list(range(n))
    np.testing.assert_array_equal(back, plain)
    np.testing.assert_array_equal(KeyedStream(key).permutation(n), order)


def test_no_order_is_likelier_than_another() -> None:
    drawn = stream()
    n = 24_000
    counts = dict.fromkeys(permutations(range(4)), 0)
    for _ in range(n):
        counts[tuple(drawn.permutation(4).tolist())] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_no_place_of_a_long_permutation_is_likelier_than_another() -> None:
    n, draws = 64, 4000
    landed = np.zeros((n, n))
    drawn = stream(1)
    for _ in range(draws):
        landed[np.arange(n), drawn.permutation(n)] += 1
    statistic = ((landed - draws / n) ** 2 / (draws / n)).sum()
    assert stats.chi2((n - 1) ** 2).sf(statistic) > 1e-4


class Repeating(KeyedStream):
    """Draws equal words at first."""

    def __init__(self) -> None:
        super().__init__(KEY)
        self.asked = 0

    def words(self, n: int) -> Any:
        self.asked += 1
        return np.zeros(n, np.uint64) if self.asked < 3 else super().words(n)


def test_equal_words_are_drawn_anew() -> None:
    """Whatever the sort does with ties, it would do it on every machine in its own way."""
    drawn = Repeating()
    np.testing.assert_array_equal(drawn.permutation(9), KeyedStream(KEY).permutation(9))
    assert drawn.asked == 3


@pytest.mark.parametrize("below", [1, 2, 3, 7, 256, 1000, 3 << 61])
def test_integers_are_even(below: int) -> None:
    n = 30_000
    drawn = stream(below % 97).integers(n, below)
    assert drawn.min() >= 0
    assert int(drawn.max()) < below
    cells = min(below, 7)
    counts = np.bincount((drawn.astype(object) * cells // below).astype(int), minlength=cells)
    expected = [sum(1 for i in range(below) if i * cells // below == c) for c in range(cells)] if below < 2000 else None
    weights = np.array(expected) / below * n if expected else np.full(cells, n / cells)
    assert cells == 1 or stats.chisquare(counts, weights).pvalue > 1e-4


class Edges(KeyedStream):
    """Draws the largest words first."""

    def __init__(self, *first: int) -> None:
        super().__init__(KEY)
        self.first = list(first)

    def words(self, n: int) -> Any:
        head, self.first = self.first[:n], self.first[n:]
        return np.array([*head, *(7,) * (n - len(head))], np.uint64)


def test_words_of_the_incomplete_run_are_drawn_anew() -> None:
    # 2^64 = 3 * 6148914691236517205 + 1: only the very last word is over.
    assert Edges((1 << 64) - 1, (1 << 64) - 2, 5).integers(3, 3).tolist() == [2, 2, 1]
    assert Edges((1 << 64) - 1).integers(1, 1 << 10).tolist() == [1023]  # a power of two has no incomplete run


@pytest.mark.parametrize("below", [0, -1, (1 << 63) + 1])
def test_an_impossible_bound_is_refused(below: int) -> None:
    with pytest.raises(ValueError, match="bound"):
        stream().integers(1, below)


def test_uniform_and_signs_are_even() -> None:
    drawn = stream(5)
    uniform = drawn.uniform(50_000)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert stats.kstest(uniform, "uniform").pvalue > 1e-4
    signs = drawn.signs(50_001)
    assert len(signs) == 50_001
    assert set(signs.tolist()) == {-1, 1}
    assert abs(int(signs.sum())) < 5 * 50_001**0.5
    assert signs.dtype == np.int8


def test_nothing_asked_is_nothing_drawn() -> None:
    drawn = stream()
    assert [len(drawn.permutation(0)), len(drawn.integers(0, 5)), len(drawn.uniform(0)), len(drawn.signs(0))] == [0] * 4
    assert drawn.permutation(1).tolist() == [0]


def test_other_keys_draw_other_numbers() -> None:
    drawn = [stream(number).permutation(64).tolist() for number in range(20)]
    assert len({tuple(order) for order in drawn}) == 20


def test_a_stream_is_not_copied() -> None:
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            attempt(stream())
