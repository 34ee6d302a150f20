"""Tiny worlds for contract tests: made-up people, a method of each form that shares their films, and what is granted.

Arrays are handed over read-only, and every patient and image is called after the canary.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from consortium import NAMES, Consortium

from fedcxr import plugins
from fedcxr.adversaries import Adversary, Leak
from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError
from fedcxr.knowledge import Holding, Knowledge
from fedcxr.methods import Method
from fedcxr.plugins import Plugin
from fedcxr.protocol import initial_step, learn_step, round_of, site_step
from fedcxr.release import Release
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import simulated
from fedcxr.view import Shared, View

AnyPlugin = TypeVar("AnyPlugin", bound=Plugin)

CANARY = NAMES.encode()
SITES = 3

# A method for each form in which something is shared.
METHODS: Mapping[str, dict[str, Any]] = {
    "films": {"name": "noise", "scale": 0.2},
    "purified": {"name": "sca"},
    "codes": {"name": "sca"},
    "model": {"name": "averaged_model:AveragedModel", "steps": 3},
}

# What is granted of a kind of knowledge that is usually not granted, by the first of its parameters.
GRANTED: Mapping[str, object] = {"demographics": True, "keys": 1, "pairs": 4, "releases": 2, "updates": "sites"}

# What makes a training short, by the name of a parameter.
BUDGET: Mapping[str, int] = {
    "steps": 3,
    "steps_clean": 3,
    "steps_retrain": 3,
    "width": 4,
    "people": 4,
    "batch": 8,
    "epochs": 2,
    "dimensions": 4,
    "bootstraps": 20,
    "min_positives": 2,
}


def small(plugin: AnyPlugin) -> AnyPlugin:
    """The same on next to no budget."""
    shorter = {name: value for name, value in BUDGET.items() if name in type(plugin).model_fields}
    return plugin.model_copy(update=shorter)


def contributed(kind: plugins.Kind, *toys: str) -> tuple[str, ...]:
    """Every file of the folder, and what proves that others' files are as good."""
    return (*plugins.names(kind), *toys)


def granted(kind: str) -> Knowledge:
    """A kind of knowledge of which there is something."""
    usual = cast(Knowledge, plugins.build("knowledge", kind))
    if usual.granted:
        return usual
    assert kind in GRANTED, "say in GRANTED how the new kind of knowledge is granted"
    first = next(iter(type(usual).model_fields))
    return cast(Knowledge, plugins.build("knowledge", {"name": kind, first: GRANTED[kind]}))


def everything(method: Method) -> dict[str, Any]:
    """All that can be granted with this method."""
    found = {}
    for kind in plugins.names("knowledge"):
        known = granted(kind)
        with contextlib.suppress(ConfigError):
            known.check(method, SITES)
            found[kind] = known.model_dump(mode="json")
    return found


def tiny(cohort: Cohort, form: str, **document: Any) -> Consortium:
    """What is shared of these films by a method of this form, with everything granted."""
    method = cast(Method, plugins.build("method", METHODS[form]))
    usual: dict[str, Any] = {"tasks": {}, "adversaries": {}, "knowledge": everything(method)}
    computed = {"device": "cpu", "precision": "fp32"}
    plan = {"sites": SITES, "partition": {"by": "iid"}, "method": METHODS[form], "compute": computed}
    experiment = Experiment.of(Scenario.parse({**plan, **usual, **document}), cohort)
    return Consortium(experiment, _shared(experiment))


def _shared(experiment: Experiment) -> Shared:
    """What the sites share; what they learn together is learnt in one round, and one of them stands for all."""
    scenario = experiment.scenario
    cohorts = {site: experiment.site(site) for site in scenario.site_names}
    updates: list[tuple[int, Release]] = []
    rounds: list[tuple[int, Release]] = []
    learnt, learning = None, scenario.method.learning
    if learning is not None and learning.place == "federated":
        start = initial_step(scenario)
        for site, cohort in cohorts.items():
            turn = round_of(scenario, 1)
            updates.append((1, learn_step(scenario, site, cohort, simulated(scenario, site), start, turn)))
        learnt = updates[0][1]
        rounds = [(0, start), (1, learnt)]
    releases = [site_step(scenario, site, own, simulated(scenario, site), learnt) for site, own in cohorts.items()]
    return Shared(
        [_locked_release(release) for release in releases], learnt, lambda: iter(updates), lambda: iter(rounds)
    )


