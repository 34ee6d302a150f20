"""The key agent: other people's code in the app finds no key that opens more than its job, and asks for none."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nodes import card_in

from fedcxr.errors import ConfigError, DataError, Refused, VaultLocked
from fedcxr.keys.identity import Identity
from fedcxr.keys.keyring import Grant, Keyring
from fedcxr.keys.provider import Job
from sites import agency, pipe
from sites.agency import unlocked_elsewhere
from sites.agent import LONGEST_MESSAGE, Agent
from sites.budget import Budget
from sites.custody import Custody
from sites.passphrase import VARIABLE
from sites.vault import Cost, Vault

WORDS = b"correct horse battery staple"
JOB = Job("release", "spring", digest="ab" * 32)
DIGEST = bytes(range(32))
PLAIN = ["release", "spring", "", "ab" * 32]
THIEF = Path(__file__).with_name("thief.py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    words = tmp_path / "words"
    words.touch(mode=0o600)
    words.write_bytes(WORDS)
    monkeypatch.setenv(VARIABLE, str(words))
    Vault.create(tmp_path / "ring", "mercy", WORDS, Cost(log_n=4))
    return tmp_path / "ring"


@pytest.fixture
def vault(folder: Path) -> Iterator[Vault]:
    with Vault.unlock(folder, WORDS) as vault:
        yield vault


def secrets(ring: Keyring) -> dict[str, bytes]:
    identity = ring.identity.reveal()
    return {
        "identity, signing": identity[:32],
        "identity, opening": identity[32:],
        "choosing": ring.choosing,
        **{f"master key {epoch.key.epoch}": epoch.key.reveal() for epoch in ring.epochs},
    }


def found(wanted: dict[str, bytes], loot: Path) -> set[str]:
    """Which of these anyone finds in what was taken."""
    taken = {path.name: path.read_bytes() for path in loot.iterdir()}
    return {name for name, key in wanted.items() for data in taken.values() if key in data}


def python(root: Path, *command: object, **more: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "tests" / "sites")])}
    return subprocess.Popen([sys.executable, *map(str, command)], cwd=root, env=environment, text=True, **more)


# What can be taken ----------------------------------------------------------------------------------------------------

IN_ONE_PROCESS = """
import sys
from pathlib import Path
from thief import JOB, rob
from sites.vault import Vault
with Vault.unlock(Path(sys.argv[1]), Path(sys.argv[3]).read_bytes()) as keys:
    keys.begin(JOB, ["a", "b"])
    keys.identity.sign("release", bytes(32))
    rob(keys, Path(sys.argv[2]))
"""


def test_foreign_code_finds_no_key_but_its_jobs(folder: Path, vault: Vault, tmp_path: Path, root: Path) -> None:
    vault.rotate()
    wanted = secrets(vault.ring)
    loots = [tmp_path / "apart", tmp_path / "together"]
    for loot in loots:
        loot.mkdir()
    profile = tmp_path / "hospital.yaml"
    profile.touch(mode=0o600)
    profile.write_text(f"{{site: mercy, vault: {folder}, cohort: phantom, coordinator: {card_in(tmp_path)}}}")
    assert python(root, THIEF, profile, loots[0]).wait(60) == 0
    # The control: where the vault is unlocked in the same process, the same thief finds everything.
    assert python(root, "-c", IN_ONE_PROCESS, folder, loots[1], os.environ[VARIABLE]).wait(60) == 0
    assert found(wanted, loots[1]) == set(wanted)
    assert found({**wanted, "passphrase": WORDS}, loots[0]) == set()
    # And it did look where keys are: that of its own job it has.
    key = vault.release_key("spring").reveal()
    assert (loots[0] / "allowed").read_bytes() == key
    assert found({"job": key}, loots[0]) == {"job"}


def test_an_agent_leaves_no_core_and_lets_nobody_look_in(root: Path) -> None:
    asked = (
        "import ctypes, os, resource; from sites.agent import hide; hide(os.getppid());"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE));"
        "got = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(got), 0, 0, 0); print(got.value)"
    )
    assert resource.getrlimit(resource.RLIMIT_CORE)[1] != 0, "the control: here a core could be dumped"
    said, _ = python(root, "-c", asked, stdout=subprocess.PIPE).communicate(timeout=300)
    assert said.split() == ["0", "0", "0", str(signal.SIGKILL.value)]


LOOKS_IN = """
import contextlib, ctypes, os, subprocess, sys
from pathlib import Path
from sites.agency import unlocked_elsewhere
from sites.custody import Custody
if "again" not in sys.argv:  # without the right to trace everybody, which only root has anyway
    ctypes.CDLL(None).prctl(24, 19, 0, 0, 0)
    os.execv(sys.executable, [sys.executable, "-c", Path(sys.argv[2]).read_text(), *sys.argv[1:], "again"])
with unlocked_elsewhere(Custody(vault=sys.argv[1])), subprocess.Popen(["sleep", "60"]) as other:
    for pid in Path("/proc/self/task", str(os.getpid()), "children").read_text().split():
        with contextlib.suppress(PermissionError), Path("/proc", pid, "mem").open("rb"):
            print("other" if int(pid) == other.pid else "agent")
    other.kill()
