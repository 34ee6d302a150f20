"""Metrics against scikit-learn, literal loops and cases done by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, roc_auc_score, roc_curve

from fedcxr.errors import DataError
from fedcxr.metrics import auc, finding_aucs, retrieval, stratified_auc, verification

NAN = math.nan
Array = npt.NDArray[Any]
Classes = tuple[list[int], list[int]]
# Two small lists of whole-numbered scores: many ties, and both classes are there.
two_classes = st.tuples(*[st.lists(st.integers(-4, 4), min_size=1, max_size=20)] * 2)


def joined(genuine: Sequence[float] | Array, impostors: Sequence[float] | Array) -> tuple[Array, Array]:
    positive = np.repeat([True, False], [len(genuine), len(impostors)])
    return positive, np.concatenate([genuine, impostors]).astype(float)


# --- AUC


@pytest.mark.parametrize(
    ("positive", "scores", "expected"),
    [
        ([0, 1, 1], [1, 2, 3], 1.0),
        ([1, 0, 1], [1, 2, 3], 0.5),
        ([1, 0, 0], [2, 2, 1], 0.75),  # one win and one tie of two
        ([1, 0, 1], [7, 7, 7], 0.5),
    ],
)
def test_auc_by_hand(positive: list[int], scores: list[int], expected: float) -> None:
    assert auc(np.array(positive, bool), np.array(scores, float)) == expected


@pytest.mark.parametrize("positive", [[], [1, 1], [0, 0]])
def test_auc_of_one_class_is_unknown(positive: list[int]) -> None:
    assert math.isnan(auc(np.array(positive, bool), np.arange(len(positive), dtype=float)))


def test_auc_refuses_nan_and_unequal_lengths() -> None:
    with pytest.raises(DataError, match="1 NaN of 2"):
        auc(np.array([True, False]), np.array([0.0, NAN]))
    with pytest.raises(DataError, match="one score per item"):
        auc(np.array([True, False]), np.zeros(3))


def test_auc_orders_infinite_scores() -> None:
    assert auc(np.array([True, False]), np.array([np.inf, -np.inf])) == 1.0


@settings(deadline=None)
@given(two_classes)
def test_auc_is_that_of_scikit_learn(classes: Classes) -> None:
    positive, scores = joined(*classes)
    assert auc(positive, scores) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)


@settings(deadline=None)
@given(two_classes)
def test_auc_knows_only_the_order(classes: Classes) -> None:
    positive, scores = joined(*classes)
    assert auc(positive, np.exp(3 * scores) - 7) == auc(positive, scores)


@settings(deadline=None)
@given(two_classes)
def test_auc_flips_with_the_scores_and_with_the_classes(classes: Classes) -> None:
    positive, scores = joined(*classes)
    assert auc(positive, -scores) == pytest.approx(1 - auc(positive, scores), abs=1e-12)
    assert auc(~positive, scores) == pytest.approx(1 - auc(positive, scores), abs=1e-12)


def test_strata_are_never_compared_with_each_other() -> None:
    positive = np.array([True, False, True, False, False, True])
    scores = np.array([0.2, 0.1, 9.0, 9.5, 8.0, 0.0])
    strata = np.array([0, 0, 1, 1, 1, 2])  # one of one right, one of two right, nothing to compare
    assert stratified_auc(positive, scores, strata) == pytest.approx(2 / 3)
    assert stratified_auc(positive, scores, np.zeros(6)) == auc(positive, scores)
    assert math.isnan(stratified_auc(positive, scores, np.arange(6)))
    with pytest.raises(DataError, match="one stratum per item"):
        stratified_auc(positive, scores, strata[1:])


# --- findings


def test_finding_aucs_by_hand() -> None:
    labels = np.array([[0, 1, 1], [0, 0, NAN], [1, NAN, NAN], [1, 0, 0]])
    scores = np.array([[1, 5, 1], [3, 4, 1], [2, 9, 1], [4, 5, 1]], float)
    result = finding_aucs(labels, scores, ["Mass", "Edema", "Hernia"], min_positives=1)
    assert result.per_finding == {"Mass": 0.75, "Edema": 0.75, "Hernia": 0.5}
    assert result.mean_auc == pytest.approx(2 / 3)
    assert result.skipped == ()


@pytest.mark.parametrize("rare", [0.0, 1.0])
def test_rare_findings_are_skipped_on_either_side_and_not_zero(rare: float) -> None:
    labels = np.tile([0.0, 1.0], 10)[:, None].repeat(2, axis=1)
    labels[:, 1] = 1 - rare
    labels[:4, 1] = rare
    scores = np.arange(40.0).reshape(20, 2)
    result = finding_aucs(labels, scores, ["Mass", "Hernia"])
    assert result.skipped == ("Hernia",)
    assert result.per_finding["Hernia"] is None
    assert result.mean_auc == result.per_finding["Mass"] == roc_auc_score(labels[:, 0], scores[:, 0])
    assert finding_aucs(labels, scores, ["Mass", "Hernia"], min_positives=4).skipped == ()


def test_nothing_to_score_is_unknown() -> None:
    result = finding_aucs(np.full((9, 1), NAN), np.zeros((9, 1)), ["Mass"], min_positives=0)
    assert (result.mean_auc, result.per_finding, result.skipped) == (None, {"Mass": None}, ("Mass",))


def test_finding_aucs_refuses_odd_labels_and_shapes() -> None:
    with pytest.raises(DataError, match=r"given: -1\.0"):
        finding_aucs(np.array([[-1.0], [1.0]]), np.zeros((2, 1)), ["Mass"])
    with pytest.raises(DataError, match="2 names"):
        finding_aucs(np.zeros((2, 1)), np.zeros((2, 1)), ["Mass", "Edema"])


# --- verification


def test_verification_by_hand() -> None:
    report = verification(np.array([3.0, 2.0, 0.0]), np.array([1.0, -1.0, -2.0, -3.0, 2.0, -4.0]), threshold=2.0)
    # 2 of 3 genuine pairs and 1 of 6 impostors are at least 2; balanced, that is 4 and 1 of 6.
    assert report.recall == pytest.approx(4 / 6)
    assert report.precision == pytest.approx(4 / 5)
    assert report.f1 == pytest.approx(8 / 11)
    assert report.accuracy == pytest.approx(9 / 12)
    assert report.auc == pytest.approx((6 + 5.5 + 4) / 18)
    assert (report.genuine, report.impostors, report.threshold) == (3, 6, 2.0)
    assert report.tpr_at_fpr == {"0.01": None, "0.001": None}


@settings(deadline=None)
@given(two_classes, st.integers(-4, 4))
def test_figures_at_a_threshold_are_those_of_scikit_learn_with_balanced_weights(
    classes: Classes, threshold: int
) -> None:
    genuine, impostors = (np.array(c, float) for c in classes)
    positive, scores = joined(genuine, impostors)
    called = scores >= threshold
    weights = np.where(positive, 1 / len(genuine), 1 / len(impostors))
    report = verification(genuine, impostors, threshold)
    assert report.accuracy == pytest.approx(np.average(called == positive, weights=weights))
    assert report.f1 == pytest.approx(f1_score(positive, called, sample_weight=weights))
    if called.any():
        assert report.precision == pytest.approx(precision_score(positive, called, sample_weight=weights))
    else:
        assert report.precision is None


@settings(deadline=None)
@given(two_classes)
def test_equal_error_rate_lies_on_the_curve_of_scikit_learn(classes: Classes) -> None:
    genuine, impostors = (np.array(c, float) for c in classes)
    fpr, tpr, _ = roc_curve(*joined(genuine, impostors), drop_intermediate=False)
    eer = verification(genuine, impostors).eer
    assert eer is not None
    distance = min(  # of (eer, 1 - eer) to the straight pieces of the curve
        abs((1 - eer - y0) * (x1 - x0) - (eer - x0) * (y1 - y0))
        for (x0, y0), (x1, y1) in itertools.pairwise(zip(fpr, tpr, strict=True))
        if x0 - 1e-9 <= eer <= x1 + 1e-9 and y0 - 1e-9 <= 1 - eer <= y1 + 1e-9
    )
    assert distance < 1e-9


def test_equal_error_rate_of_two_gaussians() -> None:
    rng = np.random.default_rng(3)
    report = verification(rng.normal(2, 1, 40_000), rng.normal(0, 1, 40_000))
    assert report.eer == pytest.approx(0.1587, abs=0.005)  # the normal tail beyond one


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([100, 999, 1000, 2500]), st.sampled_from([1, 30]))
def test_tpr_at_fpr_is_the_best_operating_point_within_the_target(seed: int, impostors: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    same = np.round(rng.normal(2, 1, 200) * steps) / steps  # coarse steps tie a lot
    other = np.round(rng.normal(0, 1, impostors) * steps) / steps
    report = verification(same, other)
    fpr, tpr, _ = roc_curve(*joined(same, other), drop_intermediate=False)
    for target, value in report.tpr_at_fpr.items():
        if impostors < round(1 / float(target)):
            assert value is None
        else:
            assert value == pytest.approx(tpr[fpr <= float(target) + 1e-12].max())
            point = report.at_fpr[target]
            assert point is not None
            assert (point.true_positives, point.false_positives) == (
                (same > point.above).sum(),
                (other > point.above).sum(),
            )
            assert (point.tpr, point.fpr) == (point.true_positives / 200, point.false_positives / impostors)
            assert point.ties == (same == point.above).sum() + (other == point.above).sum()
            assert point.fpr <= float(target) < point.fpr + (other == point.above).mean() + 1e-9  # no more will do


def test_without_pairs_of_one_kind_everything_is_unknown() -> None:
    for genuine, impostors in ([np.zeros(0), np.zeros(3)], [np.zeros(3), np.zeros(0)]):
        report = dataclasses.asdict(verification(genuine, impostors, 0.5))
        known = {name for name, value in report.items() if value is not None}
        assert known == {"genuine", "impostors", "threshold", "at_fpr"}
        assert set(report["at_fpr"].values()) == {None}


def test_without_a_threshold_only_its_figures_are_unknown() -> None:
    report = verification(np.array([1.0]), np.array([0.0]))
    assert (report.auc, report.eer) == (1.0, 0.0)
    assert report.accuracy is report.f1 is report.precision is report.recall is None


def test_reports_are_plain_json() -> None:
    single = np.arange(3, dtype=np.float32)
    report = dataclasses.asdict(verification(single, single, 1.0))
    found = dataclasses.asdict(retrieval(np.eye(3, dtype=np.float32), single, single))
    aucs = dataclasses.asdict(finding_aucs(np.eye(3, dtype=np.float32), np.eye(3), list("abc"), 1))
    assert json.loads(json.dumps([report, found, aucs])) == [report, found, {**aucs, "skipped": []}]


# --- retrieval


def literal_retrieval(
    scores: Array, queries: Sequence[Any] | Array, gallery: Array, excluded: Array
) -> tuple[float, float, int]:
    """By the textbook, for scores without ties."""
    firsts, averages = [], []
    for q in range(len(queries)):
        allowed = [g for g in range(len(gallery)) if not excluded[q, g]]
        ranked = sorted(allowed, key=lambda g: -scores[q, g])
        relevant = [gallery[g] == queries[q] for g in ranked]
        r = sum(relevant)
        if r:
            firsts.append(relevant[0])
            averages.append(sum(sum(relevant[: k + 1]) / (k + 1) for k in range(r) if relevant[k]) / r)
    return float(np.mean(firsts)), float(np.mean(averages)), len(firsts)


def test_retrieval_by_hand() -> None:
    scores = np.array([[9, 1, 5, 3], [4, 3, 2, 1], [1, 2, 3, 4]], float)
    report = retrieval(scores, np.array(["a", "b", "z"]), np.array(["a", "b", "c", "a"]))
    # a: ranks a c a b, R = 2, (1/1 + 0) / 2; b: ranks a b, R = 1, nothing at 1; z: no mate.
    assert (report.rank1, report.map_at_r, report.queries, report.skipped) == (0.5, 0.25, 2, 1)
    assert report.precision_at_1 == report.rank1


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(2, 15), st.integers(1, 6))
def test_retrieval_is_that_of_a_literal_loop(seed: int, queries: int, gallery: int, patients: int) -> None:
    rng = np.random.default_rng(seed)
    q, g = rng.integers(patients, size=queries), rng.integers(patients, size=gallery)
    q[0], g[0] = 0, 0
    scores = rng.permutation(queries * gallery).reshape(queries, gallery).astype(float)
    excluded = rng.random((queries, gallery)) < 0.2
    excluded[0, 0] = False
    report = retrieval(scores, q.astype(str).astype(object), g.astype(str).astype(object), excluded)
    assert (report.rank1, report.map_at_r, report.queries) == pytest.approx(literal_retrieval(scores, q, g, excluded))
    assert report.skipped == queries - report.queries


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=5))
def test_ties_give_the_mean_over_all_their_orders(films: list[tuple[int, bool]]) -> None:
    scores = np.array([[score for score, _ in films]], float)
    gallery = np.array([mate for _, mate in films] + [True])
    scores = np.append(scores, [[1.0]], axis=1)
    nothing = np.zeros(scores.shape, bool)
    orders = [
        literal_retrieval(scores + 1e-3 * np.array(order), [True], gallery, nothing)
        for order in itertools.permutations(range(len(gallery)))
    ]
    report = retrieval(scores, np.array([True]), gallery)
    assert (report.rank1, report.map_at_r, 1) == pytest.approx(np.mean(orders, axis=0))


def test_self_matches_do_not_count() -> None:
    patients = np.array(["a", "a", "b", "c"])
    report = retrieval(np.eye(4), patients, patients, excluded=np.eye(4, dtype=bool))
    assert (report.queries, report.skipped) == (2, 2)
    assert report.rank1 == pytest.approx(1 / 3)  # chance: the films left all score 0


def test_no_mates_at_all_is_unknown() -> None:
    report = retrieval(np.zeros((2, 1)), np.array([1, 2]), np.array([3]))
    assert dataclasses.astuple(report) == (None, None, None, 0, 2)


def test_retrieval_refuses_shapes_that_disagree() -> None:
    with pytest.raises(DataError, match=r"\(2, 1\), \(2, 2\)"):
        retrieval(np.zeros((2, 1)), np.array([1, 2]), np.array([3, 3]))
