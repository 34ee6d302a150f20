"""Sites with films of their own: one vocabulary, no copied pixel, no patient twice, and nobody else's films touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small import SMALL, figures

from fedcxr.cohort import FINDINGS, ORGANS, Annotations, Cohort
from fedcxr.data._vocabulary import canonical
from fedcxr.errors import ConfigError, DataError
from fedcxr.protocol import site_step
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import choose, override
from fedcxr.simulation.consortium import join
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import simulated
from fedcxr.simulation.premises import Simulation
from fedcxr.view import Shared
from server.simulate import Options, simulate

MakeCohort = Callable[..., Cohort]
SIZE = 32


def with_findings(cohort: Cohort, names: dict[str, str]) -> Cohort:
    """The same films with some findings under other names, and without the others."""
    dropped = [finding for finding in cohort.findings if finding not in names]
    index = cohort.index.drop(columns=dropped).rename(columns=names)
    return Cohort(cohort.pixels, cohort.rows, index, tuple(names.values()))


@pytest.fixture
def cohorts(make_cohort: MakeCohort) -> dict[str, Cohort]:
    """A hospital with NIH's findings, one with CheXpert's spelling, one with a finding of its own."""
    nih, chexpert, own = (
        make_cohort((2, 1, 3, 2, 2), size=16, seed=seed, prefix=prefix)
        for seed, prefix in enumerate(("n-", "c-", "o-"))
    )
    return {
        "site-1": nih,
        "site-2": with_findings(chexpert, {"Effusion": "Pleural Effusion", "Edema": "Edema"}),
        "site-3": with_findings(own, {"Mass": "Silicosis"}),
    }


def test_films_and_findings_stay_with_their_site(cohorts: dict[str, Cohort]) -> None:
    joined, dealt = join(cohorts)
    assert joined.findings == (*FINDINGS, "Silicosis")
    for site, cohort in cohorts.items():
        mine = joined.take(dealt[site])
        np.testing.assert_array_equal(mine.films(), cohort.films())
        assert list(mine.patients) == list(cohort.patients)
        assert set(mine.index["source"]) == {f"{site}/{source}" for source in cohort.index["source"]}
    chexpert = joined.take(dealt["site-2"]).index
    assert chexpert["Effusion"].tolist() == cohorts["site-2"].index["Pleural Effusion"].tolist()
    assert (
        chexpert.drop(columns=["Effusion", "Edema"])[list(set(FINDINGS) - {"Effusion", "Edema"})].isna().all(axis=None)
    )
    assert joined.take(dealt["site-1"]).index["Silicosis"].isna().all()


def test_films_come_in_the_order_asked_for(cohorts: dict[str, Cohort]) -> None:
    joined, _ = join(cohorts)
    every = np.concatenate([cohort.films() for cohort in cohorts.values()])
    rows = np.random.default_rng(0).integers(len(joined), size=50)
    np.testing.assert_array_equal(joined.films(rows), every[rows])
    np.testing.assert_array_equal(joined.take(rows).films(), every[rows])
    np.testing.assert_array_equal(np.concatenate(list(joined.chunks(7))), every)
    assert joined.films([]).shape == (0, 16, 16)


def test_annotations_stay_with_their_site(cohorts: dict[str, Cohort], annotated: Callable[..., Cohort]) -> None:
    """A site without masks contributes films without; boxes are named in the vocabulary of all."""
    cohorts["site-1"] = annotated(cohorts["site-1"], ("lungs", "heart"), seed=1)
    table = cohorts["site-2"].index.assign(film=0)[["film"]].iloc[:1]
    boxes = table.assign(finding="Pleural Effusion", x=1.0, y=2.0, w=3.0, h=4.0)
    cohorts["site-2"] = replace(cohorts["site-2"], annotations=Annotations(boxes=boxes))
    cohorts["site-3"] = annotated(cohorts["site-3"], seed=3)
    joined, dealt = join(cohorts)
    assert joined.annotations.names == ("lungs", "heart", "boxes")
    for site, cohort in cohorts.items():
        mine = joined.take(dealt[site])
        for organ in ORGANS:
            if organ not in cohort.annotations.masks:
                assert not mine.masked(organ).any()
                continue
            has = np.flatnonzero(cohort.masked(organ))
            np.testing.assert_array_equal(np.flatnonzero(mine.masked(organ)), has)
            np.testing.assert_array_equal(mine.mask(organ, has), cohort.mask(organ, has))
        own = cohort.boxes()
        pd.testing.assert_frame_equal(mine.boxes(), own.assign(finding=own["finding"].map(canonical)))
    every = np.flatnonzero(joined.masked("lungs"))[::-1]  # of two sites, in an order of neither
    assert joined.mask("lungs", every).shape == (len(every), 16, 16)
    assert join({"site-1": cohorts["site-2"]})[0].annotations.names == ("boxes",)


def test_a_patient_at_two_sites_is_an_error(cohorts: dict[str, Cohort]) -> None:
    with pytest.raises(DataError, match="at more than one site; given: 5"):
        join({"site-1": cohorts["site-1"], "site-2": cohorts["site-1"]})


def test_films_of_two_sizes_are_an_error(cohorts: dict[str, Cohort], make_cohort: MakeCohort) -> None:
    with pytest.raises(ConfigError, match="different sizes; given: site-1 16 x 16, site-2 24 x 24"):
        join({"site-1": cohorts["site-1"], "site-2": make_cohort((2, 2), size=24, prefix="other-")})


# Scenarios ----------------------------------------------------------------------------------------------------------

MIXED: dict[str, Any] = {
    **{key: value for key, value in SMALL.items() if key != "cohort"},
    "sites": [
        {"source": "phantom", "patients": 40, "size": SIZE},
        {"source": "phantom", "patients": 40, "size": SIZE, "seed": 1, "prevalence": "nih"},
    ],
}


def test_a_mixed_scenario_is_its_own_document() -> None:
    scenario = Scenario.parse(MIXED)
    assert scenario.site_names == ("site-1", "site-2")
    assert [source.plugin_name() for source in scenario.sources] == ["phantom", "phantom"]
    assert Scenario.from_yaml(scenario.to_yaml()) == scenario
    assert Scenario.from_yaml(scenario.to_yaml()).id == scenario.id


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cohort": "phantom"}, "nothing to share out; given: cohort"),
        ({"partition": {"by": "iid"}}, "nothing to share out; given: partition"),
        ({"min_sites": 3}, "min_sites is more than sites; given: 3 of 2"),
        ({"sites": []}, "too few or too many"),
        ({"sites": [3]}, "a source needs a name"),
        ({"sites": [{"source": "phantm"}]}, "did you mean 'phantom'"),
        ({"sites": [{"source": "phantom", "name": "x"}]}, "sites.0 has a name already"),
        ({"sites": [{"source": "phantom", "patents": 3}]}, "did you mean 'patients'"),
        ({"sites": ["phantom", {"source": "phantom", "size": 96}]}, "site-1 64, site-2 96"),
    ],
)
def test_what_a_mixed_scenario_may_not_say(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Scenario.parse({**MIXED, **changes})


def test_one_site_can_be_changed_from_the_command_line() -> None:
    document = override(MIXED, "sites.1.patients=50")
    assert [site["patients"] for site in document["sites"]] == [40, 50]
    assert override({"sites": ["phantom"]}, "sites.0.size=32")["sites"] == [{"source": "phantom", "size": 32}]
    assert override(MIXED, "sites.0=phantom")["sites"][0] == "phantom"
    for wrong in ("sites.2.patients=1", "sites.x.patients=1", "sites.-1=phantom"):
        with pytest.raises(ConfigError, match=r"no entry of a list.*allowed: 0 to 1"):
            override(MIXED, wrong)
    with pytest.raises(ConfigError, match="below something that is no mapping"):
        override({"sites": [3]}, "sites.0.size=32")


def test_their_number_cannot_be_changed() -> None:
    with pytest.raises(ConfigError, match=r"names its sites.*allowed: 2"):
        choose(MIXED, sites=5)


def test_two_populations_of_phantoms_share_nobody(tmp_path: Path) -> None:
    experiment = Experiment.open(Scenario.parse(MIXED), tmp_path)
    at = [set(experiment.site(site).patients) for site in experiment.dealt]
    assert all(at)
    assert not at[0] & at[1]
    with pytest.raises(DataError, match="at more than one site"):
        Experiment.open(Scenario.parse({**MIXED, "sites": [MIXED["sites"][0]] * 2}), tmp_path)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hospital's own table with one finding of NIH's and one of its own, and a film for each of its rows."""
    secret = tmp_path / "secret"
    secret.write_text("5e" * 32)
    secret.chmod(0o600)
    monkeypatch.setenv("FEDCXR_SECRET_FILE", str(secret))
    monkeypatch.setenv("FEDCXR_CACHE", str(tmp_path / "cache"))
    root, rng = tmp_path / "own", np.random.default_rng(0)
    root.mkdir()
    rows = []
    for film in range(60):
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)).save(root / f"{film}.png")
        rows.append(f"{film}.png,{film // 3},{film % 2},{film // 2 % 2}")
    (root / "table.csv").write_text("\n".join(["image,patient,Pleural Effusion,Silicosis", *rows]) + "\n")
    return root


