"""What every source of films promises, checked for each file in the folder: a new one needs a few films made here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import sample_hospitals
from parameters import wrong_parameters

from fedcxr import plugins
from fedcxr.cohort import COLUMNS, SPLITS, Cohort
from fedcxr.data import Source
from fedcxr.data._packed import check
from fedcxr.data._packed import pack as packed
from fedcxr.errors import ConfigError, FedcxrError

SOURCES = [name for name in plugins.names("source") if name != "own"]  # which promises to open nothing

pytestmark = [pytest.mark.parametrize("name", SOURCES), pytest.mark.usefixtures("secret_file")]


def _of_a_ward(root: Path, reader: str) -> dict[str, Any]:
    if reader == "dicom":
        pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    parameters = sample_hospitals.READERS[reader](root, sample_hospitals.usual(reader))
    del parameters["name"]
    return {"root": str(root), "size": sample_hospitals.SIZE, **parameters}


def _phantom(root: Path) -> dict[str, Any]:
    return {"patients": 4, "size": sample_hospitals.SIZE}


def _shard(root: Path) -> dict[str, Any]:
    packed(cast(Source, plugins.build("source", {"name": "folder", **_of_a_ward(root, "folder")})), root / "s", root)
    return {"root": str(root / "s")}


# A few films for each source, and the parameters that name them.
MADE: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "phantom": _phantom,
    "shard": _shard,
    **{reader: partial(_of_a_ward, reader=reader) for reader in sample_hospitals.READERS},
}


@dataclass(frozen=True)
class Films:
    """A source of a few films, and the folder they lie in."""

    source: Source
    root: Path
    cache: Path

    def open(self, cache: str = "cache") -> Cohort:
        return self.source.open(self.cache / cache)


@pytest.fixture
def films(name: str, tmp_path: Path, secret_file: Path) -> Films:
    assert name in MADE, "say in MADE how a few films of the new source are made"
    root = tmp_path / sample_hospitals.ROOT
    root.mkdir()
    source = plugins.build("source", {"name": name, **MADE[name](root)})
    return Films(cast(Source, source), root, tmp_path)


def everything(cohort: Cohort) -> dict[str, Any]:
    """All that can be read off a cohort."""
    masks = {organ: cohort.masked(organ) for organ in cohort.annotations.masks}
    return {
        "films": cohort.films().tobytes(),
        "index": cohort.index.to_csv(),
        "findings": cohort.findings,
        "annotations": cohort.annotations.names,
        "masked": {organ: has.tolist() for organ, has in masks.items()},
        "masks": {organ: cohort.mask(organ, np.flatnonzero(has)).tobytes() for organ, has in masks.items()},
        "boxes": cohort.boxes().to_csv() if "boxes" in cohort.annotations.names else None,
    }


def test_opening_again_gives_the_same_cohort(films: Films) -> None:
    """From the cache, and made anew elsewhere."""
    first = everything(films.open())
    assert everything(films.open()) == first
    assert everything(films.open("another cache")) == first


def test_the_films_of_the_hospital_are_left_alone(films: Films) -> None:
    def state() -> dict[str, tuple[bytes, int]]:
        files = (path for path in films.root.rglob("*") if path.is_file())
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    before = state()
    everything(films.open())
    assert state() == before


@contextmanager
def unchanged_random_state() -> Iterator[None]:
    import torch

    def state() -> tuple[str, str, bytes]:
        return repr(random.getstate()), repr(np.random.get_state()), torch.get_rng_state().numpy().tobytes()

    before = state()
    yield
    assert state() == before


def test_global_random_state_is_untouched(films: Films) -> None:
    with unchanged_random_state():
        everything(films.open())


def test_the_index_has_the_columns_of_every_index(films: Films) -> None:
    cohort = films.open()
    index = cohort.index
    assert list(index.columns) == [*COLUMNS, *cohort.findings]
    assert index.index.tolist() == list(range(len(index)))
    for column in ("image", "patient", "view", "sex", "source", "split"):
        assert {type(text) for text in index[column]} == {str}, column
    for column in ("image", "patient", "source"):
        assert index[column].ne("").all(), column
    assert index["image"].is_unique
    assert pd.api.types.is_integer_dtype(index["visit"])
    assert index["visit"].ge(0).all()
    assert pd.api.types.is_numeric_dtype(index["age"])
    assert index["age"].dropna().between(0, 120).all()
    assert set(index["sex"]) <= {"M", "F", "U"}
    assert set(index["view"]) <= {"PA", "AP", "LATERAL", ""}
    assert set(index["split"]) <= set(SPLITS)
    assert index.groupby("patient")["split"].nunique().eq(1).all()
    assert set(cohort.labels[~np.isnan(cohort.labels)]) <= {0, 1}


def test_films_are_eight_bits_of_the_size_asked_for(films: Films) -> None:
    cohort = films.open()
    assert cohort.size == (sample_hospitals.SIZE, sample_hospitals.SIZE)
    pixels = cohort.films()
    assert pixels.shape == (len(cohort), *cohort.size)
    assert pixels.dtype == np.uint8
    assert (pixels.std(axis=(1, 2)) > 0).all()


def test_annotations_are_those_that_were_declared(films: Films) -> None:
    """Told before anything is opened, and of the films' own size."""
    declared = films.source.annotations
    cohort = films.open()
    assert cohort.annotations.names == declared
    for organ in cohort.annotations.masks:
        has = np.flatnonzero(cohort.masked(organ))
        assert len(has)
        masks = cohort.mask(organ, has)
        assert masks.shape == (len(has), *cohort.size)
        assert masks.dtype == np.bool_
        assert masks.any(axis=(1, 2)).all()
        assert not masks.all(axis=(1, 2)).any()
        np.testing.assert_array_equal(cohort.take(has[::-1]).mask(organ), masks[::-1])
    if "boxes" in declared:
        boxes = cohort.boxes()
        assert len(boxes)
        assert set(boxes["finding"]) <= set(cohort.findings)
        assert boxes["film"].between(0, len(cohort) - 1).all()
        corners = boxes[["x", "y", "w", "h"]].to_numpy()
        assert (corners >= 0).all()
        assert (corners[:, :2] + corners[:, 2:] <= cohort.size[::-1]).all()
    assert set(check(films.source).annotations) == set(declared)


