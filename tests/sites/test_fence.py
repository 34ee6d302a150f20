"""What code that has taken a hospital's app over can do: everything is tried inside its fence, and without one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from asked import SCENARIO, Asked
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import Refused
from fedcxr.fence import landlock, seccomp
from sites.codes import Code
from sites.counter import VARIABLE as COUNTERS
from sites.fence import Grounds
from sites.passphrase import VARIABLE
from sites.profile import Profile

TESTS = Path(__file__).resolve().parents[1]
OPEN = {"read the film table", "read the weights"}  # what is the app's own
TRACING = {"trace", "read another's memory"}  # what some machines refuse to everybody but root

pytestmark = pytest.mark.skipif(
    landlock.version() < landlock.WHOLE or not seccomp.supported(), reason="this kernel has no whole fence"
)


@dataclass(frozen=True)
class House:
    """A hospital on a machine where other things lie, too, and where others listen."""

    asked: Asked
    folder: Path
    plan: dict[str, Any]

    def answers(self, method: Any, how: str = "fenced", kind: str = "query.release") -> list[Any]:
        """What the burglar said, if it was let in, and then what the coordinator is answered."""
        document = yaml.safe_dump({**SCENARIO, "method": method})
        ran = subprocess.run(
            [sys.executable, TESTS / "sites" / "behind_the_fence.py", self.asked.profile, how, str(self.plan["port"]),
             kind, document],
            env={**os.environ, "BURGLAR": json.dumps(self.plan), "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return [json.loads(line) for line in ran.stdout.splitlines()]


def listening(host: str, said: bytes) -> socket.socket:
    listener = socket.create_server((host, 0))

    def greet() -> None:
        while True:
            try:
                with listener.accept()[0] as guest:
                    guest.sendall(said)
            except OSError:
                return

    threading.Thread(target=greet, daemon=True).start()
    return listener


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    own = folder / "own"
    own.mkdir()
    files = {"a neighbour's films": folder / "neighbour", "a home": folder / "home", "the weights": folder / "weights"}
    for file in files.values():
        file.write_text("kept")
    (folder / "elsewhere").mkdir()
    victim = subprocess.Popen(["sleep", "600"])
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(VARIABLE, str(own / "words"))
        environment.setenv(COUNTERS, str(folder / "counters"))
        environment.setenv("FEDCXR_CACHE", str(folder / "cache"))
        asked = Asked.at(own)
        vault = own / "vault"
        files |= {"the passphrase": own / "words", "the film table": asked.root / "metadata.csv"}
        files |= {f"the vault's {file.name}": file for file in vault.iterdir() if file.is_file()}
        gate, other = listening("127.0.0.1", b"the gate"), listening("127.0.0.1", b"another")
        port = gate.getsockname()[1]
        away = socket.create_server(("127.0.0.2", port))
        local = socket.socket(socket.AF_UNIX)
        local.bind(str(folder / "s"))
        local.listen()
        plan = {
            "files": {name: str(file) for name, file in files.items()}, "vault": str(vault),
            "films": str(asked.root), "elsewhere": str(folder / "elsewhere"), "victim": victim.pid, "port": port,
            "other_port": other.getsockname()[1], "unix": str(folder / "s"),
        }  # fmt: skip
        reads = [str(TESTS), str(TESTS.parent / "server")]
        burglar = "burglar:Burglar"
        methods = {**yaml.safe_load(asked.profile.read_text())["methods"], burglar: {}}
        with asked.allowing(
            outside=[burglar], methods=methods, files={"w": str(folder / "weights")}, fence={"reads": reads}
        ):
            yield House(asked, folder, plan)
    for opened in (gate, other, away, local):
        opened.close()
    victim.kill()
    victim.wait()


@pytest.fixture(scope="module")
def attempts(house: House) -> dict[str, dict[str, str]]:
    """What came of each; and the films that it shares have left all the same."""
    said = {how: house.answers("burglar:Burglar", how) for how in ("open", "fenced")}
    assert [answer["status"] for _, answer in said.values()] == ["ok", "ok"]
    return {how: came for how, (came, _) in said.items()}


def test_what_a_burglar_tries_in_the_app_is_refused(attempts: dict[str, dict[str, str]]) -> None:
    assert len(attempts["fenced"]) > 20
    assert {name for name, came in attempts["fenced"].items() if came == "done"} == OPEN


def test_without_the_fence_it_would_succeed(attempts: dict[str, dict[str, str]]) -> None:
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    free = os.geteuid() == 0 or not scope.exists() or scope.read_text().strip() == "0"
    assert {name for name, came in attempts["open"].items() if came != "done"} <= (set() if free else TRACING)


def test_codes_are_learnt_and_released_from_inside(house: House) -> None:
    (answer,) = house.answers({"name": "sca", "ambiguation": "padded"})
    assert (answer["status"], answer["reason"]) == ("ok", "")
    assert answer["bytes"] > 1000


def test_where_the_kernel_cannot_nothing_is_answered_unless_the_profile_says_so(house: House) -> None:
    (answer,) = house.answers("noise", "missing")
    assert (answer["status"], answer["reason"]) == ("refused", Code.REFUSED)
    with house.asked.allowing(fence={**yaml.safe_load(house.asked.profile.read_text())["fence"], "weaker": True}):
        (answer,) = house.answers("noise", "missing")
    assert answer["status"] == "ok"


SECRETS = ("vault", "words", "counters", "journal")


@given(st.sampled_from(SECRETS), st.sampled_from(["", "films", "films/deeper"]))
def test_grounds_hold_no_secret(secret: str, within: str) -> None:
    """Wherever a secret is, and by whichever way round what is readable is found to be around it."""
    place = Path("/srv") / within / secret
    grounds = Grounds((Path("/srv/films"),), (Path("/srv/cache"),))
    if within:
        with pytest.raises(Refused, match="lies where it may read"):
            grounds.refuse_within([place])
    else:
        grounds.refuse_within([place])


def test_a_passphrase_that_a_scenario_may_name_is_refused(house: House) -> None:
    with house.asked.allowing(outside=[], methods={}, files={"w": house.plan["files"]["the passphrase"]}):
        own = Profile.read(house.asked.profile)
        with pytest.raises(Refused, match="lies where it may read"):
            Grounds.of(own, house.asked.profile)
