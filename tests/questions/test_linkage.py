"""Linkage against a case done by hand: three attacked films, three known ones, one of each patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from consortium import Consortium
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from worlds import check_ranges, plain

from fedcxr.metrics import auc
from fedcxr.questions import Heard
from fedcxr.questions._pairs import Baselines, ScoredPairs
from fedcxr.questions._scoring import CHANCE_MAY_MISS_BY, _doubts, interval
from fedcxr.questions.linkage import Linkage, label_floor

A, B, C = "anna", "bert", "cleo"
LABELS = np.array([[1, 0], [0, 1], [0, 0]], dtype=np.float32)

# Rows: attacked films of anna, bert, cleo; columns: known films of anna, bert, cleo.
SCORES = np.array([[3.0, 1.0, -1.0], [2.0, 0.5, -2.0], [-3.0, -4.0, 1.0]], dtype=np.float32)


def pairs_of(patients: list[str], known: list[str], sources: list[str], known_sources: list[str]) -> ScoredPairs:
    def texts(values: list[str]) -> np.ndarray:
        return np.array(values, dtype=object)

    labels = np.zeros((len(patients), 2), dtype=np.float32)
    known_labels = np.zeros((len(known), 2), dtype=np.float32)
    sites = texts([f"site-{source[1:]}" for source in sources])
    return ScoredPairs(texts(patients), texts(known), sites, texts(sources), texts(known_sources), labels, known_labels)


PAIRS = pairs_of([A, B, C], [A, B, C], ["s1", "s1", "s2"], ["s1", "s1", "s2"])


def in_another_world(pairs: ScoredPairs, seed: int = 0) -> ScoredPairs:
    """The same films with everybody's identity drawn by lot."""
    everyone = np.random.default_rng(seed).permutation(np.concatenate([pairs.patients, pairs.known_patients]))
    n = len(pairs.patients)
    return replace(pairs, patients=everyone[:n], known_patients=everyone[n:])


def scored(
    protected: np.ndarray = SCORES,
    raw: np.ndarray = SCORES,
    shuffled: np.ndarray = SCORES,
    pairs: ScoredPairs = PAIRS,
    world: ScoredPairs | None = None,
) -> dict[str, Any]:
    heard = {
        "protected": Heard(pairs, {"naive": {"scores": protected}}, 1.0),
        "control_raw": Heard(pairs, {"naive": {"scores": raw}}, 2.0),
        "control_shuffled": Heard(world or in_another_world(pairs), {"naive": {"scores": shuffled}}, 0.25),
    }
    [entry] = Linkage().score(heard, seed=0)
    return entry


def test_by_hand() -> None:
    entry = scored()
    # Genuine 3, .5, 1; impostors 1, -1, 2, -2, -3, -4. Won: 6 + 4 + (4 + half a tie) of 18.
    assert entry["auc"]["value"] == pytest.approx(14.5 / 18)
    # Said "same" (0 or more): all 3 genuine and the impostors 1 and 2, which is 2 of 6. Balanced, as in the papers:
    assert entry["recall"] == 1.0
    assert entry["accuracy"] == pytest.approx((1 + 4 / 6) / 2)
    assert entry["precision"] == pytest.approx(1 / (1 + 2 / 6))
    assert entry["f1"] == pytest.approx(2 * 0.75 / 1.75)
    # Six impostors cannot show a rate of one in a hundred.
    assert entry["tpr_at_fpr"] == {"0.01": None, "0.001": None}
    # Same source: only anna against bert, scores 1 and 2. Won: 2 + 0 + half a tie, of 6.
    assert entry["same_site_auc"] == pytest.approx(2.5 / 6)
    # Anna's and bert's films against all: 3 and .5 against 1, -1, 2, -2. Cleo's film: 1 against -3 and -4.
    assert entry["by_site"] == {"site-1": pytest.approx((4 + 2) / 8), "site-2": 1.0}
    # Bert's nearest is anna.
    assert entry["rank1"] == entry["precision_at_1"] == entry["map_at_r"] == pytest.approx(2 / 3)
    assert entry["pairs"] == {"genuine": 3, "impostor": 6, "queries": 3}
    assert (entry["attacker"], entry["seconds"]) == ("naive", 3.25)
    assert entry["control_raw_auc"] == entry["auc"]["value"]


