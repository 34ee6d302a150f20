"""A vault that another user keeps, who goes by the profile as that user reads it, and by nothing that is said."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nodes import card_in, permissive
from users import as_user, need_users

from fedcxr.errors import Refused
from sites.agency import unlocked_elsewhere
from sites.budget import Budget
from sites.counter import VARIABLE as COUNTERS
from sites.custody import Custody, agent_of
from sites.passphrase import VARIABLE
from sites.profile import Profile

NODE, KEEPER = 65534, 65533  # users who own nothing else
WORDS = "correct horse battery staple"


def test_a_keeper_that_is_not_there_is_named(tmp_path: Path) -> None:
    nobody = Custody(vault="/vault", agent=str(tmp_path / "agent.sock"))
    with pytest.raises(Refused, match=r"agent\.sock: No such file"), unlocked_elsewhere(nobody):
        pass


@given(
    custody=st.builds(
        Custody,
        vault=st.text(st.characters(exclude_categories=("Cs", "Cc"))),
        journal=st.none() | st.text(st.characters(exclude_categories=("Cs", "Cc"))),
        budget=st.builds(Budget, releases=st.integers(0, 1000), privacy=st.none()),
    )
)
def test_an_agent_goes_by_what_its_keeper_read(custody: Custody) -> None:
    command, _ = agent_of(custody, 5, 7)
    assert Custody.model_validate_json(command[-1]) == custody


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder in which two users each have one of their own."""
    need_users()
    if shutil.which("systemd-socket-activate") is None:
        pytest.skip("there is nothing to play systemd's part")
    with tempfile.TemporaryDirectory(prefix="c-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def profile(place: Path) -> Iterator[Path]:
    """A profile that root wrote, and the keeper of its vault at work, as by fedcxr-vault.socket."""
    home = place / "keeper"
    home.mkdir(mode=0o700)
    words = home / "words"
    words.write_text(WORDS)
    words.chmod(0o600)
    for path in (home, words):
        os.chown(path, KEEPER, KEEPER)
    variables = {VARIABLE: str(words), COUNTERS: str(home / "counters")}
    keys = ["keys", "init", "--site", "site-1", "--vault", str(home / "vault")]
    assert as_user(KEEPER, "-m", "fedcxr.cli", *keys, variables=variables, stdout=subprocess.DEVNULL).wait(60) == 0
    card = Path(card_in(place))
    card.chmod(0o644)
    said = permissive(
        vault=str(home / "vault"), journal=str(home / "journal"), agent=str(place / "agent.sock"),
        coordinator=str(card), budget={"releases": 1},
    )  # fmt: skip
    file = place / "profile.yaml"
    file.write_text(yaml.safe_dump(said))
    file.chmod(0o644)
    passed = [f"--setenv={name}" for name in ("PYTHONPATH", *variables)]
    listen = ["systemd-socket-activate", "--accept", f"--listen={said['agent']}", *passed]
    place.chmod(0o777)  # for the keeper's socket, until it is there
    listen += [sys.executable, "-P", "-m", "sites.custody", str(file)]
    keeper = as_user(KEEPER, *listen, variables=variables, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while not Path(said["agent"]).exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        place.chmod(0o755)
        os.chown(said["agent"], NODE, NODE)
        Path(said["agent"]).chmod(0o600)
        yield file
    finally:
        keeper.terminate()
        keeper.wait(10)


ASKS = """
import json, sys
from pathlib import Path
from fedcxr.errors import FedcxrError
from fedcxr.keys.provider import Job
from fedcxr.keys.signatures import ANSWER, PURPOSE
from sites.agency import unlocked_elsewhere
from sites.budget import Budget
from sites.profile import Profile

own = Profile.read(Path(sys.argv[1]))
said = {}
for run in ("spring", "summer"):
    job = Job("release", run, digest="ab" * 32)
    try:
        with unlocked_elsewhere(own.model_copy(update={"budget": Budget(releases=1000)})) as keys:
            keys.begin(job, ["one", "two"])
            keys.identity.sign(PURPOSE, bytes(32))
            said[run] = keys.identity.public.name
    except FedcxrError as error:
        said[run] = str(error)
kept = own.vault_folder
for file in (kept / "vault", own.journal_path, kept.parent / "words"):
    for how in ("rb", "ab"):
        try:
            file.open(how)
            said[f"{file.name} {how}"] = "opened"
        except OSError as error:
            said[f"{file.name} {how}"] = type(error).__name__
print(json.dumps(said))
"""


def test_the_nodes_user_gets_one_answers_keys_and_touches_neither_vault_nor_words_nor_journal(profile: Path) -> None:
    node = as_user(NODE, "-c", ASKS, str(profile), stdout=subprocess.PIPE)
    said = json.loads(node.communicate(timeout=300)[0])
    assert said.pop("spring") == "site-1"
    # Whatever budget the asking side claims, the keeper's own reading of the profile counts.
    assert "budget" in said.pop("summer")
    assert said == dict.fromkeys(said, "PermissionError")
    assert len(said) == 6
    own = Profile.read(profile)
    held = own.journal_path.stat()
    assert (held.st_uid, held.st_mode & 0o077) == (KEEPER, 0)
    assert '"what":"signed"' in own.journal_path.read_text().replace(" ", "")


def test_nobody_but_the_nodes_user_reaches_the_keeper(profile: Path) -> None:
    stranger = as_user(65532, "-c", ASKS, str(profile), stdout=subprocess.PIPE)
    said = json.loads(stranger.communicate(timeout=300)[0])
    assert "cannot be reached" in said["spring"]
    assert "Permission denied" in said["spring"]


def test_whoever_is_connected_can_name_no_vault_and_no_budget(profile: Path) -> None:
    from sites import pipe

    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(Profile.read(profile).agent_socket))
        pipe.send(channel, ["vault", "/elsewhere", {"releases": 1000}, None])
        assert "unlocks its vault first" in str(pipe.receive(channel))
        with pytest.raises(pipe.Ended):
            pipe.receive(channel)


def test_a_profile_that_is_not_roots_or_the_keepers_starts_no_agent(profile: Path, place: Path) -> None:
    other = place / "other.yaml"
    shutil.copy(profile, other)
    os.chown(other, NODE, NODE)
    refused = as_user(KEEPER, "-m", "sites.custody", str(other), stderr=subprocess.PIPE)
    _, said = refused.communicate(timeout=300)
    assert refused.returncode != 0
    assert "others may write the profile" in said
    assert "Traceback" not in said