"""


def test_its_own_parent_cannot_read_its_memory(folder: Path, tmp_path: Path, root: Path) -> None:
    script = tmp_path / "script"
    script.write_text(LOOKS_IN)
    said, _ = python(root, "-c", LOOKS_IN, folder, script, stdout=subprocess.PIPE).communicate(timeout=300)
    assert said.split() == ["other"]  # the control: any other child's it can


HOLDS = """
import os, sys, time
from pathlib import Path
from sites.agency import unlocked_elsewhere
from sites.custody import Custody
with unlocked_elsewhere(Custody(vault=sys.argv[1])):
    if os.fork() == 0:
        time.sleep(60)  # a child keeps the channel open
    print(*Path("/proc/self/task", str(os.getpid()), "children").read_text().split(), flush=True)
    time.sleep(60)
"""


def test_an_agent_ends_with_its_parent(folder: Path, root: Path) -> None:
    process = python(root, "-c", HOLDS, folder, stdout=subprocess.PIPE)
    assert process.stdout is not None
    children = [int(pid) for pid in process.stdout.readline().split()]
    (agent,) = (pid for pid in children if b"sites.agent" in Path(f"/proc/{pid}/cmdline").read_bytes())
    process.kill()
    process.wait(60)
    end = time.monotonic() + 60
    while _alive(agent) and time.monotonic() < end:
        time.sleep(0.02)
    gone = not _alive(agent)
    for pid in children:
        if _alive(pid):
            os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert gone


LEAVES = """
import os, signal, sys, time
from pathlib import Path
from sites.agency import unlocked_elsewhere
from sites.custody import Custody
with unlocked_elsewhere(Custody(vault=sys.argv[1])):
    child = os.fork()
    if child == 0:
        time.sleep(60)
    start = time.monotonic()