def test_who_is_who_and_where() -> None:
    assert PAIRS.genuine.tolist() == np.eye(3, dtype=bool).tolist()
    assert PAIRS.same_source.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_each_leak_is_read_for_its_own_figure() -> None:
    entry = scored(protected=SCORES, raw=np.eye(3, dtype=np.float32), shuffled=-SCORES)
    assert entry["auc"]["value"] == pytest.approx(14.5 / 18)
    assert entry["control_raw_auc"] == 1.0
    assert entry["control_shuffled_auc"] != pytest.approx(entry["auc"]["value"])


def test_a_site_without_a_second_patient_has_no_same_site_figure() -> None:
    apart = pairs_of([A, B, C], [A, B, C], ["s1", "s2", "s3"], ["s1", "s2", "s3"])
    assert scored(pairs=apart)["same_site_auc"] is None


# What people are shown ------------------------------------------------------------------------------------------------


def shown(lower_bound: bool, **changes: Any) -> list[str]:
    entry = {"question": "linkage", "adversary": "verifier", **scored(), "conclusive": True, **changes}
    worst = {"question": "linkage", "adversary": "verifier", "attacker": "naive", "lower_bound": lower_bound}
    told = Linkage().table([entry], {"worst_case": worst, "label_floor": None})
    [row] = told.rows
    return [row.about, row.cells[0], row.doubt]


def test_a_worst_case_that_is_a_lower_bound_is_at_least_that() -> None:
    assert shown(lower_bound=True) == ["verifier, naive (worst case)", "at least 0.806", ""]
    assert shown(lower_bound=False) == ["verifier, naive (worst case)", "0.806", ""]


def test_a_figure_that_proves_nothing_is_not_called_the_worst_case() -> None:
    assert shown(lower_bound=True, conclusive=False) == ["verifier, naive", "0.806", "inconclusive"]


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"conclusive": False}, "inconclusive"),
        ({"converged": False}, "still rising"),
        ({"curve": [{}, {}]}, "never rose"),
        ({"trust": {"reasons": ["its own validation still rises"]}}, "not trusted"),
        ({"conclusive": False, "converged": False}, "inconclusive, still rising"),
    ],
)
def test_doubts_stand_beside_the_figure(changes: dict[str, Any], doubt: str) -> None:
    assert shown(True, **changes)[2] == doubt


# The way there --------------------------------------------------------------------------------------------------------


def test_answers_along_the_way_and_from_another_seed_are_scored_as_the_last_one_is() -> None:
    better = np.eye(3, dtype=np.float32)
    answer = {"scores": better, "scores at 1/2": SCORES, "scores again": SCORES, "steps": np.array(10)}
    heard = {
        "protected": Heard(PAIRS, {"naive": answer}, 1.0),
        "control_raw": Heard(PAIRS, {"naive": {"scores": better}}, 1.0),
        "control_shuffled": Heard(in_another_world(PAIRS), {"naive": {"scores": better}}, 1.0),
    }
    [entry] = Linkage().score(heard, seed=0)
    assert [(rung["budget"], rung["auc"]) for rung in entry["curve"]] == [(5, pytest.approx(14.5 / 18)), (10, 1.0)]
    assert entry["converged"] is False
    assert entry["auc"]["runs"] == 2
    assert entry["auc"]["std"] == pytest.approx((1 - 14.5 / 18) / np.sqrt(2))
    assert entry["trust"]["seeds_agree"] is False


@settings(max_examples=20, deadline=None)
@given(
    hnp.arrays(np.float32, (3, 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)), st.booleans()
)
def test_any_finite_scores_make_an_entry_of_plain_figures(scores: np.ndarray, along_the_way: bool) -> None:
    """Also the largest there are, of which sums are none."""
    answer = {"scores": scores} | ({"scores at 1/2": -scores, "steps": np.array(2)} if along_the_way else {})
    heard = {world: Heard(PAIRS, {"naive": answer}, 1.0) for world in ("protected", "control_raw", "control_shuffled")}
    [entry] = Linkage().score(heard, seed=0)
    assert plain(entry)
    check_ranges(entry)


# Controls -------------------------------------------------------------------------------------------------------------


