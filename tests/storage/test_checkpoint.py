"""Checkpoints: what was written comes back bit by bit, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from fedcxr.errors import StorageError
from fedcxr.rng import stream
from fedcxr.storage.checkpoint import Checkpoint, digest, fingerprint

ARRAYS: dict[str, npt.NDArray[np.generic]] = {
    "transposed": np.arange(6.0, dtype=np.float32).reshape(2, 3).T,
    "scalar": np.array(3.5, dtype=np.float32),
    "empty": np.zeros((0, 2), dtype=np.int64),
    "whole": np.array([1, -2], dtype=np.int64),
}


def test_arrays_and_facts_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "x.safetensors"
    Checkpoint(ARRAYS, {"step": 3, "name": "ä"}).write(path)
    kept = Checkpoint.read(path)
    assert kept.facts == Checkpoint.facts_of(path) == {"step": 3, "name": "ä"}
    assert kept.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(kept.arrays[name], array)
        assert kept.arrays[name].dtype == array.dtype
        assert kept.arrays[name].shape == array.shape


@pytest.mark.parametrize("bits", ["Philox", "PCG64"])
def test_a_generator_goes_on_where_it_was(bits: str, tmp_path: Path) -> None:
    kind = {"Philox": np.random.Philox, "PCG64": np.random.PCG64}[bits]
    rng, other = (np.random.Generator(kind(seed)) for seed in (1, 2))
    rng.random(3, dtype=np.float32)  # leaves half of 64 bits over
    Checkpoint({}, {"rng": rng.bit_generator.state}).write(tmp_path / "x")
    other.bit_generator.state = Checkpoint.read(tmp_path / "x").facts["rng"]
    for draw in ("random", "standard_normal"):
        np.testing.assert_array_equal(
            getattr(other, draw)(5, dtype=np.float32), getattr(rng, draw)(5, dtype=np.float32)
        )


def test_a_file_that_is_replaced_is_never_half_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    Checkpoint(ARRAYS, {"step": 1}).write(path)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        Checkpoint(ARRAYS, {"step": 2}).write(path)
    assert Checkpoint.read(path).facts == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", [0, 9, 25, 40, 60, 100, 140, -1, -20])
def test_a_single_wrong_byte_is_noticed(place: int, tmp_path: Path) -> None:
    path = tmp_path / "x"
    Checkpoint(ARRAYS, {"step": 1}).write(path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="checkpoint"):
        Checkpoint.read(path)


def test_a_file_that_ends_too_early_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    Checkpoint(ARRAYS, {}).write(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StorageError, match=f"cannot read.*{path}"):
        Checkpoint.read(path)


def test_somebody_elses_file_and_no_file_are_told_apart(tmp_path: Path) -> None:
    save_file({"a": np.zeros(1)}, tmp_path / "x")
    with pytest.raises(StorageError, match="no checkpoint of fedcxr"):
        Checkpoint.read(tmp_path / "x")
    (tmp_path / "y").write_bytes(b"\x80\x04pickle")
    with pytest.raises(StorageError, match="cannot read"):
        Checkpoint.read(tmp_path / "y")
    with pytest.raises(StorageError, match="there is no checkpoint"):
        Checkpoint.read(tmp_path / "z")


def test_equal_data_has_equal_names_and_other_data_others() -> None:
    assert fingerprint({"a": 1, "b": [2.0]}) == fingerprint({"b": [2.0], "a": 1})
    assert fingerprint(stream(1).bit_generator.state) != fingerprint(stream(2).bit_generator.state)
    other = {**ARRAYS, "whole": np.array([1, -2], dtype=np.int32)}
    assert digest(ARRAYS) == digest(dict(reversed(ARRAYS.items()))) != digest(other)
