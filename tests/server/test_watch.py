"""What a process may use: each way to use more ends by name, and whoever keeps within limits is let be."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fenced import AMPLE, Fenced

from fedcxr.fence import landlock, seccomp
from server import watch
from server.limits import Limits

USERS = (os.getuid(), 65534) if os.getuid() == 0 else (os.getuid(),)
MB = 1 << 20

pytestmark = pytest.mark.skipif(
    landlock.version() < landlock.WHOLE or not seccomp.supported(), reason="this kernel has no whole fence"
)


def ended(inside: Fenced) -> tuple[str | None, int, str]:
    """What its watch said, how it ended, and what it said itself."""
    child = inside.start()
    try:
        named = watch.watch(child.pid, inside.folder / "outcome", inside.limits, every=0.05)
        said, errors = child.communicate("null", timeout=20)
    finally:
        child.kill()
    return named, child.returncode, said + errors


GREEDY = {
    "shared memory": (
        "memory",
        "held = [mmap.mmap(-1, 1 << 20) for _ in range(600)]\nfor one in held: one.write(b'x' * (1 << 20))",
    ),
    "shared memory out of sight": (
        "memory",
        "held = mmap.mmap(-1, 600 << 20)\n"
        "for at in range(0, 600 << 20, 1 << 20): held[at:at + 4096] = b'x' * 4096; held.madvise(mmap.MADV_DONTNEED)",
    ),
    "page tables": (
        "memory",
        "held = mmap.mmap(-1, 1 << 39, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=mmap.PROT_READ)\n"
        "for at in range(0, 1 << 39, 1 << 21): held[at]",
    ),
    "threads": ("processes", "for _ in range(100): threading.Thread(target=time.sleep, args=(60,)).start()"),
    "many files": (
        "disk",
        "for number in range(30): (outcome / str(number)).write_bytes(bytes(1 << 20))",
    ),
    "files of nothing": ("disk", "for number in range(2000): (outcome / str(number)).touch()"),
    "a file that is no longer there": (
        "disk",
        "held = [open(outcome / str(n), 'wb') for n in range(30)]\n"
        "for one in held: os.unlink(one.name); one.write(bytes(1 << 20)); one.flush()",
    ),
    "a file that is only in memory": (
        "disk",
        "file = open(outcome / 'x', 'w+b'); file.write(bytes(1 << 20)); file.flush()\n"
        "held = mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ); os.unlink(file.name); file.close()\n"
        # Python keeps a copy of the descriptor; whoever calls mmap() itself does not.
        "os.closerange(3, 1024)",
    ),
    "folders too deep to look into": (
        "disk",
        "os.chdir(outcome)\nfor _ in range(60): os.mkdir('d' * 100); os.chdir('d' * 100)",
    ),
    "time": ("seconds", ""),
}
TIGHT = Limits(memory=512 * MB, processes=50, disk=20 * MB, seconds=30)


# Threads of other users than root are refused by the kernel: see below.
WHO = [(how, user) for how in GREEDY for user in USERS if how != "threads" or user == 0]


@pytest.mark.parametrize(("how", "user"), WHO)
def test_whoever_takes_too_much_is_ended_by_name(how: str, user: int, fenced: Callable[..., Fenced]) -> None:
    limit, code = GREEDY[how]
    limits = replace(TIGHT, seconds=1.0) if limit == "seconds" else TIGHT
    inside = fenced(f"fence()\n{code}\ntime.sleep(60)", user=user, limits=limits)
    named, code_, said = ended(inside)
    assert (named, code_) == (limit, -signal.SIGKILL), said


REFUSED = {
    "private memory": "try: bytearray(600 << 20)\nexcept MemoryError: print('refused')",
    "private memory by pieces": (
        "held = []\n"
        "try:\n"
        "    for _ in range(100): held.append(bytearray(10 << 20))\n"
        "except MemoryError: print('refused')"
    ),
    "one large file": (
        "try:\n"
        "    with open(outcome / 'x', 'wb') as file: file.truncate(21 << 20)\n"
        "except OSError as error: print('refused' if error.errno == 27 else error)"
    ),
    "descriptors": (
        "held = []\n"
        "try:\n"
        "    while True: held.append(os.open('/dev/null', os.O_RDONLY))\n"
        "except OSError: print('refused' if len(held) < 1024 else len(held))"
    ),
    "raise a limit": (
        "import resource\n"
        "try: resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))\n"
        "except (ValueError, OSError): print('refused')"
    ),
    "a core": "import resource; print('refused' if resource.getrlimit(resource.RLIMIT_CORE) <= (1, 1) else '')",
}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("how", REFUSED)
def test_the_kernel_refuses_what_it_can_count(how: str, user: int, fenced: Callable[..., Fenced]) -> None:
    code = f"import resource\nfence()\n{REFUSED[how]}"
    assert ended(fenced(code, user=user, limits=TIGHT)) == (None, 0, "refused\n")


@pytest.mark.skipif(len(USERS) == 1 and os.getuid() == 0, reason="root is bound by no such limit")
def test_a_user_alone_in_a_namespace_is_refused_more_threads(fenced: Callable[..., Fenced]) -> None:
    code = (
        "fence()\n"
        "for n in range(100):\n"
        "    try: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "    except RuntimeError: print('refused' if n >= 48 else n); sys.stdout.flush(); os._exit(0)\n"
    )
    inside = fenced(code, user=USERS[-1], limits=TIGHT)
    named, code_, said = ended(inside)
    if named == "processes":
        pytest.skip("this machine lets no user make a user namespace: its threads were counted by its watch")
    assert (named, code_, said) == (None, 0, "refused\n")


def test_processor_time_ends_by_itself(fenced: Callable[..., Fenced]) -> None:
    """Without anybody who watches."""
    code = "import resource\nfence()\nprint(resource.getrlimit(resource.RLIMIT_CPU)[1])"
    said = fenced(code, limits=replace(TIGHT, seconds=0.5)).run()
    assert int(said) <= (os.cpu_count() or 1) + 1
    spins = fenced("os.cpu_count = lambda: 1\nfence()\nwhile True: pass", limits=replace(TIGHT, seconds=0))
    child = spins.start()
    try:
        assert child.wait(30) in (-signal.SIGKILL, -signal.SIGXCPU)
    finally:
        child.communicate()


@pytest.mark.parametrize("user", USERS)
def test_whoever_keeps_within_limits_is_let_be(user: int, fenced: Callable[..., Fenced]) -> None:
    code = (
        "fence()\n"
        "held = bytearray(100 << 20); shared = mmap.mmap(-1, 1 << 20); shared.write(b'x' * (1 << 20))\n"
        "file = open(outcome / 'x', 'wb'); file.write(bytes(1 << 20)); file.flush(); os.unlink(file.name)\n"
        "time.sleep(0.5); print('done'); sys.exit(3)"
    )
    assert ended(fenced(code, user=user, limits=TIGHT)) == (None, 3, "done\n")


def test_a_process_that_chose_its_name_is_counted_all_the_same(fenced: Callable[..., Fenced]) -> None:
    """Its name stands in the same file as the numbers."""
    code = "fence()\nlibc.prctl(15, b'\\rVmSwap: -99999')\nprint('named'); sys.stdout.flush(); time.sleep(60)"
    child = fenced(code).start()
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "named\n"
        assert "Swap: -99999" in Path(f"/proc/{child.pid}/comm").read_text()
        assert 1 * MB < watch.memory(child.pid) < 200 * MB
    finally:
        child.kill()
        child.communicate()


def test_a_watch_ends_what_it_no_longer_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stops it: an interruption, or an error of its own."""

    def broken(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(watch, "_beyond", broken)
    child = subprocess.Popen(["sleep", "60"])
    with pytest.raises(PermissionError):
        watch.watch(child.pid, tmp_path, AMPLE, every=0.05)
    assert child.wait(5) == -signal.SIGKILL


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    code = (
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert list(watch.tree(parent.pid)) == [parent.pid, child]
    assert watch.watch(parent.pid, tmp_path, replace(AMPLE, seconds=0.1)) == "seconds"
    parent.communicate()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with contextlib.suppress(FileNotFoundError):  # a zombie where nobody waits for orphans
        assert "\nState:\tZ" in Path(f"/proc/{child}/status").read_text()


def test_a_process_that_has_ended_breaks_no_limit(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert watch.watch(child.pid, tmp_path, AMPLE) is None
    waits = subprocess.Popen(["true"])
    time.sleep(0.2)  # ended, and not waited for
    assert watch.watch(waits.pid, tmp_path, AMPLE) is None
    assert waits.wait() == 0


def test_a_folder_that_only_its_maker_may_enter_is_too_much(fenced: Callable[..., Fenced]) -> None:
    """A parent that is not root cannot look into it."""
    code = "os.mkdir(outcome / 'closed', 0o300); print(watch.occupied(outcome) == sys.maxsize)"
    if USERS[-1] == 0:
        pytest.skip("root looks into every folder")
    inside = fenced(code, user=USERS[-1])
    try:
        assert inside.run() == "True\n"
    finally:
        (inside.folder / "outcome" / "closed").chmod(0o700)


def test_what_lies_in_a_folder_is_counted(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(bytes(100_000))
    os.sync()
    (tmp_path / "outside").symlink_to("/usr")
    counted = watch.occupied(tmp_path)
    assert 100_000 + 2 * watch.SMALLEST <= counted < 300_000
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert watch.occupied(tmp_path) < 400_000  # it occupies nothing; each file's size is the kernel's to bound
    shutil.rmtree(tmp_path / "folder")
    assert watch.occupied(tmp_path / "folder") == 0


def test_files_that_come_and_go_are_no_offence(tmp_path: Path) -> None:
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            (tmp_path / f"{number}").mkdir()
            (tmp_path / f"{number}" / "x").touch()
            shutil.rmtree(tmp_path / f"{number}")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert max(watch.occupied(tmp_path) for _ in range(500)) < MB
    finally:
        stop.set()
        worker.join()
