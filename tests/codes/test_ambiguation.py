"""Ambiguation: the key gives the code back exactly, nothing else does, and every byte comes from the key."""

from __future__ import annotations

import numpy as np
import pytest

from fedcxr.codes import PER_MAP, Codes, Shape
from fedcxr.codes.ambiguation import Ambiguation, Rule, ambiguate, purify
from fedcxr.errors import BrokenSeal, DataError
from fedcxr.keys import ImageKey, MasterKey
from fedcxr.rng import stream

VARIANTS: tuple[Ambiguation, ...] = ("published", "gaussian", "matched", "decoy", "keyed", "padded")
SHUFFLED = pytest.mark.parametrize("ambiguation", ["keyed", "padded"])
VERSION = "test"


def some_codes(shape: Shape, films: int = 6, seed: int = 1) -> Codes:
    rng = stream(seed, "codes")
    size = (films, shape.maps, PER_MAP, shape.rows, shape.columns)
    kept = rng.random(size).argsort(axis=2) < shape.s
    sizes = np.clip(rng.exponential(12, size).astype(int) + 1, 1, 127)
    return np.where(kept, sizes * rng.choice([-1, 1], size), 0).astype(np.int8).reshape(films, *shape.code)


def key_of(release: str = "1", image: str = "0") -> ImageKey:
    return MasterKey(b"k" * 32, "site-1", 1).release_key(release).image_key(image)


@pytest.mark.parametrize("ambiguation", VARIANTS)
@pytest.mark.parametrize(
    ("shape", "s_n"),
    [(Shape(8, 1, 8, 9), 24), (Shape(4, 2, 5, 3), 60), (Shape(16, 1, 4, 4), 16), (Shape(1, 1, 1, 1), 7)],
)
def test_the_key_gives_the_code_back_exactly(ambiguation: Ambiguation, shape: Shape, s_n: int) -> None:
    codes, rule = some_codes(shape, 70), Rule(ambiguation, shape, s_n)
    hidden = ambiguate(codes[0], rule, key_of(), VERSION, codes[1:])
    assert hidden.public.shape == rule.public_shape
    assert hidden.public.dtype == np.int8
    np.testing.assert_array_equal(purify(hidden.public, hidden.secret, rule, key_of(), VERSION), codes[0])


@pytest.mark.parametrize(("ambiguation", "s_n"), [("keyed", 0), ("keyed", 24), ("padded", 24), ("padded", 48)])
def test_cells_that_share_may_keep_all_or_nothing(ambiguation: Ambiguation, s_n: int) -> None:
    """The key gives such a code back, and neither part shows by its length which cells kept what."""
    shape = Shape(16, 1, 4, 6, together=4)
    uneven = np.zeros(shape.code, dtype=np.int8)
    uneven[:, 0, :4] = stream(1, "values").integers(1, 128, (PER_MAP, 4))
    uneven[:32, 1:3, 4:] = -3
    even = some_codes(shape)[0]
    rule = Rule(ambiguation, shape, s_n)
    one, other = (ambiguate(code, rule, key_of(), VERSION) for code in (uneven, even))
    np.testing.assert_array_equal(purify(one.public, one.secret, rule, key_of(), VERSION), uneven)
    assert one.public.shape == other.public.shape == rule.public_shape
    assert one.public.all()
    assert len(one.secret) == len(other.secret) == rule.secret_bytes


@pytest.mark.parametrize("ambiguation", ["published", "gaussian", "matched", "keyed"])
@pytest.mark.parametrize("s_n", [0, 5, 24, 56])
def test_every_cell_shows_s_and_s_n_numbers(ambiguation: Ambiguation, s_n: int) -> None:
    shape = Shape(8, 2, 6, 6)
    codes, rule = some_codes(shape), Rule(ambiguation, shape, s_n)
    public = ambiguate(codes[0], rule, key_of(), VERSION).public
    if ambiguation == "keyed":
        assert public.all()
        assert public.size == (8 + s_n) * shape.cells
    else:
        assert ((public != 0).reshape(2, PER_MAP, 6, 6).sum(axis=1) == 8 + s_n).all()


@pytest.mark.parametrize("ambiguation", VARIANTS)
def test_the_same_release_again_is_the_same_bytes_and_another_is_not(ambiguation: Ambiguation) -> None:
    shape = Shape(8, 1, 8, 8)
    codes, rule = some_codes(shape, 12), Rule(ambiguation, shape, 24)

    def public(release: str) -> bytes:
        return ambiguate(codes[0], rule, key_of(release), VERSION, codes[1:]).public.tobytes()

    assert public("1") == public("1") != public("2")


