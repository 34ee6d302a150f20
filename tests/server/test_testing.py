"""What was learnt is tested where the films are: the figures of the coordinator's own test, and no film leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from small import SMALL

from fedcxr import wire
from fedcxr.errors import TooFewSites
from fedcxr.release import Release
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.view import Nobody, Shared
from server import testing
from server.exchange import Exchange
from server.inline import InlineGrid
from server.register import Register
from server.simulate import Options, client_app, simulate

FILMS = {"source": "phantom", "patients": 40, "size": 32}
ARRANGEMENTS: dict[str, dict[str, Any]] = {
    "dealt out": {"min_sites": 2},
    "of their own": {"sites": {"ukb": {**FILMS, "seed": 1}, "charite": {**FILMS, "seed": 2}}, "cohort": None},
    "a model": {"method": {"name": "fedavg", "rounds": 1, "steps": 20, "batch": 16}},
}


class Overheard(InlineGrid):
    """A grid that keeps what sites answered, and may lose a site's answers."""

    def __init__(self, sites: int, lost: frozenset[int] = frozenset()) -> None:
        super().__init__(client_app(), sites, workers=2)
        self.heard: list[Message] = []
        self._lost = lost

    def pull_messages(self, message_ids: Any) -> list[Message]:
        arrived = [m for m in super().pull_messages(message_ids) if m.metadata.src_node_id not in self._lost]
        self.heard += arrived
        return arrived


def finished(arrangement: str, tmp_path: Any, **changes: Any) -> Run:
    document = {**SMALL, **ARRANGEMENTS[arrangement], "adversaries": {}, **changes}
    return simulate(Scenario.parse({k: v for k, v in document.items() if v is not None}), Options(tmp_path, "inline"))


def at_sites(run: Run, grid: InlineGrid) -> dict[str, Any]:
    sites: list[dict[str, Any]] = run.outcome("collect")
    shared = Shared(run.releases([site["name"] for site in sites]), run.learnt())
    exchange = Exchange(grid, run, Register.of_simulation(run.scenario))
    return testing.test_at_sites(exchange, run, shared, Nobody())


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_the_figures_are_the_coordinators_own_and_no_film_leaves(arrangement: str, tmp_path: Any) -> None:
    run = finished(arrangement, tmp_path)
    grid = Overheard(len(run.scenario.site_names))
    there = at_sites(run, grid)["findings"]["trained"]
    assert run.result is not None
    here = run.result["utility"]["findings"]["trained"]
    # Sites round their scores: see fedcxr/tasks/_told.py.
    assert there["mean_auc"]["value"] == pytest.approx(here["mean_auc"]["value"], abs=5e-3)
    for finding, figure in here["per_finding"].items():
        assert (there["per_finding"][finding] is None) == (figure is None)
        if figure is not None:
            assert there["per_finding"][finding]["value"] == pytest.approx(figure["value"], abs=1e-2)
            assert there["per_finding"][finding]["positives"] == figure["positives"]
    # The same patients, drawn in another order: intervals agree as far as a hundred draws can.
    assert there["mean_auc"]["ci95"] == pytest.approx(here["mean_auc"]["ci95"], abs=0.1)
    answers = [wire.unpack_answer(m.content) for m in grid.heard if m.metadata.message_type == wire.TEST]
    assert len(answers) == len(run.scenario.site_names)
    for answer in answers:
        told = Release.from_bytes(answer.release)
        assert set(told.arrays) == {"scores", "findings", "patients"}
        assert all((array.ndim <= 2 and array.shape[-1] <= 20) or array.ndim == 1 for array in told.arrays.values())
        patients = told.arrays["patients"]
        assert sorted(np.unique(patients)) == list(range(len(np.unique(patients))))  # numbers, and none of a table's


def test_a_silent_site_is_left_out_and_too_many_end_the_run(tmp_path: Any) -> None:
    run = finished("dealt out", tmp_path)
    quick = run.scenario.compute.model_copy(update={"timeout_s": 4.0})
    hurried = Run(run.folder, run.scenario.model_copy(update={"compute": quick}))
    figures = at_sites(hurried, _losing_after_hello(1))
    assert figures["findings"]["trained"]["mean_auc"]["value"] is not None
    with pytest.raises(TooFewSites):
        at_sites(hurried, _losing_after_hello(1, 2))


def _losing_after_hello(*nodes: int) -> InlineGrid:
    """Nodes that say who they are and nothing after that."""

    class Losing(Overheard):
        def pull_messages(self, message_ids: Any) -> list[Message]:
            arrived = super().pull_messages(message_ids)
            return [m for m in arrived if m.metadata.message_type == wire.HELLO or m.metadata.src_node_id not in nodes]

    return Losing(3)


def test_a_site_tests_only_what_the_scenario_asks_for(tmp_path: Any) -> None:
    run = finished("dealt out", tmp_path)
    grid = Overheard(3)
    exchange = Exchange(grid, run, Register.of_simulation(run.scenario))
    for facts in ({"task": "fidelity", "findings": []}, {"task": "findings"}, {"findings": ["Mass"]}):
        message = Release("update", "coordinator", "noise", {}, facts).publishing({"w": np.zeros(1, np.float32)})
        [(_, answer), *_] = list(exchange.ask(wire.TEST, run.scenario.site_names, learnt=message))
        assert isinstance(answer, wire.Answer)
        assert answer.status == "refused"
        assert "no task of the scenario's" in answer.reason
