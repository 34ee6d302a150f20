"""A leak on disk holds what the threat model grants, reads back the same, and names nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.adversaries import Auxiliary, Coded, Leak, Pairs
from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError, StorageError
from fedcxr.methods.noise import Noise
from fedcxr.protocol import site_step
from fedcxr.scenario import Scenario
from fedcxr.simulation.custody import simulated
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.threat import Threat
from server import leak as leaks

CANARY = "Zaphod-Beeblebrox-"


@pytest.fixture(scope="module")
def experiment(make_cohort: Callable[..., Cohort], make_scenario: Callable[..., Scenario]) -> Experiment:
    cohort = make_cohort((3, 1, 4, 2, 5) * 6, prefix=CANARY)
    return Experiment.of(make_scenario(method={"name": "noise", "scale": 0.25}), cohort)


@pytest.fixture(scope="module")
def held(experiment: Experiment) -> dict[str, Leak]:
    scenario = experiment.scenario
    return Threat(experiment).leaks(
        [site_step(scenario, s, experiment.site(s), simulated(scenario, s)) for s in experiment.dealt]
    )


@pytest.fixture(scope="module")
def folder(held: dict[str, Leak], tmp_path_factory: pytest.TempPathFactory) -> Path:
    attack = tmp_path_factory.mktemp("attack")
    leaks.save_auxiliary({name: leak.auxiliary for name, leak in held.items()}, attack)
    leaks.save(held, attack)
    return attack


def equal(one: Auxiliary, other: Auxiliary) -> bool:
    return all(
        np.array_equal(a, vars(other)[name]) and a.dtype == vars(other)[name].dtype for name, a in vars(one).items()
    )


@pytest.mark.parametrize("name", ["protected", "control_raw", "control_shuffled"])
def test_round_trip(held: dict[str, Leak], folder: Path, name: str) -> None:
    read = leaks.wait_for(folder, name)
    np.testing.assert_array_equal(read.released, held[name].released)
    np.testing.assert_array_equal(read.known, held[name].known)
    assert equal(read.auxiliary, held[name].auxiliary)
    assert read.mechanism == held[name].mechanism
    assert isinstance(read.auxiliary.films, np.memmap)  # an auxiliary cohort may be larger than the memory


@pytest.mark.parametrize("releases", [1, 2])
@pytest.mark.parametrize("pairs", [0, 5])
@pytest.mark.parametrize("method", ["sca", "sealed"])
def test_codes_round_trip(experiment: Experiment, method: str, releases: int, pairs: int, tmp_path: Path) -> None:
    knowledge = {"releases": releases, "pairs": pairs}
    scenario = Scenario.parse({**experiment.scenario.document(), "method": method, "knowledge": knowledge})
    coded = replace(experiment, scenario=scenario)
    held = Threat(coded).leaks([site_step(scenario, s, coded.site(s), simulated(scenario, s)) for s in coded.dealt])
    leaks.save_auxiliary({name: leak.auxiliary for name, leak in held.items()}, tmp_path)
    leaks.save(held, tmp_path)
    for name in ("protected", "control_shuffled"):
        read, leak = leaks.wait_for(tmp_path, name), held[name]
        assert read.kind == "codes"
        assert read.coded is not None
        assert leak.coded is not None
        np.testing.assert_array_equal(read.released, leak.released)
        np.testing.assert_array_equal(read.coded.versions, leak.coded.versions)
        assert dict(read.coded.facts) == dict(leak.coded.facts)
        assert (read.coded.public is None) == (method == "sealed")
        if leak.coded.public is not None:
            np.testing.assert_array_equal(read.coded.public, leak.coded.public)
        assert (read.coded.again is None) == (method == "sealed" or releases == 1)
        assert (read.coded.pairs is None) == (method == "sealed" or pairs == 0)
        if leak.coded.again is not None:
            np.testing.assert_array_equal(read.coded.again, leak.coded.again)
        if leak.coded.pairs is not None:
            assert read.coded.pairs is not None
            assert len(read.coded.pairs.films) == pairs
            for part, array in vars(leak.coded.pairs).items():
                np.testing.assert_array_equal(getattr(read.coded.pairs, part), array)
        assert read.mechanism == scenario.method
    assert leaks.wait_for(tmp_path, "control_raw").kind == "images"


def test_an_unknown_mechanism_stays_unknown(held: dict[str, Leak], tmp_path: Path) -> None:
    leak = replace(held["protected"], mechanism=None)
    leaks.save_auxiliary({"protected": leak.auxiliary}, tmp_path)
    leaks.save({"protected": leak}, tmp_path)
    assert leaks.wait_for(tmp_path, "protected").mechanism is None
    assert "noise" not in "".join(p.read_text(errors="replace") for p in tmp_path.rglob("*.json"))


def test_originals_of_attacked_films_lie_in_the_control_only(experiment: Experiment, folder: Path) -> None:
    """Each attack's process may read its own leak and the auxiliary films: search every byte of both."""
    known = set(Threat(experiment).known_rows())
    test = [row for row in np.flatnonzero(experiment.cohort.index["split"] == "test") if row not in known]
    originals = [film.tobytes() for film in experiment.cohort.films(test)]
    assert len(originals) > 10
    found = {
        part: sum(original in path.read_bytes() for path in (folder / part).rglob("*") for original in originals)
        for part in ("protected", "control_shuffled", leaks.AUXILIARY, "control_raw")
    }
    assert found == {"protected": 0, "control_shuffled": 0, leaks.AUXILIARY: 0, "control_raw": len(originals)}


