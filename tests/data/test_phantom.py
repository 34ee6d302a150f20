"""The phantom cohort: its statistics, the independence of every film, its masks and its store."""

from __future__ import annotations

import os
import random
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pydantic
import pytest
import torch

from fedcxr.cohort import FINDINGS, SPLITS
from fedcxr.data.phantom import Phantom, store
from fedcxr.data.phantom.anatomy import BODY, anatomies
from fedcxr.data.phantom.boxes import boxes
from fedcxr.data.phantom.fit_tables import exceed_both, statistics, tetrachoric
from fedcxr.data.phantom.labels import Mislabelled, Reading
from fedcxr.data.phantom.render import outlines, render
from fedcxr.data.phantom.styles import STYLES, style_of
from fedcxr.data.phantom.tables import BOOSTED, tables
from fedcxr.data.phantom.visits import Visits
from fedcxr.errors import DataError, EngineBroken, StorageError

NIH = Phantom(patients=6000, prevalence="nih", seed=2)


@pytest.fixture(scope="module")
def nih() -> pd.DataFrame:
    return NIH.table()


@pytest.fixture(scope="module")
def visits() -> Visits:
    return Phantom(patients=24, seed=3)._visits()


def between(frame: pd.DataFrame, values: pd.Series) -> tuple[float, float]:
    """Mean over films and four standard errors of it, with patients, not films, as independent."""
    sums = values.groupby(frame["patient"]).agg(["sum", "size"])
    mean = float(sums["sum"].sum() / sums["size"].sum())
    residual = sums["sum"] - mean * sums["size"]
    return mean, 4 * float(np.sqrt((residual**2).sum()) / sums["size"].sum())


# --- statistics ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finding", FINDINGS)
def test_prevalence_is_that_of_nih(nih: pd.DataFrame, finding: str) -> None:
    mean, error = between(nih, nih[finding])
    assert abs(mean - tables().share[FINDINGS.index(finding)]) < error + 5e-4


def test_boosted_prevalence_lifts_only_rare_findings() -> None:
    frame = Phantom(patients=3000).table()
    for finding, share in zip(FINDINGS, tables().share, strict=False):
        mean, error = between(frame, frame[finding])
        assert abs(mean - max(share, BOOSTED)) < error


@pytest.mark.parametrize(
    ("one", "other", "lift"),  # P(both) / P(one) P(other), counted in NIH's table
    [("Edema", "Pneumonia", 11.6), ("Emphysema", "Pneumothorax", 6.3), ("Effusion", "Atelectasis", 2.4)],
)
def test_findings_occur_together_as_in_nih(nih: pd.DataFrame, one: str, other: str, lift: float) -> None:
    share = tables().share
    expected = lift * share[FINDINGS.index(one)] * share[FINDINGS.index(other)]
    mean, error = between(nih, nih[one] * nih[other])
    assert abs(mean - expected) < error + 0.05 * expected


@pytest.mark.parametrize("finding", ["Effusion", "Pneumothorax", "Infiltration", "Mass"])
def test_findings_persist_as_in_nih(nih: pd.DataFrame, finding: str) -> None:
    """P(at another visit | at this visit), every visit counting once."""
    column, share = FINDINGS.index(finding), float(tables().share[FINDINGS.index(finding)])
    expected = exceed_both(share, share, float(tables().persistence[column])) / share
    counts = nih.groupby("patient")[finding].agg(["sum", "size"])
    counts = counts[counts["size"] > 1]
    again = counts["sum"] * (counts["sum"] - 1) / (counts["size"] - 1)
    found = again.sum() / counts["sum"].sum()
    error = np.sqrt(((again - found * counts["sum"]) ** 2).sum()) / counts["sum"].sum()
    assert abs(found - expected) < 4 * error
    assert expected > 1.4 * share


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.3, 0.8])
def test_the_fit_of_correlations(correlation: float) -> None:
    """Two normals with correlation r are both positive with probability 1/4 + arcsin(r) / 2 pi (Sheppard, 1899)."""
    both = 0.25 + float(np.arcsin(correlation)) / (2 * np.pi)
    assert exceed_both(0.5, 0.5, correlation) == pytest.approx(both, abs=1e-9)
    assert tetrachoric(0.5, 0.5, both) == pytest.approx(correlation, abs=1e-6)


