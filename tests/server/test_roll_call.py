"""Who is behind which node: what it signs counts, and neither its number nor its word."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ArrayRecord, Error, Message
from nodes import COORDINATOR, OWN, SECRET, SITES, Nodes, named, requested

from fedcxr import wire
from fedcxr.errors import EngineBroken, FedcxrError, TooFewSites
from fedcxr.keys.provider import SERVER
from fedcxr.keys.signatures import sign_hello, verify_hello
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import simulated_identity, simulated_register
from server import roll_call
from server.collect import collect
from server.register import Register
from sites.codes import Code


def register(*names: str) -> Register:
    return Register(simulated_register(SECRET, names), COORDINATOR)


@contextmanager
def begun(out: Path, seconds: float = 60.0, **changes: Any) -> Iterator[Run]:
    compute = {"device": "cpu", "precision": "fp32", "timeout_s": seconds}
    document = {"method": "noise", "sites": OWN, "tasks": {}, "adversaries": {}, "compute": compute}
    run = Run.place(out, Scenario.parse({**document, **changes}))
    with run.begun(resume=False):
        yield run


def statuses(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return [entry["status"] for entry in entries]


def left_alone(run: Run) -> list[str]:
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    return [f"{event['node']}: {event['reason']}" for event in events if event["event"] == "node"]


def test_a_node_is_the_site_that_it_signs_for(tmp_path: Path) -> None:
    """Whatever its number is; and each is asked twice in all: who it is, and for its release."""
    grid = Nodes(*named("site-3", "site-1", "site-2"))
    with begun(tmp_path) as run:
        assert statuses(collect(grid, run, register(*SITES))) == ["ok"] * 3
        assert [release.site for release in run.releases(SITES)] == [*SITES]
    asked = {m.metadata.dst_node_id: wire.unpack_request(m.content).site for m in grid.sent[3:]}
    assert asked == {1: "site-3", 2: "site-1", 3: "site-2"}
    assert len(grid.sent) == 2 * len(SITES)


@pytest.mark.parametrize(
    ("stranger", "said"),
    [
        ({"name": "elsewhere"}, "no site of this run; given: elsewhere"),
        ({"name": "site-2", "secret": 7}, "not signed by site-2"),
        ({"name": "site-2", "broken": True}, "refused"),
    ],
    ids=["another consortium's", "an impostor", "one that cannot say"],
)
def test_nodes_that_nobody_knows_are_left_alone(stranger: dict[str, Any], said: str, tmp_path: Path) -> None:
    grid = Nodes(stranger, *named(*SITES))
    with begun(tmp_path) as run:
        assert statuses(collect(grid, run, register(*SITES, "elsewhere"))) == ["ok"] * 3
        assert [why.startswith("1: ") and said in why for why in left_alone(run)] == [True]
    assert grid.told(1) == [wire.HELLO]
    hello = wire.unpack_hello(grid.sent[0].content)
    assert hello.scenario == ""  # a stranger is told no more than a name
    assert hello.run == run.scenario.run_name


def test_many_strangers_fill_neither_the_events_nor_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_call, "MOST_REMARKS", 5)
    strangers = named(*(f"{number}" + "x" * 190 for number in range(15)))
    with begun(tmp_path, seconds=6.0, min_sites=2) as run:
        entries = collect(Nodes(*named("site-1", "site-3"), *strangers), run, register(*SITES))
        assert statuses(entries) == ["ok", "dropped", "ok"]
        assert len(left_alone(run)) == 5
        assert len(entries[1]["reason"]) <= wire.LONGEST_REASON


def test_two_nodes_of_one_name_are_both_refused(tmp_path: Path) -> None:
    grid = Nodes(*named("site-1", "site-2", "site-2", "site-3"))
    with begun(tmp_path, min_sites=2) as run:
        entries = collect(grid, run, register(*SITES))
        assert statuses(entries) == ["ok", "refused", "ok"]
        assert "several nodes say that they are this site; given: site-2: 2, 3" in entries[1]["reason"]
    assert grid.told(2) == grid.told(3) == [wire.HELLO]


def test_a_site_that_never_says_hello_is_dropped(tmp_path: Path) -> None:
    with begun(tmp_path / "go on", seconds=2.0, min_sites=2) as run:
        entries = collect(Nodes(*named("site-1", "site-3")), run, register(*SITES))
        assert statuses(entries) == ["ok", "dropped", "ok"]
        assert entries[1]["reason"] == "not connected within 1 s"
    with begun(tmp_path / "give up", seconds=2.0) as run, pytest.raises(TooFewSites, match="site-2: not connected"):
        collect(Nodes(*named("site-1", "site-3")), run, register(*SITES))


def test_a_node_may_come_late(tmp_path: Path) -> None:
    grid = Nodes(*named(*SITES))
    late = grid._contexts.pop(2)
    threading.Timer(0.5, lambda: grid._contexts.update({2: late})).start()
    with begun(tmp_path) as run:
        assert statuses(collect(grid, run, register(*SITES))) == ["ok"] * 3


def test_a_node_that_was_not_ready_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_call, "GREET_AGAIN", 0.2)
    grid = Nodes({"name": "site-1", "broken": True}, *named("site-2", "site-3"))
    threading.Timer(0.5, lambda: grid._contexts[1].node_config.pop("broken")).start()
    with begun(tmp_path) as run:
        assert statuses(collect(grid, run, register(*SITES))) == ["ok"] * 3
        assert len(left_alone(run)) == 1  # told once, however often it happens


class Forged(Nodes):
    """The second node makes the bytes of its replies itself; all else Flower would believe or choke on."""

    def __init__(self, forge: Callable[[Message], Message], kind: str) -> None:
        super().__init__(*named(*SITES))
        self._forge, self._kind = forge, kind

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        for reply in super().pull_messages(message_ids):
            asked = {message.metadata.message_id: message for message in self.sent}[reply.metadata.reply_to_message_id]
            forged = (asked.metadata.dst_node_id, asked.metadata.message_type) == (2, self._kind)
            yield self._forge(reply) if forged else reply


def to_nobody(reply: Message) -> Message:
    reply.metadata.__dict__["_reply_to_message_id"] = "0" * 64
    return reply


def without_records(reply: Message) -> Message:
    reply.__dict__["_content"] = ArrayRecord()
    return reply


def no_message(reply: Message) -> Message:
    raise ValueError("Mismatch in children object IDs")


@pytest.mark.parametrize("kind", [wire.HELLO, wire.RELEASE])
@pytest.mark.parametrize("forge", [to_nobody, without_records, no_message])
def test_a_forged_reply_is_its_nodes(forge: Callable[[Message], Message], kind: str, tmp_path: Path) -> None:
    """A stranger's, too: whoever may connect could end the run."""
    with begun(tmp_path, seconds=4.0, min_sites=2) as run:
        entries = collect(Forged(forge, kind), run, register(*SITES))
        assert statuses(entries)[::2] == ["ok", "ok"]
        assert statuses(entries)[1] == ("ok" if forge is to_nobody else "dropped" if kind == wire.HELLO else "refused")


