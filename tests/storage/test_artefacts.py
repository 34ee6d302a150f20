"""Artefacts: made once whoever asks at once, never believed when damaged, never a reason to fail, and deletable."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedcxr.errors import ConfigError
from fedcxr.storage.artefacts import Artefacts, digest_of
from fedcxr.storage.checkpoint import Arrays

KEY = Artefacts.key("verifier", seed=1)
OTHER = Artefacts.key("codec", seed=1)
ARRAYS = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.array(0.5), "free": np.zeros((0, 2))}


class Maker:
    """Makes the arrays and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return ARRAYS


@pytest.fixture
def make() -> Maker:
    return Maker()


@pytest.fixture
def store(tmp_path: Path) -> Artefacts:
    return Artefacts.below(tmp_path)


def file_of(store: Artefacts, key: str = KEY) -> Path:
    return store.folder / f"{key}.safetensors"


def files(store: Artefacts) -> set[str]:
    return {path.name for path in store.folder.iterdir()}


def same(found: Arrays | None, made: Arrays = ARRAYS) -> bool:
    return found is not None and {n: (a.dtype, a.tolist()) for n, a in found.items()} == {
        n: (a.dtype, a.tolist()) for n, a in made.items()
    }


# Once ---------------------------------------------------------------------------------------------------------------


def test_it_is_made_once_and_comes_back_as_it_was(store: Artefacts, make: Maker) -> None:
    assert store.get(KEY) is None
    first = store.made(KEY, make)
    again = Artefacts(store.folder).made(KEY, make)
    assert make.calls == 1
    assert same(first)
    assert same(again)
    assert same(store.get(KEY))
    assert files(store) == {file_of(store).name}  # no lock, no draft


def test_whether_it_was_made_or_read_does_not_show(store: Artefacts) -> None:
    """Strides and the order of names change the order of sums, and with it last digits."""
    odd = {"z": np.arange(6.0).reshape(2, 3).T, "a": np.arange(8.0)[::2]}
    made, read = store.made(KEY, lambda: odd), store.made(KEY, dict)
    for one, other in zip(made.items(), read.items(), strict=True):
        assert one[0] == other[0]
        assert one[1].strides == other[1].strides
    assert same(read, odd)


def test_what_fails_to_be_made_is_not_kept(store: Artefacts, make: Maker) -> None:
    with pytest.raises(ZeroDivisionError):
        store.made(KEY, lambda: {"x": np.array(1 / 0)})
    assert files(store) == set()
    assert same(store.made(KEY, make))


def test_what_was_made_elsewhere_can_be_put(store: Artefacts, make: Maker) -> None:
    store.put(KEY, ARRAYS)
    assert same(store.made(KEY, make))
    assert make.calls == 0
    store.put(KEY, {"x": np.ones(1)})
    assert same(store.get(KEY), {"x": np.ones(1)})


@pytest.mark.parametrize("key", ["", "verifier", "../up-" + 64 * "0", f"{KEY}/", f"{KEY}\n", "Verifier-" + 64 * "0"])
def test_a_name_that_is_no_key_reaches_no_file(store: Artefacts, make: Maker, key: str) -> None:
    uses: list[Callable[[], object]] = [
        lambda: store.get(key),
        lambda: store.put(key, ARRAYS),
        lambda: store.made(key, make),
    ]
    for use in uses:
        with pytest.raises(ConfigError, match="no key of an artefact"):
            use()
    assert make.calls == 0


# Names --------------------------------------------------------------------------------------------------------------