def test_the_fit_of_a_full_factorial() -> None:
    """Every combination of findings and projection once: all shares are one half, nothing is correlated."""
    number = np.arange(2**15)
    films = pd.DataFrame(
        {
            "Finding Labels": ["|".join(f for k, f in enumerate(FINDINGS) if n >> k & 1) or "-" for n in number],
            "View Position": np.where(number >> 14 & 1, "AP", "PA"),
            "Patient ID": number // 2,
            "Patient Age": 50,
            "Patient Gender": np.where(number < 2**13, "F", "M"),
        }
    )
    fitted = statistics(films)
    assert fitted["share"] == [0.5] * 15
    np.testing.assert_allclose(fitted["correlation"], np.eye(15), atol=1e-4)
    assert fitted["patients_with_visits"][:3] == [0, 2**14, 0]
    assert fitted["male"] == 0.75
    assert set(fitted["age_quantiles"]) == {50.0}


def test_views_visits_sex_and_age(nih: pd.DataFrame) -> None:
    mean, error = between(nih, (nih["view"] == "AP").astype(float))
    assert abs(mean - 0.40) < error
    per_patient = nih.groupby("patient").size()
    assert per_patient.median() == 1
    assert abs(per_patient.mean() - 3.6) < 4 * per_patient.std() / np.sqrt(len(per_patient))
    first = nih[nih["visit"] == 0]
    assert abs((first["sex"] == "M").mean() - tables().male) < 0.03
    assert abs(first["age"].median() - 47) < 2
    assert (nih.groupby("patient")["sex"].nunique() == 1).all()
    assert (nih.groupby("patient")["age"].diff().dropna() >= 0).all()


@pytest.mark.parametrize("mean", [1.0, 2.0, 6.0])
def test_mean_visits(mean: float) -> None:
    per_patient = Phantom(patients=3000, mean_visits=mean).table().groupby("patient").size()
    assert abs(per_patient.mean() - mean) <= 4 * per_patient.std() / np.sqrt(3000)


def test_splits_are_patient_wise(nih: pd.DataFrame) -> None:
    assert (nih.groupby("patient")["split"].nunique() == 1).all()
    shares = nih.drop_duplicates("patient")["split"].value_counts(normalize=True)
    for split, share in zip(SPLITS, NIH.splits, strict=True):
        assert abs(shares[split] - share) < 4 * np.sqrt(share * (1 - share) / 6000)


def test_patient_overlap() -> None:
    frame = Phantom(patients=3000, patient_overlap=0.3, sources=4).table()
    several = frame[frame.groupby("patient")["visit"].transform("size") > 1]
    hospitals = several.groupby("patient")["source"].nunique()
    assert set(hospitals) == {1, 2}
    assert abs((hospitals == 2).mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / len(hospitals))
    assert set(frame["source"]) == {"source-1", "source-2", "source-3", "source-4"}
    assert (Phantom(patients=500).table().groupby("patient")["source"].nunique() == 1).all()


