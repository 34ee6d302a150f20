"""The fence around an adversary's process: files, and how it is put up; what else it holds is in test_fence.py."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fenced import Fenced

from fedcxr.fence import landlock, places, seccomp
from server import sandbox

ROOT = Path(__file__).resolve().parents[2]
LANDLOCK, FILTERED = landlock.version(), seccomp.supported()
SEEN = "names, sizes and times of other files not hidden"
FENCES = ("landlock and seccomp", "landlock", "audit hook")  # whole; without filters of calls; without both

# Runs inside the fence: prints, for each probe, what came of it.
PROBES = """
import json, os, socket, subprocess, sys
from pathlib import Path
from fedcxr.fence import landlock, seccomp
from server import sandbox, tree
from server.limits import Limits

plan = json.loads(sys.argv[1])
whole = plan["fence"] == "landlock and seccomp"
if not whole:  # as on kernels without
    seccomp.supported = lambda: False
    tree.leave = lambda paths: False
if plan["fence"] == "audit hook":
    landlock.version = lambda: -1

own, outcome, secret, home = (Path(plan[k]) for k in ("own", "outcome", "secret", "home"))
parent = os.getppid()

def text(path):
    with open(path, "rb") as file:
        return len(file.read(8))

def write(path, mode="w"):
    with open(path, mode) as file:
        file.write("x")

def raw(path, flags=os.O_RDONLY):
    descriptor = os.open(path, flags)
    try:
        return len(os.read(descriptor, 8)) if flags == os.O_RDONLY else os.write(descriptor, b"x")
    finally:
        os.close(descriptor)

def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        sock.connect(address)

def bind():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))

def in_fork(probe):
    child = os.fork()
    if child == 0:
        try:
            probe()
            os._exit(0)
        except PermissionError:
            os._exit(7)
        except BaseException:
            os._exit(8)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 7:
        raise PermissionError
    assert code == 0, code

def in_program(*command):
    ran = subprocess.run(command, capture_output=True)
    if ran.returncode:
        raise PermissionError(ran.stderr.decode())

