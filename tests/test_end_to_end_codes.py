"""Whole runs with codes: a recipient with keys is measured, an outsider attacks, and no key is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from canary import leaks
from small import SMALL

from fedcxr.data import cache_folder
from fedcxr.keys.provider import SERVER, Job
from fedcxr.methods import RunContext
from fedcxr.methods.sca import Sca
from fedcxr.report import dpia
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import Simulated, simulated_identity
from fedcxr.view import Shared, Thief
from server.simulate import Options, simulate

METHODS = ["sca", "sealed"]
CODES: dict[str, Any] = {
    **SMALL,
    "tasks": {**SMALL["tasks"], "fidelity": {}},
    "adversaries": {**SMALL["adversaries"], "support": {"steps": 5, "width": 8}},
    "knowledge": {"releases": 2, "pairs": 8},
}


def scenario_of(method: str) -> Scenario:
    return Scenario.parse({**CODES, "method": method})


@pytest.fixture(scope="module", params=METHODS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return simulate(scenario_of(request.param), Options(tmp_path_factory.mktemp("runs"), "inline"))


def test_a_run_with_codes_measures_both_sides_of_the_key(finished: Run) -> None:
    result = finished.result
    assert result is not None
    assert all(result["utility"]["findings"][arm] for arm in ("trained", "trained_released", "frozen", "raw"))
    assert result["utility"]["findings"]["unauthorised"]["mean_auc"]["value"] is not None
    assert (
        result["utility"]["fidelity"]["unauthorised"]["psnr"]["value"] < result["utility"]["fidelity"]["psnr"]["value"]
    )
    assert 20 < result["utility"]["fidelity"]["psnr"]["value"] < 60
    attacks = {(a["adversary"], a["attacker"]): a for a in result["privacy"]["attacks"]}
    assert set(attacks) == {
        ("verifier", "naive"),
        ("verifier", "retrained"),
        ("verifier", "linear"),
        ("verifier", "fused"),
        ("support", "learned"),
    }
    for attack in attacks.values():
        assert 0 <= attack["auc"]["value"] <= 1
        assert attack["control_raw_auc"] is not None
        assert attack["control_shuffled_auc"] is not None
    sizes = {site["name"]: site["bytes_released"] for site in result["sites"]}
    stored = {path.stem: path.stat().st_size for path in (finished.folder / "releases").glob("*.release")}
    assert sizes == stored
    pictures = sorted(path.name for path in (finished.folder / "pictures").iterdir())
    assert pictures == ["README.txt", "linkage.matches.png", "site-1.png", "site-2.png", "site-3.png"]


def test_an_officer_is_told_of_each_recipient_what_it_can_open(finished: Run) -> None:
    assert finished.result is not None
    told = {one["recipient"]: one for one in dpia.assess([finished.result])["recipients"]}
    assert told["public"]["opens"] is None
    assert told["server"]["opens"] is None or told["server"]["opens"]["films"] > 0
    assert all(one["measured"] or one["unknown"] for one in told.values())


def test_a_run_with_codes_tells_what_was_recovered(finished: Run) -> None:
    assert finished.result is not None
    privacy = finished.result["privacy"]
    in_public = finished.scenario.method.plugin_name() == "sca"  # with `sealed`, there is nothing to look at
    expected = ["prior", "llr", "net", "twice"] if in_public else ["prior"]
    assert [entry["attacker"] for entry in privacy["recovery"]] == expected
    for entry in privacy["recovery"]:
        assert entry["films"] > 2
        for name in ("support_auc", "recovered", "psnr", "over_mean_db", "link_rate"):
            low, high = entry[name]["ci95"]
            assert low <= entry[name]["value"] <= high
        assert entry["recovered"]["value"] < 0.8
        assert entry["over_mean_db"]["value"] < 1.5
    assert [entry["auc"]["value"] for entry in privacy["same_film"]] == ([0.5] if in_public else [])
    assert not (finished.folder / "attack" / "support").exists()  # guesses go with the films they are of


def test_the_published_mechanism_is_broken_in_a_run(tmp_path: Path) -> None:
    """The control of every figure of recovery: where the key is given away, the attackers have it."""
    parameters = {"name": "sca", "ambiguation": "published"}
    adversaries = {"support": {"recovery": ["prior", "order", "llr", "twice"]}}
    scenario = Scenario.parse({**CODES, "method": parameters, "tasks": {}, "adversaries": adversaries})
    result = simulate(scenario, Options(tmp_path, "inline")).result
    assert result is not None
    found = {entry["attacker"]: entry for entry in result["privacy"]["recovery"]}
    assert found["order"]["recovered"]["ci95"][0] >= 0.9
    assert found["twice"]["recovered"]["ci95"][0] >= 0.9
    assert found["llr"]["recovered"]["value"] > found["prior"]["recovered"]["value"] + 0.1
    assert found["order"]["over_mean_db"]["ci95"][0] > 5
    assert found["order"]["link_rate"]["value"] > 0.9
    assert result["privacy"]["same_film"][0]["auc"]["value"] == 1.0


def test_no_key_is_left_in_a_run_folder(finished: Run) -> None:
    scenario = finished.scenario
    custodians = [Simulated(scenario.seed, site, {}) for site in scenario.site_names]
    rings = [key_provider._ring for key_provider in custodians]
    keys = [key_provider.begin(Job("release", scenario.run_name), ()) for key_provider in custodians]
    films = [key.image_key(str(row)) for key in keys for row in range(3)]
    secrets = [key.reveal() for key in (*keys, *films, *(ring.epochs[0].key for ring in rings))]
    secrets += [ring.identity.reveal() for ring in rings] + [ring.choosing for ring in rings]
    secrets.append(simulated_identity(scenario.seed, SERVER).reveal())
    assert not leaks(secrets, finished.folder)
    # The control: these are the keys that open the releases, and so the search was for the right thing.
    releases = finished.releases(list(scenario.site_names))
    experiment = Experiment.open(scenario, cache_folder())
    codec = Sca().codec({}, RunContext("cpu", "fp32"))
    for release, key in zip(releases, keys, strict=True):
        originals = experiment.cohort.films(experiment.truth(Shared([release])))
        shown = codec.decode(codec.encode(originals), release.size)
        method = scenario.method
        shared = Shared([release])
        for seen in (
            method.view(shared, Thief({release.site: key}), RunContext("cpu", "fp32")),
            experiment.view(shared, SERVER),
        ):
            np.testing.assert_array_equal(seen.forms["films"], shown)


@pytest.mark.parametrize("grant", [{"site-2": 0.5}, {}, {"server": 0.4}], ids=str)
def test_whoever_is_granted_keys_is_measured(grant: dict[str, float], tmp_path: Path) -> None:
    scenario = Scenario.parse({**CODES, "method": "sca", "grant": grant or "none", "adversaries": {}})
    result = simulate(scenario, Options(tmp_path, "inline")).result
    assert result is not None
    access = result["access"]
    opened = {reader["name"]: reader["opened"] / reader["films"] for reader in access["readers"]}
    assert access["other_site"]["tried"] == sum(site["released"] for site in result["sites"])
    assert access["other_site"]["opened"] == 0
    assert access["reader"] == next(iter(grant), "server")
    if not grant:
        assert opened == {"server": 0}
        assert result["utility"] == {"findings": None, "fidelity": None}
        assert all("granted nothing to server" in why for why in access["readers"][0]["refusals"].values())
    else:
        ((name, share),) = grant.items()
        assert 0.5 * share < opened[name] < 1
        assert result["utility"]["findings"]["trained"] is not None
        tested = result["utility"]["fidelity"]
        assert 0 < tested["films"] < tested["unauthorised"]["films"]


@pytest.mark.parametrize(("on", "absent"), [("purified", {"frozen"}), ("codes", {"frozen", "trained"})])
def test_codes_can_be_learnt_from(on: str, absent: set[str], tmp_path: Path) -> None:
    tasks = {"findings": {**SMALL["tasks"]["findings"], "on": on}}
    grant = "none" if on == "codes" else ["server"]  # public codes need no key
    method = {"name": "sca", "findings": "clear" if on == "codes" else "sealed"}
    scenario = Scenario.parse({**CODES, "method": method, "tasks": tasks, "grant": grant, "adversaries": {}})
    result = simulate(scenario, Options(tmp_path, "inline")).result
    assert result is not None
    findings = result["utility"]["findings"]
    assert {arm for arm, figures in findings.items() if figures is None} == absent
    if on == "purified":  # whoever uses it codes their own films the same way
        assert findings["trained"] == findings["trained_released"]
