"""A leak on disk holds what the threat model grants, reads back the same, and names nobody."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from consortium import NAMES, Consortium
from holdings import changed
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.adversaries import Leak
from fedcxr.errors import ConfigError, StorageError
from fedcxr.knowledge import Holding
from fedcxr.methods.noise import Noise
from fedcxr.questions import Asked, Part
from fedcxr.storage.disk import write_array
from fedcxr.storage.private import draft_of
from fedcxr.view import Array, View
from server import leak as leaks

MakeConsortium = Callable[..., Consortium]
FILMS_OF = (3, 1, 4, 2, 5) * 6
WORLDS = ["protected", "control_raw", "control_shuffled"]


def write(consortium: Consortium, folder: Path, question: str = "linkage") -> Path:
    """A question's leaks, each in its own folder: what is held early first."""
    for world, setting in consortium.threat.settings(question).items():
        leaks.save_early(consortium.threat.owned(question, setting.world), folder / world)
    for world in consortium.threat.settings(question):
        one = consortium.put[question].get(world)
        leaks.save(one.leak if one else None, one.asked if one else None, folder / world)
    return folder


def read(folder: Path) -> Leak:
    found = leaks.read(folder)
    assert found is not None
    return found[0]


def early(leak: Leak) -> dict[str, Holding]:
    return {"own_films": leak.holdings["own_films"]}


def asked_about(view: View, **parts: Part) -> Asked:
    return Asked(view, parts, key=None)


def assert_same_arrays(one: dict[str, Array], other: dict[str, Array]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], strict=True)
        assert array.dtype == other[name].dtype


def assert_same(one: Leak, other: Leak) -> None:
    """Array by array, and fact by fact."""
    assert_same_arrays(dict(one.view.forms), dict(other.view.forms))
    rows = ("opened", "versions")
    assert_same_arrays({r: getattr(one.view, r) for r in rows}, {r: getattr(other.view, r) for r in rows})
    assert (one.view.model is None) == (other.view.model is None)
    assert_same_arrays(one.view.model or {}, other.view.model or {})
    assert (one.given is None) == (other.given is None)
    held, kept = (
        {**leak.holdings, **({"given": leak.given} if leak.given is not None else {})} for leak in (one, other)
    )
    assert held.keys() == kept.keys()
    for kind, holding in held.items():
        assert_same_arrays(dict(holding.arrays), dict(kept[kind].arrays))
        assert dict(holding.facts) == dict(kept[kind].facts)


@pytest.fixture(scope="module")
def consortium(make_consortium: MakeConsortium) -> Consortium:
    return make_consortium(FILMS_OF, method={"name": "noise", "scale": 0.25})


