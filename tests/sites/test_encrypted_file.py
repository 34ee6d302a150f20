"""The encrypted file: opens for its passphrase only, is never half written, and is nobody else's to read or replace."""

from __future__ import annotations

import errno
import os
import stat
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from canary import leaks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedcxr.errors import ConfigError, DataError, Refused, StorageError, VaultLocked
from sites import encrypted_file, private_folder
from sites.encrypted_file import DRAFT, FILE, HEADER, LOCK, Cost, EncryptedFile

WORDS = b"correct horse battery staple"
OTHERS = b"quite another set of words"
CONTENT = bytes(range(100, 160))
CHEAP = Cost(log_n=4)


@pytest.fixture
def box(tmp_path: Path) -> EncryptedFile:
    return EncryptedFile.create(tmp_path / "ring", WORDS, CONTENT, CHEAP)


def same(content: bytes) -> bytes:
    return content


# What is right --------------------------------------------------------------------------------------------------------


def test_what_is_put_in_comes_out(box: EncryptedFile) -> None:
    assert box.read() == CONTENT
    assert EncryptedFile.unlock(box.folder, WORDS).read() == CONTENT
    assert box.change(lambda old: old + b"!") == CONTENT + b"!"
    assert EncryptedFile.unlock(box.folder, bytearray(WORDS)).read() == CONTENT + b"!"


def test_nothing_of_it_shows_on_disk(box: EncryptedFile) -> None:
    box.change(bytes.upper)
    assert not leaks([CONTENT, WORDS, bytes(box._key)], box.folder, repr(box))


