"""Whole runs with codes: a recipient with keys is measured, an outsider attacks, and no key is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from canary import leaks
from small import SMALL, figures

from fedcxr.data import cache_folder
from fedcxr.keys import MasterKey
from fedcxr.methods import Workshop
from fedcxr.methods._coded import release_key
from fedcxr.methods.sca import Sca
from fedcxr.protocol import Experiment
from fedcxr.rng import stream
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from server.simulate import Options, simulate

METHODS = ["sca", "sealed"]
CODES: dict[str, Any] = {
    **SMALL,
    "tasks": {**SMALL["tasks"], "fidelity": {}},
    "adversaries": {**SMALL["adversaries"], "support": {"own": 40}},
}


def scenario_of(method: str) -> Scenario:
    return Scenario.parse({**CODES, "method": method})


@pytest.fixture(scope="module", params=METHODS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return simulate(scenario_of(request.param), Options(tmp_path_factory.mktemp("runs"), "inline"))


def test_a_run_with_codes_measures_both_sides_of_the_key(finished: Run) -> None:
    result = finished.result
    assert result is not None
    assert set(result["utility"]["findings"]) == {"trained", "trained_released", "frozen", "raw"}
    assert 20 < result["utility"]["fidelity"]["psnr"]["value"] < 60
    attacks = {(a["adversary"], a["attacker"]): a for a in result["privacy"]["attacks"]}
    assert set(attacks) == {
        ("verifier", "naive"),
        ("verifier", "retrained"),
        ("support", "values"),
        ("support", "decoded"),
    }
    for attack in attacks.values():
        assert 0 <= attack["auc"]["value"] <= 1
        assert attack["control_raw_auc"] is not None
        assert attack["control_shuffled_auc"] is not None
    sizes = {site["name"]: site["bytes_released"] for site in result["sites"]}
    stored = {path.stem: path.stat().st_size for path in (finished.folder / "releases").glob("*.release")}
    assert sizes == stored
    pictures = sorted(path.name for path in (finished.folder / "pictures").iterdir())
    assert pictures == ["site-1.png", "site-2.png", "site-3.png"]


def test_no_key_is_left_in_a_run_folder(finished: Run) -> None:
    scenario = finished.scenario
    streams = {site: stream(scenario.seed, "site", site, "release") for site in scenario.site_names}
    masters = [rng.bytes(MasterKey.length) for rng in streams.values()]
    again = {site: stream(scenario.seed, "site", site, "release") for site in scenario.site_names}
    keys = [release_key(site, rng) for site, rng in again.items()]
    films = [key.image_key(str(row)) for key in keys for row in range(3)]
    secrets = [*masters, *(key.reveal() for key in (*keys, *films))]
    assert not leaks(secrets, finished.folder)
    # The control: these are the keys that open the releases, and so the search was for the right thing.
    releases = finished.releases(list(scenario.site_names))
    experiment = Experiment.open(scenario, cache_folder())
    codec = Sca().codec({}, Workshop("cpu", "fp32"))
    for release in releases:
        originals = experiment.cohort.films(experiment.truth([release]))
        np.testing.assert_array_equal(experiment.seen(release), codec.decode(codec.encode(originals), release.size))


@pytest.mark.slow
def test_ray_gives_the_figures_of_the_inline_engine(finished: Run, tmp_path: Path) -> None:
    on_ray = simulate(finished.scenario, Options(tmp_path, "ray"))
    assert on_ray.result is not None
    assert finished.result is not None
    assert figures(on_ray.result) == figures(finished.result)
