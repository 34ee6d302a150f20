"""The Flower ServerApp of `flwr run`: an experiment on simulated nodes, or the releases of hospitals on real ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedcxr import plugins
from fedcxr.data import Source
from fedcxr.deployment.kit import CARDS, IDENTITY
from fedcxr.errors import Refused
from fedcxr.keys.coordinator import read_identity
from fedcxr.keys.identity import Identity
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import choose, read_file
from server import failure
from server.hospitals import conduct
from server.register import Register
from server.simulate import simulate_on
from server.submission import RUNS, public_films, submitted

OURS = ("identity", "out", "public", "register", "simulation")  # what a run configuration says beside a scenario

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
        known = Register.read(Path(register), _identity(config))
        conduct(grid, Run.place(out, scenario), known, _public_films(config.get("public")))


def deployed(kit: Path) -> ServerApp:
    """The app of a coordinator with a kit: of what a run is told, the name of one of the kit's scenarios counts."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        scenario = submitted(kit, str(context.run_config.get("scenario")))
        run = Run.place(kit / RUNS, scenario)
        try:
            known = Register.read(kit / CARDS, read_identity(kit / IDENTITY))
            conduct(grid, run, known, _public_films(public_films(kit)))
        except Exception as error:
            failure.note(run.folder, error)  # for whoever submitted it
            raise

    return app


def _identity(config: Mapping[str, object]) -> Identity:
    """Who the coordinator is: hospitals answer nobody whose signature they do not know."""
    file = str(config.get("identity") or "")
    if not file:
        raise Refused(
            "hospitals answer what their coordinator signed, and this server has no identity",
            do="--run-config 'identity=\"FILE\"', whose card the hospitals' profiles name",
        )
    return read_identity(Path(file).expanduser())


def _public_films(file: object) -> Source | None:
    """The coordinator's own films, no hospital's business: a scenario for hospitals calls them `own`."""
    if not file:
        return None
    document = read_file(Path(str(file)))
    return cast(Source, plugins.build("source", {"name": document.pop("source", None), **document}))


def _scenario_of(context: Context) -> Scenario:
    """The scenario in a run configuration, where Flower wants a plain value for every key: empty or -1 is none."""
    given = {key: None if value in ("", -1) else value for key, value in context.run_config.items() if key not in OURS}
    path = given.pop("scenario", None)
    return Scenario.parse(choose(read_file(Path(str(path))) if path else {}, **given))
