"""The coordinator's own `flwr-serverapp`: the app that is installed here conducts a run, and nothing that was pushed.

Whoever reaches a SuperLink's Control API may hand it code to be run on this machine as its owner. It listens on
loopback, where everybody on this machine is. So the bundle is thrown away here as it is at hospitals
(`sites.launcher`), and of a run's configuration one word counts: which of the scenarios that lie in the kit is meant.
The names that are replaced are Flower's to change; `tests/deployment/test_launchers.py` fails when they do.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedcxr.deployment.run_folder import EAGER

PULLS = "flwr.supercore.inflatable.inflatable_utils"  # where Flower fetches the parts of a message
KIT = "FEDCXR_KIT"  # the folder of the coordinator's kit, told by whoever started the SuperLink
NOWHERE = Path("/nonexistent")  # where the bundle would have been unpacked
CALLED = ("fedcxr/fedcxr", "0")  # how Flower is told that the bundle is called


def main() -> None:
    """Conduct one run with the app that is installed here."""
    from flwr.superlink.cli.flwr_serverapp import flwr_serverapp

    runtime = importlib.import_module("flwr.superlink.runtime.run_serverapp")  # a function has its name, too
    for name, ours in REPLACED.items():
        getattr(runtime, name)  # a Flower that has it no more would go on with its own: fail instead
        setattr(runtime, name, ours)
    importlib.import_module(PULLS).pull_objects.__kwdefaults__.update(EAGER)
    flwr_serverapp()


def _installed(grid: Any, context: Any, **more: object) -> Any:
    """Run the app, whatever the bundle says it is called."""
    from server.app import deployed

    deployed(Path(os.environ[KIT]))(grid=grid, context=context)
    return context


REPLACED: dict[str, Callable[..., Any]] = {
    "install_from_fab": lambda bundle, **more: None,
    "get_fab_metadata": lambda bundle: CALLED,
    "get_project_dir": lambda *which: NOWHERE,
    "get_project_config": lambda folder: {"tool": {"flwr": {"app": {"components": {"serverapp": ""}}}}},
    "get_fused_config_from_dir": lambda folder, given: dict(given),
    "run_": _installed,
}


if __name__ == "__main__":
    main()
