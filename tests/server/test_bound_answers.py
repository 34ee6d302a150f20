"""What a site said and signed on another occasion answers nothing: earlier, for another site, to somebody else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message
from nodes import COORDINATOR, OWN, SECRET, SITES, Nodes, named

from fedcxr import wire
from fedcxr.keys.provider import SERVER
from fedcxr.keys.signatures import sign_answer, sign_hello
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import simulated_identity, simulated_register
from server.collect import collect
from server.register import Register

ELSEWHERE = simulated_identity(7, SERVER).public  # the coordinator of another consortium, in which site-2 is, too
FIRST, SECOND = (simulated_identity(SECRET, site) for site in SITES[:2])
Said = Callable[[Message, Message], Any]


class Relayed(Nodes):
    """What the second node says to messages of one kind is what `said` makes of question and answer."""

    def __init__(self, kind: str, said: Said) -> None:
        super().__init__(*named(*SITES))
        self._kind, self._said = kind, said

    def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        for reply in super().pull_messages(message_ids):
            asked = {message.metadata.message_id: message for message in self.sent}[reply.metadata.reply_to_message_id]
            if (asked.metadata.dst_node_id, asked.metadata.message_type) == (2, self._kind):
                reply.content = self._said(asked, reply)
            yield reply


@contextmanager
def collected(out: Path, kind: str, said: Said, seconds: float = 60.0) -> Iterator[tuple[Run, list[dict[str, Any]]]]:
    compute = {"device": "cpu", "precision": "fp32", "timeout_s": seconds}
    document = {"method": "noise", "sites": OWN, "tasks": {}, "adversaries": {}, "min_sites": 2, "compute": compute}
    run = Run.place(out, Scenario.parse(document))
    with run.begun(resume=False):
        yield run, collect(Relayed(kind, said), run, Register(simulated_register(SECRET, SITES), COORDINATOR))


def answered(by: Any, coordinator: Any) -> Said:
    """The very same answer to the very same question, signed so."""

    def said(asked: Message, reply: Message) -> Any:
        answer, digest = wire.unpack_answer(reply.content), wire.unpack_request(asked.content).digest(wire.RELEASE)
        return wire.pack_answer(replace(answer, signature=sign_answer(by, coordinator, digest, answer.digest)))

    return said


def introduced(coordinator: Any) -> Said:
    def said(asked: Message, reply: Message) -> Any:
        signature = sign_hello(SECOND, coordinator, wire.unpack_hello(asked.content).digest(wire.HELLO))
        return wire.pack_introduction(wire.Introduction("site-2", "ok", signature=signature))

    return said


OURS = COORDINATOR.public
OCCASIONS: dict[str, tuple[str, Said, Said, str]] = {
    "to another coordinator": (wire.RELEASE, answered(SECOND, OURS), answered(SECOND, ELSEWHERE), "this answer is not"),
    "by another site": (wire.RELEASE, answered(SECOND, OURS), answered(FIRST, OURS), "this answer is not"),
    "introduced to another": (wire.HELLO, introduced(OURS), introduced(ELSEWHERE), "this introduction is not"),
}


@pytest.mark.parametrize("occasion", OCCASIONS)
def test_an_answer_is_of_one_site_and_to_one_coordinator(occasion: str, tmp_path: Path) -> None:
    """A coordinator whom a site also serves can keep it out of a run with nothing that it gets to hear."""
    kind, right, wrong, reason = OCCASIONS[occasion]
    with collected(tmp_path / "right", kind, right) as (_, entries):  # the control
        assert [entry["status"] for entry in entries] == ["ok"] * 3
    with collected(tmp_path / "wrong", kind, wrong, seconds=6.0) as (_, entries):
        assert [entry["status"] == "ok" for entry in entries] == [True, False, True]
        assert f"{reason} signed by site-2" in entries[1]["reason"]


def test_an_answer_is_to_one_request(tmp_path: Path) -> None:
    """Not to the same one of earlier: its number is another."""
    kept: list[Any] = []

    def keeping(asked: Message, reply: Message) -> Any:
        kept.append(reply.content)
        return reply.content

    with collected(tmp_path / "earlier", wire.RELEASE, keeping) as (run, entries):
        assert [entry["status"] for entry in entries] == ["ok"] * 3
        [earlier] = run.releases(["site-2"])
    assert wire.unpack_answer(kept[0]).release == earlier.to_bytes()
    with collected(tmp_path / "again", wire.RELEASE, lambda asked, reply: kept[0]) as (run, entries):
        assert [entry["status"] for entry in entries] == ["ok", "refused", "ok"]
        assert "this answer is not signed by site-2" in entries[1]["reason"]
        assert run.release_note("site-2") is None
