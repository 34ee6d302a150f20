"""What an adversary's process leaves is read back as it was, or refused: whatever it is, nothing is believed of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import AttackFailed
from fedcxr.questions import Answer, Answers, Part
from server import answers

CODES, FILMS = (3, 64, 2, 2), (3, 16, 16)
PARTS = {"support": Part(CODES, np.float16), "pictures": Part(FILMS, np.uint8)}
SCORES = {"scores": Part((4, 4), np.float32)}


def answer() -> Answer:
    rng = np.random.default_rng(0)
    return {
        "support": rng.normal(size=CODES).astype(np.float16),
        "pictures": rng.integers(0, 256, FILMS).astype(np.uint8),
    }


def left(folder: Path) -> Path:
    answers.save({"llr": answer()}, PARTS, folder)
    answers.save({"values": {"scores": np.eye(4, dtype=np.float64)}}, SCORES, folder)
    return folder


def load(folder: Path, attackers: object, parts: Mapping[str, Part]) -> Answers:
    """With these for the names that the process left."""
    (folder / answers.ATTACKERS).write_text(json.dumps(attackers))
    return answers.load(folder, parts)


def test_round_trip(tmp_path: Path) -> None:
    answers.save({"llr": answer()}, PARTS, tmp_path)
    read = answers.load(tmp_path, PARTS)
    assert list(read) == ["llr"]
    assert list(read["llr"]) == ["support", "pictures"]
    for name, array in answer().items():
        np.testing.assert_array_equal(read["llr"][name], array)
        assert read["llr"][name].dtype == array.dtype
    scores = load(left(tmp_path), ["values"], SCORES)["values"]["scores"]
    np.testing.assert_array_equal(scores, np.eye(4))
    assert scores.dtype == np.float32  # as the question wants it, whatever the attacker computes in


def test_an_attacker_may_leave_out_what_is_optional_and_nothing_else(tmp_path: Path) -> None:
    some = {"scores": Part((2,), np.float32), "pictures": Part((2,), np.uint8, optional=True)}
    told: Answer = {"scores": np.ones(2, dtype=np.float32)}
    answers.check({"blind": told}, some)
    answers.save({"blind": told}, some, tmp_path)
    assert list(load(tmp_path, ["blind"], some)["blind"]) == ["scores"]
    with pytest.raises(ValueError, match="attacker blind must answer `scores`"):
        answers.check({"blind": {"pictures": np.zeros(2, dtype=np.uint8)}}, some)
    (tmp_path / "blind-scores.npy").unlink()
    with pytest.raises(AttackFailed, match="`scores` unreadable"):
        load(tmp_path, ["blind"], some)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 3)), np.full((4, 4), np.nan), np.full((4, 4), np.inf), [[0.0] * 4] * 4, None]
)
def test_who_wrote_the_adversary_is_told_what_is_wrong(wrong: object) -> None:
    """In its own process, before anything is written."""
    with pytest.raises(ValueError, match=r"attacker llr must answer `scores` with finite numbers of shape \(4, 4\)"):
        answers.check({"llr": {"scores": wrong}}, SCORES)  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("support", np.zeros((2, *CODES[1:]), dtype=np.float16), "wrong"),
        ("support", np.zeros(CODES, dtype=np.float32), "wrong"),
        ("support", np.zeros((*CODES, 1), dtype=np.float16), "wrong"),
        ("support", np.full(CODES, np.nan, dtype=np.float16), "not finite"),
        ("support", np.full(CODES, np.inf, dtype=np.float16), "not finite"),
        ("support", np.array({"a": 1}, dtype=object), "wrong"),
        ("pictures", np.zeros(FILMS, dtype=np.int8), "wrong"),
        ("pictures", np.zeros(FILMS[1:], dtype=np.uint8), "wrong"),
    ],
)
def test_what_is_no_answer_is_refused(tmp_path: Path, name: str, array: np.ndarray, said: str) -> None:
    np.save(left(tmp_path) / f"llr-{name}.npy", array, allow_pickle=True)
    with pytest.raises(AttackFailed, match=f"`{name}`.*{said}|{said}.*`{name}`"):
        load(tmp_path, ["llr"], PARTS)


def test_gaps_are_numbers_only_where_there_may_be_some(tmp_path: Path) -> None:
    part = {"scores at 1/2": Part((3,), np.float32, gaps=True)}
    told: Answer = {"scores at 1/2": np.array([np.nan, 0.5, 1.0], dtype=np.float32)}
    answers.check({"net": told}, part)
    answers.save({"net": told}, part, tmp_path)
    np.testing.assert_array_equal(load(tmp_path, ["net"], part)["net"]["scores at 1/2"], told["scores at 1/2"])
    endless = {"scores at 1/2": np.array([np.inf, 0.5, 1.0], dtype=np.float32)}
    for wrong, parts in ((endless, part), (told, {"scores at 1/2": Part((3,), np.float32)})):
        with pytest.raises(ValueError, match="finite numbers"):
            answers.check({"net": wrong}, parts)
        answers.save({"net": wrong}, part, tmp_path)
        with pytest.raises(AttackFailed, match="not finite"):
            load(tmp_path, ["net"], parts)


@pytest.mark.parametrize("name", ["../llr", "", "a/b", "LLR", "x" * 40, 7, None, "llr\n"])
def test_a_strange_name_is_refused(tmp_path: Path, name: object) -> None:
    with pytest.raises(AttackFailed, match="strange name"):
        load(left(tmp_path), [name], PARTS)
    with pytest.raises(AttackFailed, match="strange name"):
        answers.check({name: answer()}, PARTS)  # type: ignore[dict-item]


@pytest.mark.parametrize("attackers", [None, "llr", {"llr": 1}, 7, [f"a{n}" for n in range(33)], ["a" * 5000]])
def test_attackers_must_be_listed(tmp_path: Path, attackers: object) -> None:
    with pytest.raises(AttackFailed, match="no list of its attackers"):
        load(left(tmp_path), attackers, PARTS)


@pytest.mark.parametrize("scores", [np.zeros((4, 3), np.float32), np.full((4, 4), np.nan, np.float32)])
def test_an_opinion_must_be_of_every_pair(tmp_path: Path, scores: np.ndarray) -> None:
    np.save(left(tmp_path) / "values-scores.npy", scores)
    with pytest.raises(AttackFailed, match="`scores`"):
        load(tmp_path, ["values"], SCORES)


def test_a_header_that_promises_a_terabyte_is_refused_at_once(tmp_path: Path) -> None:
    path = left(tmp_path) / "llr-support.npy"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"(3, 64, 2, 2), ", b"(3" + b"0" * 9 + b", 64,),"))
    with pytest.raises(AttackFailed, match="wrong `support`"):
        load(tmp_path, ["llr"], PARTS)


@pytest.mark.parametrize(
    "header",
    ["{", "(" * 3000, "-" * 3000 + "1", "{'descr': (), 'fortran_order': False, 'shape': (3, 64, 2, 2), }", "\0\\"],
    ids=["open", "deep", "deeper", "no type", "no text"],
)
def test_headers_that_numpy_stumbles_over_are_refused(tmp_path: Path, header: str) -> None:
    path = left(tmp_path) / "llr-support.npy"
    begins = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header.encode()
    path.write_bytes(begins + bytes(2000))
    with pytest.raises(AttackFailed, match="wrong `support`"):
        load(tmp_path, ["llr"], PARTS)


@pytest.mark.parametrize("order", ["C", "F"])
def test_in_whatever_order_an_answer_lies_in_memory(tmp_path: Path, order: Literal["C", "F"]) -> None:
    scores = np.asarray(np.arange(16.0).reshape(4, 4), order=order)
    answers.save({"values": {"scores": scores}}, SCORES, tmp_path)
    np.testing.assert_array_equal(load(tmp_path, ["values"], SCORES)["values"]["scores"], scores)


def folder(path: Path) -> None:
    path.mkdir()


def link(path: Path) -> None:
    """To somebody else's answer, of the right shape."""
    other = path.with_name("other.npy")
    np.save(other, answer()["support"])
    path.symlink_to(other)


