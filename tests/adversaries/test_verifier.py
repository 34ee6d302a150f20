"""The verifier on toy people: everyone is a pattern of blobs, and a film shows it shifted and a little noisy."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from holdings import changed, leak, open_view

from fedcxr.adversaries import Leak
from fedcxr.adversaries._examination import with_held_out
from fedcxr.adversaries._sampler import OwnPairSampler
from fedcxr.adversaries.verifier import Attacker, Verifier
from fedcxr.errors import ConfigError, DataError
from fedcxr.knowledge import Holding
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods.noise import Noise
from fedcxr.methods.none import Unprotected
from fedcxr.questions._rising import effortless
from fedcxr.rng import stream
from fedcxr.training.compute import Compute
from fedcxr.view import Weights

FP32 = Compute.choose("cpu", "fp32")
PARTS = ("own", "released", "known")  # whose sex and age may be told
TOY = Verifier(
    attackers=("naive", "retrained"), width=4, dimensions=16, people=16, steps_clean=120, steps_retrain=200, shift=1
)


def ignore(stage: str, step: int, steps: int) -> None:
    pass


def films_of(people: int, each: int, seed: int) -> np.ndarray:  # (people * each, 16, 16), a person's side by side
    rng = stream(seed, "toy people")
    patterns = np.kron(rng.random((people, 4, 4)), np.ones((4, 4)))
    films = np.repeat(patterns, each, axis=0) * 200 + rng.normal(0, 12, size=(people * each, 16, 16))
    return np.clip(films + 25, 0, 255).astype(np.uint8)


def leak_of(method: Noise | Unprotected) -> Leak:
    people = np.repeat(np.arange(100), 3)
    own = Owned(films_of(100, 3, seed=1), people, people % 2, people >= 90)
    attacked = films_of(40, 2, seed=2)
    return leak(open_view(method.protect(attacked[::2], stream(3))), own, attacked[1::2], method)


def with_few(given: Leak) -> Leak:
    """Fewer people of one's own, none of them held out."""
    return changed(given, own_films=Holding(vars(given.own.take(np.flatnonzero(given.own.people < 40)))))


def link(attacker: Verifier, given: Leak, prepared: Weights) -> dict[str, np.ndarray]:
    """Every attacker's scores."""
    answers = attacker.answer("linkage", given, prepared, 1, FP32, ignore)
    return {name: answer["scores"] for name, answer in answers.items()}


def auc(scores: np.ndarray) -> float:
    """Partners are on the diagonal."""
    same = np.eye(len(scores), dtype=bool)
    return float((scores[same][:, None] > scores[~same][None]).mean())


@pytest.fixture(scope="module")
def prepared() -> Weights:
    return TOY.prepare(leak_of(Unprotected()).own, 1, FP32, ignore)


def test_clean_films_are_matched_and_strong_noise_only_by_the_retrained(prepared: Weights) -> None:
    naive_only = TOY.model_copy(update={"attackers": ("naive",)})
    clean = link(naive_only, leak_of(Unprotected()), prepared)
    noisy = link(TOY, leak_of(Noise(scale=0.4)), prepared)
    assert list(clean) == ["naive"]
    assert list(noisy) == ["naive", "retrained"]
    assert noisy["naive"].shape == (40, 40)
    assert noisy["naive"].dtype == np.float32
    assert auc(clean["naive"]) > 0.95
    assert auc(noisy["retrained"]) > auc(noisy["naive"]) + 0.05
    assert auc(noisy["retrained"]) > 0.8


def test_shuffled_identities_leave_the_attack_at_chance() -> None:
    given = leak_of(Unprotected())
    own = replace(given.own, people=stream(7).permutation(given.own.people))
    attacker = TOY.model_copy(update={"attackers": ("naive",), "steps_clean": 60})
    weights = attacker.prepare(own, 1, FP32, ignore)
    # Untrained, pixels alone match toy people: what training on nonsense must not do is to learn from it.
    strangers = leak(open_view(films_of(40, 1, seed=21)), own, films_of(40, 1, seed=22), Unprotected())
    assert 0.35 < auc(link(attacker, strangers, weights)["naive"]) < 0.65