@pytest.fixture(scope="module")
def folder(consortium: Consortium, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(consortium, tmp_path_factory.mktemp("attack"))


@pytest.fixture
def protected(consortium: Consortium) -> tuple[Leak, Asked]:
    one = consortium.put["linkage"]["protected"]
    return one.leak, one.asked


@pytest.mark.parametrize("world", WORLDS)
def test_round_trip(consortium: Consortium, folder: Path, world: str) -> None:
    found = leaks.read(folder / world)
    assert found is not None
    leak, parts = found
    assert_same(leak, consortium.leak(world=world))
    assert parts == consortium.put["linkage"][world].asked.parts
    assert leak.mechanism == consortium.leak(world=world).mechanism
    assert isinstance(leak.own.films, np.memmap)  # an auxiliary cohort may be larger than the memory


@pytest.mark.parametrize("releases", [1, 2])
@pytest.mark.parametrize("pairs", [0, 5])
@pytest.mark.parametrize("method", ["sca", "sealed"])
def test_codes_round_trip(
    make_consortium: MakeConsortium, method: str, releases: int, pairs: int, tmp_path: Path
) -> None:
    knowledge = {"releases": releases, "pairs": pairs}
    coded = make_consortium(FILMS_OF, method=method, knowledge=knowledge, adversaries={"support": {}})
    write(coded, tmp_path)
    for world in ("protected", "control_shuffled"):
        leak = read(tmp_path / world)
        assert_same(leak, coded.leak(world=world))
        assert ("codes" in leak.view.forms) == (method == "sca")
        assert ("releases" in leak.holdings) == (method == "sca" and releases == 2)
        assert leak.mechanism == coded.scenario.method
    assert read(tmp_path / "control_raw").view.forms.keys() == {"films"}
    write(coded, tmp_path / "same film", "same_film")
    if method == "sealed" or not pairs:
        assert leaks.read(tmp_path / "same film" / "protected") is None
    else:
        leak = read(tmp_path / "same film" / "protected")
        assert_same(leak, coded.leak("same_film"))
        assert len(leak.holdings["pairs"].arrays["films"]) == pairs


def test_an_unknown_mechanism_stays_unknown(protected: tuple[Leak, Asked], tmp_path: Path) -> None:
    leak, asked = changed(protected[0], mechanism=None), protected[1]
    leaks.save_early(early(leak), tmp_path / "leak")
    leaks.save(leak, asked, tmp_path / "leak")
    assert read(tmp_path / "leak").mechanism is None
    assert "noise" not in "".join(p.read_text(errors="replace") for p in tmp_path.rglob("*.json"))


def test_originals_of_attacked_films_lie_in_the_control_only(consortium: Consortium, folder: Path) -> None:
    """Each attack's process may read its own leak alone: search every byte of each."""
    known = set(np.flatnonzero(consortium.put["linkage"]["protected"].roles.known))
    cohort = consortium.experiment.cohort
    test = [row for row in np.flatnonzero(cohort.index["split"] == "test") if row not in known]
    originals = [film.tobytes() for film in cohort.films(test)]
    assert len(originals) > 10
    found = {
        world: sum(
            original in path.read_bytes()
            for path in (folder / world).rglob("*")
            if path.is_file()
            for original in originals
        )
        for world in WORLDS
    }
    assert found == {"protected": 0, "control_shuffled": 0, "control_raw": len(originals)}


def test_no_file_names_a_patient(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 12
    for path in files:
        data = path.read_bytes()
        assert NAMES not in path.name
        for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
            assert NAMES.encode(encoding) not in data, path


def test_no_file_holds_pickles(folder: Path) -> None:
    files = list(folder.rglob("*.npy"))
    assert files
    for path in files:
        assert not np.load(path, allow_pickle=False).dtype.hasobject


def test_pickles_are_refused(protected: tuple[Leak, Asked], tmp_path: Path) -> None:
    leaks.save_early(early(protected[0]), tmp_path / "leak")
    leaks.save(*protected, tmp_path / "leak")
    file = tmp_path / "leak" / leaks.HELD.format("known_films") / "0.npy"
    file.unlink()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"pickle|Python objects"):
        leaks.read(tmp_path / "leak")


def test_a_damaged_leak_is_an_error(protected: tuple[Leak, Asked], tmp_path: Path) -> None:
    leaks.save_early(early(protected[0]), tmp_path / "leak")
    leaks.save(*protected, tmp_path / "leak")
    told = tmp_path / "leak" / leaks.COMPLETE
    whole = told.read_text()
    assert read(tmp_path / "leak").mechanism == Noise(scale=0.25)
    told.write_text(whole.replace("0.25", "-1.0"))
    with pytest.raises(ConfigError):
        _ = read(tmp_path / "leak").mechanism
    told.write_text("{")
    with pytest.raises(StorageError):
        leaks.read(tmp_path / "leak")


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_leak_is_complete_only_when_everything_is_there(
    at: int, protected: tuple[Leak, Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in any of its arrays, of which half a file is left, and then gone on with."""
    place, saved = tmp_path / "leak", 0
    leaks.save_early(early(protected[0]), place)
    assert not (place / leaks.COMPLETE).exists()

    def killed(path: Path, array: np.ndarray) -> None:
        nonlocal saved
        saved += 1
        write_array(path, array)
        if saved == at:
            half = path.read_bytes()[: path.stat().st_size // 2]
            path.unlink()
            draft_of(path).write_bytes(half)
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(leaks, "write_array", killed)
        with pytest.raises(KeyboardInterrupt):
            leaks.save(*protected, place)
    assert not (place / leaks.COMPLETE).exists()
    leaks.save(*protected, place)
    assert_same(read(place), protected[0])


def test_a_leak_that_is_there_is_not_written_again(folder: Path, consortium: Consortium) -> None:
    """An attack that went on from an earlier one must find what it had begun with."""
    before = (folder / "protected" / leaks.COMPLETE).stat().st_mtime_ns
    one = consortium.put["linkage"]["control_raw"]
    leaks.save(one.leak, one.asked, folder / "protected")
    assert (folder / "protected" / leaks.COMPLETE).stat().st_mtime_ns == before


def test_nothing_to_ask_is_told(tmp_path: Path) -> None:
    leaks.save_early({}, tmp_path / "leak")
    leaks.save(None, None, tmp_path / "leak")
    assert leaks.read(tmp_path / "leak") is None


def test_what_leaks_have_in_common_lies_on_disk_once(folder: Path) -> None:
    """Films take the room: those of the adversary's own are the same in every world, and so are the known ones."""
    kept = [path.stat().st_ino for path in (folder / leaks.ARRAYS).iterdir()]
    arrays = [path.stat().st_ino for world in WORLDS for path in (folder / world).rglob("*.npy")]
    assert set(arrays) == set(kept)
    assert len(kept) == len(set(kept)) < len(arrays)
    for kind in ("own_films", "known_films"):
        films = {(folder / world / leaks.HELD.format(kind) / "0.npy").stat().st_ino for world in WORLDS}
        assert len(films) == 1


def test_the_same_films_and_people_have_the_same_fingerprint(consortium: Consortium, tmp_path: Path) -> None:
    """What was learnt from them is shared by all who hold them, and by nobody else."""
    settings = consortium.threat.settings("linkage")
    prints = {
        world: leaks.save_early(consortium.threat.owned("linkage", setting.world), tmp_path / world)
        for world, setting in settings.items()
    }
    assert prints["protected"] == prints["control_raw"] != prints["control_shuffled"]


def test_a_place_that_cannot_be_written(protected: tuple[Leak, Asked], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write there"):
        leaks.save_early(early(protected[0]), tmp_path / "file" / "attack")


DTYPES = st.sampled_from([np.uint8, np.int8, np.int64, np.float16, np.float32, np.bool_])
KINDS = st.sampled_from(["mechanism", "releases", "known_films", "outside:Kind", "view", "given"])
NAMED = st.text("abc_/.é", min_size=1, max_size=6)


@st.composite
def held(draw: st.DrawFn) -> Holding:
    rng = np.random.default_rng(draw(st.integers(0, 9)))

    def array(kind: type[Any]) -> Array:
        shape = draw(st.lists(st.integers(0, 3), max_size=4))
        return np.asarray(rng.integers(0, 2, shape)).astype(kind)

    arrays = {name: array(draw(DTYPES)) for name in draw(st.lists(NAMED, max_size=4, unique=True))}
    facts = draw(st.dictionaries(NAMED, st.one_of(st.integers(-9, 9), st.text(max_size=3), st.none()), max_size=2))
    return Holding(arrays, facts)


@given(
    rows=st.integers(0, 4),
    forms=st.sets(st.sampled_from(["films", "purified", "codes", "sealed"])),
    first=held(),
    others=st.dictionaries(KINDS, held(), max_size=3),
    handed=st.one_of(st.none(), held()),
    model=st.booleans(),
    optional=st.booleans(),
)
def test_whatever_is_seen_and_held_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    forms: set[str],
    first: Holding,
    others: dict[str, Holding],
    handed: Holding | None,
    model: bool,
    optional: bool,
) -> None:
    """Whatever kinds are called, and the arrays in them."""
    rng = np.random.default_rng(rows)
    seen = {form: rng.integers(0, 99, (rows, 2, 3)).astype(np.uint8) for form in sorted(forms)}
    weights: dict[str, Array] | None = {"layer/weight": np.ones((2, 2), dtype=np.float32)} if model else None
    view = View(seen, rng.random(rows) < 0.5, rng.integers(0, 3, rows), weights)
    leak = Leak(view, {"own_films": first, **others}, handed)
    place = tmp_path_factory.mktemp("attack") / "leak"
    leaks.save_early({"own_films": first}, place)
    leaks.save(leak, asked_about(view, scores=Part((rows, 2), np.float32, optional)), place)
    found = leaks.read(place)
    assert found is not None
    assert_same(found[0], leak)
    assert found[1] == {"scores": Part((rows, 2), np.dtype(np.float32), optional)}
    assert_same_arrays(dict(leaks.load_early(place)["own_films"].arrays), dict(first.arrays))
    assert json.loads((place / leaks.EARLY).read_text()).keys() == {"own_films"}


def test_weights_of_many_rounds_do_not_stay_open(tmp_path: Path) -> None:
    """A process may have a thousand files open, and twenty rounds of five sites are some thousand arrays."""
    many = {f"{number:04}/site/weight": np.full(3, number, dtype=np.float32) for number in range(leaks.FEW + 1)}
    view = View({}, np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.int64))
    held = {"updates": Holding(many), "own_films": Holding({"films": np.zeros((2, 4, 4), dtype=np.uint8)})}
    leaks.save_early({}, tmp_path / "leak")
    leaks.save(Leak(view, held), Asked(view, {}, None), tmp_path / "leak")
    arrived = leaks.read(tmp_path / "leak")
    assert arrived is not None
    arrays = arrived[0].holdings["updates"].arrays
    assert not any(isinstance(array, np.memmap) or array.flags.writeable for array in arrays.values())
    assert all(np.array_equal(array, many[name]) for name, array in arrays.items())
    assert isinstance(arrived[0].holdings["own_films"].arrays["films"], np.memmap)
