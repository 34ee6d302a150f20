"""The hospital's own `flwr-clientapp`: code that was pushed is thrown away, and the app that is installed here answers.

Flower starts `flwr-clientapp` by its bare name for every message, and Flower's own installs the bundle that came with
the run and imports from it. `sites.node` puts this one first on the PATH. It speaks the same protocol, by Flower's own
code, in which three names are replaced: what installs, where that would lie, and what loads. They are Flower's to
change; `tests/deployment/test_launchers.py` fails when they do.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

NOWHERE = Path("/nonexistent")  # where the bundle would have been unpacked

_log = logging.getLogger("sites")


def main() -> None:
    """Answer one message with the app that is installed here."""
    from flwr.supernode.cli import flwr_clientapp

    runtime = importlib.import_module("flwr.supernode.runtime.run_clientapp")
    for name, ours in REPLACED.items():
        getattr(runtime, name)  # a Flower that has it no more would go on with its own: fail instead
        setattr(runtime, name, ours)
    flwr_clientapp()


def _discarded(bundle: bytes, *arguments: object, **more: object) -> None:
    """What is done with the bundle."""
    digest = hashlib.sha256(bundle).hexdigest()
    _log.warning("threw away the coordinator's code: %d bytes, sha256 %s", len(bundle), digest)


def _nowhere(*arguments: object, **more: object) -> Path:
    return NOWHERE


def _installed(*arguments: object, **more: object) -> Callable[..., Any]:
    """What loads the app, whatever the run says it is called."""

    def load(*which: object, **more: object) -> Any:
        from sites.app import app

        return app

    return load


REPLACED: dict[str, Callable[..., Any]] = {
    "install_from_fab": _discarded,
    "get_project_dir": _nowhere,
    "get_load_client_app_fn": _installed,
}


if __name__ == "__main__":
    main()
