"""Releases told apart by what can be counted of them: numbers that say what they are said to say, and links by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from holdings import changed, open_view
from holdings import leak as given_leak
from hypothesis import given, settings
from hypothesis import strategies as st
from two_sides import TwoSides, codes_of

from fedcxr.adversaries import Leak, _code_numbers, _film_numbers
from fedcxr.adversaries._by_numbers import Described, log_odds
from fedcxr.adversaries.statistics import Statistics
from fedcxr.errors import ConfigError
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import ImageMethod, RunContext
from fedcxr.methods.noise import Noise
from fedcxr.methods.none import Unprotected
from fedcxr.metrics import auc
from fedcxr.release import Release
from fedcxr.training.compute import Compute
from fedcxr.view import Array, Nobody, Shared

FP32 = Compute.choose("cpu", "fp32")


def link(attacker: Statistics, leak: Leak) -> dict[str, np.ndarray]:
    found = attacker.answer("linkage", leak, {}, 1, FP32, lambda stage, step, steps: None)
    return {name: answer["scores"] for name, answer in found.items()}


# Numbers --------------------------------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(st.integers(4, 70), st.integers(4, 70), st.sampled_from([0, 255, None]))
def test_films_of_any_size_and_grey_have_numbers(height: int, width: int, grey: int | None) -> None:
    rng = np.random.default_rng(height)
    films = rng.integers(0, 256, (2, height, width), dtype=np.uint8)
    films[1] = films[1] if grey is None else grey
    for name, count in _film_numbers.BLOCKS.items():
        numbers = count(films)
        assert numbers.dtype == np.float32, name
        assert numbers.shape[0] == 2
        assert np.isfinite(numbers).all(), name
        np.testing.assert_array_equal(count(films[1:]), numbers[1:], err_msg=name)  # whatever stands beside it


def test_what_shuffles_hide_and_what_they_do_not() -> None:
    rng = np.random.default_rng(0)
    film = rng.integers(0, 256, (1, 32, 32), dtype=np.uint8)
    moved = rng.permutation(film.ravel()).reshape(film.shape)
    np.testing.assert_array_equal(_film_numbers.histogram(film), _film_numbers.histogram(moved))
    assert not np.array_equal(_film_numbers.projections(film), _film_numbers.projections(moved))
    code = np.where(rng.random((1, 64, 4, 4)) < 0.2, rng.integers(-90, 90, (1, 64, 4, 4)), 0).astype(np.int8)
    keyed = (rng.permutation(code.ravel()) * rng.choice([-1, 1], code.size)).reshape(code.shape).astype(np.int8)
    np.testing.assert_array_equal(_code_numbers.histogram(code), _code_numbers.histogram(keyed))
    assert not np.array_equal(_code_numbers.masks(code), _code_numbers.masks(keyed))


def test_masks_outline_what_was_touched() -> None:
    rng = np.random.default_rng(0)
    films = np.full((1, 64, 64), 128, dtype=np.uint8)
    films[:, :, 32:] = rng.integers(90, 166, (1, 64, 32), dtype=np.uint8)
    outline = _film_numbers.masks(films).reshape(_film_numbers.MASK, _film_numbers.MASK)
    assert outline[:, 17:].min() > outline[:, :15].max()


# Links ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> TwoSides:
    return TwoSides.drawn(tmp_path_factory.mktemp("films"))


def shown(sides: TwoSides, method: ImageMethod) -> Leak:
    """What is seen of films that were protected."""
    films = method.protect(sides.films, np.random.default_rng(3))
    return given_leak(open_view(films), sides.owned, sides.known.films(), method)


def test_films_and_codes_are_linked_without_being_looked_at(sides: TwoSides) -> None:
    def found(leak: Leak, *attackers: str) -> dict[str, float]:
        scores = link(Statistics.model_validate({"attackers": attackers}), leak)
        assert all(np.isfinite(matrix).all() and matrix.dtype == np.float32 for matrix in scores.values())
        return {name: auc(sides.genuine.ravel(), matrix.ravel()) for name, matrix in scores.items()}

    clear = found(shown(sides, Unprotected()), "all", "edges", "correlation")
    assert clear["all"] > 0.85
    assert clear["edges"] > clear["correlation"]
    noisy = found(shown(sides, Noise(scale=0.2)), "all", "sizes", "complaints")
    assert noisy["all"] > 0.75
    assert noisy["sizes"] < noisy["all"]
    assert noisy["complaints"] == 0.5  # there are none
    keyed = found(sides.leak(codes_of("sca", ambiguation="keyed")), "histogram", "masks")
    assert keyed["histogram"] > 0.6  # no shuffle hides sizes of values
    assert abs(keyed["masks"] - 0.5) < 0.1  # where they stand, it does
    padded = found(sides.leak(codes_of("sca")), "all", "histogram", "masks")
    assert padded["histogram"] == padded["masks"] == 0.5
    assert abs(padded["all"] - 0.5) < 0.1  # by chance: bytes of a shuffle
    assert found(sides.leak(codes_of("sealed")), "all") == {"all": 0.5}


def test_who_does_not_know_the_method_cannot_practise(sides: TwoSides) -> None:
    with pytest.raises(ConfigError, match="must be granted the method"):
        link(Statistics(), changed(shown(sides, Unprotected()), mechanism=None))


def test_no_more_films_are_studied_than_asked_for_and_all_of_a_person(sides: TwoSides) -> None:
    own = Statistics(studied=60)._studied(sides.owned, np.random.default_rng(0))
    assert len(own.films) == 60
    whole = [(own.people == person).sum() == (sides.owned.people == person).sum() for person in np.unique(own.people)]
    assert sum(whole) >= len(whole) - 1  # the last may be cut off


# Complaints -----------------------------------------------------------------------------------------------------------


def test_complaints_are_seen_with_the_films_that_they_are_of() -> None:
    """By row of the release, though they are told by the films' places before some were left out."""

    def release(films: int, **facts: object) -> Release:
        arrays: dict[str, Array] = {
            "films": np.zeros((films, 4, 4), dtype=np.uint8),
            "findings": np.zeros((films, 1), dtype=np.float32),
            "split": np.zeros(films, dtype=np.int8),
        }
        told = {"findings": ["Mass"], "splits": ["train", "val", "test"], **facts}
        return Release("images", "site-1", "noise", arrays, told)

    some = release(3, complaints=[[1, "no lungs"], [3, "one lung"]], left_out=[1])  # of films 0, 2 and 3
    none = release(2, complaints=[], left_out=[])
    seen = Noise().view(Shared([some, none]), Nobody(), RunContext("cpu", "fp32"))
    assert seen.forms["complaints"].tolist() == [False, False, True, False, False]
    assert "complaints" not in Noise().view(Shared([none]), Nobody(), RunContext("cpu", "fp32")).forms


def test_complaints_that_go_with_people_link_them() -> None:
    """A method that complains of every film of some people names a trait of theirs."""
    people = np.repeat(np.arange(60), 3)
    blank = np.zeros((len(people), 1, 1), dtype=np.uint8)
    own = Owned(blank, people, people * 0, people >= 40)
    flags = (people % 4 == 0).astype(np.float32)[:, None]
    known = flags[::3]  # of the same sixty people, who are under attack for once
    block = Described(flags, [flags], [(flags, known)])
    found = log_odds({"complaints": block}, own, np.random.default_rng(0))
    genuine = people[:, None] == np.arange(60)[None]
    assert auc(genuine.ravel(), found["complaints"].ravel()) > 0.6
    np.testing.assert_array_equal(np.argsort(found["all"].ravel()), np.argsort(found["complaints"].ravel()))
    silent = replace(block, released=flags * 0, protected=[flags * 0], beside=[(flags * 0, known * 0)])
    assert np.ptp(log_odds({"complaints": silent}, own, np.random.default_rng(0))["all"]) == 0
