"""Whose films are these codes? What is public of values and pictures tells patients apart, and sealed codes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from holdings import changed, leak, open_view
from two_sides import TwoSides, codes_of

from fedcxr.adversaries import Leak
from fedcxr.adversaries.support import Support
from fedcxr.errors import ConfigError, DataError
from fedcxr.knowledge import Holding
from fedcxr.methods.none import Unprotected
from fedcxr.questions._rising import STEPS
from fedcxr.training.compute import Compute

FP32 = Compute.choose("cpu", "fp32")
EVERYTHING = Support(attackers=("learned", "values", "decoded"))


def ignore(stage: str, step: int, steps: int) -> None:
    pass


def link(attacker: Support, given: Leak) -> dict[str, np.ndarray]:
    """Every attacker's scores."""
    return {name: answer["scores"] for name, answer in attacker.answer("linkage", given, {}, 1, FP32, ignore).items()}


def auc(scores: np.ndarray, genuine: np.ndarray) -> float:
    same, other = scores[genuine][:, None], scores[~genuine][None]
    return float((same > other).mean() + (same == other).mean() / 2)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> TwoSides:
    return TwoSides.drawn(tmp_path_factory.mktemp("films"))


def test_a_codec_that_is_not_known_cannot_be_run(sides: TwoSides) -> None:
    with pytest.raises(ConfigError, match="must be granted the method"):
        link(Support(), changed(sides.leak(codes_of("sca")), mechanism=None))


def test_values_and_pictures_tell_patients_apart_where_they_are_public(sides: TwoSides) -> None:
    found = {}
    for name, method in {
        "keyed": codes_of("sca", ambiguation="keyed"),
        "published": codes_of("sca", ambiguation="published"),
        "sealed": codes_of("sealed"),
    }.items():
        scores = link(EVERYTHING, sides.leak(method))
        assert all(np.isfinite(matrix).all() and matrix.dtype == np.float32 for matrix in scores.values())
        found[name] = {attacker: auc(matrix, sides.genuine) for attacker, matrix in scores.items()}
    assert found["keyed"]["values"] > 0.55
    assert found["keyed"]["learned"] > 0.6
    assert found["published"]["learned"] > found["keyed"]["learned"] + 0.02  # in place, values show more
    assert found["published"]["decoded"] > 0.55
    assert found["sealed"]["values"] == found["sealed"]["learned"] == 0.5  # nothing to compare, and they say so


def test_codes_with_the_same_values_for_every_film_tell_nobody_apart(sides: TwoSides) -> None:
    scores = link(EVERYTHING, sides.leak(codes_of("sca")))
    assert len(np.unique(scores["learned"])) == 1
    for attacker in ("values", "decoded"):  # all that these find is whom any film is like
        assert np.ptp(scores[attacker], axis=0).max() < 1e-5


def test_learned_has_no_effort_to_raise_if_it_studied_all_films_it_owns(sides: TwoSides) -> None:
    given = sides.leak(codes_of("sca"))
    for studied, steps in ((len(given.own.people), {"learned": 0}), (len(given.own.people) - 1, {})):
        answers = EVERYTHING.model_copy(update={"studied": studied}).answer("linkage", given, {}, 1, FP32, ignore)
        assert {name: int(answer[STEPS]) for name, answer in answers.items() if STEPS in answer} == steps


def test_codes_are_linked_with_each_other_across_sites_by_what_is_public(sides: TwoSides) -> None:
    """Each site has a key of its own: what they share is the method."""
    genuine, across = sides.inner_pairs
    found = {}
    methods = {"keyed": codes_of("sca", ambiguation="keyed"), "padded": codes_of("sca"), "sealed": codes_of("sealed")}
    for name, method in methods.items():
        [answer] = Support().answer("inner_linkage", sides.inner_leak(method), {}, 1, FP32, ignore).values()
        assert answer["scores"].shape == genuine.shape
        found[name] = auc(answer["scores"][across], genuine[across])
    assert found["keyed"] > 0.62
    assert found["padded"] == found["sealed"] == 0.5
    weak = Support(attackers=("values",))
    assert weak.answer("inner_linkage", sides.inner_leak(codes_of("sca")), {}, 1, FP32, ignore) == {}


def test_support_repeats_and_reads_films_in_its_control(sides: TwoSides) -> None:
    given, genuine = sides.leak(codes_of("sca", ambiguation="keyed")), sides.genuine
    few = EVERYTHING.model_copy(update={"own": 60})
    one, other = (link(few, given) for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    control = link(few, leak(open_view(sides.films), sides.owned, sides.known.films(), Unprotected()))
    assert list(control) == ["learned", "values", "decoded"]
    assert auc(control["decoded"], genuine) > 0.55
    assert auc(control["learned"], genuine) > auc(control["decoded"], genuine) + 0.05
    assert auc(control["learned"], genuine) > auc(one["learned"], genuine) + 0.02  # where nothing is hidden


def test_people_with_one_film_each_are_no_practice(sides: TwoSides) -> None:
    lonely = replace(sides.owned, people=np.arange(len(sides.own)))
    with pytest.raises(DataError, match="two films or more"):
        link(Support(), changed(sides.leak(codes_of("sca")), own_films=Holding(vars(lonely))))