def crowd(patients: int = 200) -> tuple[ScoredPairs, np.ndarray]:
    """Many patients with one attacked and one known film, and scores that recognise nearly everybody."""
    names = [f"p{i}" for i in range(patients)]
    rng = np.random.default_rng(0)
    scores = (np.eye(patients) * 8 + rng.standard_normal((patients, patients))).astype(np.float32)
    return pairs_of(names, names, ["s"] * patients, ["s"] * patients), scores


def test_a_good_attack_with_good_controls_is_conclusive() -> None:
    pairs, scores = crowd()
    entry = scored(scores, scores, scores, pairs)
    assert entry["conclusive"] is True
    assert entry["inconclusive_because"] is None
    assert entry["auc"]["value"] > 0.99
    assert abs(entry["control_shuffled_auc"] - 0.5) <= CHANCE_MAY_MISS_BY


def test_an_attack_that_fails_on_unprotected_films_proves_nothing() -> None:
    pairs, scores = crowd()
    noise = np.random.default_rng(1).standard_normal(scores.shape).astype(np.float32)
    entry = scored(noise, noise, noise, pairs)
    assert entry["conclusive"] is False
    assert "on unprotected films it reaches 0." in entry["inconclusive_because"]
    assert "shuffled" not in entry["inconclusive_because"]


def test_a_shuffled_control_off_chance_is_doubted() -> None:
    pairs, scores = crowd()
    for off in (scores, -scores):
        entry = scored(scores, scores, off, pairs, world=pairs)  # a world where shuffling did not happen
        assert entry["conclusive"] is False
        assert "with shuffled identities it reaches" in entry["inconclusive_because"]
        assert "unprotected" not in entry["inconclusive_because"]


@pytest.mark.parametrize(
    ("raw", "chance", "doubts"),
    [
        (0.90, 0.5, 0),
        (1.0, 0.549, 0),
        (1.0, 0.451, 0),
        (0.899, 0.5, 1),
        (1.0, 0.551, 1),
        (1.0, 0.449, 1),
        (0.5, 0.9, 2),
        (None, 0.5, 1),
        (1.0, None, 1),
        (None, None, 2),
    ],
)
def test_where_doubt_begins(raw: float | None, chance: float | None, doubts: int) -> None:
    assert len(_doubts(raw, None, chance, None)) == doubts


def test_few_films_may_miss_chance_by_more() -> None:
    assert _doubts(1.0, None, 0.6, [0.45, 0.75]) == []
    assert len(_doubts(1.0, None, 0.6, [0.55, 0.65])) == 1


@pytest.mark.parametrize(("beats", "doubts"), [(True, 0), (False, 1), (None, 0)])
def test_who_sees_no_more_than_correlation_does_is_doubted(beats: bool | None, doubts: int) -> None:
    assert len(_doubts(0.95, beats, 0.5, None)) == doubts


# Intervals and the label floor ----------------------------------------------------------------------------------------


def test_intervals_hold_the_figure_and_repeat() -> None:
    pairs, _ = crowd(30)
    rng = np.random.default_rng(5)
    scores = (np.eye(30) * 1.5 + rng.standard_normal((30, 30))).astype(np.float32)
    value = scored(scores, scores, scores, pairs)["auc"]["value"]
    found = interval(scores, pairs, seed=0)
    assert found is not None
    low, high = found
    assert low < value < high
    assert 0.02 < high - low < 0.4
    assert interval(scores, pairs, seed=0) == found
    assert interval(scores, pairs, seed=1) != found


@pytest.fixture(scope="module")
def consortium(make_consortium: Callable[..., Consortium]) -> Consortium:
    return make_consortium(method="noise")


def test_without_adversaries_films_and_findings_tell_something(consortium: Consortium) -> None:
    """The correlation of pixels and the label floor are of the pairs that are asked about, unprotected."""
    one = consortium.put["linkage"]["protected"]
    pairs: ScoredPairs = one.asked.key
    simple = pairs.baselines
    assert isinstance(simple, Baselines)
    films = consortium.leak(world="control_raw").view.forms["films"], one.leak.known
    raw, known = (np.asarray(side, dtype=np.float64).reshape(len(side), -1) for side in films)
    np.testing.assert_allclose(simple.correlation, np.corrcoef(raw, known)[: len(raw), len(raw) :], atol=1e-5)
    floor = label_floor(pairs, seed=0)
    assert floor is not None
    assert floor["auc"]["value"] == auc(pairs.genuine.ravel(), simple.labels.ravel())
    assert floor == consortium.scenario.questions["linkage"].beside(pairs, consortium.world, one.roles)["label_floor"]
    assert simple.labels.std() > 0
    assert label_floor(replace(pairs, baselines=None), seed=0) is None


