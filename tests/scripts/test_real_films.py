"""The evidence on real films: nothing leaks between folds, nothing is compared that means two things."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fedcxr.errors import DataError
from fedcxr.metrics import auc
from fedcxr.rng import stream

ROOT = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("FEDCXR_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "evidences"))
    import real_films

    return real_films


def made_up(script: ModuleType, name: str, units: np.ndarray, patients: np.ndarray, sources: np.ndarray) -> object:
    films = stream(0).integers(0, 256, (len(units), 8, 8), dtype=np.uint8)
    rows = np.empty(0, dtype=np.intp)
    labels = np.zeros((len(units), 1), dtype=np.float32)
    return script.RealFilms(name, films, patients, sources, units, sources == 0, labels, ("x",), (rows, rows))


def test_what_hangs_together_is_never_torn_apart(script: ModuleType) -> None:
    import _real_cohorts

    patients, sources = np.array([0, 0, 1, 2, 3, 4]), np.array([0, 1, 1, 2, 3, 3])
    units = _real_cohorts.tied(patients, sources)
    groups = np.array(["first", "first", "first", "second", "third", "third"])
    assert ((units[:, None] == units) == (groups[:, None] == groups)).all()
    many = stream(1).integers(40, size=200)
    fold = script.folds_of(many, 4, stream(2))
    assert all(len(set(fold[many == unit])) == 1 for unit in range(40))
    assert np.bincount(fold).min() > 45


@pytest.mark.parametrize("name", ["covid", "kermany"])
def test_tuned_networks_are_compared_with_themselves_only(script: ModuleType, name: str) -> None:
    patients = np.repeat(np.arange(12), 2)
    sources = np.array([0] * 8 + [1] * 8 + [2] * 8)
    units = sources if name == "covid" else np.repeat(np.arange(8), 3)
    fold = script.folds_of(units, 2, stream(0))
    cohort = made_up(script, name, units, patients, sources)
    found = {protocol.name: protocol for protocol in script.protocols(cohort, fold)}
    assert not found[f"{name}: all"].one_network
    assert found[f"{name}: all, within folds"].one_network
    for protocol in found.values():
        if protocol.one_network:
            assert (fold[protocol.a] == fold[protocol.b]).all()
            assert all(len(set(fold[protocol.a[protocol.strata == s]])) == 1 for s in set(protocol.strata))
        if name == "kermany":  # films of one unit and two patients: nobody knows whether they are one child's
            assert ((patients[protocol.a] == patients[protocol.b]) | (units[protocol.a] != units[protocol.b])).all()


@pytest.mark.parametrize("films_each", [[1] * 60, [2] * 8, [3] * 19 + [1] * 50], ids=["one film", "8 people", "19"])
def test_too_few_people_with_two_films_show_nothing(script: ModuleType, films_each: list[int]) -> None:
    patients = np.repeat(np.arange(len(films_each)), films_each)
    cohort = made_up(script, "covid", patients, patients, patients)
    with pytest.raises(DataError, match=r"covid: too few people .* given: \d+ of \d+ people") as caught:
        script.enough(cohort)
    assert caught.value.exit_code == 3
    enough = np.repeat(np.arange(20), 2)
    script.enough(made_up(script, "covid", enough, enough, enough))


@pytest.mark.skipif(not (REAL / "covid").is_dir(), reason=f"no real films in {REAL}; set FEDCXR_TEST_DATA")
def test_raw_pixels_reach_the_figures_known_for_these_films(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0" * 64 + "\n")
    secret.chmod(0o600)
    monkeypatch.setenv("FEDCXR_SECRET_FILE", str(secret))
    monkeypatch.setenv("FEDCXR_CACHE", str(tmp_path))
    cohort = script.covid(REAL, 256)
    scores = script.correlation(cohort.films, cohort.films)
    fold = script.folds_of(cohort.units, 4, stream(0))
    found = {protocol.name: protocol for protocol in script.protocols(cohort, fold)}
    for name, expected in {"covid: all": 0.775, "covid: one hospital": 0.721}.items():
        a, b = found[name].a, found[name].b
        assert auc(cohort.patients[a] == cohort.patients[b], scores[a, b]) == pytest.approx(expected, abs=0.001)
