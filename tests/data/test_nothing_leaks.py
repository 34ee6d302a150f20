"""Who is on the films stays where the films are: hunted for in all that is kept, shown, told or released of them."""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sample_hospitals
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rich.console import Console
from sample_hospitals import READERS, ROOT, SampleHospital, grain, source, usual

from fedcxr.cli import console
from fedcxr.cohort import SPLITS
from fedcxr.data._splits import Splits, by_chance, carve
from fedcxr.errors import FedcxrError
from fedcxr.protocol import site_step
from fedcxr.release import Packed, Release
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import simulated

pytestmark = pytest.mark.usefixtures("secret_file")

SCENARIO = Scenario.parse({"sites": 2, "partition": {"by": "iid"}, "tasks": {}, "adversaries": {}, "method": "none"})


# Begun with a letter: a name of nothing but zeros is in every array.
FREE = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyzäöüßéł0123456789-_", min_size=7, max_size=11).map(
    "Q{}".format
)
NINE = st.lists(FREE, min_size=9, max_size=9, unique_by=str.casefold)
NUMBERS = st.lists(st.integers(10_000, 99_999).map(str), min_size=3, max_size=3, unique=True)


# The hunt -------------------------------------------------------------------------------------------------------------


def forms(secret: str) -> Iterator[bytes]:
    """What stands for a secret as well as the secret itself: other encodings, and hashes that need no key."""
    for text in {secret, secret.casefold(), secret.upper()}:
        yield text.encode()
        yield text.encode("utf-16-le")
        for algorithm in ("md5", "sha1", "sha256"):
            digest = hashlib.new(algorithm, text.encode()).digest()
            yield from (digest[:8], digest[:8].hex().encode())
    if secret.isdecimal():
        yield from (int(secret).to_bytes(8, order) for order in ("little", "big"))


def leaks(secrets: Iterable[str], places: Mapping[str, bytes]) -> list[str]:
    """Where which secret was found."""
    lowered = {place: (data, data.lower()) for place, data in places.items()}
    parts = {part for secret in secrets for part in (secret, *secret.split("/")) if len(part) > 7}
    parts -= {"view1_frontal"}  # every film of CheXpert is called so
    return [
        f"{place}: {part}"
        for part in sorted(parts)
        for form in forms(part)
        for place, versions in lowered.items()
        if any(form in version for version in versions)
    ]


def kept(top: Path) -> dict[str, bytes]:
    """Every file below a folder, by its name."""
    found = {str(path.relative_to(top)): path for path in top.rglob("*")}
    names = {"names of files": "\n".join(found).encode()}
    return names | {name: path.read_bytes() for name, path in found.items() if path.is_file()}


def released(release: Release) -> dict[str, bytes]:
    data = release.to_bytes()
    header = Packed.from_bytes(data).header
    arrays = {f"array {name}": array.tobytes() for name, array in release.arrays.items()}
    return {"release": data, "header": repr(header).encode(), "facts": repr(release.facts).encode(), **arrays}


@contextmanager
def listening() -> Iterator[dict[str, io.StringIO]]:
    """What anybody logs or prints, at the finest level."""
    heard = {"log": io.StringIO(), "screen": io.StringIO()}
    handler, top = logging.StreamHandler(heard["log"]), logging.getLogger()
    handler.setFormatter(logging.Formatter("%(name)s %(pathname)s %(message)s %(args)s"))
    level = top.level
    top.addHandler(handler)
    top.setLevel(logging.DEBUG)
    try:
        with redirect_stdout(heard["screen"]), redirect_stderr(heard["screen"]):
            yield heard
    finally:
        top.removeHandler(handler)
        top.setLevel(level)


@settings(max_examples=5, phases=[Phase.generate])  # a shorter name would tell no more
@pytest.mark.parametrize("reader", READERS)
@given(texts=NINE, numbers=NUMBERS)
def test_nothing_kept_shown_or_released_tells_who_it_is(
    tmp_path_factory: pytest.TempPathFactory, reader: str, texts: list[str], numbers: list[str]
) -> None:
    ward = (
        sample_hospitals.of_texts(texts)
        if reader in ("folder", "dicom")
        else sample_hospitals.of_numbers(reader, numbers)
    )
    top = tmp_path_factory.mktemp("leaks")
    films = source(top / ROOT, READERS[reader](top / ROOT, ward))
    with listening() as heard:
        terminal = Console(file=heard["screen"], force_terminal=True)
        with console.counted("films", terminal) as progress:
            cohort = films.open(top / "kept" / "cache", progress=progress)
        films.pack(top / "kept" / "shard", progress=progress)
        films.open(top / "kept" / "cache")
        release = site_step(SCENARIO, "site-1", cohort, simulated(SCENARIO, "site-1"))
    assert len(release) == len(ward.films)
    index = cohort.index
    places = {
        "index": (index.to_csv() + repr([*index.columns, index.attrs, index.index.name, cohort.findings])).encode(),
        **kept(top / "kept"),
        **released(release),
        **{name: text.getvalue().encode() for name, text in heard.items()},
    }
    assert {"shard/images.npy", "shard/index.csv", "shard/manifest.json", "array films"} <= places.keys()
    assert "films" in heard["screen"].getvalue()  # there was a progress bar to read
    assert not leaks(ward.secrets, places)
    # What leaves does not tell pseudonyms either, nor where films are kept.
    assert not leaks((*index["image"], *index["patient"], str(top)), released(release))
    shutil.rmtree(top)


