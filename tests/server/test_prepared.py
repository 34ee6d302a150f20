"""What an adversary has prepared is read back as it was, or refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from fedcxr.errors import AttackFailed
from fedcxr.storage.checkpoint import Checkpoint
from server import prepared

MOST = 1 << 16
WEIGHTS: dict[str, np.ndarray] = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.arange(3)}


def test_round_trip(tmp_path: Path) -> None:
    Checkpoint(WEIGHTS, {}).write(tmp_path / "made")
    read = prepared.read(tmp_path / "made", MOST)
    assert read.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def test_nothing_prepared_is_nothing(tmp_path: Path) -> None:
    Checkpoint({}, {}).write(tmp_path / "made")
    assert prepared.read(tmp_path / "made", MOST) == {}


def link(path: Path) -> None:
    Checkpoint(WEIGHTS, {}).write(path.with_name("another's"))
    path.symlink_to(path.with_name("another's"))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    """4 TiB, of which nothing lies on the disk."""
    with path.open("wb") as file:
        file.write((1 << 42).to_bytes(8, "little"))
        file.truncate(1 << 42)


def header(path: Path) -> None:
    path.write_bytes((1 << 42).to_bytes(8, "little") + b"{}")


def empty(path: Path) -> None:
    path.touch()


def missing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, link, device, sparse, header, empty, missing], ids=lambda make: make.__name__
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "made")
    with pytest.raises(AttackFailed, match="`prepared` unreadable"):
        prepared.read(tmp_path / "made", MOST)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    (tmp_path / "made").write_bytes(save({**WEIGHTS, "bad": np.array([0.0, value], np.float16)}))
    with pytest.raises(AttackFailed, match="`prepared` with numbers that are not finite; given: bad"):
        prepared.read(tmp_path / "made", MOST)


@given(st.binary(max_size=100), st.integers(0, 200), st.booleans())
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, cut: bool
) -> None:
    whole, path = save(WEIGHTS), tmp_path_factory.mktemp("prepared") / "made"
    path.write_bytes(whole[:at] + noise + (b"" if cut else whole[at + len(noise) :]))
    try:
        read = prepared.read(path, MOST)
    except AttackFailed:
        return
    assert all(np.isfinite(array).all() for array in read.values())