@SHUFFLED
def test_two_shuffled_releases_agree_no_more_than_chance(ambiguation: Ambiguation) -> None:
    """Fresh fakes around values that stay are intersected: what stands in both is true. Here nothing stays."""
    shape = Shape(8, 1, 32, 32)
    code, rule = some_codes(shape)[0], Rule(ambiguation, shape, 24)
    one, other = (ambiguate(code, rule, key_of(release), VERSION).public.ravel() for release in ("1", "2"))
    shares = [np.bincount(x.astype(int) + 128, minlength=256) / x.size for x in (one, other)]
    chance = float(shares[0] @ shares[1])
    assert abs((one == other).mean() - chance) < 5 * np.sqrt(chance / one.size)


def test_another_film_under_the_same_name_is_shuffled_in_another_way() -> None:
    """Else the two public codes would show which of their values stand in one place."""
    shape = Shape(8, 1, 8, 8)
    codes, rule = some_codes(shape), Rule("keyed", shape, 0)
    twice = codes[0].copy()
    twice[twice != 0] *= -1
    one, other = (ambiguate(code, rule, key_of(), VERSION).public for code in (codes[0], twice))
    assert (one == -other).mean() < 0.5


def test_keyed_values_stand_anywhere_with_any_sign() -> None:
    """True values of a code with one large value in a corner are found all over the public code."""
    shape = Shape(8, 1, 8, 8)
    code, rule = some_codes(shape)[0], Rule("keyed", shape, 0)
    code[code != 0] = 1
    corner = np.argwhere(code[:, 0, 0])[0, 0]
    code[corner, 0, 0] = 127
    seen = [ambiguate(code, rule, key_of(str(i)), VERSION).public.ravel() for i in range(400)]
    places = np.array([np.abs(public).argmax() for public in seen])
    up = np.mean([public[np.abs(public).argmax()] > 0 for public in seen])
    assert 0.4 < up < 0.6
    assert abs(places.mean() / rule.shape.kept - 0.5) < 0.08
    assert len(np.unique(places)) > 200


@pytest.mark.parametrize("ambiguation", VARIANTS)
def test_the_secret_always_has_one_length(ambiguation: Ambiguation) -> None:
    shape = Shape(8, 1, 8, 8)
    codes, rule = some_codes(shape, 12), Rule(ambiguation, shape, 24)
    plain = np.zeros_like(codes[0])
    plain[:8] = 1
    lengths = {len(ambiguate(code, rule, key_of(), VERSION, codes[1:]).secret) for code in (codes[0], plain)}
    assert lengths == {rule.secret_bytes}


def test_a_wrong_key_fails_closed() -> None:
    shape = Shape(8, 1, 8, 8)
    code, rule = some_codes(shape)[0], Rule("keyed", shape, 24)
    hidden = ambiguate(code, rule, key_of(), VERSION)
    sealed = key_of().seal(hidden.secret, VERSION)
    for wrong in (key_of(image="1"), key_of(release="2")):
        with pytest.raises(BrokenSeal):
            wrong.open(sealed, VERSION)
    # And even who has the support, but not the key, does not find the values.
    guess = purify(hidden.public, hidden.secret, rule, key_of(image="1"), VERSION)
    assert (guess == code)[code != 0].mean() < 0.1


def test_published_stands_beyond_the_true_values_wherever_there_is_room() -> None:
    shape = Shape(8, 1, 16, 16)
    code = some_codes(shape)[0]
    public = ambiguate(code, Rule("published", shape, 24), key_of(), VERSION).public
    fake, true = np.where(code == 0, public, 0).astype(int), code.astype(int)
    assert (np.where(fake > 0, fake, 999).min(axis=0) >= np.minimum(true.max(axis=0) + 1, 127)).all()
    assert (
        np.where(fake < 0, fake, 999).min(axis=0) >= np.minimum(np.where(true < 0, true, -128).max(axis=0) + 1, -1)
    ).all()


def test_gaussian_fakes_have_the_mean_and_spread_of_the_true() -> None:
    shape = Shape(8, 1, 32, 32)
    code = some_codes(shape)[0]
    public = ambiguate(code, Rule("gaussian", shape, 24), key_of(), VERSION).public
    true, fake = code[code != 0].astype(float), public[(code == 0) & (public != 0)].astype(float)
    assert fake.mean() == pytest.approx(true.mean(), abs=0.4)
    assert fake.std() == pytest.approx(true.std(), rel=0.05)


def test_matched_fakes_are_values_of_their_channel() -> None:
    shape = Shape(8, 1, 32, 32)
    code = some_codes(shape)[0]
    public = ambiguate(code, Rule("matched", shape, 24), key_of(), VERSION).public
    for channel in range(PER_MAP):
        assert np.isin(public[channel][public[channel] != 0], code[channel][code[channel] != 0]).all()


def test_decoys_need_other_films() -> None:
    shape = Shape(8, 1, 4, 4)
    codes, rule = some_codes(shape, 3), Rule("decoy", shape, 24)
    for donors in (None, codes[1:]):
        with pytest.raises(DataError, match="other films"):
            ambiguate(codes[0], rule, key_of(), VERSION, donors)
