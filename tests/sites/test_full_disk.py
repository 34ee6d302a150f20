"""A hospital without room to enter an answer says that and nothing else; its own people hear where, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from asked import SCENARIO, Asked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nodes import COORDINATOR, requested
from small_disk import fill, on_small_disk

from fedcxr import cli, wire
from fedcxr.answer import Answer
from fedcxr.errors import DiskFull
from fedcxr.keys import context
from fedcxr.keys.signatures import verify_answer
from sites.agent import Agent
from sites.codes import Code
from sites.journal import FILE, read
from sites.passphrase import VARIABLE
from sites.vault import Cost, Vault

WORDS = b"correct horse battery staple"
JOB = ["release", "spring", "", "ab" * 32]
FULL = Answer("mercy", "dropped", Code.DISK)
ASKED = bytes(range(32))


def signing(answer: Answer) -> list[object]:
    """What an app asks its key agent for an answer."""
    return ["sign", "answer", context("answer", COORDINATOR.public.fingerprint, ASKED, answer.digest)]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    Vault.create(tmp_path / "ring", "mercy", WORDS, Cost(log_n=4)).__exit__()
    with Vault.unlock(tmp_path / "ring", WORDS) as vault:
        yield Agent(vault)


def without_room(*entry: object) -> None:
    raise DiskFull("the disk is full", given="/secret")


def test_an_agent_signs_that_there_is_no_room_once_and_only_where_there_is_none(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert agent.answer(signing(FULL))[0] == "Refused"
    monkeypatch.setattr(agent._vault, "enter", without_room)
    assert agent.answer(["begin", JOB, ["a"]])[0] == "ok"
    assert agent.answer(["sign", "release", bytes(32)])[0] == "DiskFull"
    assert agent.answer(signing(FULL))[0] == "Refused", "the app is to have it entered first"
    assert agent.answer(["refuse", Code.DISK])[0] == "DiskFull"
    kind, signature = agent.answer(signing(FULL))
    assert (kind, isinstance(signature, bytes)) == ("ok", True)
    verify_answer(agent._vault.identity.public, COORDINATOR.public, ASKED, FULL.digest, signature)  # type: ignore[arg-type]
    assert agent.answer(signing(FULL))[0] == "Refused"


OTHERS = st.sampled_from(
    [
        replace(FULL, release=b"films"),
        replace(FULL, status="ok"),
        replace(FULL, reason="Kowalczyk"),
        replace(FULL, reason=Code.REFUSED),
        replace(FULL, place="/secret"),
        replace(FULL, log="keys 1"),
        replace(FULL, patients=1),
        replace(FULL, images=1),
        replace(FULL, seconds=1.0),
        replace(FULL, site="charite"),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(OTHERS.map(signing) | st.binary(max_size=99).map(lambda said: ["sign", "answer", said]))
def test_no_room_is_no_way_to_have_anything_else_signed(agent: Agent, question: list[object]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(agent._vault, "enter", without_room)
        assert agent.answer(["refuse", Code.DISK])[0] == "DiskFull"
        assert agent.answer(question)[0] == "Refused"


def test_the_coordinator_hears_a_code_and_the_owner_path_and_fix(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "words"))
    hospital = Asked.at(tmp_path)
    assert hospital.answer().status == "ok"  # films are packed
    vault = tmp_path / "vault"
    known = read(vault / FILE).entries

    def shown() -> str:
        monkeypatch.setattr(sys, "argv", ["fedcxr", "site", "ledger", "show", str(hospital.profile)])
        with pytest.raises(SystemExit, match="0"):
            cli.main()
        return " ".join(capsys.readouterr().out.split())

    with on_small_disk(vault, 1 << 20), hospital.allowing(tells="log"):
        fill(vault / "filler")
        request = wire.Request(yaml.safe_dump({**SCENARIO, "seed": 1}), "charite")
        heard = wire.unpack_answer(hospital.hears(requested(request)))
        assert replace(heard, signature=b"") == Answer("charite", "dropped", Code.DISK)
        assert heard.signature
        assert f"the disk is full; given: {vault}; free some space" in caplog.text
        assert f"Nothing more is entered, so nothing is answered: the disk is full; given: {vault}; free" in shown()
        more = read(vault / FILE).entries[len(known) :]
        assert {one.what for one in more} <= {"refused"}, "the journal may have had room where the vault had none"
        (vault / "filler").unlink()
        assert hospital.answer(seed=1).status == "ok"
        later = [one.what for one in read(vault / FILE).entries[len(known) + len(more) :]]
        assert later == (["void", "signed"] if more else ["signed"])
    assert "Nothing more is entered" not in shown()
