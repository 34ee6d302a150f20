"""What a run's messages weigh: all of them, each once, whatever interrupted the run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message
from small import SMALL

from fedcxr import wire
from fedcxr.errors import StorageError
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.simulation.premises import Simulation
from server.collect import collect
from server.inline import InlineGrid
from server.register import Register
from server.simulate import Options, simulate
from server.traffic import Traffic
from sites.app import client_app


def scenario(fit: str = "federated", **changes: Any) -> Scenario:
    document = {**SMALL, "tasks": {}, "adversaries": {}, "method": {"name": "learners:Greyer", "fit": fit}}
    return Scenario.parse({**document, **changes})


class Weighed(InlineGrid):
    """An engine that weighs every message by itself."""

    def __init__(self, sites: int) -> None:
        super().__init__(client_app(Simulation), sites, workers=2)
        self.down = self.up = self.messages = 0

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        sent = list(messages)
        self.down += sum(map(weight, sent))
        self.messages += len(sent)
        return super().push_messages(sent)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        received = list(super().pull_messages(message_ids))
        self.up += sum(map(weight, received))
        return received


def weight(message: Message) -> int:
    """What our own nouns hold: texts as their bytes, numbers as eight, and the bytes of what was learnt or released."""
    unpack = {
        "hello": wire.unpack_hello,
        "introduction": wire.unpack_introduction,
        "request": wire.unpack_request,
        "answer": wire.unpack_answer,
    }
    (noun,) = message.content.config_records
    fields = vars(unpack[noun](message.content)).values()
    return sum(len(f.encode()) if isinstance(f, str) else len(f) if isinstance(f, bytes) else 8 for f in fields)


def test_every_message_of_every_round_is_counted(tmp_path: Path) -> None:
    of = scenario()
    grid, run = Weighed(3), Run.place(tmp_path, of)
    with run.begun(resume=False):
        entries = collect(grid, run, Register.of_simulation(of))
    assert grid.messages == 3 * (1 + 3 + 1)  # who are you, three turns of learning, and the release
    assert Traffic.of(run).total() == {"bytes_up": grid.up, "bytes_down": grid.down}
    learnt = run.learnt()
    assert learnt is not None
    assert grid.down > 3 * 4 * len(learnt.to_bytes()) > 0
    assert grid.up > sum(entry["bytes_released"] for entry in entries)


def test_a_site_that_keeps_silent_was_asked_all_the_same(tmp_path: Path) -> None:
    silent = {"name": "faults:Fault", "how": "hang"}
    of = scenario(method=silent, min_sites=2, compute={**SMALL["compute"], "timeout_s": 4.0})
    grid, run = Weighed(3), Run.place(tmp_path, of)
    with run.begun(resume=False):
        collect(grid, run, Register.of_simulation(of))
    assert Traffic.of(run).total() == {"bytes_up": grid.up, "bytes_down": grid.down}


AFTER_TURN_2 = ("learnt/learnt.release", "learnt/round-0003.release")
RELEASES = ("releases/site-2.json", "releases/site-3.json")


@pytest.mark.parametrize("lost", [(*AFTER_TURN_2, *RELEASES, "releases/site-1.json"), RELEASES, ()], ids=len)
def test_a_resumed_run_weighs_what_an_undisturbed_one_does(lost: tuple[str, ...], tmp_path: Path) -> None:
    of = scenario()
    whole = simulate(of, Options(tmp_path / "whole", "inline")).result
    broken = simulate(of, Options(tmp_path / "broken", "inline"))
    for gone in ("result.json", "stages/collect.json", *lost):
        (broken.folder / gone).unlink()
    again = simulate(of, Options(tmp_path / "broken", "inline", resume=True)).result
    assert whole is not None
    assert again is not None
    ways = ("bytes_up", "bytes_down")
    assert [again["cost"][way] for way in ways] == [whole["cost"][way] for way in ways]


def test_what_is_asked_again_counts_once_and_half_a_line_is_none(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path / "traffic.jsonl")
    traffic.note(wire.LEARN, 1, "site-1", 10, 1)
    traffic.note(wire.LEARN, 2, "site-1", 10, 1)
    with traffic.path.open("ab") as file:
        file.write(b'["train", 3, "si\xff')
    traffic.note(wire.LEARN, 2, "site-1", 20, 2)
    traffic.note(wire.RELEASE, 1, "site-1", 100, 0)
    assert traffic.total() == {"bytes_up": 3, "bytes_down": 130}


def test_a_run_without_its_traffic_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=re.escape(str(tmp_path / "gone"))):
        Traffic(tmp_path / "gone").total()