allowed = {
    "read a file of its own": lambda: text(own / "film.npy"),
    "list its own folder": lambda: os.listdir(own),
    "write its outcome": lambda: write(outcome / "scores.npy"),
    "read its outcome": lambda: text(outcome / "scores.npy"),
    "rename within its outcome": lambda: os.rename(outcome / "scores.npy", outcome / "x.npy"),
    "make a folder in its outcome": lambda: (outcome / "folder").mkdir(),
    "remove from its outcome": lambda: (outcome / "x.npy").unlink(),
    "import from the library": lambda: __import__("fedcxr.metrics"),
    "import from the standard library": lambda: __import__("wave"),
    "read random bytes": lambda: text("/dev/urandom"),
    "throw bytes away": lambda: write("/dev/null"),
    "read about itself": lambda: text("/proc/self/status"),
    "count the processors": lambda: text("/proc/cpuinfo"),
    "read its own environment": lambda: text(f"/proc/{os.getpid()}/environ"),
}
forbidden = {
    "read the answers": lambda: text(secret),
    "read the answers by descriptor": lambda: raw(secret),
    "list the answers": lambda: os.listdir(secret.parent),
    "walk the answers": lambda: list(os.scandir(secret.parent)),
    "read the films of a control": lambda: text(plan["control"]),
    "read the home": lambda: text(home / ".ssh" / "id_ed25519"),
    "list the home": lambda: os.listdir(home),
    "read in the working folder": lambda: text("notes.txt"),
    "list the working folder": lambda: os.listdir("."),
    "list the working folder without a name": lambda: os.listdir(),
    "follow a link out of its folder": lambda: text(own / "link"),
    "follow a linked folder": lambda: text(own / "linked" / secret.name),
    "climb out of its folder": lambda: text(own / ".." / ".." / "answers" / secret.name),
    "go by the root of its process": lambda: text("/proc/self/root" + str(secret)),
    "go by its working folder": lambda: text("/proc/self/cwd/notes.txt"),
    "go by the root of the parent": lambda: text(f"/proc/{parent}/root" + str(secret)),
    "read the parent's environment": lambda: text(f"/proc/{parent}/environ"),
    "read the parent's memory": lambda: text(f"/proc/{parent}/mem"),
    "read the parent's memory map": lambda: text(f"/proc/{parent}/maps"),
    "list the parent's files": lambda: os.listdir(f"/proc/{parent}/fd"),
    "read shared memory": lambda: text(plan["shared"]),
    "write into its own leak": lambda: write(own / "film.npy"),
    "append to its own leak": lambda: write(own / "film.npy", "a"),
    "write its own leak by descriptor": lambda: raw(own / "film.npy", os.O_WRONLY),
    "make a file in its own leak": lambda: write(own / "new"),
    "write beside": lambda: write(secret.parent / "new"),
    "write at home": lambda: write(home / "new"),
    "write by a link": lambda: write(own / "linked" / "new"),
    "write shared memory": lambda: write("/dev/shm/fedcxr-" + str(os.getpid())),
    "make a folder beside": lambda: (secret.parent / "folder").mkdir(),
    "remove the answers": lambda: secret.unlink(),
    "remove a folder": lambda: (home / ".ssh").rmdir(),
    "truncate the answers": lambda: os.truncate(secret, 0),
    "move the answers to itself": lambda: os.rename(secret, outcome / "stolen"),
    "link the answers to itself": lambda: os.link(secret, outcome / "linked"),
    "move its outcome to others": lambda: os.rename(plan["outcome_file"], secret.parent / "planted"),
    "talk to a server": lambda: connect(socket.AF_INET, ("127.0.0.1", plan["port"])),
    "wait for visitors": bind,
    "talk on an abstract socket": lambda: connect(socket.AF_UNIX, "\\0" + plan["abstract"]),
    "fork and read the answers": lambda: in_fork(lambda: text(secret)),
    "fork and talk": lambda: in_fork(lambda: connect(socket.AF_INET, ("127.0.0.1", plan["port"]))),
    "read the answers with a program": lambda: in_program("/bin/cat", str(secret)),
    "have the shell copy the answers": lambda: in_program("/bin/sh", "-c", f"cp {secret} {outcome}"),
    "call the shell": lambda: 1 / (os.system(f"cat {secret} > /dev/null") == 0) if plan["fence"] == "audit hook"
        else in_program("/bin/sh", "-c", f"cat {secret}"),
}
if sys.argv[2] == "outside":
    fence = "none"
else:
    limits = Limits(memory=1 << 32, processes=64, disk=1 << 30, seconds=60)
    fence = sandbox.confine([own], [outcome], limits, weaker=not whole)
said = {}
for name, probe in {**allowed, **forbidden}.items():
    harmless = name.split()[0] in ("read", "list", "talk", "follow", "climb", "go", "walk", "fork")
    if sys.argv[2] == "outside" and not harmless:
        continue
    try:
        probe()
        said[name] = "done"
    except PermissionError:
        said[name] = "refused"
    except BaseException as error:
        said[name] = f"{type(error).__name__}: {error}"