# Errors ---------------------------------------------------------------------------------------------------------------


def films_of(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix in (".png", ".jpg", ".dcm"))


def table_of(root: Path) -> Path:
    return min(root.glob("*.csv"))


def truncate(root: Path, ward: SampleHospital) -> None:
    film = films_of(root)[0]
    film.write_bytes(film.read_bytes()[:-200])


def truncate_a_mask(root: Path, ward: SampleHospital) -> None:
    mask = films_of(root / "masks")[0]
    mask.write_bytes(mask.read_bytes()[:45])


def remove(root: Path, ward: SampleHospital) -> None:
    films_of(root)[0].unlink()


def repeat_a_row(root: Path, ward: SampleHospital) -> None:
    table = table_of(root)
    table.write_text(f"{table.read_text()}\n{table.read_text().splitlines()[-1]}")


def swap_columns(root: Path, ward: SampleHospital) -> None:
    """Names where numbers, views and splits are expected."""
    table = table_of(root)
    header, *lines = table.read_text().splitlines()
    table.write_text("\n".join((header, *(",".join(reversed(line.split(","))) for line in lines))))


def exchange_patients(root: Path, ward: SampleHospital) -> None:
    table = table_of(root)
    text = table.read_text().replace(f",{ward.patients[0]},", ",?,").replace(f",{ward.patients[1]},", ",!,")
    table.write_text(text.replace(",?,", f",{ward.patients[1]},").replace(",!,", f",{ward.patients[2]},"))


def spoil_dates(root: Path, ward: SampleHospital) -> None:
    table = table_of(root)
    table.write_text(table.read_text().replace(f",{ward.days[0]},", f",am {ward.days[0]} {ward.accession},"))


def spoil_splits(root: Path, ward: SampleHospital) -> None:
    table = table_of(root)
    table.write_text(table.read_text().replace(",train,", f",{ward.patients[0]},"))


def list_a_film_twice(root: Path, ward: SampleHospital) -> None:
    with (root / "test_list.txt").open("a") as file:
        file.write(f"\n{ward.films[0]}.png")


def list_no_film(root: Path, ward: SampleHospital) -> None:
    (root / "test_list.txt").write_text(ward.films[5])


def split_a_patient(root: Path, ward: SampleHospital) -> None:
    for name, films in {"train_val_list.txt": ward.films[:5], "test_list.txt": ward.films[5:]}.items():
        (root / name).write_text("\n".join(f"{film}.png" for film in films))


def keep_a_film_twice(root: Path, ward: SampleHospital) -> None:
    shutil.copy(films_of(root)[0], root)


def forget_the_patient(root: Path, ward: SampleHospital) -> None:
    import dicoms

    dicoms.dicom(films_of(root)[0], grain(0), PatientID=None, PatientName=ward.name, StudyDate=ward.days[0])


def copy_a_film(root: Path, ward: SampleHospital) -> None:
    film = films_of(root)[0]
    shutil.copy(film, film.with_name(f"{ward.accession}.dcm"))


BROKEN = {
    "nih": (
        *(truncate, remove, repeat_a_row, swap_columns, exchange_patients, list_a_film_twice, list_no_film),
        *(split_a_patient, keep_a_film_twice),
    ),
    "chexpert": (truncate, remove, repeat_a_row, swap_columns),
    "folder": (
        *(truncate, truncate_a_mask, remove, repeat_a_row, swap_columns, exchange_patients, spoil_dates),
        spoil_splits,
    ),
    "dicom": (truncate, forget_the_patient, copy_a_film),
}
NAMED = (truncate, truncate_a_mask, forget_the_patient, copy_a_film)  # by `data check`, to the people who own the files


