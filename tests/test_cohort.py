"""A cohort is a view: choosing rows copies no pixels and keeps films and facts together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.cohort import FINDINGS, Annotations, Cohort
from fedcxr.errors import DataError

MakeCohort = Callable[..., Cohort]


@given(data=st.data())
def test_any_choice_keeps_films_and_facts_together(make_cohort: MakeCohort, data: st.DataObject) -> None:
    cohort = make_cohort((2, 1, 3))
    rows = data.draw(st.lists(st.integers(0, 5), max_size=8))
    again = data.draw(st.lists(st.integers(0, max(len(rows) - 1, 0)), max_size=4)) if rows else []
    chosen = cohort.take(rows).take(again)
    originals = [rows[i] for i in again]
    np.testing.assert_array_equal(chosen.films(), cohort.films(originals))
    assert chosen.index["image"].tolist() == cohort.index["image"].iloc[originals].tolist()
    assert chosen.labels.shape == (len(originals), len(FINDINGS))
    assert chosen.pixels is cohort.pixels


def test_take_accepts_a_mask(make_cohort: MakeCohort) -> None:
    cohort = make_cohort((2, 1, 3))
    mask = cohort.patients == "patient-002"
    assert cohort.take(mask).index["image"].tolist() == cohort.index["image"][mask].tolist()


def test_where_gives_one_split(make_cohort: MakeCohort) -> None:
    cohort = make_cohort()
    parts = {split: cohort.where(split) for split in ("train", "val", "test")}
    assert {split: set(part.index["split"]) for split, part in parts.items()} == {s: {s} for s in parts}
    assert sum(map(len, parts.values())) == len(cohort)


@pytest.mark.parametrize("films", [1, 4, 6, 100])
def test_chunks_are_the_films_in_order(make_cohort: MakeCohort, films: int) -> None:
    cohort = make_cohort((2, 1, 3)).take([5, 0, 3, 3, 1, 2])
    chunks = list(cohort.chunks(films))
    assert [len(c) for c in chunks[:-1]] == [films] * (len(chunks) - 1)
    np.testing.assert_array_equal(np.concatenate(chunks), cohort.films())


def test_films_are_copies(make_cohort: MakeCohort) -> None:
    cohort = make_cohort((2, 1))
    before = np.array(cohort.pixels)
    cohort.films()[:] = 0
    next(cohort.chunks())[:] = 0
    np.testing.assert_array_equal(cohort.pixels, before)


def test_unknown_findings_stay_unknown(make_cohort: MakeCohort) -> None:
    cohort = make_cohort((2, 1))
    index = cohort.index.assign(Hernia=[0.0, np.nan, 1.0])
    labels = Cohort.whole(cohort.pixels, index).labels
    np.testing.assert_array_equal(labels[:, FINDINGS.index("Hernia")], np.array([0, np.nan, 1], dtype=np.float32))


def test_refuses_what_is_no_cohort(make_table: Callable[..., pd.DataFrame]) -> None:
    table = make_table((2, 1))
    pixels = np.zeros((3, 8, 8), dtype=np.uint8)
    with pytest.raises(DataError, match="uint8"):
        Cohort.whole(pixels.astype(np.float32), table)
    with pytest.raises(DataError, match="uint8"):
        Cohort.whole(pixels[0], table)
    with pytest.raises(DataError, match="one index row per film"):
        Cohort(pixels, np.arange(2), table)
    with pytest.raises(DataError, match="lacks columns; given: patient, Mass"):
        Cohort.whole(pixels, table.drop(columns=["Mass", "patient"]))


# Annotations ----------------------------------------------------------------------------------------------------------

Annotate = Callable[..., Cohort]


@settings(max_examples=40)
@given(data=st.data())
def test_annotations_stay_with_their_films(make_cohort: MakeCohort, annotated: Annotate, data: st.DataObject) -> None:
    cohort = annotated(make_cohort((2, 1, 3)))
    rows = data.draw(st.lists(st.integers(0, 5), max_size=8))
    again = data.draw(st.lists(st.integers(0, max(len(rows) - 1, 0)), max_size=6)) if rows else []
    chosen = cohort.take(rows).take(again)
    originals = [rows[i] for i in again]
    assert chosen.masked("lungs").tolist() == [film % 3 > 0 for film in originals]
    has = np.flatnonzero(chosen.masked("lungs"))
    drawn = cohort.annotations.masks["lungs"][np.array(originals, dtype=np.intp)[has]]
    np.testing.assert_array_equal(chosen.mask("lungs", has), drawn)
    boxes = cohort.boxes()
    expected = [
        (place, *box[1:]) for place, film in enumerate(originals) for box in _rows(boxes[boxes["film"] == film])
    ]
    assert _rows(chosen.boxes()) == expected
    assert _rows(cohort.boxes(originals)) == expected


def _rows(table: pd.DataFrame) -> list[tuple[object, ...]]:
    return [tuple(row) for row in table.itertuples(index=False)]


def test_a_film_without_a_mask_is_not_one_with_an_empty_mask(make_cohort: MakeCohort, annotated: Annotate) -> None:
    cohort = annotated(make_cohort((2, 1, 3)))
    assert cohort.annotations.names == ("lungs", "boxes")
    with pytest.raises(DataError, match=r"without a mask of the lungs; given: 2 of 6.*`masked`"):
        cohort.mask("lungs")
    with pytest.raises(DataError, match=r"no such masks; given: heart; allowed: lungs, boxes"):
        cohort.mask("heart")
    plain = make_cohort((2, 1))
    assert plain.annotations.names == ()
    for ask in (plain.boxes, lambda: plain.masked("lungs")):
        with pytest.raises(DataError, match="nobody annotated them"):
            ask()


def test_refuses_annotations_that_do_not_fit(make_cohort: MakeCohort, annotated: Annotate) -> None:
    small, large = make_cohort((2, 1)), make_cohort((2, 1), size=24)
    of_others = replace(small, annotations=annotated(large).annotations)
    with pytest.raises(DataError, match="do not fit the films"):
        of_others.mask("lungs", [1, 2])
    with pytest.raises(DataError, match="other columns; given: film, left"):
        Annotations(boxes=pd.DataFrame({"film": [0], "left": [3]}))
