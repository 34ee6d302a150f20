"""Pictures of whatever was released: codes published in order show the film, sealed ones the mean of one's own."""

from __future__ import annotations

import numpy as np
import pytest
from holdings import changed, leak
from two_sides import CONTEXT, TwoSides, codes_of

from fedcxr.adversaries import Leak
from fedcxr.adversaries._appearance import appearances, pictures
from fedcxr.adversaries.verifier import Verifier
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods._keyless import Keyless
from fedcxr.metrics.similarity import similarity
from fedcxr.rng import stream
from fedcxr.training.compute import Compute
from fedcxr.view import Films, View

FP32 = Compute.choose("cpu", "fp32")
SMALL = Verifier(width=4, dimensions=8, people=4, steps_clean=2, steps_retrain=2)


def ignore(stage: str, step: int, steps: int) -> None:
    pass


def psnr(films: np.ndarray, seen: np.ndarray) -> float:
    return float(similarity(films, seen)["psnr"].mean())


def seen_in(given: Leak) -> Films:
    """What the films under attack look like."""
    return pictures(given, appearances(given, CONTEXT))


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> TwoSides:
    return TwoSides.drawn(tmp_path_factory.mktemp("films"))


def test_published_codes_show_the_film_and_sealed_ones_the_mean(sides: TwoSides) -> None:
    films, gains = sides.films, {}
    mean = np.repeat(np.round(sides.own.films().mean(axis=0)).astype(np.uint8)[None], len(films), axis=0)
    for ambiguation in ("published", "matched", "keyed", "padded"):
        seen = seen_in(sides.leak(codes_of("sca", ambiguation=ambiguation)))
        assert seen.shape == films.shape
        gains[ambiguation] = psnr(films, seen) - psnr(films, mean)
    assert gains["published"] > 10
    assert gains["matched"] > 3
    assert -3 < gains["keyed"] < 3
    assert gains["padded"] == 0
    assert len(np.unique(seen_in(sides.leak(codes_of("sealed"))), axis=0)) == 1


@pytest.mark.parametrize("name", ["sca", "sealed"])
def test_the_verifier_attacks_codes_as_it_attacks_films(name: str, sides: TwoSides) -> None:
    given = sides.leak(codes_of(name))
    prepared = SMALL.prepare(given.own, 1, FP32, ignore)
    answers = SMALL.answer("linkage", given, prepared, 1, FP32, ignore)
    scores = {attacker: answer["scores"] for attacker, answer in answers.items()}
    assert {attacker: matrix.shape for attacker, matrix in scores.items()} == dict.fromkeys(
        SMALL.attackers, sides.genuine.shape
    )
    if name == "sealed":  # equal pictures: whatever is scored says nothing about the film under attack
        assert all((matrix == matrix[:1]).all() for matrix in scores.values())


def test_a_codec_that_is_not_known_shows_nothing(sides: TwoSides) -> None:
    unknown = changed(sides.leak(codes_of("sca")), mechanism=None)
    assert appearances(unknown, CONTEXT) == ()
    assert not seen_in(unknown).any()


def test_films_that_lie_open_are_seen_as_they_are_and_others_without_a_key(sides: TwoSides) -> None:
    given = sides.leak(codes_of("sca"))
    opened = np.arange(len(given.view)) % 2 == 0
    films = np.where(opened[:, None, None], sides.films, np.uint8(0))
    forms = {**given.view.forms, "films": films}
    some = Leak(View(forms, opened, given.view.versions), given.holdings)
    np.testing.assert_array_equal(seen_in(some)[opened], films[opened])
    np.testing.assert_array_equal(seen_in(some)[~opened], seen_in(given)[~opened])


def test_codes_of_several_codecs_are_read_with_their_own(sides: TwoSides) -> None:
    """Two hospitals that trained for themselves: a film read with the other's codec would come out wrong."""
    method = codes_of("sca", ambiguation="published", fit="local", steps=1, refinement=4)
    films, rng = sides.attacked.films(), stream(1)
    taught = tuple(method.initial(stream(seed, "initial")) for seed in (1, 2))
    assert any(not np.array_equal(taught[0][name], taught[1][name]) for name in taught[0])
    own = sides.own.films()
    public = []
    for weights in taught:
        hidden = Keyless(method, own, weights, CONTEXT).hidden(films, rng)
        assert hidden is not None
        public.append(hidden)
    people, closed = np.zeros(len(own), dtype=np.int64), np.zeros(2 * len(films), dtype=bool)
    view = View({"codes": np.concatenate(public)}, closed, np.repeat([0, 1], len(films)))
    given = leak(view, Owned(own, people, people, people > 0), films, method, taught)
    assert psnr(np.concatenate([films, films]), seen_in(given)) > 20