def test_only_its_owner_may_enter_and_read(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        box = EncryptedFile.create(tmp_path / "a" / "ring", WORDS, CONTENT, CHEAP)
        box.change(bytes.upper)
    finally:
        os.umask(before)
    assert stat.S_IMODE(box.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in box.folder.iterdir()} == {0o600}
    assert {path.name for path in box.folder.iterdir()} == {FILE, LOCK}


def test_the_default_cost_is_what_is_advised_today(tmp_path: Path) -> None:
    """OWASP's password storage cheat sheet: scrypt with N = 2^17, r = 8, p = 1."""
    EncryptedFile.create(tmp_path / "ring", WORDS, CONTENT)
    _, _, log_n, r, p, _ = HEADER.unpack((tmp_path / "ring" / FILE).read_bytes()[: HEADER.size])
    assert log_n >= 17
    assert (r, p) >= (8, 1)
    assert EncryptedFile.unlock(tmp_path / "ring", WORDS).read() == CONTENT


def test_no_two_files_are_alike(tmp_path: Path) -> None:
    files = set()
    for number in range(8):
        box = EncryptedFile.create(tmp_path / str(number), WORDS, CONTENT, CHEAP)
        files.add((box.folder / FILE).read_bytes()[HEADER.size - 16 :])
    assert len(files) == 8
    assert len({data[:16] for data in files}) == 8, "salts"
    assert len({data[16:28] for data in files}) == 8, "nonces"


def test_every_write_has_its_own_nonce(box: EncryptedFile) -> None:
    nonces = set()
    for number in range(20):
        box.change(lambda _, n=number: bytes([n]))  # type: ignore[misc]
        nonces.add((box.folder / FILE).read_bytes()[HEADER.size : HEADER.size + 12])
    assert len(nonces) == 20


def test_what_does_not_change_is_not_written(box: EncryptedFile) -> None:
    before = (box.folder / FILE).stat()
    box.change(same)
    assert (box.folder / FILE).stat().st_ino == before.st_ino


def test_closing_overwrites_the_derived_key(box: EncryptedFile) -> None:
    key = box._key
    assert any(key)
    box.close()
    assert not any(key)
    with pytest.raises(VaultLocked):
        box.read()


def test_a_failed_change_changes_nothing(box: EncryptedFile) -> None:
    with pytest.raises(ZeroDivisionError):
        box.change(lambda old: bytes(1 // 0))
    assert box.read() == CONTENT
    box.change(bytes.upper)  # and the lock is free


def test_another_passphrase_opens_the_same_and_the_old_one_nothing(box: EncryptedFile) -> None:
    held, other, before = box._key, EncryptedFile.unlock(box.folder, WORDS), (box.folder / FILE).read_bytes()
    relocked = box.relock(OTHERS, CHEAP)
    assert relocked.read() == EncryptedFile.unlock(box.folder, OTHERS).read() == CONTENT
    with pytest.raises(VaultLocked, match="the passphrase is wrong"):
        EncryptedFile.unlock(box.folder, WORDS)
    assert not any(held)
    for locked_out in (other, box):
        with pytest.raises(VaultLocked, match="unlock it again"):
            locked_out.change(bytes.upper)
    salts = [HEADER.unpack(data[: HEADER.size])[-1] for data in (before, (box.folder / FILE).read_bytes())]
    assert salts[0] != salts[1]
    assert not leaks([WORDS, OTHERS, CONTENT, bytes(relocked._key)], box.folder)


# What is wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [b"", WORDS[:-1], WORDS + b" ", WORDS.upper(), b"x" * 1000])
def test_a_wrong_passphrase_is_refused(box: EncryptedFile, words: bytes) -> None:
    with pytest.raises(VaultLocked, match="the passphrase is wrong, or the file was altered") as refused:
        EncryptedFile.unlock(box.folder, words)
    assert not leaks([words or WORDS, WORDS, CONTENT], refused.value)


def test_every_flipped_bit_is_refused(box: EncryptedFile) -> None:
    path = box.folder / FILE
    data = path.read_bytes()
    said = set()
    for bit in range(8 * len(data)):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        path.write_bytes(altered)
        for attempt in (lambda: EncryptedFile.unlock(box.folder, WORDS), box.read):
            with pytest.raises(VaultLocked) as refused:
                attempt()
            said.add(str(refused.value))
    assert not leaks([WORDS, CONTENT, bytes(box._key)], *said)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_else_lies_there_is_refused(box: EncryptedFile, data: st.DataObject) -> None:
    path = box.folder / FILE
    path.unlink()
    path.touch(mode=0o600)
    box.folder.joinpath("kept").touch()
    good = HEADER.pack(b"FCXV", 2, 4, 8, 1, bytes(16)) + bytes(40)
    end = data.draw(st.integers(0, len(good)))
    path.write_bytes(good[:end] + data.draw(st.binary(max_size=60)))
    with pytest.raises(VaultLocked):
        EncryptedFile.unlock(box.folder, WORDS)


@pytest.mark.parametrize("length", range(0, 112, 7))
def test_a_truncated_file_is_refused(box: EncryptedFile, length: int) -> None:
    path = box.folder / FILE
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(VaultLocked):
        EncryptedFile.unlock(box.folder, WORDS)


@pytest.mark.parametrize(
    ("log_n", "r", "p"),
    [(31, 8, 1), (255, 8, 1), (20, 8, 1), (17, 255, 1), (0, 8, 1), (21, 2, 16), (22, 1, 16), (17, 8, 5), (15, 1, 255)],
)
def test_a_header_cannot_make_us_use_all_memory_or_time(box: EncryptedFile, log_n: int, r: int, p: int) -> None:
    path = box.folder / FILE
    data = path.read_bytes()
    path.write_bytes(data[:5] + struct.pack(">BBB", log_n, r, p) + data[8:])
    start = time.perf_counter()
    with pytest.raises(VaultLocked, match="memory or time"):
        EncryptedFile.unlock(box.folder, WORDS)
    assert time.perf_counter() - start < 0.1


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_what_a_header_can_ask_for_is_four_times_ours_at_most(log_n: int, r: int, p: int) -> None:
    """Time and memory of scrypt, as RFC 7914 counts them."""
    if Cost(log_n, r, p).bearable:
        ours = Cost()
        assert 128 * r * p * 2**log_n <= 4 * 128 * ours.r * ours.p * 2**ours.log_n


def test_what_could_not_be_read_again_is_not_written(box: EncryptedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encrypted_file, "LARGEST", len((box.folder / FILE).read_bytes()) + 10)
    assert box.change(lambda old: old + bytes(10)) == CONTENT + bytes(10)
    with pytest.raises(Refused, match="the vault is full"):
        box.change(lambda old: old + b"!")
    assert EncryptedFile.unlock(box.folder, WORDS).read() == CONTENT + bytes(10)
    (box.folder / FILE).write_bytes((box.folder / FILE).read_bytes() + b"!")
    with pytest.raises(Refused, match="too large"):
        box.read()


def test_scrypts_own_refusal_has_a_name(box: EncryptedFile) -> None:
    path = box.folder / FILE
    data = path.read_bytes()
    path.write_bytes(data[:5] + struct.pack(">BBB", 18, 1, 1) + data[8:])
    with pytest.raises(VaultLocked):
        EncryptedFile.unlock(box.folder, WORDS)


def test_another_version_is_told_as_such(box: EncryptedFile) -> None:
    path = box.folder / FILE
    data = bytearray(path.read_bytes())
    data[4] = 3
    path.write_bytes(data)
    with pytest.raises(VaultLocked, match="another version of fedcxr; given: format 3"):
        EncryptedFile.unlock(box.folder, WORDS)


def test_a_vault_put_in_its_place_is_not_written_over(box: EncryptedFile, tmp_path: Path) -> None:
    other = EncryptedFile.create(tmp_path / "other", WORDS, b"other", CHEAP)
    (other.folder / FILE).replace(box.folder / FILE)
    with pytest.raises(VaultLocked, match="another vault than the one unlocked"):
        box.change(bytes.upper)
    assert EncryptedFile.unlock(box.folder, WORDS).read() == b"other"


def test_an_existing_vault_is_never_replaced(box: EncryptedFile) -> None:
    with pytest.raises(ConfigError, match="there is a vault already"):
        EncryptedFile.create(box.folder, WORDS, b"new", CHEAP)
    assert box.read() == CONTENT


def test_no_vault_is_data_missing(tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        tmp_path.chmod(0o700)
        with pytest.raises(DataError, match="there is no vault here"):
            EncryptedFile.unlock(folder, WORDS)


@pytest.mark.parametrize("mode", [0o710, 0o750, 0o701, 0o755, 0o770, 0o777])
def test_a_folder_that_others_may_enter_is_refused(box: EncryptedFile, mode: int) -> None:
    box.folder.chmod(mode)
    for attempt in (lambda: EncryptedFile.unlock(box.folder, WORDS), box.read, lambda: box.change(same)):
        with pytest.raises(Refused, match=f"mode {mode:04o}; allowed: 0700"):
            attempt()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o610])
def test_a_file_that_others_may_read_is_refused(box: EncryptedFile, mode: int) -> None:
    (box.folder / FILE).chmod(mode)
    with pytest.raises(Refused, match=f"mode {mode:04o}; allowed: 0600"):
        EncryptedFile.unlock(box.folder, WORDS)


def test_anothers_vault_is_refused(box: EncryptedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Refused, match="belongs to another user"):
        EncryptedFile.unlock(box.folder, WORDS)


def test_symbolic_links_are_refused(box: EncryptedFile, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(box.folder)
    with pytest.raises(Refused, match="symbolic link"):
        EncryptedFile.unlock(tmp_path / "link", WORDS)
    with pytest.raises(Refused, match="symbolic link"):
        EncryptedFile.create(tmp_path / "link", WORDS, CONTENT, CHEAP)
    (box.folder / FILE).rename(tmp_path / "elsewhere")
    (box.folder / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="not a plain file"):
        EncryptedFile.unlock(box.folder, WORDS)
    with pytest.raises(ConfigError, match="there is a vault already"):
        EncryptedFile.create(box.folder, WORDS, CONTENT, CHEAP)


def test_a_draft_that_is_a_link_is_not_followed(box: EncryptedFile, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (box.folder / DRAFT).symlink_to(tmp_path / "precious")
    box.change(bytes.upper)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (box.folder / FILE).is_symlink()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_plain_file_is_refused(box: EncryptedFile, make: Callable[[Path], None]) -> None:
    (box.folder / FILE).unlink()
    make(box.folder / FILE)
    with pytest.raises(Refused):
        EncryptedFile.unlock(box.folder, WORDS)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "ring").touch()
    attempts: tuple[Callable[[], EncryptedFile], ...] = (
        lambda: EncryptedFile.unlock(tmp_path / "ring", WORDS),
        lambda: EncryptedFile.create(tmp_path / "ring", WORDS, CONTENT, CHEAP),
        lambda: EncryptedFile.create(tmp_path / "ring" / "below", WORDS, CONTENT, CHEAP),
    )
    for attempt in attempts:
        with pytest.raises(ConfigError, match="not a folder"):
            attempt()


# A disk that fails, and other processes -------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [lambda box: box.change(bytes.upper), lambda box: box.relock(OTHERS, CHEAP)])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_loses_nothing(
    box: EncryptedFile, monkeypatch: pytest.MonkeyPatch, call: str, change: Callable[[EncryptedFile], object]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(StorageError, match="the disk is full"):
            change(box)
    assert EncryptedFile.unlock(box.folder, WORDS).read() == CONTENT
    assert {path.name for path in box.folder.iterdir()} == {FILE, LOCK}


def test_file_and_folder_are_synced_in_order(box: EncryptedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    fsync, move = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def moved(*names: Any, **places: Any) -> None:
        done.append("rename")
        move(*names, **places)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", moved)
    box.change(bytes.upper)
    assert done == ["file", "rename", "folder"]


def test_a_draft_left_by_a_kill_is_cleared(box: EncryptedFile) -> None:
    (box.folder / DRAFT).write_bytes(b"half")
    box.change(bytes.upper)
    assert not (box.folder / DRAFT).exists()


def test_two_threads_and_two_unlockings_lose_no_change(box: EncryptedFile) -> None:
    boxes = [EncryptedFile.unlock(box.folder, WORDS) for _ in range(4)]

    def add(one: EncryptedFile) -> None:
        for _ in range(10):
            one.change(lambda old: old + b"+")

    threads = [threading.Thread(target=add, args=[one]) for one in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert box.read() == CONTENT + b"+" * 40


ADDS = textwrap.dedent("""
    import sys
    from pathlib import Path
    from sites.encrypted_file import EncryptedFile
    box = EncryptedFile.unlock(Path(sys.argv[1]), sys.argv[2].encode())
    for _ in range(50):
        box.change(lambda old: old + b"+")
""")


def test_two_processes_lose_no_change(box: EncryptedFile, root: Path) -> None:
    command = [sys.executable, "-c", ADDS, str(box.folder), WORDS.decode()]
    running = [subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in running:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert box.read() == CONTENT + b"+" * 100


def test_who_waits_too_long_is_told(box: EncryptedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_folder, "PATIENCE", 0.05)

    def inner(old: bytes) -> bytes:
        with pytest.raises(ConfigError, match="another process is changing this vault"):
            EncryptedFile.unlock(box.folder, WORDS).change(bytes.lower)
        assert box.read() == CONTENT  # reading need not wait
        return old

    box.change(inner)