print(json.dumps({"fence": fence, "said": said, "allowed": list(allowed), "forbidden": list(forbidden)}))
"""


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, object]]]:
    """What came of every probe: without a fence, and inside each kind."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = f"fedcxr-test-{os.getpid()}"
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind("\0" + abstract)
        unix.listen(5)
        shared = Path("/dev/shm") / abstract
        shared.write_text("objects of another program")
        stack.callback(shared.unlink, missing_ok=True)
        found = {}
        for fence in ("none", *FENCES):
            if (fence.startswith("landlock") and LANDLOCK < 1) or ("seccomp" in fence and not FILTERED):
                continue
            folder = tmp_path_factory.mktemp("run")
            for part in ("attack/protected", "attack/control_raw", "attack/outcome", "answers", "home/.ssh", "cwd"):
                (folder / part).mkdir(parents=True)
            texts = (
                "attack/protected/film.npy", "attack/control_raw/film.npy", "answers/answers.csv",
                "attack/outcome/kept", "home/.ssh/id_ed25519", "cwd/notes.txt",
            )  # fmt: skip
            for text in texts:
                (folder / text).write_text("contents")
            own = folder / "attack" / "protected"
            (own / "link").symlink_to(folder / "answers" / "answers.csv")
            (own / "linked").symlink_to(folder / "answers")
            plan = {
                "fence": fence,
                "own": str(own),
                "outcome": str(folder / "attack" / "outcome"),
                "outcome_file": str(folder / "attack" / "outcome" / "kept"),
                "control": str(folder / "attack" / "control_raw" / "film.npy"),
                "secret": str(folder / "answers" / "answers.csv"),
                "home": str(folder / "home"),
                "shared": str(shared),
                "port": listener.getsockname()[1],
                "abstract": abstract,
            }
            ran = subprocess.run(
                [sys.executable, "-c", PROBES, json.dumps(plan), "outside" if fence == "none" else "inside"],
                check=False, cwd=folder / "cwd",
                env={"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "PYTHONPATH": str(ROOT),
                     "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True, text=True, timeout=300,
            )  # fmt: skip
            assert ran.returncode == 0, ran.stderr
            found[fence] = json.loads(ran.stdout)
            found[fence]["answers"] = (folder / "answers" / "answers.csv").read_text()
            found[fence]["folder"] = sorted(p.name for p in (folder / "answers").iterdir())
        yield found


def need(fence: str, probed: dict[str, dict[str, object]]) -> dict[str, object]:
    if fence not in probed:
        pytest.skip(f"this kernel ({os.uname().release}) has Landlock {LANDLOCK}; filters of calls: {FILTERED}")
    return probed[fence]


def need_whole() -> None:
    if LANDLOCK < landlock.WHOLE or not FILTERED:
        pytest.skip(f"this kernel ({os.uname().release}) has Landlock {LANDLOCK}; filters of calls: {FILTERED}")


def test_without_a_fence_the_probes_succeed(probed: dict[str, dict[str, object]]) -> None:
    """Otherwise a refusal below would prove nothing."""
    said = probed["none"]["said"]
    assert isinstance(said, dict)
    assert len(said) > 25
    # What the kernel itself may forbid depends on the machine.
    depends = {"read the parent's memory", "go by the root of the parent"}
    assert {name: outcome for name, outcome in said.items() if outcome != "done" and name not in depends} == {
        "read its outcome": said["read its outcome"]  # which is not written yet
    }


@pytest.mark.parametrize("fence", FENCES)
def test_an_attack_can_do_its_work(fence: str, probed: dict[str, dict[str, object]]) -> None:
    found = need(fence, probed)
    assert (
        str(found["fence"])
        == {
            "landlock and seccomp": f"landlock v{LANDLOCK}, seccomp",
            "landlock": f"weaker: landlock v{LANDLOCK}, no filter of system calls, {SEEN}",
            "audit hook": f"weaker: audit hook, no filter of system calls, {SEEN}",
        }[fence]
    )
    said, allowed = found["said"], found["allowed"]
    assert isinstance(said, dict)
    assert isinstance(allowed, list)
    assert {name: said[name] for name in allowed if said[name] != "done"} == {}


@pytest.mark.parametrize("fence", FENCES)
def test_an_attack_can_do_nothing_else(fence: str, probed: dict[str, dict[str, object]]) -> None:
    found = need(fence, probed)
    said, forbidden = found["said"], found["forbidden"]
    assert isinstance(said, dict)
    assert isinstance(forbidden, list)
    assert len(forbidden) > 40
    tolerated = {
        "OSError: [Errno 18] Invalid cross-device link",  # Landlock's word for a forbidden rename
        "ConnectionRefusedError",  # nobody listens in a network namespace of one's own
        "FileNotFoundError",  # what is outside does not exist in a tree of one's own
    }
    escaped = {n: said[n] for n in forbidden if said[n] != "refused" and not str(said[n]).startswith(tuple(tolerated))}
    if LANDLOCK < landlock.SCOPES_FROM and fence == "landlock":
        escaped.pop("talk on an abstract socket", None)
    if LANDLOCK < landlock.NETWORK_FROM and fence == "landlock":
        escaped = {n: s for n, s in escaped.items() if "talk" not in n and "visitors" not in n}
    assert escaped == {}


@pytest.mark.parametrize("fence", FENCES)
def test_the_answers_are_untouched(fence: str, probed: dict[str, dict[str, object]]) -> None:
    found = need(fence, probed)
    assert found["answers"] == "contents"
    assert found["folder"] == ["answers.csv"]


def test_a_fence_is_not_put_up_twice(fenced: Callable[..., Fenced]) -> None:
    """Whoever is inside cannot win back what was given up by asking for more."""
    need_whole()
    code = (
        "fence(); folder = Path(plan['folder'])\n"
        "for path in ('answers', 'own', 'outcome'):\n"
        "    try: sandbox.confine([folder], [folder], Limits(**plan['limits']), weaker=True)\n"
        "    except (OSError, FenceMissing) as error: pass\n"
        "    try: Path(plan['folder'], path, 'new').write_text('x')\n"
        "    except OSError: print('refused')\n"
        "    else: print('written')\n"
    )
    assert fenced("from fedcxr.errors import FenceMissing\n" + code).run().split() == ["refused", "refused", "written"]


def test_a_datagram_goes_nowhere_without_filters_of_calls(fenced: Callable[..., Fenced]) -> None:
    """Landlock knows TCP only; the rest of the network is left behind with its namespace."""
    code = (
        "seccomp.supported = lambda: False\n"
        "before = os.readlink('/proc/self/ns/net')\n"
        "fence(weaker=True)\n"
        "try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9)); sent = True\n"
        "except OSError: sent = False\n"
        "print(os.readlink('/proc/self/ns/net') != before, sent)\n"
    )
    left, sent = fenced(code).run().split()
    if left == "False":
        pytest.skip("this machine lets no user make a network namespace")
    assert sent == "False"


def test_a_folder_that_is_missing_is_no_hole(fenced: Callable[..., Fenced]) -> None:
    need_whole()
    code = (
        "own = Path(plan['folder'], 'none'); outcome = Path(plan['folder'], 'nowhere'); fence()\n"
        "try: Path(plan['folder'], 'own', 'film.npy').read_text()\n"
        "except OSError: print('refused')\n"
    )
    assert fenced(code).run() == "refused\n"


@pytest.mark.parametrize(
    "missing", ["landlock.version = lambda: 2", "landlock.version = lambda: -1", "seccomp.supported = lambda: False"]
)
def test_a_machine_that_cannot_fence_is_refused(missing: str, fenced: Callable[..., Fenced]) -> None:
    code = (
        "from fedcxr.errors import FenceMissing\n"
        f"{missing}\n"
        "try: fence()\n"
        "except FenceMissing as error: print(error.exit_code, error)\n"
    )
    said = fenced(code).run()
    assert said.startswith("5 ")
    assert "ask for a weaker fence" in said


@pytest.mark.parametrize("version", [1, 2])
def test_a_fence_of_an_older_kernel_says_that_it_is_weaker(version: int, fenced: Callable[..., Fenced]) -> None:
    need_whole()
    code = (
        f"tree.leave = lambda paths: False; landlock.version = lambda: {version}\n"
        "print(fence(weaker=True))\n"
        "try: Path(plan['folder'], 'answers', 'key').read_text()\n"
        "except PermissionError: print('refused')\n"
    )
    assert fenced(code).run().splitlines() == [
        f"weaker: landlock v{version}, seccomp, {SEEN}",
        "refused",
    ]


def test_a_whole_fence_is_whole_whether_or_not_a_weaker_one_would_do(fenced: Callable[..., Fenced]) -> None:
    need_whole()
    assert fenced("print(fence(weaker=True))").run() == f"landlock v{LANDLOCK}, seccomp\n"


def test_threads_that_run_already_would_stay_outside(fenced: Callable[..., Fenced]) -> None:
    code = (
        "threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n"
        "try: fence(weaker=True)\n"
        "except RuntimeError as error: print(error)\n"
        "os._exit(0) if sys.stdout.flush() is None else None\n"
    )
    assert "2 run" in fenced(code).run()


def test_no_capability_is_left(fenced: Callable[..., Fenced]) -> None:
    need_whole()
    status = dict(
        line.split(":\t")
        for line in fenced("fence(); print(Path('/proc/self/status').read_text())").run().split("\n")
        if ":\t" in line
    )
    kinds = ("CapInh", "CapPrm", "CapEff", "CapAmb", *(["CapBnd"] if os.getuid() == 0 else []))
    assert {kind: int(status[kind], 16) for kind in kinds} == dict.fromkeys(kinds, 0)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can enter what is closed to it")
def test_root_is_told_when_it_could_not_read_what_it_is_given(fenced: Callable[..., Fenced]) -> None:
    need_whole()
    inside = fenced(
        "from fedcxr.errors import FenceMissing\n"
        "try: fence()\n"
        "except FenceMissing as error: print(error)\n"
    )  # fmt: skip
    (inside.folder / "own").chmod(0o700)
    os.chown(inside.folder / "own", 65534, 65534)
    assert str(inside.folder / "own") in inside.run()


def test_a_fence_is_up_at_once(fenced: Callable[..., Fenced]) -> None:
    need_whole()
    code = "start = time.process_time(); fence(); print(time.process_time() - start)"
    assert min(float(fenced(code).run()) for _ in range(5)) < 0.03


WORK = """
fence()
import numpy as np, torch
from safetensors.torch import load_file, save_file
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from fedcxr.rng import stream

draw = np.random.default_rng(0)
net = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 3, padding=1))
adam = torch.optim.Adam(net.parameters())
films = torch.from_numpy(draw.random((8, 1, 32, 32), dtype="f4"))
losses = []
for _ in range(5):
    loss = ((net(films) - films) ** 2).mean()
    loss.backward(); adam.step(); adam.zero_grad()
    losses.append(float(loss))
save_file(net.state_dict(), outcome / "w.safetensors")
assert load_file(outcome / "w.safetensors").keys() == net.state_dict().keys()
table = np.memmap(outcome / "table", dtype="f4", mode="w+", shape=(100, 100)); table[:] = 1; table.flush()
table = np.memmap(outcome / "table", dtype="f4", mode="r+", shape=(100, 100)); table[0] = 2; table.flush()
np.save(outcome / "scores.npy", table); os.replace(outcome / "scores.npy", outcome / "moved.npy")
thread = threading.Thread(target=lambda: losses.append(0.0)); thread.start(); thread.join()
points = draw.random((60, 8))
PCA(2).fit(points); LogisticRegression().fit(points, np.arange(60) % 2)
import pandas, scipy.fft, scipy.linalg, tempfile, subprocess, warnings
scipy.linalg.eigh(points.T @ points)
with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
    Path(folder, "x").write_text("x"); file.write(b"x")
import asyncio.events, concurrent.futures as futures
assert list(futures.ThreadPoolExecutor(2).map(abs, [-1, -2])) == [1, 2]
try: subprocess.run(["true"])
except PermissionError: print(losses[-2] < losses[0])
"""


def test_a_containers_application_is_no_program_of_the_system() -> None:
    """Images of Python keep it in /usr/src/app, and what a run leaves lies beside it."""
    for place in ("/usr/src/app/runs", "/usr/local/src", "/usr/local/data", "/usr/home"):
        assert not any(Path(place).is_relative_to(path) for path in places.system(sandbox.OURS))


@pytest.mark.slow
def test_training_and_statistics_work_inside(fenced: Callable[..., Fenced]) -> None:
    need_whole()
    assert fenced(WORK).run() == "True\n"


# Death ----------------------------------------------------------------------------------------------------------------


def alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("asks", [True, False])
def test_a_child_dies_with_its_parent(how: signal.Signals, asks: bool) -> None:
    code = (
        "import os, sys, time\n"
        "from fedcxr.fence.process import die_with_parent\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    if sys.argv[1] == 'True': die_with_parent()\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(30)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    middle = subprocess.Popen([sys.executable, "-c", code, str(asks)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert middle.stdout is not None
    child = int(middle.stdout.readline())
    try:
        assert alive(child)
        middle.send_signal(how)
        middle.wait(10)
        deadline = time.monotonic() + (10 if asks else 0.3)
        while alive(child) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert alive(child) != asks  # one that has not asked outlives its parent: the test can fail
    finally:
        middle.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