def mixed_with(root: Path) -> dict[str, Any]:
    own = {
        "source": "folder",
        "root": str(root),
        "table": "table.csv",
        "images": ".",
        "size": SIZE,
        "columns": {"image": "image", "patient": "patient"},
        "findings": {"columns": ["Pleural Effusion", "Silicosis"]},
    }
    return {**MIXED, "sites": [MIXED["sites"][0], own]}


def test_a_site_opens_its_own_films_alone(own_folder: Path) -> None:
    """Where the others' folders do not exist."""
    document = mixed_with(own_folder)
    document["sites"][0] = {**document["sites"][1], "root": "/not/here"}
    scenario = Scenario.parse(document)
    opened = Simulation({}).cohort
    assert len(opened(scenario, "site-2")) == 60
    with pytest.raises(DataError, match="no such folder"):
        opened(scenario, "site-1")


def test_sites_of_different_sources_end_to_end(own_folder: Path, tmp_path: Path) -> None:
    scenario = Scenario.parse(mixed_with(own_folder))
    runs = [simulate(scenario, Options(tmp_path / engine, engine)) for engine in ("inline", "ray")]
    results = [run.result for run in runs]
    assert results[0] is not None
    assert results[1] is not None
    assert figures(results[0]) == figures(results[1])
    findings = results[0]["utility"]["findings"]["raw"]
    assert set(findings["per_finding"]) == {*FINDINGS, "Silicosis"}
    assert [site["images"] for site in results[0]["sites"]][1] == 60
    # What the site itself releases has its own findings; the server brings them into one order.
    release = site_step(scenario, "site-2", Simulation({}).cohort(scenario, "site-2"), simulated(scenario, "site-2"))
    assert release.arrays["findings"].shape[1] == 2
    assert runs[0].releases(["site-2"])[0].digest() == release.digest()


def test_findings_nobody_has_are_refused(own_folder: Path, tmp_path: Path) -> None:
    experiment = Experiment.open(Scenario.parse(mixed_with(own_folder)), tmp_path / "cache")
    key_provider = simulated(experiment.scenario, "site-2")
    release = site_step(experiment.scenario, "site-2", experiment.site("site-2"), key_provider)
    facts = {**release.facts, "findings": ["Gout", *list(release.facts["findings"])[1:]]}
    strange = type(release)(release.kind, release.site, release.method, release.arrays, facts)
    with pytest.raises(DataError, match="site-2 released findings that it does not have; given: Gout"):
        experiment.evidence(Shared([strange]))