def test_the_table_does_not_depend_on_size_and_names_are_unique(nih: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(Phantom(patients=50, size=64).table(), Phantom(patients=50, size=512).table())
    assert nih["image"].is_unique
    assert Phantom(patients=1).table()["image"].iloc[0] == "phantom-000000-00"


def test_two_populations_have_no_name_in_common() -> None:
    names = [set(Phantom(patients=20, seed=seed).table()["patient"]) for seed in (0, 1, -1, 2**70)]
    assert len(set().union(*names)) == 4 * 20


# --- labels -------------------------------------------------------------------------------------------------------


def test_labels_are_as_wrong_as_is_said_where_they_teach_and_right_where_they_test() -> None:
    right = Phantom(patients=2000)
    wrong = right.model_copy(
        update={
            "mislabelled": Mislabelled(
                sensitivity=0.8, specificity=0.9, sources={"source-2": Reading(sensitivity=0.6), "source-3": Reading()}
            )
        }
    )
    truth, told = right.table(), wrong.table()
    pd.testing.assert_frame_equal(truth.drop(columns=list(FINDINGS)), told.drop(columns=list(FINDINGS)))
    rates = {"source-1": (0.8, 0.9), "source-2": (0.6, 1.0), "source-3": (1.0, 1.0)}
    for source, (sensitivity, specificity) in rates.items():
        here = ((truth["source"] == source) & (truth["split"] != "test")).to_numpy()
        shown, labelled = (frame.loc[here, list(FINDINGS)].to_numpy() == 1 for frame in (truth, told))
        for present, share in ((True, sensitivity), (False, specificity)):
            agrees = (labelled == shown)[shown == present]
            assert abs(agrees.mean() - share) <= 4 * np.sqrt(share * (1 - share) / len(agrees))
    tested = truth["split"] == "test"
    pd.testing.assert_frame_equal(truth[tested], told[tested])


def test_a_wrong_label_hangs_on_its_film_alone_and_stays_wrong_at_higher_rates() -> None:
    def turned(share: float, patients: int = 200) -> np.ndarray:
        right = Phantom(patients=patients)
        wrong = right.model_copy(update={"mislabelled": Mislabelled(sensitivity=1 - share, specificity=1 - share)})
        same: np.ndarray = (right.table() != wrong.table())[list(FINDINGS)].to_numpy()
        return same

    few, many = turned(0.2), turned(0.4)
    assert (few <= many).all()
    np.testing.assert_array_equal(turned(0.2, patients=20), few[: len(turned(0.2, patients=20))])


def test_films_are_rendered_once_for_all_labels(tmp_path: Path) -> None:
    right = SMALL.open(tmp_path)
    wrong = SMALL.model_copy(update={"mislabelled": Mislabelled(sensitivity=0.5, specificity=0.5)})
    told = wrong.open(tmp_path)
    assert len(visible(tmp_path)) == 1
    np.testing.assert_array_equal(told.films(), right.films())
    pd.testing.assert_frame_equal(told.index, wrong.table(), check_dtype=False)
    assert (told.labels != right.labels).mean() > 0.3
    assert "mislabelled" not in (tmp_path / visible(tmp_path)[0] / "spec.json").read_text()


# --- films --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64, 50])  # 50 * 50 is no multiple of what a CPU takes at once
def test_a_film_does_not_depend_on_its_batch(visits: Visits, size: int) -> None:
    some = visits.take(slice(0, 24))
    together = render(3, some, size)
    alone = np.concatenate([render(3, some.take(slice(i, i + 1)), size) for i in range(len(some))])
    backwards = render(3, some.take(np.arange(len(some))[::-1]), size)[::-1]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, backwards)


def test_a_patient_does_not_depend_on_the_cohort() -> None:
    few, many = Phantom(patients=10), Phantom(patients=1000)
    films = len(few.table())
    pd.testing.assert_frame_equal(few.table(), many.table().iloc[:films])
    np.testing.assert_array_equal(render(0, few._visits(), 64), render(0, many._visits().take(slice(0, films)), 64))


def test_another_seed_gives_other_patients(visits: Visits) -> None:
    some = visits.take(slice(0, 8))
    assert (render(3, some, 64) != render(4, some, 64)).mean() > 0.9
    assert not Phantom(patients=50, seed=1).table().equals(Phantom(patients=50, seed=2).table())


def test_years_change_a_body_by_as_much_as_is_said_and_not_who_comes_when() -> None:
    def aged(aging: float, years: float = 5.0) -> Visits:
        return Phantom(patients=24, seed=3, aging=aging, years_between=years)._visits()

    young, old = (anatomies(3, one.patient, one.aged).body for one in (aged(0.0), aged(0.05)))
    spread = np.array([spread for _, spread in BODY.values()])
    changed = np.abs(old - young) / spread / (0.05 * (aged(1.0).aged[:, None]))
    assert changed.mean() == pytest.approx(np.sqrt(2 / np.pi), rel=0.1)  # of a standard normal way, but for the limits
    np.testing.assert_array_equal(young, anatomies(3, aged(0.0).patient, 0 * aged(1.0).aged).body)
    pd.testing.assert_frame_equal(aged(0.0).index(), aged(0.05).index())
    np.testing.assert_array_equal(render(3, aged(0.0), 32), render(3, aged(0.0, years=0.4), 32))
    assert (render(3, aged(0.0), 32) != render(3, aged(0.05), 32)).mean() > 0.5