def test_an_entry_says_what_it_was_compared_with(consortium: Consortium) -> None:
    pairs: ScoredPairs = consortium.put["linkage"]["protected"].asked.key
    simple = pairs.baselines
    assert simple is not None
    told = scored(simple.correlation, simple.correlation, simple.correlation, pairs)["trust"]
    assert told["correlation_auc"] == auc(pairs.genuine.ravel(), simple.correlation.ravel())
    assert told["labels_auc"] == auc(pairs.genuine.ravel(), simple.labels.ravel())
    assert told["beats_correlation"] is False


# Who is asked about ---------------------------------------------------------------------------------------------------


def test_attacked_are_films_of_the_test_split_that_are_not_known(consortium: Consortium) -> None:
    put = consortium.put["linkage"]
    assert list(put) == ["protected", "control_raw", "control_shuffled"]
    test = set(np.flatnonzero(consortium.experiment.cohort.index["split"] == "test"))
    for one in put.values():
        table = consortium.threat.answers(consortium.shared, one.roles.attacked).table
        attacked, known = set(table["film"][table["attacked"]]), set(np.flatnonzero(one.roles.known))
        assert attacked == test - known
        assert attacked
        assert known


def test_what_is_seen_are_the_released_bytes_in_the_order_of_the_answers(consortium: Consortium) -> None:
    put, cohort = consortium.put["linkage"], consortium.experiment.cohort
    roles = put["protected"].roles
    table = consortium.threat.answers(consortium.shared, roles.attacked).table
    here = table["attacked"].to_numpy()
    released = np.concatenate([release.arrays["films"] for release in consortium.shared.releases])[here]
    originals = cohort.films(table["film"].to_numpy()[here])
    for world, seen in {"protected": released, "control_shuffled": released, "control_raw": originals}.items():
        np.testing.assert_array_equal(put[world].leak.view.forms["films"], seen)
        np.testing.assert_array_equal(put[world].leak.known, cohort.films(np.flatnonzero(roles.known)))


@pytest.mark.parametrize("world", ["protected", "control_raw", "control_shuffled"])
def test_the_key_names_every_row_and_column_of_the_scores(world: str, consortium: Consortium) -> None:
    one, index = consortium.put["linkage"][world], consortium.experiment.cohort.index
    pairs: ScoredPairs = one.asked.key
    table = consortium.threat.answers(consortium.shared, one.roles.attacked).table.query("attacked")
    assert one.asked.parts["scores"].shape == pairs.genuine.shape == (len(table), one.roles.known.sum())
    assert pairs.sites.tolist() == table["site"].tolist()
    assert pairs.sources.tolist() == table["source"].tolist()
    known = index[one.roles.known]
    assert pairs.known_sources.tolist() == known["source"].tolist()
    real = pairs.patients.tolist() == table["patient"].tolist(), pairs.known_patients.tolist() == [*known["patient"]]
    assert real == ((True, True) if world != "control_shuffled" else (False, False))
    findings = list(consortium.experiment.cohort.findings)
    np.testing.assert_array_equal(pairs.labels, index[findings].to_numpy(np.float32)[table["film"]])
    np.testing.assert_array_equal(pairs.known_labels, known[findings].to_numpy(np.float32))


def test_only_the_control_that_must_fail_is_tried_briefly(consortium: Consortium) -> None:
    on_smoke_budget = {world: one.setting.smoke for world, one in consortium.put["linkage"].items()}
    assert on_smoke_budget == {"protected": False, "control_raw": False, "control_shuffled": True}


def test_where_nobody_is_tested_nothing_is_asked(consortium: Consortium) -> None:
    nobody = np.zeros(len(consortium.experiment.cohort), dtype=bool)
    roles = replace(consortium.put["linkage"]["protected"].roles, attacked=nobody)
    assert Linkage().ask(consortium.world, roles, consortium.world.view(), {}) is None
