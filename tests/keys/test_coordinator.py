"""The file of the coordinator's identity: its owner's alone, whole, and never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from canary import leaks

from fedcxr.errors import ConfigError, DataError, FedcxrError, Refused
from fedcxr.keys.coordinator import make_identity, read_identity
from fedcxr.keys.provider import SERVER


def test_who_it_was_made_for_is_who_reads_it(tmp_path: Path) -> None:
    made = make_identity(tmp_path / "coordinator")
    assert (tmp_path / "coordinator").stat().st_mode & 0o777 == 0o600
    read = read_identity(tmp_path / "coordinator")
    assert read.public == made.public
    assert read.public.name == SERVER
    with pytest.raises(FileExistsError):  # nobody loses an identity by making another
        make_identity(tmp_path / "coordinator")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_touch_is_refused(mode: int, tmp_path: Path) -> None:
    file = tmp_path / "coordinator"
    make_identity(file)
    file.chmod(mode)
    with pytest.raises(Refused, match=rf"others may read the coordinator's identity.*{mode:04o}"):
        read_identity(file)
    file.chmod(0o400)
    read_identity(file)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_somebody_elses_is_refused(tmp_path: Path) -> None:
    make_identity(tmp_path / "coordinator")
    os.chown(tmp_path / "coordinator", 12345, -1)
    with pytest.raises(Refused, match="user 12345"):
        read_identity(tmp_path / "coordinator")


def test_what_is_wrong_is_told_and_nothing_of_what_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "coordinator"
    with pytest.raises(DataError, match="there is no coordinator's identity"):
        read_identity(file)
    make_identity(file)
    whole = file.read_bytes()
    for damaged in (b"", whole[:-1], whole + b"x"):
        file.write_bytes(damaged)
        with pytest.raises(ConfigError, match="this is no coordinator's identity") as caught:
            read_identity(file)
        assert not leaks([whole[:8], whole[:8].hex().encode()], str(caught.value).encode())
    for wrong in (tmp_path, tmp_path / "pipe"):
        if wrong != tmp_path:
            os.mkfifo(wrong, 0o600)
        with pytest.raises(FedcxrError):  # and nobody waits for somebody to write into it
            read_identity(wrong)