class Broken(Nodes):
    """An engine that loses what the second node says to messages of one type."""

    def __init__(self, lost: str) -> None:
        super().__init__(*named(*SITES))
        self._lost = lost

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        for reply in super().pull_messages(message_ids):
            asked = {message.metadata.message_id: message for message in self.sent}[reply.metadata.reply_to_message_id]
            lost = (asked.metadata.dst_node_id, asked.metadata.message_type) == (2, self._lost)
            yield Message(Error(code=5, reason="it is gone"), reply_to=asked) if lost else reply


@pytest.mark.parametrize(("lost", "said"), [(wire.HELLO, "not connected"), (wire.RELEASE, "the site went away")])
def test_a_node_that_is_gone_is_dropped_and_the_others_go_on(lost: str, said: str, tmp_path: Path) -> None:
    with begun(tmp_path, seconds=4.0, min_sites=2) as run:
        entries = collect(Broken(lost), run, register(*SITES))
        assert statuses(entries) == ["ok", "dropped", "ok"]
        assert said in entries[1]["reason"]
        assert "went away while" in entries[1]["reason"]
        assert "it is gone" not in entries[1]["reason"], "a sentence of ours, and not Flower's"


def test_in_a_simulation_an_engine_that_breaks_is_started_again(tmp_path: Path) -> None:
    with begun(tmp_path) as run, pytest.raises(EngineBroken, match="it is gone"):
        collect(Broken(wire.HELLO), run, Register.of_simulation(run.scenario))


def test_a_simulation_on_nodes_of_hospitals_ends_at_once(tmp_path: Path) -> None:
    said = rf"site-1: not connected; a node: {Code.COORDINATOR}"
    with begun(tmp_path, seconds=3600.0) as run, pytest.raises(TooFewSites, match=said):
        collect(Nodes(*named(*SITES)), run, Register.of_simulation(run.scenario))


def test_a_site_that_the_scenario_does_not_name_refuses(tmp_path: Path) -> None:
    """Even if the coordinator asks it by its name."""
    grid = Nodes(*named("elsewhere"))
    with begun(tmp_path) as run:
        request = requested(wire.Request(run.scenario.to_yaml(), "elsewhere"))
    (asked,) = grid.push_messages([Message(request, dst_node_id=1, message_type=wire.RELEASE)])
    while not (replies := list(grid.pull_messages([asked]))):
        pass
    answer = wire.unpack_answer(replies[0].content)
    assert answer.status == "refused"
    assert answer.reason == Code.SITE


def test_an_introduction_counts_for_its_site_coordinator_and_greeting_alone() -> None:
    """Not for another's: a coordinator that a site also serves would keep it out of a run, as a second node of it."""
    site, asked = simulated_identity(SECRET, "site-1"), wire.Hello("run", b"nonce").digest(wire.HELLO)
    signature = sign_hello(site, COORDINATOR.public, asked)
    verify_hello(site.public, COORDINATOR.public, asked, signature)
    other = simulated_identity(SECRET, "site-2").public
    for signer, coordinator, greeting in (
        (site.public, COORDINATOR.public, wire.Hello("run", b"older").digest(wire.HELLO)),
        (site.public, COORDINATOR.public, wire.Hello("ru", b"nnonce").digest(wire.HELLO)),
        (site.public, simulated_identity(7, SERVER).public, asked),
        (other, COORDINATOR.public, asked),
    ):
        with pytest.raises(FedcxrError, match="this introduction is not signed by"):
            verify_hello(signer, coordinator, greeting, signature)
