"""What an adversary's process leaves is read back as it was, or refused: whatever it is, nothing is believed of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.adversaries import Guess
from fedcxr.errors import AttackFailed
from server import guesses

CODES, FILMS = (3, 64, 2, 2), (3, 16, 16)


def guess() -> Guess:
    rng = np.random.default_rng(0)
    return Guess(rng.normal(size=CODES).astype(np.float16), rng.integers(0, 256, FILMS).astype(np.uint8))


def left(folder: Path) -> Path:
    guesses.save({"llr": guess()}, {"values": np.eye(4, dtype=np.float32)}, folder)
    return folder


def test_round_trip(tmp_path: Path) -> None:
    read = guesses.load_guess(left(tmp_path), "llr", CODES, FILMS)
    np.testing.assert_array_equal(read.support, guess().support)
    np.testing.assert_array_equal(read.pictures, guess().pictures)
    np.testing.assert_array_equal(guesses.load_alike(tmp_path, "values", 4), np.eye(4))


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("support", np.zeros((2, *CODES[1:]), dtype=np.float16), "wrong"),
        ("support", np.zeros(CODES, dtype=np.float32), "wrong"),
        ("support", np.zeros((*CODES, 1), dtype=np.float16), "wrong"),
        ("support", np.full(CODES, np.nan, dtype=np.float16), "not finite"),
        ("support", np.full(CODES, np.inf, dtype=np.float16), "not finite"),
        ("support", np.array({"a": 1}, dtype=object), "unreadable"),
        ("pictures", np.zeros(FILMS, dtype=np.int8), "wrong"),
        ("pictures", np.zeros(FILMS[1:], dtype=np.uint8), "wrong"),
    ],
)
def test_what_is_no_guess_is_refused(tmp_path: Path, name: str, array: np.ndarray, said: str) -> None:
    np.save(left(tmp_path) / f"recovered-llr-{name}.npy", array, allow_pickle=True)
    with pytest.raises(AttackFailed, match=said):
        guesses.load_guess(tmp_path, "llr", CODES, FILMS)


@pytest.mark.parametrize("name", ["../llr", "", "a/b", "LLR", "x" * 40, 7, None])
def test_a_strange_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AttackFailed, match="strange name"):
        guesses.load_guess(tmp_path, name, CODES, FILMS)
    with pytest.raises(AttackFailed, match="strange name"):
        guesses.load_alike(tmp_path, name, 4)


@pytest.mark.parametrize("scores", [np.zeros((4, 3), np.float32), np.full((4, 4), np.nan, np.float32)])
def test_an_opinion_must_be_of_every_pair(tmp_path: Path, scores: np.ndarray) -> None:
    np.save(left(tmp_path) / "same-film-values.npy", scores)
    with pytest.raises(AttackFailed, match="same-film-values"):
        guesses.load_alike(tmp_path, "values", 4)


def test_a_header_that_promises_a_terabyte_is_refused_at_once(tmp_path: Path) -> None:
    path = left(tmp_path) / "recovered-llr-support.npy"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"(3, 64, 2, 2), ", b"(3" + b"0" * 9 + b", 64,),"))
    with pytest.raises(AttackFailed, match="unreadable"):
        guesses.load_guess(tmp_path, "llr", CODES, FILMS)


@given(st.binary(max_size=300), st.integers(0, 400), st.booleans())
def test_a_damaged_file_is_read_right_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, cut: bool
) -> None:
    folder = left(tmp_path_factory.mktemp("outcome"))
    path = folder / "recovered-llr-support.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + noise + (b"" if cut else whole[at + len(noise) :]))
    try:
        read = guesses.load_guess(folder, "llr", CODES, FILMS)
    except AttackFailed:
        return
    assert read.support.shape == CODES
    assert read.support.dtype == np.float16
    assert np.isfinite(read.support).all()