def test_a_cohort_names_nobody(films: Films, name: str) -> None:
    """Pseudonyms alone, in the index and in what was annotated."""
    cohort = films.open()
    told = cohort.index.to_csv() + (cohort.boxes().to_csv() if "boxes" in cohort.annotations.names else "")
    ward = sample_hospitals.usual(name if name in sample_hospitals.READERS else "folder")
    found = [secret for secret in (*ward.secrets, str(films.root)) if secret.casefold() in told.casefold()]
    assert not found


# Parameters -----------------------------------------------------------------------------------------------------------


def test_parameters_can_be_written_down_and_read_again(films: Films) -> None:
    assert plugins.build("source", films.source.spec()) == films.source


def test_wrong_parameters_are_one_line(name: str) -> None:
    cls = plugins.load("source", name)
    needed = {field: "/nowhere" for field, told in cls.model_fields.items() if told.is_required()}
    for parameters in wrong_parameters("source", name):
        with pytest.raises(ConfigError) as caught:
            plugins.build("source", {"name": name, **needed, **parameters})
        said = str(caught.value)
        assert "\n" not in said
        assert f"source {name}" in said
        assert caught.value.exit_code == 2


def test_every_number_has_limits(name: str) -> None:
    for field, told in plugins.load("source", name).model_json_schema().get("properties", {}).items():
        if told.get("type") in ("number", "integer") and field != "seed":
            assert {"minimum", "exclusiveMinimum"} & told.keys(), f"{field} has no lower limit"
            assert {"maximum", "exclusiveMaximum"} & told.keys() or field == "max_bad", f"{field} has no upper limit"


def test_a_folder_that_is_not_there_is_one_line_before_any_work(name: str, tmp_path: Path) -> None:
    if "root" not in plugins.load("source", name).model_fields:
        pytest.skip(f"{name} reads no folder")
    source = plugins.build("source", {"name": name, "root": str(tmp_path / "nowhere")})
    with pytest.raises(FedcxrError) as caught:
        source.required_files()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_says_what_it_is(name: str) -> None:
    assert (plugins.load("source", name).__doc__ or "").strip()
