"""Pseudonyms: stable under one secret, unlinkable under two; and a secret that shows up nowhere."""

from __future__ import annotations

import copy
import hashlib
import hmac
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.cohort import COLUMNS, FINDINGS
from fedcxr.data import _pseudonyms
from fedcxr.data._pseudonyms import Secret, own_file, pseudonymous, site_secret
from fedcxr.errors import DataError, Refused, StorageError

SECRET = Secret(b"\x5e" * 32)
OTHER = Secret(b"\x5f" * 32)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's configuration folder that does not exist yet."""
    monkeypatch.delenv("FEDCXR_SECRET_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


def mark(secret: Secret) -> str:
    """The same for the same secret."""
    return secret.names("patient", "test", ["anybody"])[0]


def private(path: Path, text: str = "5e" * 32) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


# --- names --------------------------------------------------------------------------------------------------------


def test_a_pseudonym_is_a_truncated_hmac() -> None:
    whole = hmac.new(b"\x5e" * 32, b"patient\0nih\x0000000001", hashlib.sha256).digest()
    assert SECRET.names("patient", "nih", ["00000001"]) == ["p-" + whole.hex()[:20]]


@given(st.lists(st.text(), unique=True, max_size=20))
def test_names_are_stable_distinct_and_of_one_site(originals: list[str]) -> None:
    names = SECRET.names("patient", "nih", originals)
    assert names == SECRET.names("patient", "nih", originals)
    assert len(set(names)) == len(originals)
    assert not set(names) & set(OTHER.names("patient", "nih", originals))
    assert not set(names) & set(SECRET.names("patient", "chexpert", originals))
    assert not {name[2:] for name in names} & {name[2:] for name in SECRET.names("image", "nih", originals)}


def test_a_name_that_is_no_utf8_has_a_pseudonym() -> None:
    assert SECRET.names("image", "folder", [os.fsdecode(b"\xff.png")])[0].startswith("i-")


PART = st.text("abcdefgh0123456789-_ÄÖ", min_size=4, max_size=12)


@given(st.lists(st.tuples(PART, PART, PART), min_size=1, max_size=8, unique_by=lambda row: row[2]))
def test_no_identifier_and_no_part_of_a_path_survives(rows: list[tuple[str, str, str]]) -> None:
    films = pd.DataFrame(
        {
            "image": [f"{patient}/{study}/{film}.png" for patient, study, film in rows],
            "patient": [patient for patient, _, _ in rows],
            "visit": 0,
            "view": "PA",
            "age": 50.0,
            "sex": "F",
            "split": "val",
            **dict.fromkeys(FINDINGS, 0.0),
        }
    )
    index, order = pseudonymous(films, "site", SECRET)
    assert tuple(index.columns) == (*COLUMNS, *FINDINGS)
    written = index.to_csv()
    for row in rows:
        for part in row:
            # A pseudonym's 20 characters may contain a short text by chance; whole cells and longer texts may not.
            assert part not in index[["image", "patient"]].to_numpy().ravel().tolist()
            if len(part) > 8:
                assert part not in written
    same = films.iloc[order]["patient"].to_numpy()
    assert (pd.factorize(same)[0] == pd.factorize(index["patient"])[0]).all()
    assert index["image"].is_monotonic_increasing


# --- the secret ---------------------------------------------------------------------------------------------------


def test_a_secret_is_not_shown_and_not_copied() -> None:
    assert repr(SECRET) == str(SECRET) == f"{SECRET}" == "Secret(redacted)"
    assert not hasattr(SECRET, "__dict__")
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            leak(SECRET)


def test_the_users_own_secret_is_made_once(home: Path) -> None:
    first = site_secret()
    path = own_file()
    assert path.is_relative_to(home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert mark(site_secret()) == mark(first)
    path.unlink()
    assert mark(site_secret()) != mark(first)


@pytest.mark.usefixtures("home")
def test_whoever_is_second_keeps_the_first_secret() -> None:
    first = mark(site_secret())
    _pseudonyms._make(own_file())  # another process that had not seen it yet
    assert mark(site_secret()) == first
    assert len(list(own_file().parent.iterdir())) == 1


def test_processes_that_start_together_agree(home: Path, root: Path) -> None:
    code = "from fedcxr.data._pseudonyms import site_secret; print(site_secret().names('patient', '', ['x']))"
    command = [sys.executable, "-c", code]
    started = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert len({process.communicate(timeout=300)[0] for process in started}) == 1
    assert home.exists()


def test_a_secret_that_is_given(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCXR_SECRET_FILE", str(private(tmp_path / "a")))
    assert mark(site_secret()) == mark(SECRET)
    assert mark(site_secret(private(tmp_path / "b", "5F" * 32 + "\n"))) == mark(OTHER)
    assert not home.exists()


@pytest.mark.usefixtures("home")
def test_a_misspelt_path_makes_no_new_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCXR_SECRET_FILE", str(tmp_path / "misspelt"))
    with pytest.raises(DataError, match="does not exist"):
        site_secret()
    assert not (tmp_path / "misspelt").exists()


@pytest.mark.parametrize("text", ["", "5e" * 31, "5e" * 40, "hunter2 " * 8, "5e" * 32 + " and more"])
def test_what_is_no_secret_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError) as caught:
        site_secret(private(tmp_path / "secret", text))
    assert "hunter" not in str(caught.value)
    assert "5e5e" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_secret_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "secret")
    path.chmod(mode)
    with pytest.raises(Refused, match="chmod 600"):
        site_secret(path)


def test_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDCXR_SECRET_FILE", raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError):
        site_secret()
    with pytest.raises(StorageError):
        site_secret(tmp_path)