def test_the_same_seed_attacks_the_same(prepared: Weights) -> None:
    short = TOY.model_copy(update={"steps_clean": 3, "steps_retrain": 3})
    given = leak_of(Noise())
    runs = [short.prepare(given.own, seed, FP32, ignore) for seed in (1, 1, 2)]
    assert all(np.array_equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert not all(np.array_equal(runs[0][name], runs[2][name]) for name in runs[0])
    first, second = (link(short, given, prepared)["retrained"] for _ in range(2))
    assert np.array_equal(first, second)


def test_a_second_seed_is_told_beside_the_first_and_changes_nothing_of_it() -> None:
    attackers, given = ("naive", "retrained", "fused", "linear"), with_few(leak_of(Noise()))
    once = TOY.model_copy(update={"attackers": attackers, "steps_clean": 3, "steps_retrain": 3})
    one, two = (
        attacker.answer("linkage", given, attacker.prepare(given.own, 1, FP32, ignore), 1, FP32, ignore)
        for attacker in (once, once.model_copy(update={"runs": 2}))
    )
    for attacker in ("naive", "retrained", "fused"):
        again = two[attacker]["scores again"]
        assert np.isfinite(again).all()
        assert not np.allclose(again, two[attacker]["scores"])
    assert "scores again" not in two["linear"]  # which is the same whatever its seed
    for attacker, answer in one.items():
        assert all(np.array_equal(array, two[attacker][part], equal_nan=True) for part, array in answer.items())


def test_films_released_several_times_are_seen_through_their_mean() -> None:
    method, linear = Noise(scale=3.0), TOY.model_copy(update={"attackers": ("linear",)})
    given, attacked = leak_of(method), films_of(40, 2, seed=2)[::2]
    again = np.stack([method.protect(attacked, stream(number)) for number in range(4, 10)])
    often = changed(given, releases=Holding({"films": again}))
    assert auc(link(linear, often, {})["linear"]) > auc(link(linear, given, {})["linear"]) + 0.1
    same = changed(given, releases=Holding({"films": given.view.forms["films"][None]}))
    assert np.array_equal(link(linear, same, {})["linear"], link(linear, given, {})["linear"])


def test_sex_and_age_are_compared_where_they_are_told() -> None:
    method, fused = Noise(scale=3.0), TOY.model_copy(update={"attackers": ("fused",), "steps_clean": 3})
    given, fused = with_few(leak_of(method)), fused.model_copy(update={"steps_retrain": 3})
    told: dict[str, np.ndarray] = {}
    for part, people, each in zip(PARTS, (40, 40, 40), (3, 1, 1), strict=True):
        rng = stream(1, "told", "own" if part == "own" else "attacked")
        sex, age = rng.integers(2, size=people), rng.integers(20, 90, size=people)
        told |= {f"{part} sex": np.repeat(sex, each).astype(np.float32), f"{part} age": np.repeat(age, each) + 0.0}
    knowing = changed(given, demographics=Holding(told))
    prepared = fused.prepare(given.own, 1, FP32, ignore)
    assert auc(link(fused, given, prepared)["fused"]) < 0.8
    assert auc(link(fused, knowing, prepared)["fused"]) > 0.95


def test_where_all_releases_look_the_same_nobody_trains_and_every_pair_gets_the_same_score() -> None:
    given, every = leak_of(Noise()), Verifier(attackers=get_args(Attacker))
    same = np.repeat(films_of(1, 1, seed=2), 40, axis=0)
    alike = replace(given, view=open_view(same))
    found = link(every, alike, {})  # nothing was prepared, so that nobody could have gone on from it
    assert list(found) == list(every.attackers)
    assert all(scores.shape == (40, 40) and not scores.any() for scores in found.values())
    assert all(effortless(answer) for answer in every.answer("linkage", alike, {}, 1, FP32, ignore).values())
    same[0, 0, 0] ^= 1
    almost = every._case(replace(given, view=open_view(same)), False, 1, FP32, ignore)
    told = {f"{part} {what}": np.zeros(300 if part == "own" else 40) for part in PARTS for what in ("sex", "age")}
    knowing = every._case(changed(alike, demographics=Holding(told)), False, 1, FP32, ignore)
    alone = every._case(leak(open_view(same[1:2]), given.own, given.known, Noise()), False, 1, FP32, ignore)
    assert [case.all_alike for case in (almost, knowing, alone)] == [False] * 3


def test_every_attacker_tells_what_it_is_to_tell(prepared: Weights) -> None:
    given = leak_of(Noise(scale=0.3))
    short = {"steps_clean": 100, "steps_retrain": 100, "steps_restore": 10, "pairs_paper": 32}
    attackers = ("naive", "retrained", "fused", "linear", "restored", "paper")
    every = TOY.model_copy(update={"attackers": attackers, "runs_paper": 2, **short})
    answers = every.answer("linkage", given, every.prepare(given.own, 1, FP32, ignore), 1, FP32, ignore)
    figures = {attacker: auc(answer["scores"]) for attacker, answer in answers.items()}
    assert list(figures) == [*every.attackers, "paper-2"]
    assert (answers["paper"]["scores"] != answers["paper-2"]["scores"]).any()
    assert figures["fused"] > figures["naive"] - 0.02
    assert figures["fused"] > 0.9
    assert figures["linear"] > 0.9
    for attacker in ("linear", "paper", "paper-2"):
        assert list(answers[attacker]) == [
            "scores"
        ]  # the one is not trained, and the other's ends by a rule of its own
    for attacker in ("naive", "retrained", "fused", "restored"):
        answer = answers[attacker]
        assert answer["scores at 1/2"].shape == answer["scores"].shape
        assert answer["held_out"].shape == (7,)
        assert np.isnan(answer["held_out"][:5]).all()
        assert (answer["held_out"][5:] > 0.6).all()
    assert {int(answers[attacker]["steps"]) for attacker in ("naive", "retrained", "fused")} == {100}


def test_parts_are_registered_without_learning_and_without_the_mechanism() -> None:
    who = TOY.model_copy(update={"attackers": ("registered",)})
    given, same = changed(leak_of(Noise(scale=0.1)), mechanism=None), np.eye(40, dtype=bool)
    scores = link(who, given, {})["registered"]
    assert auc(scores) > 0.95
    # Above 0 is rather one person than two.
    assert (scores[same] > 0).mean() > 0.6
    assert (scores[~same] > 0).mean() < 0.2
    nobody = changed(given, own_films=Holding(vars(given.own.take(np.array([0])))))
    assert auc(link(who, nobody, {})["registered"]) == auc(scores)


def test_releases_are_linked_with_each_other(prepared: Weights) -> None:
    method, people = Noise(scale=0.3), films_of(40, 2, seed=2)
    own = leak_of(method).own
    given = changed(leak(open_view(method.protect(people, stream(3))), own, people, method), known_films=None)
    answers = TOY.model_copy(update={"steps_retrain": 100}).answer("inner_linkage", given, prepared, 1, FP32, ignore)
    scores = answers["retrained"]["scores"]
    assert scores.shape == (80, 80)
    assert auc(scores[::2, 1::2]) > 0.85


def test_own_people_are_held_out_where_nobody_is_and_so_many_can_be_spared() -> None:
    own = leak_of(Noise()).own
    nobody = replace(own, held_out=np.zeros_like(own.held_out))
    held = with_held_out(nobody)
    assert len(np.unique(held.people[held.held_out])) == 10
    assert not np.isin(held.people[held.held_out], held.people[~held.held_out]).any()
    assert np.array_equal(held.held_out, with_held_out(nobody).held_out)
    assert with_held_out(own) is own
    few = nobody.take(np.flatnonzero(nobody.people < 40))
    assert not with_held_out(few).held_out.any()


def test_without_people_to_judge_nothing_stops_early(prepared: Weights) -> None:
    given = with_few(leak_of(Unprotected()))
    short = TOY.model_copy(update={"steps_clean": 3, "steps_retrain": 100})
    weights = short.prepare(given.own, 1, FP32, ignore)
    answers = short.answer("linkage", given, weights, 1, FP32, ignore)
    assert np.isnan(answers["retrained"]["held_out"]).all()


def test_a_larger_budget_is_a_longer_run() -> None:
    given = leak_of(Noise())
    twice = TOY.model_copy(update={"steps_clean": 4, "budget": 2.5})
    assert {name.partition("/")[0] for name in twice.prepare(given.own, 1, FP32, ignore)} == {"10"}


def test_retraining_without_the_mechanism_is_refused(prepared: Weights) -> None:
    given = changed(leak_of(Noise()), mechanism=None)
    with pytest.raises(ConfigError, match=r"must be granted the method.*attackers to \[naive\]"):
        link(TOY, given, prepared)
    assert list(link(TOY.model_copy(update={"attackers": ("naive",)}), given, prepared)) == ["naive"]


def test_each_film_is_protected_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    protect = Noise.protect

    def watched(
        noise: Noise, films: np.ndarray, rng: np.random.Generator, marks: np.ndarray | None = None
    ) -> np.ndarray:
        protected = protect(noise, films, rng, marks)
        seen.extend(film.tobytes() for film in protected)
        return protected

    given = leak_of(Noise())
    monkeypatch.setattr(Noise, "protect", watched)
    short = TOY.model_copy(update={"steps_clean": 1, "steps_retrain": 20, "people": 30})
    link(short, given, short.prepare(given.own, 1, FP32, ignore))
    assert len(seen) == len(set(seen)) == 20 * 30 + 10 * 3  # of its own held-out people it looks at each film once


def album(people: list[int], sources: list[int], held_out: list[bool]) -> OwnPairSampler:
    films = np.zeros((len(people), 4, 4), dtype=np.uint8)
    return OwnPairSampler.owned(Owned(films, np.array(people), np.array(sources), np.array(held_out)))


def test_pairs_are_two_films_of_one_person_and_never_of_the_held_out() -> None:
    people = [5, 7, 5, 9, 7, 5, 3, 9, 8]
    book = album(people, [0] * 9, [person == 9 for person in people])
    rng = stream(1)
    for _ in range(50):
        first, second = book.draw(10, 0.5, rng)
        assert sorted(people[row] for row in first) == [5, 7]
        assert [people[row] for row in first] == [people[row] for row in second]
        assert (first != second).all()


def test_people_with_one_film_take_part_as_often_as_asked_with_that_film_twice() -> None:
    people = [0, 0, 1, 1, *range(2, 42)]
    book, rng = album(people, [0] * 44, [False] * 44), stream(1)
    drawn = [book.draw(50, 0.0, rng, lone=0.3) for _ in range(100)]
    alone = [[row for row in first if people[row] > 1] for first, _ in drawn]
    assert 10 < np.mean([len(rows) for rows in alone]) < 14
    for first, second in drawn:
        assert [people[row] for row in first] == [people[row] for row in second]
        assert all((x == y) == (people[x] > 1) for x, y in zip(first, second, strict=True))


def test_a_batch_comes_from_one_hospital_when_asked() -> None:
    people = np.repeat(np.arange(20), 2).tolist()
    book = album(people, [person % 2 for person in people], [False] * 40)
    rng = stream(1)
    local = [{people[row] % 2 for row in book.draw(6, 1.0, rng)[0]} for _ in range(20)]
    mixed = [{people[row] % 2 for row in book.draw(6, 0.0, rng)[0]} for _ in range(20)]
    assert {len(hospitals) for hospitals in local} == {1}
    assert {0, 1} in mixed


def test_people_with_one_film_each_cannot_teach_a_verifier() -> None:
    with pytest.raises(DataError, match="two films or more"):
        album([1, 2, 3], [0, 0, 0], [False] * 3)


@pytest.mark.parametrize("module", ["fedcxr.adversaries.verifier", "fedcxr.tasks.findings"])
def test_checking_a_scenario_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_briefly_is_the_same_attack_with_fewer_steps() -> None:
    attacker = Verifier(width=8, steps_clean=5, budget=3.0)
    brief = attacker.on_smoke_budget()
    assert brief.steps_clean == 5
    assert brief.steps_retrain < attacker.steps_retrain
    longer = ("steps_retrain", "steps_restore", "pairs_paper", "budget")
    assert brief.model_copy(update={name: getattr(attacker, name) for name in longer}) == attacker
