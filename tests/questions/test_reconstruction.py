"""How much of a film was recovered: by hand on films and codes of a few numbers, and who is asked about what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from codes_recovered import consortium_of
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.codes import PER_MAP
from fedcxr.methods.none import Unprotected
from fedcxr.methods.sca import Sca
from fedcxr.questions import Answer, Heard
from fedcxr.questions._picture_links import Album
from fedcxr.questions._recovered import Truth
from fedcxr.questions.reconstruction import Reconstruction
from fedcxr.rng import stream

FILMS = stream(1, "films").integers(0, 256, (4, 16, 16)).astype(np.uint8)
MEAN = np.full((16, 16), 128, dtype=np.uint8)
PEOPLE = np.array(["anna", "anna", "bert", "cleo"], dtype=object)


def scored(truth: Truth, **answer: np.ndarray) -> dict[str, Any]:
    heard: dict[str, Answer] = {"by_hand": answer}
    [entry] = Reconstruction().score({"protected": Heard(truth, heard, 2.0)}, seed=0)
    return entry


def test_pictures_by_hand() -> None:
    truth = Truth(FILMS, None, PEOPLE, MEAN, Unprotected())
    # One grey level off everywhere: 20 log10 255 dB, whatever the film shows.
    entry = scored(truth, pictures=np.where(FILMS < 255, FILMS + 1, FILMS - 1).astype(np.uint8))
    assert (entry["attacker"], entry["films"]) == ("by_hand", 4)
    assert entry["psnr"]["value"] == pytest.approx(20 * np.log10(255))
    usual = 10 * np.log10(255**2 / np.square(FILMS.astype(float) - 128).mean(axis=(1, 2)))
    assert entry["over_mean_db"]["value"] == pytest.approx((20 * np.log10(255) - usual).mean())
    assert entry["link_rate"]["value"] == 1.0
    assert entry["support_auc"] == entry["recovered"] == {"value": None, "ci95": None}  # no codes were released


def test_the_mean_film_gains_nothing_and_is_nobodys() -> None:
    entry = scored(Truth(FILMS, None, PEOPLE, MEAN, Unprotected()), pictures=np.repeat(MEAN[None], 4, axis=0))
    assert entry["over_mean_db"]["value"] == 0.0
    assert entry["link_rate"]["value"] == 0.0


def test_an_exact_copy_has_no_figure_of_loss_and_spoils_no_mean() -> None:
    truth = Truth(FILMS, None, PEOPLE, MEAN, Unprotected())
    entry = scored(truth, pictures=FILMS)
    assert entry["psnr"] == entry["over_mean_db"] == {"value": None, "ci95": None}
    assert entry["link_rate"]["value"] == 1.0
    one_off = FILMS.copy()
    one_off[0] = np.where(FILMS[0] < 255, FILMS[0] + 1, FILMS[0] - 1)
    assert scored(truth, pictures=one_off)["psnr"]["value"] == pytest.approx(20 * np.log10(255))


def test_supports_by_hand() -> None:
    """One cell of 64 numbers that keeps four; an attack decides for four, of which three are right."""
    codes = np.zeros((1, PER_MAP, 1, 1), dtype=np.int8)
    codes[0, [3, 5, 7, 9], 0, 0] = [9, -4, 2, 1]
    support = np.zeros(codes.shape, dtype=np.float16)
    support[0, [3, 5, 7, 20], 0, 0] = [4, 3, 2, 1]
    truth = Truth(FILMS[:1], codes, PEOPLE[:1], MEAN, Sca(s=4))
    entry = scored(truth, pictures=FILMS[:1], support=support)
    assert entry["recovered"]["value"] == 0.75
    # Of 4 x 60 comparisons, three kept ones beat all; the fourth ties with 59 noughts and loses one.
    assert entry["support_auc"]["value"] == pytest.approx((3 * 60 + 59 / 2) / (4 * 60))


@pytest.mark.parametrize(("method", "ambiguation"), [("sca", "keyed"), ("sca", "published"), ("sealed", None)])
def test_the_truth_is_of_the_rows_that_are_asked_about(method: str, ambiguation: str | None) -> None:
    consortium = consortium_of(method, ambiguation)
    put = consortium.put["reconstruction"]
    assert list(put) == ["protected", "control_raw"]
    one, linked = put["protected"], consortium.put["linkage"]["protected"]
    truth: Truth = one.asked.key
    attacked = consortium.world.rows_of(one.roles.attacked)
    cohort, films = consortium.experiment.cohort, consortium.world.released.films[attacked]
    np.testing.assert_array_equal(truth.films, cohort.films(films))
    assert truth.patients.tolist() == cohort.patients[films].tolist()
    codes = Sca().codec({}, consortium.world.context).encode(truth.films)
    np.testing.assert_array_equal(truth.codes, codes)  # also where nothing is public of them
    own = cohort.films(np.flatnonzero(cohort.index["split"] != "test"))
    np.testing.assert_array_equal(truth.mean, np.round(own.mean(axis=0)))
    # The films that linkage attacks, so that both are of the same people; and no more of them is handed over.
    np.testing.assert_array_equal(one.roles.attacked, linked.roles.attacked)
    assert one.asked.parts["pictures"].shape == truth.films.shape
    assert one.asked.parts["support"].shape == codes.shape
    assert one.leak.holdings.keys() == linked.leak.holdings.keys()


# Controls and links ---------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
def test_controls_compare_with_films_of_others(names: list[str]) -> None:
    patients = np.array(names, dtype=object)
    truth = Truth(FILMS[[0] * len(names)], None, patients, MEAN, Unprotected())
    assert sorted(truth.others().tolist()) == list(range(len(names)))
    if max(names.count(name) for name in names) <= len(names) / 2:
        assert (patients[truth.others()] != patients).all()


def test_controls_by_hand() -> None:
    """The films themselves: given back on unprotected ones, and nothing of other people's."""
    truth = Truth(FILMS, None, PEOPLE, MEAN, Unprotected())
    heard = {"by_hand": {"pictures": FILMS}, "mean": {"pictures": np.repeat(MEAN[None], 4, axis=0)}}
    question = Reconstruction()
    alone, _ = question.score({"protected": Heard(truth, heard, 2.0)}, seed=0)
    assert (alone["control_raw_psnr"], alone["conclusive"], alone["inconclusive_because"]) == (None, None, None)
    both = question.score({"protected": Heard(truth, heard, 2.0), "control_raw": Heard(truth, heard, 1.0)}, seed=0)
    assert [entry["seconds"] for entry in both] == [3.0, 3.0]
    assert [entry["conclusive"] for entry in both] == [True, False]
    assert both[0]["control_raw_psnr"] == 60.0
    assert both[0]["control_shuffled_db"] < 0
    assert both[1]["control_shuffled_db"] == 0
    assert "below 30" in both[1]["inconclusive_because"]


