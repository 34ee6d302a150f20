"""Pictures of an update's films, in any order: by hand on films of a few pixels, and who is asked about what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import tiny

from fedcxr.cohort import Cohort
from fedcxr.methods.none import Unprotected
from fedcxr.questions import Heard
from fedcxr.questions._picture_links import Album
from fedcxr.questions._recovered import Truth
from fedcxr.questions._updates import read
from fedcxr.questions.inversion import Cell, Inversion
from fedcxr.rng import stream
from fedcxr.view import Films

FILMS = stream(1, "films").integers(0, 256, (4, 16, 16)).astype(np.uint8)
NEAR = np.where(FILMS < 255, FILMS + 1, FILMS - 1).astype(np.uint8)  # an exact copy has no PSNR
MEAN = np.full((16, 16), 128, dtype=np.uint8)
PEOPLE = np.array(["anna", "bert", "cleo", "dora"], dtype=object)
ALBUM = Album(FILMS, PEOPLE, None)


def cell(batch: int, start: int = 0) -> Cell:
    return Cell(batch, "early", slice(start, start + 4), Truth(FILMS, None, PEOPLE, MEAN, Unprotected(), ALBUM))


def scored(pictures: Films, opened: Films = NEAR) -> dict[str, Any]:
    """The entry of an attacker who gives these of the updates of one film and of two."""
    heard = {
        "protected": Heard((cell(1), cell(2, 4)), {"by_hand": {"pictures": pictures}}, 2.0),
        "control_open": Heard((cell(1),), {"by_hand": {"pictures": opened}}, 1.0),
    }
    [entry] = Inversion().score(heard, seed=0)
    return entry


def told(entry: dict[str, Any]) -> str:
    table = Inversion().table([{"adversary": "somebody", **entry}], {})
    assert table is not None
    return " ".join(table.verdict)


@given(st.lists(st.booleans(), min_size=2, max_size=2))
def test_pictures_of_an_update_may_be_given_in_any_order(swapped: list[bool]) -> None:
    order = np.concatenate([[1, 0] if swap else [0, 1] for swap in swapped]) + np.array([0, 0, 2, 2])
    np.testing.assert_array_equal(cell(2).matched(NEAR[order]), NEAR)


def test_no_picture_stands_for_a_film_of_another_update_nor_for_two() -> None:
    def bytes_of(films: Films) -> list[bytes]:
        return sorted(film.tobytes() for film in films)

    assert bytes_of(cell(2).matched(NEAR[[2, 3, 0, 1]])[:2]) == bytes_of(NEAR[2:])
    assert bytes_of(cell(4).matched(NEAR[[0, 0, 1, 2]])) == bytes_of(NEAR[[0, 0, 1, 2]])


def test_films_that_are_given_back_are_told_with_whose_they_are() -> None:
    entry = scored(np.concatenate([NEAR, NEAR[[1, 0, 3, 2]]]))
    assert [(one["batch"], one["when"], one["films"]) for one in entry["updates"]] == [(1, "early", 4), (2, "early", 4)]
    for one in entry["updates"]:
        assert one["mse"] == 1.0
        assert one["psnr"]["value"] == pytest.approx(20 * np.log10(255))
        assert one["links"]["value"] == one["links_of_films"]["value"] == 1.0
        assert one["control_shuffled_db"]["value"] < 0
    assert entry["conclusive"]
    assert entry["seconds"] == 3.0
    assert "tell by them whose they are" in told(entry)


def test_who_cannot_invert_a_bare_gradient_has_proved_nothing() -> None:
    blind = np.repeat(MEAN[None], 8, axis=0)
    entry = scored(blind, opened=blind[:4])
    assert [one["over_mean_db"]["value"] for one in entry["updates"]] == [0.0, 0.0]
    assert not entry["conclusive"]
    assert "from a single film's gradient it reaches +0.00 dB" in entry["inconclusive_because"]
    assert told(entry).startswith("No conclusion")


def test_who_can_and_finds_nothing_has_not_proved_that_nobody_does() -> None:
    assert "does not prove that nobody can" in told(scored(np.repeat(MEAN[None], 8, axis=0)))


def test_updates_are_of_films_of_different_people_whom_nobody_owns_films_of(people: Cohort) -> None:
    asked = {"inversion": {"batches": [1, 3], "when": ["late", "early"], "films": 7}}
    put = tiny(people, "model", adversaries={"inversion": {}}, questions=asked).put["inversion"]["protected"]
    assert put.leak.given is not None
    updates, roles, cells = list(read(put.leak.given)), put.roles, put.asked.key
    assert [(c.batch, c.when, len(c.truth.films)) for c in cells] == [
        (1, "late", 7), (1, "early", 7), (3, "late", 6), (3, "early", 6),
    ]  # fmt: skip
    assert [len(update.labels) for update in updates] == [1] * 14 + [3] * 4
    assert put.asked.parts["pictures"].shape[0] == 26
    for one in cells:
        assert len(set(one.truth.patients)) == len(one.truth.patients)
        assert not set(one.truth.patients) & set(people.patients[roles.owned])
    late, early = updates[0], updates[7]
    assert put.leak.view.model is not None
    for name, array in put.leak.view.model.items():
        np.testing.assert_array_equal(late.before[name], array)
        assert not np.array_equal(early.before[name], array)
        assert not np.array_equal(late.after[name], array)
