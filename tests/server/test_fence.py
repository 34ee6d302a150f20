"""The fence against malice: each exploit works outside of it and is refused inside, for root and for other users."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fenced import Fenced

from fedcxr.fence import landlock, places, seccomp

ROOT = Path(__file__).resolve().parents[2]
EXPLOITS = ROOT / "tests" / "exploits.py"
NOBODY = 65534
USERS = (os.getuid(), NOBODY) if os.getuid() == 0 else (os.getuid(),)
WHOLE = landlock.version() >= landlock.WHOLE and seccomp.supported()

pytestmark = pytest.mark.skipif(not WHOLE, reason="this kernel has no Landlock of interface 3, or no seccomp")

VICTIM = """
import ctypes, os, sys
kept = ctypes.create_string_buffer(b"secret")
file = os.open(sys.argv[1], os.O_RDWR)
user = int(sys.argv[2])
if user != os.getuid():
    os.setgroups([]); os.setgid(user); os.setuid(user)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_long(-1), 0, 0, 0)  # where Yama asks, anybody of this user may
print(ctypes.addressof(kept), file, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Scene:
    """A user with a secret, sockets, shared memory and another process, and a folder to attack from."""

    folder: Path
    plan: dict[str, Any]

    def attack(self, *, fence: bool, only: str = "", terminal: bool = False, tree: bool = True) -> dict[str, Any]:
        plan = {**self.plan, "fence": fence, "only": only, "terminal": terminal, "tree": tree}
        stdin: int = subprocess.DEVNULL
        with contextlib.ExitStack() as stack:
            if terminal:
                master, stdin = pty.openpty()
                stack.callback(os.close, master)
                stack.callback(os.close, stdin)
            ran = subprocess.run(
                [sys.executable, str(EXPLOITS), json.dumps(plan)],
                stdin=stdin, capture_output=True, text=True, check=False, timeout=300, cwd=self.folder,
                pass_fds=[plan["descriptor"]],
            )  # fmt: skip
        if ran.returncode < 0:
            return {"signal": -ran.returncode}
        assert ran.returncode == 0, ran.stderr
        return dict(json.loads(ran.stdout))


@contextlib.contextmanager
def scene(user: int) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        # Not pytest's folder, which no other user may enter.
        folder = Path(tempfile.mkdtemp(prefix="fence-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for part in ("own", "outcome", "answers"):
            (folder / part).mkdir()
        secret = folder / "answers" / "key"
        secret.write_text("secret")
        secret.chmod(0o600)
        os.setxattr(secret, "user.kept", b"x")
        (folder / "answers" / "film").write_text("a film of the cohort")
        (folder / "answers" / "link").symlink_to(secret)
        (folder / "own" / "film.npy").write_text("a film")
        (folder / "outcome" / "kept").write_text("scores")
        descriptor = os.open(secret, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        queue = f"/{folder.name}"
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        key = folder.stat().st_ino & 0x3FFF_FFFF
        memory = libc.shmget(key, 64, 0o1666)
        stack.callback(libc.shmctl, memory, 0, None)
        at = libc.shmat(memory, None, 0)
        ctypes.memmove(at, b"secret", 6)
        stack.callback(libc.shmdt, ctypes.c_void_p(at))
        libc.mq_open(queue.encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
        stack.callback(libc.mq_unlink, queue.encode())
        named, abstract, datagrams, tcp = (stack.enter_context(socket.socket(family, kind)) for family, kind in (
            (socket.AF_UNIX, socket.SOCK_STREAM), (socket.AF_UNIX, socket.SOCK_STREAM),
            (socket.AF_UNIX, socket.SOCK_DGRAM), (socket.AF_INET, socket.SOCK_STREAM),
        ))  # fmt: skip
        named.bind(str(folder / "socket"))
        abstract.bind(f"\0{folder.name}")
        datagrams.bind(str(folder / "datagrams"))
        tcp.bind(("127.0.0.1", 0))
        for one in (named, abstract, tcp):
            one.listen(16)
        handle = ctypes.create_string_buffer(128 + 8)
        ctypes.memmove(handle, (128).to_bytes(4, "little"), 4)
        libc.name_to_handle_at(-100, os.fsencode(secret), handle, ctypes.byref(ctypes.c_int()), 0)
        if user != os.getuid():
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, user, user, follow_symlinks=False)
            libc.shmctl(memory, 1, None)
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(secret), str(user)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        stack.callback(victim.communicate)
        assert victim.stdout is not None
        address, file = map(int, victim.stdout.readline().split())
        plan = {
            "code": str(ROOT), "user": user if user != os.getuid() else 0, "secret": str(secret),
            "own": str(folder / "own"), "outcome": str(folder / "outcome"), "socket": str(folder / "socket"),
            "datagrams": str(folder / "datagrams"), "abstract": folder.name,
            "port": tcp.getsockname()[1], "shm_key": key, "queue": queue, "handle": handle.raw.hex(),
            "victim": victim.pid, "victim_memory": address, "victim_file": file, "descriptor": descriptor,
        }  # fmt: skip
        yield Scene(folder, plan)


@dataclass(frozen=True)
class Said:
    """What came of every exploit: outside of the fence, and inside; and what it was tried on."""

    outside: dict[str, str]
    inside: dict[str, str]
    fence: str
    scene: Scene


@pytest.fixture(scope="module", params=[(user, tree) for user in USERS for tree in (True, False)])
def said(request: pytest.FixtureRequest) -> Iterator[Said]:
    """For each user, and on a machine that lends a mount namespace and on one that does not."""
    user, tree = request.param
    with scene(user) as outside, scene(user) as inside:
        found = inside.attack(fence=True, tree=tree)
        yield Said(outside.attack(fence=False)["said"], found["said"], found["fence"], inside)


SURE = {
    "modes", "owners", "times", "sockets", "shared memory", "other processes", "itself", "children", "what it leaves",
    "inherited", "what is known of files",
}  # fmt: skip


def test_without_a_fence_the_exploits_work(said: Said) -> None:
    """Otherwise a refusal would prove nothing. Machines differ in what they grant users: one of each kind is asked."""
    done = [name for name, outcome in said.outside.items() if outcome == "done"]
    assert {name.split(":")[0] for name in done} >= SURE
    assert len(done) > 60


def test_inside_none_does(said: Said) -> None:
    assert said.inside.keys() == said.outside.keys()
    kinds = {"EPERM", "ENOSYS"}
    if "not hidden" in said.fence:  # then it is said, and the only thing that works
        known = {name for name in said.inside if name.startswith("what is known of files")}
    else:
        known, kinds = set(), kinds | {"ENOENT"}
    assert {name: outcome for name, outcome in said.inside.items() if outcome not in kinds and name not in known} in (
        {"inherited: a descriptor": "EBADF"},
        {"inherited: a descriptor": "without effect"},  # another file by now
    )


def test_nobody_elses_file_changed(said: Said) -> None:
    inside = said.scene
    secret = inside.folder / "answers" / "key"
    assert secret.read_text() == "secret"
    about = secret.stat()
    assert (about.st_mode & 0o777, about.st_size) == (0o600, 6)
    assert about.st_mtime > 1e9
    assert sorted(path.name for path in (inside.folder / "outcome").iterdir()) == ["kept"]
    assert (inside.folder / "own" / "film.npy").read_text() == "a film"


@pytest.mark.parametrize("user", USERS)
def test_nothing_is_typed_into_the_terminal(user: int) -> None:
    only = "itself: type into the terminal"
    with scene(user) as one:
        if one.attack(fence=False, only=only.split(": ")[1], terminal=True)["said"] != {only: "done"}:
            pytest.skip("this kernel lets nobody type into a terminal")
        assert one.attack(fence=True, only=only.split(": ")[1], terminal=True)["said"] == {only: "EPERM"}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="its machine code is for x86-64")
@pytest.mark.parametrize("abi", ["32 bits", "x32"])
def test_a_call_of_another_architecture_ends_the_process(abi: str) -> None:
    with scene(os.getuid()) as one:
        assert one.attack(fence=False, only=abi)["said"] == {f"other architectures: {abi}": "done"}
        assert one.attack(fence=True, only=abi) == {"signal": signal.SIGSYS}


# What can be reached --------------------------------------------------------------------------------------------------

INVENTORY = """
fence()
found = {"read": [], "written": [], "sockets": [], "process": os.getpid()}
for path in json.loads(sys.stdin.read()):
    for kind, flags in (("read", os.O_RDONLY), ("written", os.O_WRONLY)):
        try:
            os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY))
            found[kind].append(os.path.realpath(path))
        except OSError:
            pass
for family in range(46):
    for kind in (1, 2, 3, 5):
        try:
            socket.socket(family, kind).close()
            found["sockets"].append(family)
        except OSError:
            pass
found["descriptors"] = {n: os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                        if os.path.lexists(f"/proc/self/fd/{n}")}
print(json.dumps(found))
"""


def everything(folder: Path) -> list[str]:
    """All devices, all files of all processes, two levels of the whole machine, and all of a folder."""
    found = {str(path) for path in folder.rglob("*")} | {str(folder)}
    for level in (
        "*",
        "*/*",
        *(f"{part}/*/*" for part in ["etc", "dev", "sys", "var", "root", "home", "tmp", "proc"]),
        "proc/*/task/*/*",
    ):
        with contextlib.suppress(OSError):  # processes end meanwhile
            found |= {str(path) for path in Path("/").glob(level)}
    return sorted(found)


@pytest.mark.parametrize("user", USERS)
def test_all_that_a_fenced_process_can_open(user: int, fenced: Callable[..., Fenced]) -> None:
    inside = fenced(INVENTORY, user=user)
    found = json.loads(inside.run(everything(inside.folder)))
    libraries = [sys.prefix, sys.base_prefix, str(ROOT / "fedcxr"), str(ROOT / "server"), "/usr", "/lib"]
    libraries += [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    machine = [f"/sys/{part}" for part in places.SYS] + [f"/proc/{part}" for part in places.PROC]
    machine += ["/etc/ld.so.cache", "/etc/localtime", f"/proc/{found['process']}"]
    devices = ["/dev/zero", "/dev/random", "/dev/urandom", *map(str, places.cards())]
    outcome = [str(inside.folder / "outcome"), "/dev/null"]
    pipes = [f"/proc/{found['process']}/fd"]  # which it was started with
    readable = [*libraries, *machine, *devices, *outcome, str(inside.folder / "own")]

    def beyond(kind: str, allowed: list[str]) -> list[str]:
        return [path for path in found[kind] if not any(path == one or path.startswith(f"{one}/") for one in allowed)]

    assert beyond("read", readable) == []
    assert beyond("written", [*outcome, *pipes, *map(str, places.cards())]) == []
    assert str(inside.folder / "own" / "film.npy") in found["read"]  # it can look
    assert str(inside.folder / "outcome" / "kept") in found["written"]
    assert found["sockets"] == []
    assert set(found["descriptors"]) >= {"0", "1", "2"}
    others = {number: target for number, target in found["descriptors"].items() if int(number) > 2}
    assert set(others.values()) <= {f"/proc/{found['process']}"}
