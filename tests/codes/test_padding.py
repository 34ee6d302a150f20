"""Padded codes: every film shows the same values bit for bit, and the key still gives its own numbers back."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.codes import PER_MAP, Codes, Shape, padding
from fedcxr.codes.ambiguation import Rule, ambiguate, purify
from fedcxr.errors import BrokenSeal, DataError
from fedcxr.keys import ImageKey, MasterKey
from fedcxr.methods import RunContext
from fedcxr.methods._codec import Codec
from fedcxr.methods.sca import Sca
from fedcxr.metrics.similarity import similarity
from fedcxr.rng import stream

VERSION = "test"
SIZE = (41, 64)  # pixels; cells are cut off at the edge

shapes = st.builds(
    Shape, st.integers(1, 32), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.sampled_from([1, 2, 3, 4])
)
spreads = st.sampled_from(["all one", "two", "ties", "all different", "wide", "narrow", "largest"])


def key_of(image: str = "0") -> ImageKey:
    return MasterKey(b"k" * 32, "site-1", 1).release_key("1").image_key(image)


def numbers(n: int, spread: str, seed: int) -> np.ndarray:
    """So many numbers as a film might keep, or as none would."""
    rng = stream(seed, "numbers")
    sign = rng.choice([-1, 1], n)
    size = {
        "all one": np.ones(n) * sign,  # so that all are positive
        "two": np.where(np.arange(n) == 0, 127, 1),
        "ties": rng.integers(1, 4, n),
        "all different": np.arange(n) % 127 + 1,
        "wide": rng.integers(1, 128, n),
        "narrow": np.clip(rng.normal(40, 8, n), 1, 127),
        "largest": np.full(n, 127),
    }[spread]
    return np.asarray(size * sign, dtype=np.int8)


def some_code(shape: Shape, spread: str, seed: int) -> Codes:
    """A code of this shape in which each square of cells keeps what it must, at places drawn at random."""
    rng = stream(seed, "places")
    kept = rng.random((shape.maps, PER_MAP, shape.rows, shape.columns))
    code = np.zeros(kept.shape, dtype=np.int8)
    for down in range(0, shape.rows, shape.together):
        for right in range(0, shape.columns, shape.together):
            for number in range(shape.maps):
                square = np.s_[number, :, down : down + shape.together, right : right + shape.together]
                lots = kept[square]
                s = shape.s * lots[0].size
                code[square] = lots <= np.partition(lots.ravel(), s - 1)[s - 1]
    code[code != 0] = numbers(shape.kept, spread, seed)
    return code.reshape(shape.code)


@settings(max_examples=40, deadline=None)
@given(shapes, spreads, spreads, st.integers(0, 1000), st.integers(0, 32))
def test_any_two_films_show_the_same_values(shape: Shape, first: str, second: str, seed: int, more: int) -> None:
    rule = Rule("padded", shape, min(-(-shape.s // 2) + more, PER_MAP - shape.s))
    shown, sealed = [], set()
    for film, spread in enumerate((first, second)):
        code = some_code(shape, spread, seed + film)
        hidden = ambiguate(code, rule, key_of(str(film)), VERSION)
        shown.append(np.sort(hidden.public, axis=None).tobytes())
        sealed.add(len(hidden.secret))
        opened = purify(hidden.public, hidden.secret, rule, key_of(str(film)), VERSION)
        np.testing.assert_array_equal(opened != 0, code != 0)
        if len(np.unique(code)) < 4:  # two numbers fit whatever the table is
            np.testing.assert_array_equal(opened, code)
    assert shown[0] == shown[1]
    assert sealed == {rule.secret_bytes}


@cache
def codec_of(s: int, together: int, maps: int) -> Codec:
    return Sca(s=s, together=together, maps=maps).codec({}, RunContext("cpu", "fp32"))


def odd_films() -> np.ndarray:
    """Black, white, one white pixel, one black, half and half, a slope, and noise."""
    films = np.zeros((7, *SIZE), dtype=np.uint8)
    films[1] = films[3] = 255
    films[2, 20, 30], films[3, 20, 30] = 255, 0
    films[4, :, 32:] = 255
    films[5] = np.linspace(0, 255, SIZE[1])
    films[6] = stream(1, "noise").integers(0, 256, SIZE)
    return films


@pytest.mark.parametrize(("s", "together", "maps"), [(4, 1, 1), (8, 1, 1), (16, 1, 2), (8, 4, 1), (16, 2, 1)])
def test_films_that_are_no_films_show_the_same_values_too(s: int, together: int, maps: int) -> None:
    codec, films = codec_of(s, together, maps), odd_films()
    rule = Sca(s=s, together=together, maps=maps).rule(SIZE)
    codes = codec.encode(films)
    hidden = [ambiguate(code, rule, key_of(str(row)), VERSION) for row, code in enumerate(codes)]
    assert len({np.sort(one.public, axis=None).tobytes() for one in hidden}) == 1
    opened = [purify(h.public, h.secret, rule, key_of(str(row)), VERSION) for row, h in enumerate(hidden)]
    before, after = (similarity(films, codec.decode(np.stack(c), SIZE))["mae"] for c in (list(codes), opened))
    assert (after < before + 1).all()  # grey levels, of noise too


def test_the_table_by_hand() -> None:
    """Shares fall as 2^-1.5, 3^-1.5, ...: 237.8, 129.4 and 84.1 of 1000, and so on."""
    counts = padding.table(1000)
    assert counts[:3].tolist() == [238, 129, 84]
    assert counts.sum() == 1000
    assert (np.diff(counts) <= 0).all()
    assert padding.LABELS[:4].tolist() == [1, -1, 2, -2]
    assert sorted(padding.LABELS.tolist()) == [*range(-127, 0), *range(1, 128)]
    public, meaning = padding.pad(np.array([-9] * 5 + [7] * 3 + [100], dtype=np.int8), 1000)
    assert public[:9].tolist() == [1] * 5 + [-1] * 3 + [2]
    assert meaning[:4].tolist() == [-9, 7, 100, 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 64), st.integers(1, 300), st.floats(0, 1))
def test_two_numbers_always_fit(s: int, cells: int, share: float) -> None:
    """Which is what remains in the widest steps, so that no film is left out."""
    fakes = next(s_n for s_n in range(PER_MAP) if padding.fits(s, s_n))
    n = s * cells
    film = np.where(np.arange(n) < share * n, 5, -5).astype(np.int8)
    public, meaning = padding.pad(film, n + fakes * cells)
    np.testing.assert_array_equal(padding.meant(public[:n], meaning), film)


def test_what_was_altered_is_refused() -> None:
    shape = Shape(8, 1, 8, 8)
    rule = Rule("padded", shape, 24)
    hidden = ambiguate(some_code(shape, "ties", 1), rule, key_of(), VERSION)
    sealed = bytearray(key_of().seal(hidden.secret, VERSION))
    sealed[-17] ^= 1  # the last byte of the meaning, before the tag
    with pytest.raises(BrokenSeal):
        key_of().open(bytes(sealed), VERSION)
    meaningless = hidden.secret[: -padding.MEANING_BYTES] + bytes(padding.MEANING_BYTES)
    for secret, why in ((meaningless, "no meaning"), (hidden.secret[:-1], "wrong length")):
        with pytest.raises(DataError, match=why):
            purify(hidden.public, secret, rule, key_of(), VERSION)
    public = hidden.public.copy()
    public[0, 0, 0] = 127 if public[0, 0, 0] != 127 else 126
    with pytest.raises(DataError, match="another number of some value"):
        purify(public, hidden.secret, rule, key_of(), VERSION)