print(time.monotonic() - start)
os.kill(child, signal.SIGKILL)
"""


def test_an_agent_ends_with_its_block_whoever_holds_the_channel(folder: Path, root: Path) -> None:
    said, _ = python(root, "-c", LEAVES, folder, stdout=subprocess.PIPE).communicate(timeout=300)
    assert float(said) < agency.PATIENCE


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_nothing_is_imported_from_where_the_app_happens_to_be(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    for name in ("msgpack", "sites", "fedcxr", "sitecustomize"):
        (planted / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(planted)
    monkeypatch.setenv("PYTHONPATH", str(planted))
    monkeypatch.setenv("PYTHONSTARTUP", str(planted / "sites.py"))
    with unlocked_elsewhere(Custody(vault=str(folder))) as keys:
        assert keys.identity.public.name == "mercy"
    assert not (tmp_path / "ran").exists()


def test_an_agent_imports_nothing_that_it_has_no_business_with(root: Path) -> None:
    asked = "import sys, sites.agent; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    said, _ = python(root, "-c", asked, stdout=subprocess.PIPE).communicate(timeout=300)
    assert not {"torch", "pandas", "flwr", "scipy", "sklearn", "PIL"} & set(said.split())


# What can be asked ----------------------------------------------------------------------------------------------------


def test_it_gives_what_the_vault_gives(folder: Path, vault: Vault) -> None:
    friend = Identity.generate("charity").public
    vault.grant(Grant(friend))
    with unlocked_elsewhere(Custody(vault=str(folder))) as keys:
        assert keys.identity.public == vault.identity.public
        order = keys.stream(JOB, "site", "mercy", 3, images=["a"]).bytes(40)
        assert order == vault.stream(JOB, "site", "mercy", 3, images=["a"]).bytes(40)
        key = keys.begin(JOB, ["a", "b"])
        assert key.origin == vault.release_key("spring").origin
        assert key.reveal() == vault.release_key("spring").reveal()
        assert keys.begin(JOB, ["a", "b"]).reveal() == key.reveal()
        assert keys.envelopes(JOB).keys() == {friend.fingerprint}
        vault.identity.public.verify("introduction", b"me", keys.identity.sign("introduction", b"me"))
        vault.identity.public.verify("release", DIGEST, keys.identity.sign("release", DIGEST))
    assert vault.tallies(["a", "b", "c"]) == [(1, 0, 0), (1, 0, 0), (0, 0, 0)]


def test_its_refusals_are_the_vaults_own(folder: Path) -> None:
    with unlocked_elsewhere(Custody(vault=str(folder), budget=Budget(releases=1))) as keys:
        keys.begin(JOB, ["a"])
        with pytest.raises(Refused, match="begun with other images"):
            keys.begin(JOB, ["b"])
    with (
        unlocked_elsewhere(Custody(vault=str(folder), budget=Budget(releases=1))) as keys,
        pytest.raises(Refused, match="the budget of these films is spent"),
    ):
        keys.begin(Job("release", "summer"), ["a"])
    Path(os.environ[VARIABLE]).write_bytes(b"something else")
    with pytest.raises(VaultLocked, match="passphrase is wrong"), unlocked_elsewhere(Custody(vault=str(folder))):
        pass
    with pytest.raises(DataError, match="no vault here"), unlocked_elsewhere(Custody(vault=str(folder / "nowhere"))):
        pass


def test_whoever_takes_the_app_over_gets_the_keys_of_no_other_job(vault: Vault) -> None:
    vault.begin(Job("release", "winter", digest="cd"), ["a"])
    agent = Agent(vault)
    assert agent.answer(["begin", PLAIN, ["b"]])[0] == "ok"
    other = ["release", "winter", "", "cd"]
    for question in (["begin", other, ["a"]], ["stream", other, [], []], ["envelopes", other]):
        kind, said = agent.answer(question)
        assert kind == "Refused"
        assert "a key agent serves one job" in str(said)


def test_nothing_is_signed_that_was_not_counted_nor_a_second_answer(vault: Vault) -> None:
    agent, refusal = Agent(vault), ["Refused", "a key agent signs one answer, to a job that was begun and so counted"]
    assert agent.answer(["stream", PLAIN, ["order"], []])[0] == "ok"
    assert agent.answer(["sign", "release", DIGEST]) == refusal
    assert agent.answer(["begin", ["release", "other", "", ""], ["a"]])[0] == "Refused"
    assert agent.answer(["sign", "release", DIGEST]) == refusal
    assert agent.answer(["begin", PLAIN, ["a"]])[0] == "ok"
    assert agent.answer(["sign", "release", DIGEST])[0] == "ok"
    assert agent.answer(["begin", PLAIN, ["a"]])[0] == "ok"
    assert agent.answer(["sign", "release", bytes(32)]) == refusal


@pytest.mark.parametrize(
    "question",
    [
        ["rotate"],
        ["grant", b"card"],
        ["revoke", "charity"],
        ["ring"],
        ["__init__"],
        ["answer", ["public"]],
        ["_public"],
        ["sign", "envelope", b"x"],
        ["sign", "identity card", b"x"],
        ["sign", ["release"], b"x"],
        ["sign", "release", "text"],
        ["sign", "release", bytes(LONGEST_MESSAGE + 1)],
        ["begin", ["other", "spring", "", ""], ["a"]],
        ["begin", "spring", ["a"]],
        ["begin", PLAIN, "a"],
        ["begin", PLAIN, [b"a"]],
        ["begin", PLAIN],
        ["stream", PLAIN, [None], []],
        ["stream", PLAIN, [True], []],
        ["unlock", "/elsewhere", {}],
        [],
        None,
        {"public": 1},
        [["public"]],
    ],
    ids=str,
)
def test_whatever_else_is_asked_is_refused_and_changes_nothing(vault: Vault, question: object) -> None:
    before = vault.ring.pack()
    kind, said = Agent(vault).answer(question)
    assert kind == "Refused", said
    assert vault.ring.pack() == before


PLAINLY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**64 - 1) | st.binary(max_size=20) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
NAMES = st.sampled_from(["public", "begin", "stream", "envelopes", "sign", "unlock", "rotate"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.tuples(NAMES, PLAINLY, PLAINLY).map(list) | PLAINLY)
def test_no_question_breaks_it_or_shows_a_key(vault: Vault, question: object) -> None:
    wanted = secrets(vault.ring).values()
    reply = Agent(vault).answer(question)
    assert isinstance(reply[0], str)
    assert not any(key in repr(reply).encode("utf-8", "surrogatepass") for key in wanted)
    assert len(vault.ring.epochs) == 1
    assert not vault.ring.grants


# The way between ------------------------------------------------------------------------------------------------------


@given(PLAINLY)
def test_what_is_sent_is_received(message: object) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pipe.send(ours, message)
        assert pipe.receive(theirs) == message


def test_a_length_that_is_only_claimed_takes_no_memory() -> None:
    for claimed in (0xFFFFFFFF, pipe.LARGEST):
        ours, theirs = socket.socketpair()
        with theirs:
            with ours:
                ours.sendall(claimed.to_bytes(4) + b"x")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with pytest.raises(pipe.Ended):
                pipe.receive(theirs)
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 15  # KiB


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (["ok"], Refused),
        (["os", "x"], Refused),
        (["FedcxrError.__init__", "x"], Refused),
        (["UnknownName", "no such release"], ConfigError),
        (None, Refused),
    ],
)
def test_an_answer_that_is_none_is_refused(answer: object, error: type[Exception]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pipe.send(theirs, answer)
        signer = agency.AgentSigner(ours, Identity.generate("mercy").public)
        with pytest.raises(error):
            signer.sign("release", b"x")


def test_many_threads_have_agents_of_their_own(folder: Path, vault: Vault) -> None:
    given_keys: dict[int, bytes] = {}

    def ask(number: int) -> None:
        with unlocked_elsewhere(Custody(vault=str(folder))) as keys:
            given_keys[number] = keys.begin(Job("release", f"run-{number}"), [str(number)]).reveal()

    threads = [threading.Thread(target=ask, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert given_keys == {number: vault.release_key(f"run-{number}").reveal() for number in range(3)}