def test_a_key_depends_on_everything_and_on_no_order() -> None:
    keys = [
        Artefacts.key("verifier", seed=1, width=4),
        Artefacts.key("codec", seed=1, width=4),
        Artefacts.key("verifier", seed=2, width=4),
        Artefacts.key("verifier", seed=1),
        Artefacts.key("verifier", seed=1, width="4"),
        Artefacts.key("verifier", seed=1, width=[4]),
        Artefacts.key("verifier", seed=1, width=4, kind="codec"),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == Artefacts.key("verifier", width=4, seed=1)


@pytest.mark.parametrize("module", ["code_version", "_libraries"])
def test_other_code_makes_its_own(store: Artefacts, make: Maker, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store.made(Artefacts.key("verifier", seed=1), make)
    monkeypatch.setattr(f"fedcxr.storage.artefacts.{module}", lambda: "another")
    store.made(Artefacts.key("verifier", seed=1), make)
    assert make.calls == 2
    assert len(store.entries()) == 2


@pytest.mark.parametrize("value", [np.zeros(2), np.int64(1), {1, 2}, b"x", Path("x")])
def test_a_specification_is_plain_data(value: object) -> None:
    with pytest.raises(ConfigError, match="digest_of"):
        Artefacts.key("verifier", value=value)


@pytest.mark.parametrize("kind", ["", "Verifier", "a-b", "../up", "a" * 65, "a\n"])
def test_a_kind_is_a_plain_word(kind: str) -> None:
    with pytest.raises(ConfigError, match="no kind of artefact"):
        Artefacts.key(kind)


def test_an_arrays_digest_is_of_type_shape_and_values() -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    others = [array.T, array.reshape(3, 2), array.view(np.uint32), array + 1, array[:, :2], np.zeros((0, 3), np.int32)]
    assert len({digest_of(a) for a in (array, *others)}) == 7
    assert digest_of(array) == digest_of(np.asfortranarray(array)) == digest_of(np.repeat(array, 2, axis=1)[:, ::2])
    assert digest_of(np.array(["a", "b"])) != digest_of(np.array(["a", "c"]))
    with pytest.raises(ConfigError, match="objects"):
        digest_of(np.array(["a", None], dtype=object))


# Damage -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artefacts, bytes]:
    store = Artefacts(tmp_path_factory.mktemp("damaged"))
    store.put(KEY, ARRAYS)
    return store, file_of(store).read_bytes()


def refused_and_made_again(store: Artefacts, content: bytes) -> None:
    file_of(store).write_bytes(content)
    assert store.get(KEY) is None
    make = Maker()
    assert same(store.made(KEY, make))
    assert make.calls == 1
    assert same(store.get(KEY))


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
@example(place=0, bit=0)
@example(place=7, bit=6)  # a header of 2^62 bytes
@example(place=8, bit=5)
def test_a_flipped_bit_is_made_good(whole: tuple[Artefacts, bytes], place: int, bit: int) -> None:
    store, content = whole
    flipped = bytearray(content)
    flipped[place % len(content)] ^= 1 << bit
    refused_and_made_again(store, bytes(flipped))


@given(left=st.integers(0, 10_000))
@example(left=0)
@example(left=8)
def test_a_file_cut_short_is_made_good(whole: tuple[Artefacts, bytes], left: int) -> None:
    store, content = whole
    refused_and_made_again(store, content[: left % len(content)])


@given(content=st.binary(max_size=200))
def test_a_file_of_anything_is_made_good(whole: tuple[Artefacts, bytes], content: bytes) -> None:
    refused_and_made_again(whole[0], content)


def test_another_artefact_under_its_name_is_not_believed(store: Artefacts, make: Maker) -> None:
    store.put(OTHER, {"x": np.ones(1)})
    file_of(store, OTHER).rename(file_of(store))
    assert same(store.made(KEY, make))
    assert make.calls == 1


# Several processes --------------------------------------------------------------------------------------------------

FORK = multiprocessing.get_context("fork")


def in_child(work: Callable[[], object]) -> int:
    """A forked process that does this."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(99)
        os._exit(0)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_processes_that_race_make_it_once(store: Artefacts, tmp_path: Path) -> None:
    calls, gate = tmp_path / "calls", FORK.Barrier(4)

    def make() -> Arrays:
        with calls.open("a") as log:
            log.write("x")
        time.sleep(0.2)
        return ARRAYS

    def work() -> None:
        for number in range(3):
            gate.wait(30)
            assert same(store.made(Artefacts.key("verifier", number=number), make))

    assert [ended(child) for child in [in_child(work) for _ in range(4)]] == [0] * 4
    assert calls.read_text() == "xxx"
    assert len(files(store)) == 3


def test_threads_that_race_make_it_once(store: Artefacts) -> None:
    make, found = Maker(), []

    def slowly() -> Arrays:
        time.sleep(0.05)
        return make()

    threads = [threading.Thread(target=lambda: found.append(store.made(KEY, slowly))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make.calls == 1
    assert all(same(arrays) for arrays in found)
    assert len(found) == 4


def killed_while_making(store: Artefacts, make: Callable[[], Arrays], ready: int) -> None:
    """A process is killed once it says that it is in the middle."""
    child = in_child(lambda: store.made(KEY, make))
    os.read(ready, 1)
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ready, told = os.pipe()
    yield ready, told
    os.close(ready)
    os.close(told)


def test_a_maker_that_is_killed_lets_go(store: Artefacts, make: Maker, pipe: tuple[int, int]) -> None:
    def stuck() -> Arrays:
        os.write(pipe[1], b"x")
        signal.pause()
        return ARRAYS

    killed_while_making(store, stuck, pipe[0])
    assert store.get(KEY) is None
    assert same(store.made(KEY, make))
    assert make.calls == 1
    assert files(store) == {file_of(store).name}


def killed_while_writing(store: Artefacts, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(*_: object) -> None:
        os.write(pipe[1], b"x")
        signal.pause()

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stuck)
        killed_while_making(store, Maker(), pipe[0])
    assert {name.rpartition(".")[2] for name in files(store)} == {"draft", "lock"}


def test_a_maker_killed_while_writing_leaves_nothing_for_good(
    store: Artefacts, make: Maker, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_while_writing(store, pipe, monkeypatch)
    assert store.entries() == ()
    assert same(store.made(KEY, make))
    assert make.calls == 1
    assert files(store) == {file_of(store).name}


def test_who_waits_reads_what_the_first_has_made(store: Artefacts, make: Maker, pipe: tuple[int, int]) -> None:
    def slowly() -> Arrays:
        os.write(pipe[1], b"x")
        time.sleep(0.3)
        return ARRAYS

    child = in_child(lambda: store.made(KEY, slowly))
    os.read(pipe[0], 1)
    assert same(store.made(KEY, make))
    assert make.calls == 0
    assert ended(child) == 0


# Where nothing can be kept --------------------------------------------------------------------------------------------


def no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("a file in its place")


def below_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.parent.rmdir()
    folder.parent.write_text("a file in its parent's place")


def a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


def no_locks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)


def somebody_elses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: folder.parent.stat().st_uid + 1)


@pytest.mark.parametrize("harm", [no_folder, below_a_file, a_full_disk, no_locks, somebody_elses])
def test_a_run_does_not_fail_for_want_of_a_cache(
    tmp_path: Path, make: Maker, harm: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Artefacts.below(tmp_path / "cache")
    store.folder.parent.mkdir()
    harm(store.folder, monkeypatch)
    assert same(store.made(KEY, make))
    store.put(OTHER, ARRAYS)
    assert make.calls == 1
    kept = store.get(KEY)
    assert same(kept) if harm is no_locks else kept is None
    store.clear()
    assert store.entries() == ()
    assert not list(tmp_path.rglob("*.draft"))


def test_a_really_full_disk(tmp_path: Path, make: Maker) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting a small file system needs rights this process does not have")
    try:
        store = Artefacts.below(disk)
        store.made(KEY, lambda: {"large": np.ones(100_000)})
        assert files(store) == set()
        assert same(store.made(KEY, make))  # what is small enough is kept
        assert same(store.get(KEY))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_nobody_else_can_read_it(store: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while it is being written, and in a folder that was open before."""
    store.folder.mkdir(mode=0o755)
    seen: list[int] = []
    real = Path.replace

    def looked_at(draft: Path, target: Path) -> Any:
        seen.append(stat.S_IMODE(draft.stat().st_mode))
        return real(draft, target)

    monkeypatch.setattr(Path, "replace", looked_at)
    before = os.umask(0)
    try:
        store.put(KEY, ARRAYS)
    finally:
        os.umask(before)
    assert seen == [0o600]
    assert stat.S_IMODE(file_of(store).stat().st_mode) == 0o600
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700


# What is there, and deleting it ---------------------------------------------------------------------------------------


def unused_for(store: Artefacts, key: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(file_of(store, key), (then, then))


def test_entries_tell_kind_size_and_last_use(store: Artefacts) -> None:
    assert store.entries() == ()
    store.put(KEY, ARRAYS)
    store.put(OTHER, ARRAYS)
    (store.folder / "notes.txt").write_text("the user's own")
    unused_for(store, KEY, 1000)
    codec, verifier = store.entries()
    assert (codec.kind, codec.key) == ("codec", OTHER)
    assert (verifier.kind, verifier.size) == ("verifier", file_of(store).stat().st_size)
    assert 900 < time.time() - verifier.used < 1100
    store.get(KEY)
    assert time.time() - store.entries()[1].used < 100


def test_what_is_cleared_is_what_was_asked_for(store: Artefacts, make: Maker) -> None:
    third = Artefacts.key("verifier", seed=3)
    for key in (KEY, OTHER, third):
        store.put(key, ARRAYS)
    (store.folder / "notes.txt").write_text("the user's own")
    unused_for(store, KEY, 1000)
    unused_for(store, OTHER, 1000)
    assert [entry.key for entry in store.clear("verifier", older_than_s=500)] == [KEY]
    assert {entry.key for entry in store.entries()} == {OTHER, third}
    assert [entry.key for entry in store.clear(older_than_s=500)] == [OTHER]
    assert store.clear("codec") == ()
    assert [entry.key for entry in store.clear()] == [third]
    assert files(store) == {"notes.txt"}
    store.made(KEY, make)
    assert make.calls == 1


def test_clearing_leaves_a_maker_alone_and_sweeps_after_a_killed_one(
    store: Artefacts, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_while_writing(store, pipe, monkeypatch)
    left = files(store)

    def clearing() -> Arrays:
        draft = store.folder / f".{OTHER}.safetensors.1.draft"
        draft.write_bytes(b"half")
        assert in_child_clears(store) == 0
        assert draft.exists()
        assert not left & files(store)
        return ARRAYS

    assert same(store.made(OTHER, clearing))
    assert same(store.get(OTHER))
    assert {path.suffix for path in store.folder.iterdir()} == {".safetensors", ".draft"}


def in_child_clears(store: Artefacts) -> int:
    return ended(in_child(store.clear))


def test_who_reads_while_it_is_cleared_reads_on(store: Artefacts, tmp_path: Path) -> None:
    """Cleared over and over beside two that ask for it: no wrong arrays, no error, nothing left over."""
    done = tmp_path / "done"

    def work() -> None:
        for _ in range(60):
            assert same(store.made(KEY, Maker()))

    def sweep() -> None:
        while not done.exists():
            store.clear()

    workers, sweeper = [in_child(work) for _ in range(2)], in_child(sweep)
    assert [ended(worker) for worker in workers] == [0, 0]
    done.touch()
    assert ended(sweeper) == 0
    assert files(store) <= {file_of(store).name}


def test_what_lies_in_somebody_elses_folder_is_not_believed(store: Artefacts, make: Maker) -> None:
    """They can have put anything there under the right name, for instance a network that recognises nobody."""
    if os.geteuid() != 0:
        pytest.skip("only root can play another user")
    store.put(KEY, {"weight": np.zeros(2)})
    os.chown(store.folder, 65534, 65534)
    assert store.get(KEY) is None
    assert same(store.made(KEY, make))
