"""The hospital's own `flwr-clientapp`: code that was pushed is thrown away, and the app that is installed here answers.

Flower starts `flwr-clientapp` by its bare name for every message, and Flower's own installs the bundle that came with
the run and imports from it. `sites.node` puts this one first on the PATH. It speaks the same protocol, by Flower's own
code, in which a few names are replaced: what installs, where that would lie, what loads, and who watches whom. They are
Flower's to change; `tests/deployment/test_launchers.py` fails when they do.

What speaks it is fenced in before the first word (`sites.fence`): this process reads the profile, starts the key agent
and forks; its child is the app, and it stays outside as the app's doorway to the SuperNode.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

ADDRESS = "--runtime-api-address"
NOWHERE = Path("/nonexistent")  # where the bundle would have been unpacked

_log = logging.getLogger("sites")


def main() -> None:
    """Answer one message with the app that is installed here."""
    parent = os.getppid()  # before anything that takes its time: it may be killed meanwhile
    from sites.premises import SIMULATION

    if os.environ.get(SIMULATION) == "1":
        _answer(REPLACED)
    else:
        _fenced(sys.argv[1:], parent)


def _answer(replaced: Mapping[str, Callable[..., Any]]) -> None:
    from flwr.supernode.cli import flwr_clientapp

    runtime = importlib.import_module("flwr.supernode.runtime.run_clientapp")
    for name, ours in replaced.items():
        getattr(runtime, name)  # a Flower that has it no more would go on with its own: fail instead
        setattr(runtime, name, ours)
    flwr_clientapp()


def _fenced(arguments: Sequence[str], parent: int) -> NoReturn:
    """Be the doorway of an app that is fenced in, and end as it does."""
    from fedcxr.data import cache_folder
    from sites import doorway
    from sites.enclosure import PROFILE, Enclosure

    host, _, port = arguments[arguments.index(ADDRESS) + 1].rpartition(":")
    if host != doorway.HERE:
        raise SystemExit(f"a SuperNode is on this machine, at {doorway.HERE}: given {host}")
    enclosure = Enclosure.of(os.environ.get(PROFILE))
    ours, theirs = socket.socketpair()
    place = enclosure.scratch()
    app = os.fork()
    if app == 0:
        ours.close()
        os.environ["TMPDIR"] = tempfile.tempdir = str(place or cache_folder())
        way = doorway.Doorway(theirs)
        setattr(socket, "create_connection", way.connect)  # noqa: B010  it is theirs
        app_of_ours = enclosure.entered(theirs.fileno()).client_app
        _answer({**REPLACED, LOADS: _loads(app_of_ours)})
        raise SystemExit
    theirs.close()
    enclosure.left()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # typed for the app as well, with which we end
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(app, number))
    with ours:  # closed, it keeps the app waiting for nothing
        doorway.serve(ours, int(port), app, parent)
    status = doorway.ended(app)
    if place is not None:
        shutil.rmtree(place, ignore_errors=True)
    raise SystemExit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


def _discarded(bundle: bytes, *arguments: object, **more: object) -> None:
    """What is done with the bundle."""
    digest = hashlib.sha256(bundle).hexdigest()
    _log.warning("threw away the coordinator's code: %d bytes, sha256 %s", len(bundle), digest)


def _nowhere(*arguments: object, **more: object) -> Path:
    return NOWHERE


def _watched_from_outside(*arguments: object, **more: object) -> None:
    """A fenced process cannot see whether its SuperExec is there: its doorway does."""


def _installed() -> Any:
    from sites.app import app

    return app


def _loads(app: Callable[[], Any]) -> Callable[..., Any]:
    """What makes what loads the app, whatever the run says it is called."""

    def loading(*how: object, **more: object) -> Callable[..., Any]:
        return lambda *which, **named: app()

    return loading


LOADS = "get_load_client_app_fn"
REPLACED: dict[str, Callable[..., Any]] = {
    "install_from_fab": _discarded,
    "get_project_dir": _nowhere,
    LOADS: _loads(_installed),
    "start_parent_process_monitor": _watched_from_outside,
}


if __name__ == "__main__":
    main()
