"""Who learns a method: each site, all sites together, or the coordinator; and what of it an adversary gets to know."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learners import Greyer
from small import SMALL

from fedcxr.errors import ConfigError, Refused, TooFewSites
from fedcxr.methods import Round, RunContext
from fedcxr.protocol import round_of
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.threat import Put, Threat
from fedcxr.storage.checkpoint import Checkpoint
from fedcxr.view import Shared
from server.simulate import Options, simulate

WITHOUT_MEASURES = {**SMALL, "tasks": {}, "adversaries": {}}
PUBLIC = {"source": "phantom", "patients": 20, "size": 32, "seed": 9}


def scenario(fit: str, document: dict[str, Any] = WITHOUT_MEASURES, **parameters: Any) -> Scenario:
    public = {"public": PUBLIC} if fit == "public" else {}
    return Scenario.parse({**document, **public, "method": {"name": "learners:Greyer", "fit": fit, **parameters}})


def run(of: Scenario, out: Path, engine: Any = "inline", resume: bool = False) -> Run:
    return simulate(of, Options(out, engine, resume))


def put(of: Scenario, cache: Path, done: Run) -> Mapping[str, Put]:
    """What an adversary would be asked of linkage after this run, world by world."""
    shared = Shared(done.releases(of.site_names), done.learnt())
    return Threat(Experiment.open(of, cache)).put(shared)["linkage"]


def mean_greys(of: Scenario, cache: Path) -> tuple[dict[str, float], dict[str, int]]:
    experiment = Experiment.open(of, cache)
    train = {site: experiment.site(site).where("train") for site in of.site_names}
    return {s: float(c.films().mean()) for s, c in train.items()}, {s: len(c) for s, c in train.items()}


def test_each_site_learns_for_itself(tmp_path: Path) -> None:
    of = scenario("local")
    greys, _ = mean_greys(of, tmp_path)
    done = run(of, tmp_path)
    releases = done.releases(of.site_names)
    assert {r.site: float(r.weights["grey"][0]) for r in releases} == pytest.approx(greys, rel=1e-6)
    assert done.learnt() is None
    asked = put(of, tmp_path, done)
    assert [float(weights["grey"][0]) for weights in asked["protected"].leak.taught] == pytest.approx([*greys.values()])
    assert asked["control_raw"].leak.taught == ({},)


def test_what_sites_learnt_stays_there_unless_the_mechanism_is_known(tmp_path: Path) -> None:
    of = scenario("local", {**WITHOUT_MEASURES, "knowledge": {"mechanism": False}})
    done = run(of, tmp_path)
    assert not any(release.weights for release in done.releases(of.site_names))
    leak = put(of, tmp_path, done)["protected"].leak
    assert "mechanism" not in leak.holdings
    assert leak.taught == ({},)


def test_a_federation_ends_at_the_mean_weighed_by_films(tmp_path: Path) -> None:
    """In its last turn every site ends at its own mean, so that what is averaged can be checked by hand."""
    of = scenario("federated")
    greys, films = mean_greys(of, tmp_path)
    done = run(of, tmp_path)
    learnt = done.learnt()
    assert learnt is not None
    expected = sum(greys[site] * films[site] for site in greys) / sum(films.values())
    assert float(learnt.weights["grey"][0]) == pytest.approx(expected, rel=1e-6)
    assert learnt.weights["turns"].dtype == np.int64
    releases = done.releases(of.site_names)
    assert not any(release.weights for release in releases)  # what all know need not be sent again
    known = put(of, tmp_path, done)["protected"].leak.taught
    assert [float(weights["grey"][0]) for weights in known] == pytest.approx([expected])
    protect = Greyer().protector(learnt.weights, RunContext())
    experiment = Experiment.open(of, tmp_path)
    originals = experiment.cohort.films(experiment.truth(Shared(releases[:1])))
    np.testing.assert_array_equal(releases[0].arrays["films"], protect(originals, np.random.default_rng(0)))


def test_the_coordinator_learns_from_public_films(tmp_path: Path) -> None:
    of = scenario("public")
    done = run(of, tmp_path)
    assert of.public is not None
    learnt = done.learnt()
    assert learnt is not None
    public = of.public.open(tmp_path).where("train")
    assert float(learnt.weights["grey"][0]) == pytest.approx(public.films().mean(), rel=1e-6)


def test_public_films_must_be_named() -> None:
    with pytest.raises(ConfigError, match=r"learns from public films, and there are none.*public"):
        Scenario.parse({**WITHOUT_MEASURES, "method": {"name": "learners:Greyer", "fit": "public"}})


@pytest.mark.parametrize("fit", ["federated", "public"])
def test_the_scenario_is_its_own_document(fit: str) -> None:
    of = scenario(fit)
    assert Scenario.from_yaml(of.to_yaml()) == of


@pytest.mark.slow
def test_ray_learns_what_inline_learns(tmp_path: Path) -> None:
    of = scenario("federated")
    inline, on_ray = (run(of, tmp_path / engine, engine) for engine in ("inline", "ray"))
    one, other = (done.learnt() for done in (inline, on_ray))
    assert one is not None
    assert other is not None
    assert one.digest() == other.digest()
    released = [[release.digest() for release in done.releases(of.site_names)] for done in (inline, on_ray)]
    assert released[0] == released[1]
    assert inline.result is not None
    assert on_ray.result is not None
    assert inline.result["cost"]["bytes_down"] == on_ray.result["cost"]["bytes_down"]
    told = (tmp_path / "ray").rglob("events.jsonl")
    assert "site-2: greying" in next(told).read_text()


def test_a_federation_goes_on_from_its_last_turn(tmp_path: Path) -> None:
    of = scenario("federated")
    whole = run(of, tmp_path / "whole").learnt()
    broken = run(of, tmp_path / "broken")
    folder = broken.folder
    for gone in ("result.json", "learnt/learnt.release", "learnt/round-0003.release", "stages/collect.json"):
        (folder / gone).unlink()
    kept = (folder / "learnt" / "round-0002.release").stat().st_mtime_ns
    again = run(of, tmp_path / "broken", resume=True)
    assert (folder / "learnt" / "round-0002.release").stat().st_mtime_ns == kept
    assert whole is not None
    learnt = again.learnt()
    assert learnt is not None
    assert learnt.digest() == whole.digest()


@pytest.mark.parametrize("how", ["fails", "lies"])
def test_a_site_that_does_not_learn_is_named(how: str, tmp_path: Path) -> None:
    _, films = mean_greys(scenario("federated"), tmp_path)
    wrongs: dict[str, dict[str, Any]] = {"fails": {"fails_with": films["site-2"]}, "lies": {"lies": True}}
    said = {"fails": r"site-2: cannot learn .*round 1", "lies": r"update of other weights.*round 1"}[how]
    with pytest.raises(TooFewSites, match=said):
        run(scenario("federated", **wrongs[how]), tmp_path)


@pytest.mark.parametrize(("fit", "who"), [("local", "site-2"), ("federated", "coordinator"), ("public", "coordinator")])
def test_what_was_learnt_can_be_used_elsewhere(fit: str, who: str, tmp_path: Path) -> None:
    done = run(scenario(fit), tmp_path)
    kept = Checkpoint.read(done.learnt_file(who))
    taught = done.learnt()
    learnt = done.releases([who])[0] if taught is None else taught
    assert kept.arrays["grey"] == learnt.weights["grey"]
    assert not (done.folder / "workshop").exists()


def test_the_others_go_on_without_it(tmp_path: Path) -> None:
    greys, films = mean_greys(scenario("federated"), tmp_path)
    document = {**WITHOUT_MEASURES, "min_sites": 2}
    done = run(scenario("federated", document, fails_with=films["site-2"]), tmp_path)
    learnt = done.learnt()
    assert learnt is not None
    left = [site for site in greys if site != "site-2"]
    expected = sum(greys[site] * films[site] for site in left) / sum(films[site] for site in left)
    assert float(learnt.weights["grey"][0]) == pytest.approx(expected, rel=1e-6)


def test_whole_numbers_are_everyones_and_not_averaged(tmp_path: Path) -> None:
    of = scenario("federated", numbers_films=True)
    with pytest.raises(TooFewSites, match="an update of films of another kind than the others', round 1"):
        run(of, tmp_path)


# What each site sent, and told ----------------------------------------------------------------------------------------


def test_what_each_site_sent_is_not_kept(tmp_path: Path) -> None:
    done = run(scenario("federated"), tmp_path)
    assert not list(done.updates())
    assert not [file for file in done.folder.rglob("*") if "update" in file.name]


def test_what_each_site_sent_is_kept_for_the_experimenter_where_it_is_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scenario, "keeps_updates", property(lambda scenario: True))
    of = scenario("federated")
    greys, films = mean_greys(of, tmp_path)
    done = run(of, tmp_path)
    kept = [(number, update.site, update) for number, update in done.updates()]
    assert [(number, site) for number, site, _ in kept] == [(n, site) for n in (1, 2, 3) for site in of.site_names]
    for number in (1, 2, 3):
        sent = [update for at, _, update in kept if at == number]
        mean = np.average([u.weights["grey"][0] for u in sent], weights=[u.facts["films"] for u in sent])
        outcome = done.learnt(f"round-{number:04}")
        assert outcome is not None
        assert float(outcome.weights["grey"][0]) == pytest.approx(mean, rel=1e-6)
    assert {site: float(u.weights["grey"][0]) for n, site, u in kept if n == 3} == pytest.approx(greys, rel=1e-6)
    assert {site: u.facts["films"] for _, site, u in kept} == films
    folders = [done.updates_folder, *done.updates_folder.iterdir()]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


@pytest.mark.parametrize("fit", ["federated", "local"])
def test_a_guarantee_is_reckoned_from_what_sites_told(fit: str, tmp_path: Path) -> None:
    of = scenario(fit, tells=True)
    _, films = mean_greys(of, tmp_path)
    done = run(of, tmp_path)
    assert done.result is not None
    rounds = (1, 2, 3) if fit == "federated" else (1,)
    spent = float(sum(number * sum(films.values()) for number in rounds))
    told = {"epsilon": spent, "delta": 0.0, "unit": "record", "accountant": "addition", "epsilon_rdp": None}
    assert done.result["privacy"]["formal"] == told
    (done.folder / "result.json").unlink()
    again = run(of, tmp_path, resume=True).result
    assert again is not None
    assert again["privacy"]["formal"] == told


def test_a_guarantee_without_end_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(TooFewSites, match=r"site-\d: the guarantee of learners:Greyer: epsilon: .*finite"):
        run(scenario("federated", SMALL, tells=True, worth=1e308), tmp_path)
    assert not list(tmp_path.rglob("stages/utility-*.json"))


def test_a_site_is_asked_for_rounds_that_there_are() -> None:
    for of, number in ((scenario("federated"), 0), (scenario("federated"), 4), (scenario("local"), 1)):
        with pytest.raises(Refused, match=r"no such round|not learn in a federation"):
            round_of(of, number)
    assert round_of(scenario("federated"), 3) == Round(2, 3)
