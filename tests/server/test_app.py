"""What `flwr run` starts at the coordinator: a simulation that says so, or a collection from hospitals it knows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict
from nodes import COORDINATOR, OWN, SECRET, SITES, Nodes, named

from fedcxr.errors import BadSignature, ConfigError, Refused, TooFewSites
from fedcxr.keys.cards import Card
from fedcxr.keys.identity import Identity
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import simulated_identity
from fedcxr.simulation.premises import Simulation
from fedcxr.storage.private import write_new
from server.app import app
from server.inline import InlineGrid
from server.register import Register
from sites.app import client_app

SOURCE = {"source": "phantom", "patients": 8, "size": 16}
PLAN: dict[str, Any] = {
    "sites": OWN,
    "method": "none",
    "tasks": {},
    "adversaries": {},
    "compute": {"device": "cpu", "precision": "fp32", "timeout_s": 60.0},
}


def start(grid: InlineGrid, folder: Path, sources: list[Any] = OWN, plan: Any = None, **config: Any) -> None:
    folder.mkdir(exist_ok=True)
    told = Scenario.parse({**PLAN, "sites": sources, **(plan or {})})
    plan = folder / "plan.yaml"
    plan.write_text(told.to_yaml())
    identity = folder / "coordinator"
    if not identity.exists():
        write_new(identity, COORDINATOR.reveal())
    usual = {"scenario": str(plan), "sites": -1, "method": "", "preset": "", "seed": -1, "register": ""}
    usual |= {"identity": str(identity)}
    run_config = {**usual, "simulation": False, "out": str(folder / "runs"), **config}
    app(grid, Context(1, 0, {}, RecordDict(), run_config))


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    folder = tmp_path / "cards"
    folder.mkdir()
    for site in SITES:
        (folder / f"{site}.card").write_text(Card.issue(simulated_identity(SECRET, site)).text)
    return folder


class Untouched(InlineGrid):
    def __init__(self) -> None:
        super().__init__(client_app(Simulation), len(SITES), workers=1)

    def push_messages(self, messages: Any) -> Any:
        raise AssertionError("nobody may be asked anything")


@pytest.mark.parametrize("config", [{}, {"simulation": True, "register": "cards"}], ids=["neither", "both"])
def test_a_server_without_a_register_refuses(config: Mapping[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Refused, match="knows its sites by their cards, or says that it simulates them"):
        start(Untouched(), tmp_path, **config)
    assert not (tmp_path / "runs").exists()


def test_hospitals_releases_are_collected_and_nobody_is_attacked(cards: Path, tmp_path: Path) -> None:
    start(Nodes(*named(*SITES)), tmp_path, register=str(cards))
    (run,) = (tmp_path / "runs").glob("*/*")
    assert sorted(path.name for path in run.glob("releases/*.release")) == [f"{site}.release" for site in SITES]
    result = json.loads((run / "result.json").read_text())
    assert result["privacy"]["attacks"] == []
    assert "nobody here knows who is who" in result["unmeasured"]["privacy.attacks"]
    assert not (run / "answers").exists()


def test_a_simulation_that_says_so_is_measured(tmp_path: Path) -> None:
    grid = InlineGrid(client_app(Simulation), len(SITES), workers=2)
    start(grid, tmp_path, [{**SOURCE, "seed": seed} for seed in range(len(SITES))], simulation=True)
    assert len(list((tmp_path / "runs").rglob("result.json"))) == 1


def test_films_that_are_at_hospitals_are_not_simulated(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="own films are opened there and nowhere else"):
        start(Untouched(), tmp_path, simulation=True)


def test_a_register_is_a_folder_of_cards(cards: Path) -> None:
    assert Register.read(cards, COORDINATOR).cards == {site: simulated_identity(SECRET, site).public for site in SITES}
    (cards / "again.card").write_text(Card.issue(simulated_identity(7, "site-1")).text)
    with pytest.raises(ConfigError, match="two cards of one name; given: site-1"):
        Register.read(cards, COORDINATOR)
    shutil.copy(cards / "site-1.card", cards / "again.card")
    with pytest.raises(ConfigError, match="two cards of one name; given: site-1"):
        Register.read(cards, COORDINATOR)
    (cards / "again.card").write_text("{}")
    with pytest.raises(BadSignature, match="no identity card"):
        Register.read(cards, COORDINATOR)
    for wrong in (b"\xff", b"x" * (1 << 20)):
        (cards / "again.card").write_bytes(wrong)
        with pytest.raises((ConfigError, BadSignature)):
            Register.read(cards, COORDINATOR)


@pytest.mark.parametrize("files", ["abc", "cba", "bca"])
def test_a_renewed_card_beside_the_earlier_ones_counts(cards: Path, files: str) -> None:
    """Whatever the files are called; and not if one of them did not sign it."""
    first, second, third = simulated_identity(SECRET, "site-1"), *(Identity.generate("site-1") for _ in range(2))
    chain = [Card.issue(first), Card.issue(second, [first]), Card.issue(third, [first, second])]
    (cards / "site-1.card").unlink()
    for file, card in zip(files, chain, strict=True):
        (cards / f"{file}.card").write_text(card.text)
    assert Register.read(cards, COORDINATOR).cards["site-1"] == third.public
    (cards / f"{files[2]}.card").write_text(Card.issue(third, [first]).text)
    with pytest.raises(ConfigError, match="two cards of one name"):
        Register.read(cards, COORDINATOR)


def test_a_register_of_nobody_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match="a register without cards"):
            Register.read(folder, COORDINATOR)


def test_a_coordinators_films_are_its_own_affair(cards: Path, tmp_path: Path) -> None:
    """Hospitals learn what was learnt from them, and not which they are or where."""
    films = tmp_path / "films.yaml"
    films.write_text("{source: phantom, patients: 6, size: 16, seed: 5}")
    learnt = {"method": {"name": "sca", "fit": "public", "steps": 4}, "public": "own"}
    grid = Nodes(*named(*SITES))
    start(grid, tmp_path, plan=learnt, register=str(cards), public=str(films))
    [run] = (tmp_path / "runs").rglob("run.json")
    assert len(list((run.parent / "releases").glob("*.release"))) == len(SITES)
    said = "".join(repr(message.content) for message in grid.sent)
    assert "fit: public" in said  # what is searched is what was sent
    assert "phantom" not in said


def test_a_coordinator_of_hospitals_has_an_identity_that_nobody_else_can_read(cards: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"this server has no identity.*identity="):
        start(Untouched(), tmp_path, register=str(cards), identity="")
    (tmp_path / "coordinator").chmod(0o640)
    with pytest.raises(Refused, match=r"others may read the coordinator's identity.*0640.*chmod 600"):
        start(Untouched(), tmp_path, register=str(cards))


def test_a_hospital_grants_the_coordinator_keys_by_its_card(cards: Path, tmp_path: Path) -> None:
    """An update under keys is learnt from where the hospital did, and its site is left out by name where it did not."""
    learnt = {"method": {"name": "fedavg", "width": 2, "rounds": 1, "steps": 1, "batch": 4, "sealed": True}}
    granting = [{"name": site, "grants": True} for site in SITES]
    start(Nodes(*granting), tmp_path / "all", plan=learnt, register=str(cards))
    with pytest.raises(TooFewSites, match="site-3: site-3 granted nothing to server"):
        start(Nodes(*granting[:2], {"name": "site-3"}), tmp_path / "two", plan=learnt, register=str(cards))


def test_a_secret_is_not_told_to_hospitals(cards: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="a secret is for simulations"):
        start(Untouched(), tmp_path, plan={"secret": "5e" * 32}, register=str(cards))
