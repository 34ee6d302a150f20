"""Dealing patients to sites: everyone once, nobody at two sites unless asked, and the shares that were asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.cohort import FINDINGS
from fedcxr.errors import ConfigError, DataError
from fedcxr.partition import Partition, Rows, check_disjoint, deal, site_names

MakeTable = Callable[..., pd.DataFrame]


def homes(table: pd.DataFrame, dealt: dict[str, Rows]) -> pd.Series:
    """The sites of each patient, as sets."""
    site = pd.Series("", index=table.index)
    for name, rows in dealt.items():
        site.iloc[rows] = name
    return site.groupby(table["patient"]).agg(frozenset)


def several(table: pd.DataFrame) -> pd.Index:
    counts = table["patient"].value_counts()
    return counts.index[counts > 1]


@settings(max_examples=120)
@given(
    films_of=st.lists(st.integers(1, 6), min_size=1, max_size=30)
    | st.lists(st.integers(2, 6), min_size=20, max_size=30),
    sites=st.integers(1, 8),
    by=st.sampled_from(["source", "iid", "dirichlet"]),
    skew=st.sampled_from([0.0, 1.0, 5.0]),
    alpha=st.sampled_from([1e-3, 1.0, 1e6]),
    overlap=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 100),
)
def test_every_row_once_and_every_patient_at_home(
    make_table: MakeTable,
    films_of: list[int],
    sites: int,
    by: str,
    skew: float,
    alpha: float,
    overlap: float,
    seed: int,
) -> None:
    table = make_table(films_of, seed=seed, sources=sites).sample(frac=1, random_state=seed).reset_index(drop=True)
    partition = Partition.model_validate({"by": by, "quantity_skew": skew, "alpha": alpha, "patient_overlap": overlap})
    # Refused only for want of patients: few people, or shares so uneven that a site is left with nobody.
    may_fail = bool(sites > len(films_of) or by != "iid" or skew or (overlap and sites == 1))
    try:
        dealt = deal(table, FINDINGS, sites, partition, seed)
    except ConfigError:
        if may_fail:
            return
        raise
    assert list(dealt) == list(site_names(sites))
    assert np.sort(np.concatenate(list(dealt.values()))).tolist() == list(range(len(table)))
    assert all((np.diff(rows) > 0).all() for rows in dealt.values())
    assert all(len(rows) for rows in dealt.values())
    places = homes(table, dealt).map(len)
    if overlap and by != "source":
        travellers = places.index[places > 1]
        assert (places <= 2).all()
        assert set(travellers) <= set(several(table))
        assert len(travellers) == round(overlap * len(several(table)))
    else:
        assert (places == 1).all()
    again = deal(table, FINDINGS, sites, partition, seed)
    assert all(np.array_equal(dealt[name], again[name]) for name in dealt)


def test_another_seed_deals_otherwise(make_table: MakeTable) -> None:
    table = make_table((2,) * 30)
    one, other = (deal(table, FINDINGS, 3, Partition(by="iid"), seed)["site-1"] for seed in (0, 1))
    assert one.tolist() != other.tolist()


def test_dealing_does_not_depend_on_the_order_of_the_table(make_table: MakeTable) -> None:
    table = make_table((2,) * 30)
    turned = table.iloc[::-1].reset_index(drop=True)
    partition = Partition(by="dirichlet", patient_overlap=0.5)
    one, other = (homes(t, deal(t, FINDINGS, 4, partition, 3)) for t in (table, turned))
    pd.testing.assert_series_equal(one, other)


@pytest.mark.parametrize("sites", [1, 7, 40])
def test_sites_are_of_equal_size_without_skew(make_table: MakeTable, sites: int) -> None:
    table = make_table((1,) * 40)
    sizes = [len(rows) for rows in deal(table, FINDINGS, sites, Partition(by="iid"), 0).values()]
    assert max(sizes) - min(sizes) <= 1


def test_quantity_skew_spreads_the_sizes(make_table: MakeTable) -> None:
    table = make_table((1,) * 1000)

    def spread(skew: float) -> float:
        dealt = [deal(table, FINDINGS, 6, Partition(by="iid", quantity_skew=skew), seed) for seed in range(5)]
        return float(np.mean([np.log([len(rows) for rows in d.values()]).std() for d in dealt]))

    assert spread(0.0) < 0.01
    assert spread(0.5) == pytest.approx(0.5, rel=0.35)
    assert spread(0.5) < spread(1.0)


def test_a_small_alpha_clusters_findings(make_table: MakeTable) -> None:
    table = make_table((1,) * 2000, findings=0.1)

    def unevenness(alpha: float) -> float:
        dealt = deal(table, FINDINGS, 4, Partition(by="dirichlet", alpha=alpha), 0)
        shares = np.array([table.iloc[rows][list(FINDINGS)].mean() for rows in dealt.values()])
        return float(shares.std(axis=0).mean())

    assert unevenness(0.1) > 1.5 * unevenness(1.0) > 3 * unevenness(1e6)
    assert unevenness(1e6) < 0.02


def test_by_source_keeps_hospitals_whole_and_in_natural_order(make_table: MakeTable) -> None:
    table = make_table((1,) * 24, sources=12)
    dealt = deal(table, FINDINGS, 12, Partition(), 0)
    assert [set(table["source"].iloc[rows]) for rows in dealt.values()] == [{f"source-{i}"} for i in range(12)]
    fewer = deal(table, FINDINGS, 5, Partition(), 0)
    assert set(table["source"].iloc[fewer["site-2"]]) == {"source-1", "source-6", "source-11"}


@pytest.mark.parametrize("seed", range(5))
def test_travellers_have_their_later_visits_elsewhere(make_table: MakeTable, seed: int) -> None:
    table = make_table((5,) * 10)
    table["visit"] = np.tile([4, 2, 0, 1, 3], 10)  # not in the order of the rows
    dealt = deal(table, FINDINGS, 3, Partition(by="iid", patient_overlap=1.0), seed)
    site = pd.Series(index=table.index, dtype=object)
    for name, rows in dealt.items():
        site.iloc[rows] = name
    for _, own in table.assign(site=site).groupby("patient"):
        first = own.sort_values("visit")["site"].tolist()
        assert len(set(first[:3])) == len(set(first[3:])) == 1
        assert first[0] != first[4]


@pytest.mark.parametrize("by", ["source", "iid", "dirichlet"])
def test_more_sites_than_patients(make_table: MakeTable, by: str) -> None:
    with pytest.raises(ConfigError, match=r"more sites than patients; given: 5 sites, 4 patients") as caught:
        deal(make_table((3,) * 4, sources=4), FINDINGS, 5, Partition.model_validate({"by": by}), 0)
    assert caught.value.exit_code == 2


def test_more_sites_than_sources(make_table: MakeTable) -> None:
    with pytest.raises(ConfigError, match="more sites than sources; given: 4 sites, 3 sources"):
        deal(make_table((3,) * 10, sources=3), FINDINGS, 4, Partition(), 0)


def test_a_site_left_with_nobody_is_an_error(make_table: MakeTable) -> None:
    with pytest.raises(ConfigError, match=r"some sites would hold no films.*site-"):
        deal(make_table((1,) * 6), FINDINGS, 6, Partition(by="iid", quantity_skew=5.0), 0)


def test_overlap_needs_two_sites(make_table: MakeTable) -> None:
    with pytest.raises(ConfigError, match="at least two sites"):
        deal(make_table((3,) * 6), FINDINGS, 1, Partition(by="iid", patient_overlap=0.5), 0)


def test_accidental_overlap_names_the_patients(make_table: MakeTable) -> None:
    table = make_table((3,) * 9)
    table.loc[table["image"] == "image-of-patient-004-2.png", "source"] = "source-0"
    with pytest.raises(DataError, match=r"at more than one site; given: 1: patient-004;") as caught:
        deal(table, FINDINGS, 3, Partition(), 0)
    assert caught.value.exit_code == 3
    deal(table, FINDINGS, 3, Partition(patient_overlap=0.1), 0)  # asked for


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_a_patient_in_two_splits_is_always_refused(make_table: MakeTable, overlap: float) -> None:
    table = make_table((3,) * 9)
    table.loc[table.index[[0, 3]], "split"] = "test"  # patients 0 and 1 are of the train split
    with pytest.raises(DataError, match=r"in more than one split; given: 2: patient-000, patient-001;"):
        deal(table, FINDINGS, 3, Partition(by="iid", patient_overlap=overlap), 0)


def test_many_wrong_patients_are_counted_and_not_all_named(make_table: MakeTable) -> None:
    table = make_table((2,) * 12)
    dealt = {"site-1": np.arange(24), "site-2": np.arange(24)}
    with pytest.raises(DataError, match=r"given: 12: .*, \.\.\.;") as caught:
        check_disjoint(table, dealt, shared_patients_allowed=False)
    assert str(caught.value).count("patient-0") == 5


def test_a_film_of_nobody_is_refused(make_table: MakeTable) -> None:
    table = make_table((2,) * 12)
    table.loc[3, "patient"] = None
    with pytest.raises(DataError, match="patient"):
        deal(table, FINDINGS, 3, Partition(by="iid"), 0)