@pytest.mark.parametrize(
    ("reader", "spoil"),
    [pytest.param(reader, spoil, id=f"{reader}-{spoil.__name__}") for reader in BROKEN for spoil in BROKEN[reader]],
)
def test_no_error_tells_who_it_is(tmp_path: Path, reader: str, spoil: Callable[[Path, SampleHospital], None]) -> None:
    """An error travels to the server. Only the report of `data check` names files, where they lie."""
    ward, root = usual(reader), tmp_path / ROOT
    films = source(root, READERS[reader](root, ward))
    films.open(tmp_path / "before")  # nothing is wrong yet
    spoil(root, ward)
    with listening() as heard, pytest.raises(FedcxrError) as caught:
        films.open(tmp_path / "cache")
    told = "".join(traceback.format_exception_only(caught.value)) + repr(vars(caught.value))
    places = {"error": told.encode(), **{name: text.getvalue().encode() for name, text in heard.items()}}
    assert not leaks(ward.secrets, places)
    assert not leaks(ward.secrets, kept(tmp_path / "cache"))
    if spoil in NAMED:
        assert leaks(ward.secrets, {"report": films.check().to_text().encode()})  # so that there is something to find


def test_the_hunt_finds_what_is_hidden() -> None:
    ward = replace(usual("nih"), accession="ACC-55091")
    patient = ward.patients[0]
    hidden = {
        "text": f"..{patient}..",
        "another case": ward.name.upper(),
        "a folder": ward.accession,
        "a hash": hashlib.sha256(patient.encode()).hexdigest(),
    }
    numbers = {"a number": np.array([7, int(patient)]).tobytes(), "wide": ward.institution.encode("utf-16-le")}
    for place, data in ({place: text.encode() for place, text in hidden.items()} | numbers).items():
        assert leaks(ward.secrets, {place: data}), place
    assert not leaks(ward.secrets, {"noise": np.random.default_rng(0).bytes(100_000)})


# Splits ---------------------------------------------------------------------------------------------------------------

RUNS = {"random": 24, "official": 40}  # until chance fits nobody: official splits are of two parts only
NUMBERS_TRIED = 2_000


def keep_the_last_patient_apart(root: Path, ward: SampleHospital) -> None:
    """As CheXpert does in valid.csv, so that test films are carved out of train.csv."""
    header, *lines = (root / "train.csv").read_text().splitlines()
    patient = ward.patients[-1]
    (root / "valid").mkdir()
    (root / "train" / patient).rename(root / "valid" / patient)
    theirs = [line.replace("x/train/", "x/valid/") for line in lines if patient in line]
    (root / "valid.csv").write_text("\n".join((header, *theirs)))
    (root / "train.csv").write_text("\n".join((header, *(line for line in lines if patient not in line))))


@pytest.mark.parametrize(("reader", "by"), [(reader, "random") for reader in READERS] + [("chexpert", "official")])
def test_splits_by_chance_tell_nobodys_number(tmp_path: Path, reader: str, by: str) -> None:
    """The attack: ask for releases under many seeds, recognise films, deal all numbers there are, see which fit."""
    ward = sample_hospitals.of_numbers(reader if reader in ("nih", "chexpert") else "nih", ["48151", "62342", "71903"])
    parameters = READERS[reader](tmp_path / ROOT, ward)
    if by == "official":
        keep_the_last_patient_apart(tmp_path / ROOT, ward)
    begin = ward.patients[0][:-5]
    numbers = np.array([f"{begin}{number:05d}" for number in range(48_000, 48_000 + NUMBERS_TRIED)], dtype=object)
    assert ward.patients[0] in numbers
    told: dict[bytes, list[str]] = {}
    dealt = []
    for seed in range(RUNS[by]):
        splits = Splits.model_validate({"by": by, "seed": seed})
        cohort = source(tmp_path / ROOT, {**parameters, "splits": splits.model_dump()}).open(tmp_path / "cache")
        release = site_step(SCENARIO, "site-1", cohort, simulated(SCENARIO, "site-1"))
        for film, split in zip(release.arrays["films"], release.arrays["split"], strict=True):
            told.setdefault(film.tobytes(), []).append(SPLITS[int(split)])
        everybody = np.full(len(numbers), "train", dtype=object)
        dealt.append(by_chance(numbers, splits) if by == "random" else carve(everybody, numbers, "test", splits))
    assert {len(splits) for splits in told.values()} == {RUNS[by]}
    patterns = {tuple(splits) for splits in told.values()}
    fits = [number for number, pattern in zip(numbers, zip(*dealt, strict=True), strict=True) if pattern in patterns]
    assert fits == []
