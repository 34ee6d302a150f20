"""Methods that share a model: what leaves, and in which order a model tells findings that not every hospital knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from averaged_model import AveragedModel

from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError
from fedcxr.learning import Learning
from fedcxr.methods import Workshop
from fedcxr.rng import stream
from fedcxr.scenario import Scenario

MakeCohort = Callable[..., Cohort]
CPU = Workshop("cpu", "fp32")


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
    release = method.release(cohort, "site-1", weights, stream(2), CPU)
    assert (release.kind, release.site, dict(release.arrays)) == ("update", "site-1", {})
    assert release.facts == {"films": len(cohort.where("train"))}


def test_a_model_of_ones_own_is_what_is_shared(cohort: Cohort) -> None:
    weights = Alone().learn(cohort.where("train"), stream(1), CPU)
    release = Alone().release(cohort, "site-1", weights, stream(2), CPU)
    assert release.weights.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(release.weights[name], array)
    assert len(release) == 0


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


@pytest.mark.parametrize("document", [{"tasks": ["findings"]}, {"adversaries": ["verifier"]}], ids=str)
def test_who_reads_films_finds_none(document: dict[str, list[str]]) -> None:
    rest = {"tasks": {}, "adversaries": {}, "method": "averaged_model:AveragedModel"}
    with pytest.raises(ConfigError, match=r"has nothing to read in what the method releases; given: .*AveragedModel"):
        Scenario.parse({**rest, **document})