def loop(path: Path) -> None:
    path.symlink_to(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [os.mkfifo, folder, link, loop, device], ids=lambda make: make.__name__)
def test_only_plain_files_are_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A pipe would keep the coordinator waiting for ever, and a link would show it what lies outside the fence."""
    path = left(tmp_path) / "llr-support.npy"
    path.unlink()
    make(path)
    with pytest.raises(AttackFailed, match="`support` unreadable"):
        load(tmp_path, ["llr"], PARTS)


@pytest.mark.parametrize("make", [os.mkfifo, folder, loop, device], ids=lambda make: make.__name__)
def test_a_list_of_attackers_that_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / answers.ATTACKERS)
    with pytest.raises(AttackFailed, match="no list of its attackers"):
        answers.load(tmp_path, PARTS)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "\xff", '["llr"', "NaN"], ids=lambda text: text[:20])
def test_a_list_of_attackers_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / answers.ATTACKERS).write_bytes(text.encode("latin-1"))
    with pytest.raises(AttackFailed, match="no list of its attackers"):
        answers.load(tmp_path, PARTS)


def test_nobody_answers_twice(tmp_path: Path) -> None:
    with pytest.raises(AttackFailed, match="an attacker twice"):
        load(left(tmp_path), ["llr", "llr"], PARTS)


@given(st.binary(max_size=300), st.integers(0, 400), st.booleans())
def test_a_damaged_file_is_read_right_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, cut: bool
) -> None:
    outcome = left(tmp_path_factory.mktemp("outcome"))
    path = outcome / "llr-support.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + noise + (b"" if cut else whole[at + len(noise) :]))
    try:
        read = load(outcome, ["llr"], PARTS)["llr"]
    except AttackFailed:
        return
    assert read["support"].shape == CODES
    assert read["support"].dtype == np.float16
    assert np.isfinite(read["support"]).all()