def test_no_file_names_a_patient(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 12
    for path in files:
        data = path.read_bytes()
        assert CANARY not in path.name
        for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
            assert CANARY.encode(encoding) not in data, path


def test_no_file_holds_pickles(folder: Path) -> None:
    for path in folder.rglob("*.npy"):
        assert not np.load(path, allow_pickle=False).dtype.hasobject


def test_pickles_are_refused(held: dict[str, Leak], tmp_path: Path) -> None:
    leaks.save_auxiliary({"protected": held["protected"].auxiliary}, tmp_path)
    leaks.save({"protected": held["protected"]}, tmp_path)
    np.save(tmp_path / "protected" / "known.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"pickle|Python objects"):
        leaks.wait_for(tmp_path, "protected")


def test_a_damaged_mechanism_is_an_error(held: dict[str, Leak], tmp_path: Path) -> None:
    leaks.save_auxiliary({"protected": held["protected"].auxiliary}, tmp_path)
    leaks.save({"protected": held["protected"]}, tmp_path)
    for content, error in (("{", StorageError), ('{"name": "noise", "scale": -1}', ConfigError)):
        (tmp_path / "protected" / leaks.COMPLETE).write_text(content)
        with pytest.raises(error):
            leaks.wait_for(tmp_path, "protected")


def test_a_leak_is_complete_only_when_everything_is_there(
    held: dict[str, Leak], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leak = {"protected": held["protected"]}
    leaks.save_auxiliary({"protected": held["protected"].auxiliary}, tmp_path)
    assert not (tmp_path / "protected" / leaks.COMPLETE).exists()
    real = np.save

    def killed(path: Path, array: np.ndarray, allow_pickle: bool) -> None:
        if path.name == "known.npy":
            raise KeyboardInterrupt
        real(path, array, allow_pickle=allow_pickle)

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            leaks.save(leak, tmp_path)
    assert not (tmp_path / "protected" / leaks.COMPLETE).exists()
    leaks.save(leak, tmp_path)
    assert leaks.wait_for(tmp_path, "protected").mechanism == Noise(scale=0.25)


def test_auxiliary_films_lie_on_disk_once(folder: Path) -> None:
    assert [p.parent.name for p in folder.rglob("films.npy")] == [leaks.AUXILIARY]


def test_a_place_that_cannot_be_written(held: dict[str, Leak], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write there"):
        leaks.save_auxiliary({"protected": held["protected"].auxiliary}, tmp_path / "file" / "attack")


@given(
    films=st.integers(1, 5),
    public=st.booleans(),
    again=st.booleans(),
    pairs=st.integers(0, 4),
    keys=st.booleans(),
    seed=st.integers(0, 9),
)
def test_whatever_is_granted_of_codes_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, films: int, public: bool, again: bool, pairs: int, keys: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)

    def codes(n: int) -> np.ndarray:
        return rng.integers(-128, 128, (n, 6, 2, 3)).astype(np.int8)

    held = Coded(
        codes(films) if public else None,
        rng.integers(0, 3, films),
        {"size": [16, 24], "version": "é"},
        codes(films) if again else None,
        Pairs(codes(pairs), rng.permutation(9)[:pairs], rng.integers(0, 3, pairs)) if pairs else None,
        rng.random(films) < 0.5 if keys else None,
        rng.integers(0, 256, (films, 16, 24)).astype(np.uint8) if keys else None,
    )
    folder = tmp_path_factory.mktemp("coded")
    leaks._save_coded(folder, held)
    read = leaks._load_coded(folder)
    assert dict(read.facts) == dict(held.facts)
    for one, other in ((read, held), (read.pairs, held.pairs)):
        loaded, saved = (
            {name: part for name, part in vars(whole).items() if isinstance(part, np.ndarray)} if whole else {}
            for whole in (one, other)
        )
        assert loaded.keys() == saved.keys()
        for name, array in loaded.items():
            np.testing.assert_array_equal(array, saved[name])
            assert array.dtype == saved[name].dtype
