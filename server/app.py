"""The Flower ServerApp of `flwr run`: an experiment on simulated nodes, or the releases of hospitals on real ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedcxr import plugins
from fedcxr.data import Source
from fedcxr.errors import Refused
from fedcxr.runs import Run
from fedcxr.runs.stages import COLLECT
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import choose, read_file
from fedcxr.view import Nobody, Shared
from server.collect import collect
from server.exchange import Exchange
from server.register import Register
from server.simulate import simulate_on
from server.testing import test_at_sites

OURS = ("out", "public", "register", "simulation")  # keys of a run configuration that are none of a scenario's

app = ServerApp()


@app.main()
def standalone(grid: Grid, context: Context) -> None:
    """`flwr run` on nodes that Flower's own runtime provides; an earlier attempt in the folder is resumed."""
    config = context.run_config
    register, simulation = str(config.get("register") or ""), config.get("simulation") is True
    if bool(register) == simulation:
        raise Refused(
            "a server knows its sites by their cards, or says that it simulates them",
            given=f"register={register!r} simulation={str(simulation).lower()}",
            do="--run-config 'register=\"FOLDER\"' with the sites' files *.card, or --run-config simulation=true",
        )
    scenario, out = _scenario_of(context), Path(str(config.get("out") or Path.home() / "fedcxr-runs"))
    if simulation:
        simulate_on(grid, scenario, out)
    else:
        if scenario.secret is not None:
            raise Refused("a secret is for simulations, and hospitals have their own", do="remove it from the scenario")
        _collect_from_hospitals(grid, scenario, out, Register.read(Path(register)), _public_films(context))


def _collect_from_hospitals(
    grid: Grid, scenario: Scenario, out: Path, register: Register, public: Source | None
) -> None:
    """What was learnt is tested at the sites: the films to measure on are in other buildings."""
    run = Run.place(out, scenario)
    with run.begun(resume=True):
        sites = run.stage(COLLECT, partial(collect, grid, run, register, public))
        shared = Shared(run.releases([entry["name"] for entry in sites if entry["status"] == "ok"]), run.learnt())
        run.stage("tested", lambda: test_at_sites(Exchange(grid, run, register), run, shared, Nobody()))


def _public_films(context: Context) -> Source | None:
    """The coordinator's own films, no hospital's business: a scenario for hospitals calls them `own`."""
    path = str(context.run_config.get("public") or "")
    if not path:
        return None
    document = read_file(Path(path))
    return cast(Source, plugins.build("source", {"name": document.pop("source", None), **document}))


def _scenario_of(context: Context) -> Scenario:
    """The scenario in a run configuration, where Flower wants a plain value for every key: empty or -1 is none."""
    given = {key: None if value in ("", -1) else value for key, value in context.run_config.items() if key not in OURS}
    path = given.pop("scenario", None)
    return Scenario.parse(choose(read_file(Path(str(path))) if path else {}, **given))
