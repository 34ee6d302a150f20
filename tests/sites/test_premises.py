"""A node is a hospital's unless whoever started it said otherwise, and a hospital's takes nothing from a simulation."""

from __future__ import annotations

import time
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict
from nodes import requested

from fedcxr import wire
from fedcxr.errors import Refused
from fedcxr.keys.provider import SERVER
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import simulated_identity
from fedcxr.simulation.premises import Simulation
from server.inline import InlineGrid
from sites.app import app
from sites.codes import Code
from sites.premises import SIMULATION, of_the_node

PHANTOM = {"source": "phantom", "patients": 20, "size": 32}
SHARED_OUT = {"sites": 2, "cohort": PHANTOM, "tasks": {}, "adversaries": {}}


def asked(node: dict[str, Any], run_config: dict[str, Any] | None = None) -> wire.Answer:
    """What the app of a node that was started like this answers."""
    grid = InlineGrid(app, 1, workers=1)
    grid._contexts[1] = Context(1, 1, node, RecordDict(), run_config or {})
    scenario = Scenario.parse(SHARED_OUT)
    content = requested(wire.Request(scenario.to_yaml(), "site-1"), by=simulated_identity(scenario.root, SERVER))
    sent = list(grid.push_messages([Message(content, dst_node_id=1, message_type=wire.RELEASE)]))
    while not (replies := list(grid.pull_messages(sent))):
        time.sleep(0.01)
    return wire.unpack_answer(replies[0].content)


@pytest.mark.parametrize("node", [{"partition-id": 0, "num-partitions": 2}, {"vault": "/vault"}], ids=["none", "vault"])
def test_a_node_without_a_profile_refuses(node: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """What to do is for whoever started it; the coordinator is told no more than that."""
    assert asked(node) == wire.Answer("site-1", "refused", Code.REFUSED)
    assert "no profile" in caplog.text
    assert "profile=" in caplog.text
    assert SIMULATION in caplog.text


def test_nothing_that_the_coordinator_says_makes_a_simulation_of_a_node() -> None:
    told = {"simulation": True, SIMULATION: "1"}
    assert asked({"partition-id": 0}, told).status == "refused"


def test_whoever_starts_a_node_may_say_that_it_is_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked({"partition-id": 0, "simulation": True}).status == "ok"
    monkeypatch.setenv(SIMULATION, "1")
    assert asked({"partition-id": 0}).status == "ok"


@pytest.mark.parametrize("said", [{"simulation": "true"}, {"simulation": 1}, {"simulation": False}, {"profile": ""}])
def test_what_is_not_clearly_a_simulation_is_a_hospital(said: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "0", "true"):
        monkeypatch.setenv(SIMULATION, value)
        with pytest.raises(Refused, match="no profile"), of_the_node(said).key_provider(""):
            pass
    assert isinstance(of_the_node({"simulation": True}), Simulation)  # the control


@pytest.mark.parametrize("own", ["vault", "profile"])
def test_a_node_with_a_profile_is_never_simulated(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="is a hospital's"):
        of_the_node({own: "/there", "simulation": True})
    monkeypatch.setenv(SIMULATION, "1")
    with pytest.raises(Refused, match="is a hospital's"):
        of_the_node({own: "/there"})
    assert asked({own: "/there"}) == wire.Answer("site-1", "refused", Code.REFUSED)


def test_a_simulated_site_is_the_one_that_the_engine_says() -> None:
    scenario = Scenario.parse(SHARED_OUT)
    with Simulation({"partition-id": 1}).key_provider(scenario.to_yaml()) as keys:
        assert keys.identity.public == simulated_identity(scenario.seed, "site-2").public
    assert "another site; given: site-2" in asked({"simulation": True, "partition-id": 1}).reason
    for place in (2, -1, None, "0", True):
        with (
            pytest.raises(Refused, match=r"none of the sites.*allowed: 0 to 1"),
            Simulation({"partition-id": place}).key_provider(scenario.to_yaml()),
        ):
            pass


def test_a_simulated_node_takes_no_part_in_a_run_that_is_none() -> None:
    with pytest.raises(Refused, match="is no simulation"):
        Simulation({"partition-id": 0}).coordinators("")