@pytest.mark.parametrize("size", [128, 256])
def test_a_patient_looks_the_same_at_every_size(visits: Visits, size: int) -> None:
    some = visits.take(slice(0, 24))
    small, large = render(3, some, 64).astype(float), render(3, some, size).astype(float)
    shrunk = large.reshape(len(some), 64, size // 64, 64, size // 64).mean(axis=(2, 4))
    for one, other in zip(small, shrunk, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.97
    assert abs(small - shrunk).mean() < 6  # of 255 grey levels


def test_films_use_the_range_of_greys(visits: Visits) -> None:
    films = render(3, visits, 64)
    assert films.dtype == np.uint8
    assert films.shape == (len(visits), 64, 64)
    assert np.percentile(films, 2) < 40
    assert np.percentile(films, 98) > 215
    assert films.std(axis=(1, 2)).min() > 15


def test_every_finding_changes_the_film(visits: Visits) -> None:
    one = visits.take(slice(0, 1))
    none = replace(one, findings=np.zeros((1, 14), bool), severity=np.zeros((1, 14), np.float32))
    healthy = render(3, none, 64).astype(int)
    for number, finding in enumerate(FINDINGS):
        only = np.arange(14)[None] == number
        mild, severe = (
            abs(render(3, replace(one, findings=only, severity=only * severity), 64) - healthy).mean()
            for severity in (np.float32(0), np.float32(1))
        )
        assert severe > 0.3, finding
        assert severe > mild, finding


def test_masks_are_plausible() -> None:
    phantom = Phantom(patients=24, seed=3, size=96)
    rows = np.arange(24)
    lungs, heart = phantom.masks(rows)
    films = render(3, phantom._visits().take(rows), 96)
    assert lungs.shape == heart.shape == (24, 96, 96)
    assert lungs.dtype == heart.dtype == bool
    assert not (lungs & heart).any()
    assert lungs.mean(axis=(1, 2)).min() > 0.15
    assert lungs.mean(axis=(1, 2)).max() < 0.6
    assert heart.mean(axis=(1, 2)).min() > 0.02
    assert heart.mean(axis=(1, 2)).max() < 0.25
    for film, lung, of_heart in zip(films, lungs, heart, strict=True):
        assert film[lung].mean() < film[of_heart].mean() - 10
    assert lungs[:, :, :48].any()
    assert lungs[:, :, 48:].any()
    assert heart[:, :, 48:].sum() > heart[:, :, :48].sum()  # the apex points to the patient's left


def test_cardiomegaly_enlarges_the_heart(visits: Visits) -> None:
    some = visits.take(slice(0, 6))
    large = np.broadcast_to(np.array(FINDINGS) == "Cardiomegaly", (6, 14))
    healthy = replace(some, findings=np.zeros((6, 14), bool), severity=np.zeros((6, 14), np.float32))
    ill = replace(some, findings=large.copy(), severity=large.astype(np.float32))
    assert (outlines(3, ill, 64)[1].sum(axis=(1, 2)) > 1.2 * outlines(3, healthy, 64)[1].sum(axis=(1, 2))).all()


def test_sources_differ_in_style(visits: Visits) -> None:
    some = visits.take(slice(0, 24))
    histograms = []
    for source in range(len(STYLES)):
        films = render(3, replace(some, source=np.full(24, source)), 64)
        histograms.append(np.histogram(films, bins=16, range=(0, 256))[0] / films.size)
    for one in range(len(STYLES)):
        for other in range(one):
            assert abs(histograms[one] - histograms[other]).sum() > 0.1
    assert style_of(0, 7) != style_of(0, 1)
    assert style_of(0, 7).marker == style_of(0, 1).marker


def test_identity_is_not_in_the_pixels_alone() -> None:
    """Correlation of pixels tells pairs of one patient from others a little, never well: a verifier has to learn."""
    phantom = Phantom(patients=150, seed=7)
    visits = phantom._visits()
    films = render(7, visits, 64).reshape(len(visits), -1).astype(np.float32)
    films -= films.mean(axis=1, keepdims=True)
    films /= np.linalg.norm(films, axis=1, keepdims=True)
    alike = films @ films.T
    same = visits.patient[:, None] == visits.patient[None, :]
    upper = np.triu(np.ones_like(same), 1)
    weight = 1 / np.bincount(visits.patient)[visits.patient]  # or a few patients would own most pairs
    genuine, weights = alike[same & upper], np.broadcast_to(weight[:, None], same.shape)[same & upper]
    others = np.sort(alike[~same & upper])
    auc = float((np.searchsorted(others, genuine) / len(others) * weights).sum() / weights.sum())
    assert 0.55 < auc < 0.75


def test_global_random_state_and_threads_stay(visits: Visits) -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = (random.getstate(), np.random.get_state(legacy=False)["state"]["key"].copy(), torch.get_rng_state())
    threads = torch.get_num_threads()
    render(3, visits.take(slice(0, 8)), 64)
    assert random.getstate() == before[0]
    assert (np.random.get_state(legacy=False)["state"]["key"] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])
    assert torch.get_num_threads() == threads


# --- store --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHUNK_PIXELS", 10 * 32 * 32)


SMALL = Phantom(patients=30, size=32)


def visible(cache: Path) -> list[str]:
    """What another process takes for a finished cohort."""
    return [path.name for path in cache.glob("phantom-*") if path.suffix == ""]


def test_open_renders_once(tmp_path: Path, small_chunks: None) -> None:
    seen: list[tuple[int, int]] = []
    cohort = SMALL.open(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(cohort), len(cohort))
    assert len(seen) > 2
    assert isinstance(cohort.pixels, np.memmap)
    assert not cohort.pixels.flags.writeable
    pd.testing.assert_frame_equal(cohort.index, SMALL.table(), check_dtype=False)
    np.testing.assert_array_equal(cohort.films(), render(0, SMALL._visits(), 32))
    seen.clear()
    again = SMALL.open(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert not seen
    np.testing.assert_array_equal(again.films(), cohort.films())
    assert {str(t) for t in again.index[list(FINDINGS)].dtypes} == {"float32"}


def test_masks_are_drawn_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the films asked for, from the bodies that are on them; the films that were drawn stay what they are."""
    cohort = SMALL.open(tmp_path)
    stored = {path.name: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    films = cohort.films()
    some = cohort.take([7, 3, 3]).take([2, 0])
    lungs, heart = outlines(0, SMALL._visits(), 32)
    np.testing.assert_array_equal(some.mask("lungs"), lungs[[3, 7]])
    np.testing.assert_array_equal(some.mask("heart"), heart[[3, 7]])
    assert cohort.masked("lungs").all()
    np.testing.assert_array_equal(cohort.films(), films)
    assert {path.name: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == stored
    np.testing.assert_array_equal(render(0, SMALL._visits(), 32), films)

    def never(*arguments: object) -> None:
        raise AssertionError("nobody asked for masks")

    monkeypatch.setattr(Phantom, "_visits", never)
    again = SMALL.open(tmp_path)  # does not even sample who is on the films
    np.testing.assert_array_equal(again.where("train").films(), cohort.where("train").films())
    with pytest.raises(AssertionError, match="nobody asked"):
        again.mask("heart", [0])


def test_boxes_are_around_what_findings_change(tmp_path: Path) -> None:
    """Of each finding alone, beside the same body without it: more changes within than outside, pixel by pixel."""
    visits = SMALL._visits().take(slice(0, 12))
    none = replace(visits, findings=np.zeros((12, 14), bool), severity=np.zeros((12, 14), np.float32))
    healthy = render(0, none, 64).astype(int)
    assert not len(boxes(0, none, 64))
    for finding in ("Consolidation", "Effusion", "Mass", "Nodule", "Pneumonia", "Cardiomegaly"):
        only = np.broadcast_to(np.array(FINDINGS) == finding, (12, 14))
        ill = replace(visits, findings=only.copy(), severity=only.astype(np.float32))
        drawn, changes = boxes(0, ill, 64), abs(render(0, ill, 64) - healthy)
        assert set(drawn["finding"]) == {finding}
        assert set(drawn["film"]) == set(range(12))
        inside = np.zeros(healthy.shape, dtype=bool)
        for film, _, x, y, w, h in drawn.itertuples(index=False):
            assert min(x, y) >= 0 < min(w, h)
            assert max(x + w, y + h) <= 64
            inside[film, y : y + h, x : x + w] = True
        share = [film[box].mean() > 1.5 * film[~box].mean() for film, box in zip(changes, inside, strict=True)]
        assert np.mean(share) > 0.9, finding


def test_boxes_are_drawn_once_and_change_no_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, asked = SMALL, SMALL.model_copy(update={"boxes": True})
    films, cohort = plain.open(tmp_path), asked.open(tmp_path)
    assert len(visible(tmp_path)) == 1
    assert "boxes" not in (tmp_path / visible(tmp_path)[0] / "spec.json").read_text()
    np.testing.assert_array_equal(cohort.films(), films.films())
    assert (asked.annotations, films.annotations.names) == (("lungs", "heart", "boxes"), ("lungs", "heart"))
    assert cohort.annotations.names == asked.annotations
    drawn = cohort.boxes()
    pd.testing.assert_frame_equal(drawn, boxes(0, SMALL._visits(), 32), check_dtype=False)
    labelled = cohort.index.loc[drawn["film"]]
    assert all(labelled.iloc[row][finding] == 1 for row, finding in enumerate(drawn["finding"]))
    monkeypatch.setattr(Phantom, "_visits", None)
    pd.testing.assert_frame_equal(asked.open(tmp_path).boxes(), drawn)
    assert not asked.others(1).boxes


def test_different_parameters_have_different_stores(tmp_path: Path) -> None:
    for phantom in (
        Phantom(patients=2, size=32),
        Phantom(patients=2, size=16),
        Phantom(patients=2, size=32, seed=1),
    ):
        phantom.open(tmp_path)
    assert len(visible(tmp_path)) == 3


def test_an_interrupted_render_is_invisible_and_resumes(tmp_path: Path, small_chunks: None) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SMALL.open(tmp_path, progress=stop)
    assert visible(tmp_path) == []
    seen: list[int] = []
    cohort = SMALL.open(tmp_path, progress=lambda done, total: seen.append(done))
    assert seen[0] > 20  # what was done is not done again
    np.testing.assert_array_equal(cohort.films(), render(0, SMALL._visits(), 32))
    assert len(visible(tmp_path)) == 1
    assert not list(tmp_path.glob("*.part"))


def test_workers_give_the_same_films_and_stop(tmp_path: Path, small_chunks: None) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SMALL.open(tmp_path, workers=2, progress=stop)
    assert visible(tmp_path) == []
    cohort = SMALL.open(tmp_path, workers=2)
    np.testing.assert_array_equal(cohort.films(), render(0, SMALL._visits(), 32))


def test_two_at_once_render_once(tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[slice] = []
    real = store._render_chunk

    def counted(chunk: store._Chunk) -> None:
        rendered.append(chunk.rows)
        real(chunk)

    monkeypatch.setattr(store, "_render_chunk", counted)
    both = [threading.Thread(target=SMALL.open, args=(tmp_path,)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sum(rows.stop - rows.start for rows in rendered) == len(SMALL.table())
    np.testing.assert_array_equal(SMALL.open(tmp_path).films(), render(0, SMALL._visits(), 32))


def test_a_dead_worker_is_an_error(tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_render_chunk", _die)
    with pytest.raises(EngineBroken, match="fewer workers"):
        SMALL.open(tmp_path, workers=2)
    assert visible(tmp_path) == []


def _die(*arguments: object) -> None:
    os._exit(9)


def test_a_full_disk_leaves_nothing(tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(StorageError, match="disk is full"):
            SMALL.open(tmp_path)
    assert list(tmp_path.glob("phantom-*.part")) == []
    assert visible(tmp_path) == []
    assert len(SMALL.open(tmp_path)) == len(SMALL.table())


def test_a_file_in_place_of_the_cache_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DataError, match="cache folder"):
        SMALL.open(tmp_path / "cache")


# --- parameters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"patients": 0},
        {"patients": 1_000_001},
        {"size": 15},
        {"size": 1025},
        {"mean_visits": 0.5},
        {"prevalence": "none"},
        {"sources": 0},
        {"patient_overlap": 1.5},
        {"patient_overlap": 0.5, "sources": 1},
        {"splits": (0.5, 0.1, 0.1)},
        {"splits": (1.2, -0.2, 0.0)},
        {"colour": "red"},
        {"mislabelled": {"sensitivity": 1.2}},
        {"sources": 3, "mislabelled": {"sources": {"source-4": {"sensitivity": 0.8}}}},
    ],
)
def test_wrong_parameters(wrong: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        Phantom.model_validate(wrong)
