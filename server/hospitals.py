"""An experiment at hospitals: they release, what was learnt is tested where their films are, and nobody is attacked."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from fedcxr.data import Source
from fedcxr.errors import Refused
from fedcxr.methods import guarantee_of
from fedcxr.protocol import COORDINATOR, context_of
from fedcxr.runs import Run, stages
from fedcxr.storage.disk import write_json
from fedcxr.view import Holder, Shared
from server import hospital_pictures, result
from server.collect import collect_over
from server.exchange import Exchange
from server.meter import Meter
from server.register import Register
from server.testing import test_at_sites
from server.traffic import Traffic

if TYPE_CHECKING:
    from flwr.serverapp import Grid

# By key of a result, why it is null: whoever reads it may think it was found to be nothing.
UNMEASURED = {
    "privacy.attacks": "nobody here knows who is who: simulate the scenario, or audit films of your own",
    "privacy.label_floor": "nobody here knows who is who",
    "access": "who could open what is told by who is who, too",
    "utility.*.raw": "nobody holds all hospitals' clean films",
    "utility.*.together": "nobody holds all hospitals' clean films",
}


def conduct(grid: Grid, run: Run, register: Register, public: Source | None) -> None:
    """Collect, test at the sites, and write result.json; an earlier attempt in the folder is resumed."""
    if run.scenario.secret is not None:
        raise Refused("a secret is for simulations, and hospitals have their own", do="remove it from the scenario")
    with run.begun(resume=True):
        if run.result is None:
            run.event(stages.BEGUN)
            with Meter() as meter:
                measured = _measured(grid, run, register, public)
                document = result.document(run.scenario, measured, "nodes", meter)
                write_json(run.folder / "result.json", document | {"unmeasured": UNMEASURED})


def _measured(grid: Grid, run: Run, register: Register, public: Source | None) -> result.Measured:
    began, scenario = time.monotonic(), run.scenario

    @cache
    def exchange() -> Exchange:
        """Nodes are greeted once, and not at all for what is on file."""
        return Exchange(grid, run, register)

    sites = run.stage(stages.COLLECT, lambda: collect_over(exchange(), run, public))
    release_s = time.monotonic() - began
    shared = Shared(run.releases([entry["name"] for entry in sites if entry["status"] == "ok"]), run.learnt())
    utility = run.stage(stages.TESTED, lambda: _tested(exchange(), run, shared, register.reader))
    hospital_pictures.draw(run, shared, register.reader, utility)
    return result.Measured(
        sites=sites,
        traffic=Traffic.of(run).total(),
        utility=utility,
        attacks=[],
        guarantee=guarantee_of(scenario.method, run.reports()),
        beside={},
        access=None,
        release_s=release_s,
        compute=context_of(scenario, COORDINATOR, None).compute,
    )


def _tested(exchange: Exchange, run: Run, shared: Shared, reader: Holder) -> dict[str, Any]:
    """By task, what the sites tell of their own test films, and how long all of it took."""
    began = time.perf_counter()
    figures = test_at_sites(exchange, run, shared, reader)
    took = (time.perf_counter() - began) / max(len(figures), 1)
    return {task: {"measured": measured, "seconds": took} for task, measured in figures.items()}