# Attackers and what they are asked ------------------------------------------------------------------------------------

ADVERSARIES = contributed("adversary", "learnt_from:LossThreshold")
QUESTIONS = contributed("question", "learnt_from:LearntFrom")


def adversary_of(name: str) -> Adversary:
    return small(cast(Adversary, plugins.build("adversary", name)))


def attacked_by(name: str, cohort: Cohort) -> Consortium:
    """A world in which this adversary has something to read."""
    adversary = adversary_of(name)
    form = next(form for form in METHODS if form in adversary.reads)
    parameters = {key: value for key, value in adversary.spec().items() if key != "name"}
    # A question from outside is none unless the scenario names it.
    asked: dict[str, dict[str, Any]] = {question: {} for question in adversary.answers}
    return tiny(cohort, form, adversaries={name: parameters}, questions=asked)


def who_answers(question: str) -> str:
    """An adversary to whom the question can be put."""
    found = [name for name in ADVERSARIES if question in adversary_of(name).answers]
    assert found, f"no adversary answers {question}"
    return found[0]


# What must not be changed, and must not matter ------------------------------------------------------------------------


def locked(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same, read-only."""
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


def _locked_release(release: Release) -> Release:
    return replace(release, arrays={name: locked(array) for name, array in release.arrays.items()})


def locked_holding(holding: Holding) -> Holding:
    return replace(holding, arrays={name: locked(array) for name, array in holding.arrays.items()})


def locked_view(view: View) -> View:
    return replace(
        view,
        forms={form: locked(array) for form, array in view.forms.items()},
        opened=locked(view.opened),
        versions=locked(view.versions),
        model=None if view.model is None else {name: locked(array) for name, array in view.model.items()},
    )


def locked_leak(leak: Leak) -> Leak:
    """A leak that nobody can write into."""
    return Leak(
        locked_view(leak.view),
        {kind: locked_holding(holding) for kind, holding in leak.holdings.items()},
        None if leak.given is None else locked_holding(leak.given),
    )


def global_state() -> tuple[str, str, bytes]:
    """Of the generators that no contribution may draw from."""
    import torch

    return repr(random.getstate()), repr(np.random.get_state()), torch.get_rng_state().numpy().tobytes()


@contextlib.contextmanager
def another_global_state(seed: int) -> Iterator[Callable[[], bool]]:
    """Generators begun elsewhere; tells whether nobody has drawn from them since."""
    import sklearn.linear_model  # type: ignore[import-untyped, unused-ignore]  # noqa: F401  draws when it is imported
    import torch

    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = global_state()
        yield lambda: global_state() == before
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        torch.set_rng_state(kept[2])


def plain(told: object) -> str:
    """As JSON, in which there is no NaN and no infinity."""
    return json.dumps(told, allow_nan=False, sort_keys=True)


def check_ranges(told: object, where: str = "") -> None:
    """Every AUC and rate lies in [0, 1], and every interval has its ends in order."""
    if isinstance(told, Mapping):
        for name, value in told.items():
            if name == "ci95" and value is not None:
                low, high = value
                assert low <= high, where
            check_ranges(value, f"{where}.{name}")
        if "auc" in where.rpartition(".")[2] and "value" in told and told["value"] is not None:
            assert 0 <= told["value"] <= 1, where
    elif isinstance(told, list):
        for value in told:
            check_ranges(value, where)
    elif isinstance(told, float) and where.rpartition(".")[2] in ("accuracy", "f1", "precision", "recall", "eer"):
        assert 0 <= told <= 1, where