def test_pictures_that_fit_everybody_are_doubted() -> None:
    """A mean film that is not, and pictures that are: near to other people's films, they prove nothing."""
    alike = np.full((4, 16, 16), 200, dtype=np.uint8) + np.arange(4, dtype=np.uint8)[:, None, None]
    truth = Truth(alike, None, PEOPLE, np.zeros((16, 16), dtype=np.uint8), Unprotected())
    entry = scored(truth, pictures=alike)
    assert entry["conclusive"] is False
    assert "nearer to other people's films" in entry["inconclusive_because"]


def test_links_to_known_films_by_hand() -> None:
    """Blank releases link nobody; pictures that are the known films link everybody."""
    album = Album(FILMS[[0, 2, 3]], PEOPLE[[0, 2, 3]], np.zeros_like(FILMS))
    truth = Truth(FILMS, None, PEOPLE, MEAN, Unprotected(), album)
    linked = scored(truth, pictures=FILMS[[0, 0, 2, 3]])["known_films"]
    assert linked["auc"]["value"] == 1.0
    assert linked["auc_released"]["value"] == 0.5
    assert linked["gain"]["value"] == 0.5
    unseen = scored(replace(truth, album=replace(album, released=None)), pictures=FILMS)["known_films"]
    assert unseen["auc_released"] == unseen["gain"] == {"value": None, "ci95": None}
    assert scored(replace(truth, album=None), pictures=FILMS)["known_films"] is None


def test_the_most_recovered_are_told() -> None:
    truth = Truth(FILMS, None, PEOPLE, MEAN, Unprotected())
    made = np.repeat(MEAN[None], 4, axis=0)
    made[3] = np.where(FILMS[3] < 255, FILMS[3] + 1, FILMS[3] - 1)  # cleo's, but for one grey level
    most = scored(truth, pictures=made)["most_recovered"]["over_mean_db"]
    assert most["0.5"] == 0.0
    assert most["worst_film"] == most["worst_patient"] > 30
