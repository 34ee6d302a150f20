"""Three hospitals and a coordinator on loopback: real nginx, SuperLink and SuperNodes, vaults, and what people type."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from three_hospitals import SITES, ThreeHospitals, provisioned

from fedcxr.keys.coordinator import read_identity
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from server import hospitals
from server.inline import InlineGrid
from server.register import Register
from sites.app import app

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="there is no nginx"),
    pytest.mark.xdist_group("nodes"),
]

METHODS: dict[str, dict[str, Any]] = {
    "noise": {"name": "noise", "scale": 0.4},
    "fedavg": {"name": "fedavg", "rounds": 2, "steps": 2, "batch": 8, "width": 4},
}


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeHospitals]:
    parties = provisioned(tmp_path_factory.mktemp("n"))
    try:
        for who in ("server", *SITES):
            parties.start(who)
        parties.wait_online()
        yield parties
    finally:
        parties.end()


def document(method: dict[str, Any], **more: Any) -> dict[str, Any]:
    findings = {"findings": {"steps": 4, "width": 4}}
    compute = {"device": "cpu", "precision": "fp32", "timeout_s": 200.0}
    return {"sites": dict.fromkeys(SITES, "own"), "method": method, "tasks": findings, "compute": compute, **more}


def submitted(parties: ThreeHospitals, of: dict[str, Any], *flags: str) -> Any:
    plan = parties.folder / "scenario.yaml"
    plan.write_text(yaml.safe_dump(of))
    return parties.fedcxr("submit", str(plan), "--kit", str(parties.server), "--format", "json", *flags)


@pytest.mark.parametrize("method", METHODS)
def test_nodes_give_what_the_same_vaults_give_in_one_process(
    parties: ThreeHospitals, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = document(METHODS[method])
    done = submitted(parties, of)
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)
    assert [site["status"] for site in there["sites"]] == ["ok"] * len(SITES)
    here = in_one_process(parties, Scenario.parse(of), tmp_path, monkeypatch)
    assert here.result is not None
    assert there["utility"] == here.result["utility"]
    nodes = Run.place(parties.server / "runs", Scenario.parse(of))
    assert [r.digest() for r in nodes.releases(SITES)] == [r.digest() for r in here.releases(SITES)]
    assert there["privacy"]["attacks"] == []
    assert set(there["unmeasured"]) >= {"privacy.attacks", "privacy.label_floor"}


def in_one_process(parties: ThreeHospitals, scenario: Scenario, out: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same hospitals, asked the same without a wire: what is random comes from their vaults, and comes again."""
    for name, value in parties.secrets.items():
        monkeypatch.setenv(name, value)
    grid = InlineGrid(app, len(SITES), workers=1)
    for context, name in zip(grid._contexts.values(), SITES, strict=True):
        context.node_config = {"profile": str(parties.profile(name))}
    run = Run.place(out, scenario)
    register = Register.read(parties.server / "cards", read_identity(parties.server / "private" / "coordinator"))
    hospitals.conduct(grid, run, register, None)
    return run
