"""One vocabulary: what is the same, what is kept apart, and what is unknown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.cohort import FINDINGS, Cohort
from fedcxr.data import chexpert, nih
from fedcxr.data._vocabulary import (
    ALIASES,
    APART,
    EXTRAS,
    VOCABULARY,
    Meaning,
    align,
    align_cohort,
    canonical,
    harmonised,
    mapping_table,
    union,
)
from fedcxr.errors import DataError


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Pleural Effusion", "Effusion"),
        ("pleural_effusion", "Effusion"),
        ("Infiltrate", "Infiltration"),
        ("PLEURAL-THICKENING", "Pleural_Thickening"),
        (" Enlarged  Cardiomediastinum ", "Enlarged_Cardiomediastinum"),
        ("Lung Lesion", "Lung_Lesion"),
        ("Pleural Other", "Pleural_Other"),
        ("COVID-19", "COVID-19"),
    ],
)
def test_spellings(name: str, ours: str) -> None:
    assert canonical(name) == ours


def test_the_vocabulary_is_consistent() -> None:
    assert VOCABULARY[:14] == FINDINGS
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    assert set(ALIASES.values()) | set(APART) <= set(VOCABULARY)
    assert all(canonical(name) == name for name in VOCABULARY)


@given(st.text())
def test_a_name_is_settled_at_once(name: str) -> None:
    assert canonical(canonical(name)) == canonical(name)


def test_chexpert_shares_seven_findings_with_nih() -> None:
    shared = {"Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Pneumonia", "Pneumothorax"}
    assert set(chexpert.FINDINGS) == shared | set(EXTRAS)
    assert set(chexpert.FINDINGS) & set(FINDINGS) == shared


def test_two_columns_for_one_finding() -> None:
    with pytest.raises(DataError, match="Effusion, Pleural Effusion"):
        harmonised(["Effusion", "Pleural Effusion"])


def test_union_puts_known_findings_first() -> None:
    assert union(["covid"], ["Mass", "Pleural Effusion"], ["Fracture", "Effusion"]) == (
        "Effusion",
        "Mass",
        "Fracture",
        "covid",
    )


def test_what_was_never_looked_for_is_unknown() -> None:
    index = pd.DataFrame({"patient": ["a", "b"], "Pleural Effusion": [1.0, 0.0], "Lung Lesion": [1.0, np.nan]})
    aligned = align(index, ["Pleural Effusion", "Lung Lesion"], VOCABULARY)
    assert tuple(aligned.columns) == ("patient", *VOCABULARY)
    assert aligned["Effusion"].tolist() == [1, 0]
    np.testing.assert_array_equal(aligned["Lung_Lesion"], [1, np.nan])
    assert aligned[["Nodule", "Mass", "Hernia"]].isna().all(axis=None)
    assert aligned["Effusion"].dtype == aligned["Hernia"].dtype == np.float32


def test_no_finding_is_lost_in_silence() -> None:
    index = pd.DataFrame({"covid": [1.0]})
    with pytest.raises(DataError, match="covid"):
        align(index, ["covid"], FINDINGS)


def test_a_cohort_is_aligned(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort((2, 1))
    wider = align_cohort(cohort, VOCABULARY)
    assert wider.findings == VOCABULARY
    assert wider.pixels is cohort.pixels
    np.testing.assert_array_equal(wider.labels[:, :14], cohort.labels)
    assert np.isnan(wider.labels[:, 14:]).all()


def test_nih_and_chexpert_stand_in_one_table(real: Callable[[str], Path]) -> None:
    ours, _, _ = nih.read_films(real("nih_meta/Data_Entry_2017_v2020.csv.gz"))
    theirs, _ = chexpert.read_films(real("chexpert_meta/chexpert_train.csv.gz"))
    vocabulary = union(FINDINGS, chexpert.FINDINGS)
    assert vocabulary == VOCABULARY
    both = pd.concat([align(ours, FINDINGS, vocabulary), align(theirs, chexpert.FINDINGS, vocabulary)])
    known = both[list(vocabulary)].notna().sum()
    assert len(both) == 112_120 + 223_414
    assert known["Effusion"] == len(both)
    assert known["Nodule"] == 112_120
    assert known["Lung_Lesion"] == 223_414


def test_the_mapping_has_a_row_for_every_finding() -> None:
    words = {"covid": "covid", "infiltrate": "Infiltration", "Infiltrates": "Infiltration"}
    chexperts, own = ({row.finding: row for row in mapping_table(spellings)} for spellings in (chexpert.OURS, words))
    assert tuple(chexperts) == VOCABULARY
    assert tuple(own) == (*VOCABULARY, "covid")
    assert chexperts["Effusion"] == Meaning("Effusion", ("Pleural Effusion",), "")
    assert chexperts["Lung_Lesion"].remark == "a nodule or a mass: Nodule and Mass stay unknown"
    assert own["Lung_Lesion"] == Meaning("Lung_Lesion", (), "")  # unknown here, so nothing to remark
    assert str(own["Infiltration"]) == "Infiltration <- infiltrate, Infiltrates"
    assert str(own["covid"]) == "covid  (of its own)"
