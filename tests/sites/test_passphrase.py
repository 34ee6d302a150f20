"""The passphrase: typed twice or read from a private file, the same on every keyboard, and overwritten afterwards."""

from __future__ import annotations

import getpass
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from canary import leaks

from fedcxr.errors import ConfigError, DataError, FedcxrError, Refused
from sites.passphrase import NEW_VARIABLE, SHORTEST, VARIABLE, new_passphrase, passphrase

WORDS = "correct horse battery staple"

Kept = Callable[[bytes, int], Path]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    def keep(data: bytes, mode: int = 0o600) -> Path:
        path = tmp_path / "words"
        path.write_bytes(data)
        path.chmod(mode)
        monkeypatch.setenv(VARIABLE, str(path))
        return path

    return keep


def typed(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    asked: list[str] = []
    queue = iter(answers)

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return next(queue)

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(getpass, "getpass", ask)
    return asked


def test_typed_once_to_unlock_and_twice_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = typed(monkeypatch, WORDS, WORDS, WORDS)
    with passphrase() as words:
        assert bytes(words) == WORDS.encode()
    assert len(asked) == 1
    with new_passphrase() as words:
        assert bytes(words) == WORDS.encode()
    assert len(asked) == 3


def test_overwritten_at_the_end_and_on_errors(kept: Kept) -> None:
    kept(WORDS.encode(), 0o600)
    with passphrase() as words:
        pass
    assert not any(words)
    with pytest.raises(ZeroDivisionError), passphrase() as words:
        _ = 1 // 0
    assert not any(words)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_from_a_file_without_the_end_of_its_line(kept: Kept, end: bytes) -> None:
    kept(WORDS.encode() + end, 0o600)
    with passphrase() as words:
        assert bytes(words) == WORDS.encode()


def test_the_same_from_every_keyboard(kept: Kept) -> None:
    found = set()
    for form in ("NFC", "NFD"):
        kept(unicodedata.normalize(form, "Röntgenbild für alle").encode(), 0o600)
        with new_passphrase() as words:
            found.add(bytes(words))
    assert len(found) == 1


def test_two_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, WORDS, WORDS + "!")
    with pytest.raises(ConfigError, match="differ") as refused, new_passphrase():
        pass
    assert not leaks([WORDS.encode()], refused.value)


@pytest.mark.parametrize("words", ["", "short", "x" * (SHORTEST - 1)])
def test_a_new_one_must_not_be_short(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    typed(monkeypatch, words, words)
    with pytest.raises(Refused, match="too short"), new_passphrase():
        pass


def test_a_new_one_may_have_a_file_of_its_own(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(WORDS.encode(), 0o600)
    (tmp_path / "new").write_text("quite another set of words")
    (tmp_path / "new").chmod(0o600)
    monkeypatch.setenv(NEW_VARIABLE, str(tmp_path / "new"))
    with passphrase() as old, new_passphrase(NEW_VARIABLE) as new:
        assert bytes(old) == WORDS.encode()
        assert bytes(new) == b"quite another set of words"


def test_an_empty_one_is_refused(kept: Kept) -> None:
    kept(b"\n", 0o600)
    with pytest.raises(Refused, match="empty"), passphrase():
        pass


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_a_file_that_others_may_read_is_refused(kept: Kept, mode: int) -> None:
    kept(WORDS.encode(), mode)
    with pytest.raises(Refused, match=f"mode {mode:04o}; allowed: 0600") as refused, passphrase():
        pass
    assert not leaks([WORDS.encode()], refused.value)


@pytest.mark.parametrize("data", [b"\xff\xfe" * 20, b"x" * 2000], ids=["binary", "long"])
def test_what_is_no_passphrase_is_refused(kept: Kept, data: bytes) -> None:
    kept(data, 0o600)
    with pytest.raises(ConfigError) as refused, passphrase():
        pass
    assert not leaks([data], refused.value)


def test_a_missing_file_is_data_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="does not exist"), passphrase():
        pass
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(FedcxrError), passphrase():
        pass


def test_without_a_terminal_nothing_is_echoed(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(prompt: str) -> str:
        warnings.warn("Can not control echo on the terminal.", getpass.GetPassWarning, stacklevel=2)
        return WORDS

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(getpass, "getpass", ask)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as for people, to whom a warning is no error
        with pytest.raises(ConfigError, match=f"no terminal .* {VARIABLE}"), passphrase():
            pass
