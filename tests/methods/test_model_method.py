"""Methods that share a model: what leaves, and in which order a model tells findings that not every hospital knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from averaged_model import AveragedModel

from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError, DataError
from fedcxr.learning import Learning
from fedcxr.methods import RunContext
from fedcxr.methods._coded import release_key
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.view import Nobody, Shared

MakeCohort = Callable[..., Cohort]
CPU = RunContext("cpu", "fp32")
KEY = release_key("site-1", stream(0))


class Alone(AveragedModel):
    """Each site learns a model of its own."""

    @property
    def learning(self) -> Learning:
        return Learning("local")


@pytest.fixture(scope="module")
def cohort(make_cohort: MakeCohort) -> Cohort:
    return make_cohort((3, 2, 1, 3, 2), size=16)


def test_a_model_of_all_sites_is_not_sent_once_more(cohort: Cohort) -> None:
    method = AveragedModel()
    weights = method.learn(cohort.where("train"), stream(1), CPU)
    release = method.release(cohort, KEY, weights, stream(2), CPU)
    assert (release.kind, release.site, dict(release.arrays)) == ("update", "site-1", {})
    assert release.facts == {"films": len(cohort.where("train"))}


def test_a_model_of_ones_own_is_what_is_shared(cohort: Cohort) -> None:
    weights = Alone().learn(cohort.where("train"), stream(1), CPU)
    release = Alone().release(cohort, KEY, weights, stream(2), CPU)
    assert release.weights.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(release.weights[name], array)
    assert len(release) == 0


def test_films_that_tell_none_of_the_models_findings_are_refused_by_name(cohort: Cohort) -> None:
    AveragedModel(findings=("Fracture", "Mass")).demand(replace(cohort, findings=("Mass", "Effusion")))
    with pytest.raises(
        DataError, match=r"none of the findings.*given: Mass, Effusion; allowed: Fracture.*method\.findings"
    ):
        AveragedModel(findings=("Fracture",)).demand(replace(cohort, findings=("Mass", "Effusion")))


def test_labels_stand_in_the_models_order_and_what_nobody_looked_for_is_unknown(cohort: Cohort) -> None:
    method = AveragedModel(findings=("Mass", "Pleural Effusion", "Fracture"))
    own = replace(cohort, findings=("Effusion", "Mass"))
    labels = method.labels(own)
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels[:, 0], cohort.index["Mass"])
    np.testing.assert_array_equal(labels[:, 1], cohort.index["Effusion"])
    assert np.isnan(labels[:, 2]).all()


def test_an_unknown_finding_teaches_nothing(cohort: Cohort) -> None:
    method = AveragedModel(findings=("Mass", "Fracture"))
    weights = method.learn(cohort, stream(1), CPU)
    assert weights["slopes"][:, 0].any()
    assert not weights["slopes"][:, 1].any()


def test_one_model_of_all_sites_is_what_everybody_sees(cohort: Cohort) -> None:
    method = AveragedModel()
    weights = method.learn(cohort.where("train"), stream(1), CPU)
    learnt = Release("update", "coordinator", "averaged", {}).publishing(weights)
    release = method.release(cohort, KEY, weights, stream(2), CPU)
    seen = method.view(Shared([release, release], learnt), Nobody(), CPU)
    assert (len(seen), dict(seen.forms)) == (0, {})
    assert seen.model is not None
    for name, array in weights.items():
        np.testing.assert_array_equal(seen.model[name], array)


def test_where_each_site_shares_its_own_there_is_no_one_model(cohort: Cohort) -> None:
    weights = Alone().learn(cohort.where("train"), stream(1), CPU)
    release = Alone().release(cohort, KEY, weights, stream(2), CPU)
    assert Alone().view(Shared([release]), Nobody(), CPU).model is not None
    assert Alone().view(Shared([release, release]), Nobody(), CPU).model is None


def test_films_are_judged_in_the_models_order(cohort: Cohort) -> None:
    method = AveragedModel(findings=("Mass", "Effusion"))
    weights = method.learn(cohort, stream(1), CPU)
    judged = method.judged(cohort, weights, CPU)
    assert judged.findings == ("Mass", "Effusion")
    np.testing.assert_array_equal(judged.labels, cohort.index[["Mass", "Effusion"]].to_numpy(np.float32))
    np.testing.assert_array_equal(judged.scores, method.predict(cohort.films(), weights, CPU))


@pytest.mark.parametrize("document", [{"tasks": ["fidelity"]}, {"adversaries": ["verifier"]}], ids=str)
def test_who_reads_films_finds_none(document: dict[str, list[str]]) -> None:
    rest = {"tasks": {}, "adversaries": {}, "method": "averaged_model:AveragedModel"}
    with pytest.raises(ConfigError, match=r"has nothing to read in what the method releases; given: .*AveragedModel"):
        Scenario.parse({**rest, **document})
