"""Verification pairs: right, balanced, capped and evenly drawn; published lists, and where tables contradict them."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.errors import ConfigError, DataError, FedcxrError
from fedcxr.pairs import balanced_pairs
from fedcxr.pairs.lists import compare, located, read_pair_list

REAL = Path(os.environ.get("FEDCXR_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data in {REAL}; set FEDCXR_TEST_DATA")


def index_of(patients: list[int], sources: list[int] | None = None) -> pd.DataFrame:
    source = [0] * len(patients) if sources is None else sources
    return pd.DataFrame({"patient": [f"p{p}" for p in patients], "source": [f"s{s}" for s in source]}, dtype=object)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Sampling -------------------------------------------------------------------------------------------------------------


def test_three_films_of_one_and_two_of_another() -> None:
    """By hand: 3 + 1 genuine pairs, and 4 of the 6 impostor pairs there are."""
    pairs = balanced_pairs(index_of([7, 8, 7, 7, 8]), rng())
    ends = [frozenset(pair) for pair in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)]
    assert set(ends[:4]) == {frozenset(p) for p in ((0, 2), (0, 3), (2, 3), (1, 4))}
    assert pairs.genuine.tolist() == [True] * 4 + [False] * 4
    assert set(ends[4:]) <= {frozenset((a, b)) for a in (0, 2, 3) for b in (1, 4)}
    assert len(set(ends)) == 8


@settings(max_examples=150)
@given(
    films=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), max_size=40),
    cap=st.none() | st.integers(1, 4),
    count=st.none() | st.sampled_from([2, 10, 20]),
    same_source=st.booleans(),
    seed=st.integers(0, 9),
)
def test_any_index_gives_sound_pairs_or_one_error(
    films: list[tuple[int, int]], cap: int | None, count: int | None, same_source: bool, seed: int
) -> None:
    patients, sources = [p for p, _ in films], [s for _, s in films]
    every = [(a, b) for a in range(len(films)) for b in range(a)]
    owned = Counter(patients[a] for a, b in every if patients[a] == patients[b])
    genuine = sum(min(n, cap or n) for n in owned.values())
    impostors = sum(patients[a] != patients[b] and (not same_source or sources[a] == sources[b]) for a, b in every)
    wanted = genuine if count is None else count // 2
    index = index_of(patients, sources)
    keywords: dict[str, Any] = {
        "count": count,
        "per_patient": cap,
        "negatives": "same-source" if same_source else "random",
    }
    if wanted > genuine or wanted > impostors:
        with pytest.raises(DataError, match="not enough"):
            balanced_pairs(index, rng(seed), **keywords)
        return
    pairs = balanced_pairs(index, rng(seed), **keywords)
    assert pairs.genuine.sum() == wanted == len(pairs) / 2
    assert len({frozenset(p) for p in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)}) == len(pairs)
    patient, source = index["patient"].to_numpy(), index["source"].to_numpy()
    assert ((patient[pairs.a] == patient[pairs.b]) == pairs.genuine).all()
    assert not same_source or (source[pairs.a] == source[pairs.b])[~pairs.genuine].all()
    assert not cap or max(Counter(patient[pairs.a[pairs.genuine]]).values(), default=0) <= cap
    again = balanced_pairs(index, rng(seed), **keywords)
    assert (again.a == pairs.a).all()
    assert (again.b == pairs.b).all()


def test_every_impostor_pair_is_as_likely_as_any_other() -> None:
    """Also where one patient owns half of the films: 1 pair out of 30 possible, 3,000 times."""
    index = index_of([0, 0, 0, 0, 0, 1, 2, 3, 3, 4])
    drawn: Counter[frozenset[int]] = Counter()
    first = 0
    for seed in range(3000):
        pairs = balanced_pairs(index, rng(seed), count=2)
        drawn[frozenset((int(pairs.a[1]), int(pairs.b[1])))] += 1
        first += int(pairs.a[1] < pairs.b[1])
    possible = 45 - 10 - 1
    assert len(drawn) == possible
    expected = 3000 / possible
    assert sum((n - expected) ** 2 / expected for n in drawn.values()) < 64  # chi squared of 33: 99.9 %
    assert abs(first / 3000 - 0.5) < 0.03  # the order of the two says nothing


@pytest.mark.parametrize("wrong", [{"count": 3}, {"count": 0}, {"per_patient": 0}])
def test_what_cannot_be_asked_for(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        balanced_pairs(index_of([0, 0, 1]), rng(), **wrong)


# Lists ----------------------------------------------------------------------------------------------------------------


def written(folder: Path, text: str, name: str = "pairs.txt") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["pairs.txt", "pairs.txt.gz"])
def test_a_list_says_where_a_table_contradicts_it(tmp_path: Path, name: str) -> None:
    lines = [
        "a1\ta2\t1.0",
        "a1\tb1\t0",
        "a1\tb1\t1",  # of two patients, and listed with both labels
        "a2\ta1\t1",  # listed before
        "b1\tb2\t0.0",  # of one patient
        "b1\tx\t1",  # unknown
        "b1\tb1\t1",  # with itself
    ]
    pairs = read_pair_list(written(tmp_path, "\n".join(lines) + "\n", name))
    images = ["b2", "a1", "a2", "b1"]
    said = compare(pairs, images, ["b", "a", "a", "b"])
    assert (said.pairs, said.genuine, said.patients) == (7, 5, 2)
    assert (said.unknown_images, said.unknown_pairs) == (1, 1)
    assert (said.genuine_of_two_patients, said.impostors_of_one_patient) == (1, 1)
    assert (said.with_itself, said.repeated, said.repeated_otherwise) == (1, 1, 1)
    assert said.top_50_share == 1
    assert not said.sound
    assert "1 genuine pairs of two patients" in str(said)
    there = located(pairs, images)
    assert there.a.tolist() == [1, 1, 2, 3, 1, 3]
    assert there.genuine.tolist() == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    "text", ["a\tb\n", "a\tb\t2\n", "a\t\t1\n", "a\tb\t1\tc\n", "a b 1\n", "a\tb\t1\na\tb\t1\t0\t0\t0\n"]
)
def test_what_is_no_list_is_one_clear_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="pair"):
        read_pair_list(written(tmp_path, text))


@given(data=st.binary(max_size=200), name=st.sampled_from(["l.txt", "l.txt.gz"]))
def test_random_bytes_are_a_list_or_an_error(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    with contextlib.suppress(FedcxrError):
        read_pair_list(path)


@needs_real
def test_the_published_lists_of_nih_agree_with_its_table() -> None:
    table = pd.read_csv(REAL / "nih_meta/Data_Entry_2017_v2020.csv.gz", usecols=[0], index_col=False, dtype=str)
    images = table["Image Index"].tolist()
    patients = [image[:8] for image in images]
    test = compare(read_pair_list(REAL / "nih_meta/image_pairs_testing_5000.txt"), images, patients)
    assert test.sound
    assert (test.pairs, test.genuine, test.patients) == (5000, 2500, 492)
    assert round(test.top_50_share or 0, 2) == 0.49
    large = compare(read_pair_list(REAL / "nih_meta/pairs_testing.txt.gz"), images, patients)
    assert (large.pairs, large.patients, large.unknown_images, large.repeated) == (100_000, 144, 0, 4)
    assert round(large.top_50_share or 0, 2) == 0.95


@needs_real
def test_the_published_lists_of_chexpert_and_covid_agree_with_their_tables() -> None:
    paths = pd.read_csv(REAL / "chexpert_meta/chexpert_train.csv.gz", usecols=["Path"])["Path"]
    images = paths.str.split("/", n=1).str[1]
    chexpert = read_pair_list(REAL / "chexpert_meta/pairs_testing_chexpert.txt.gz")
    said = compare(chexpert, images.tolist(), images.str.split("/").str[1].tolist())
    assert (said.pairs, said.unknown_images, said.genuine_of_two_patients, said.repeated) == (16_486, 0, 0, 1)
    table = pd.read_csv(REAL / "covid/metadata.csv", dtype=str)
    covid = read_pair_list(REAL / "covid/pairs_published.txt")
    said = compare(covid, table["filename"].tolist(), table["patientid"].tolist())
    assert said.sound
    assert said.unknown_images == 0
    assert len(located(covid, table["filename"].tolist())) == 296
