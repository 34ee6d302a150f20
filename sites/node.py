"""A hospital's node: Flower's SuperNode, which talks to the coordinator, and what answers, in a process of its own.

Whoever talks holds the node's keys and no film, and whoever answers holds films and keys of releases and talks to
nobody but the SuperNode, on loopback. Nothing that is pushed is installed, and no dependency of it (`sites.launcher`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedcxr.deployment.kit import AUTHORITY, NODE_CERTIFICATE, NODE_KEY, TLS_KEY
from fedcxr.deployment.run_folder import PROGRAMS, RunFolder
from fedcxr.deployment.supervision import Part, Together, together
from sites.enclosure import PROFILE

HERE = "127.0.0.1"

# What Flower's SuperNode says when the coordinator's server does not take it, and what that means.
MEANINGS = {
    "Failed to activate SuperNode": (
        "the coordinator's server has this node as connected still, as it has for a minute after one that was killed",
        "start it again in a minute, as systemd does; if that does not help, it runs twice",
    ),
    "SuperNode terminated gracefully": (
        "the coordinator's server was started anew or has expelled this node, or somebody here ended it",
        "start it again, as systemd does",
    ),
    "Failed to initialize the connection to the SuperLink": (
        "it reached no gate of the coordinator's",
        "`fedcxr preflight KIT` says why; start it again, as systemd does, once that is mended",
    ),
}


@contextmanager
def started(kit: Path, profile: Path, gate: str, port: int) -> Iterator[Together]:
    """The node of this kit and profile, at work for the coordinator behind this gate."""
    run = RunFolder(kit)
    with together() as parts:
        for part in _parts(kit, profile, gate, port, run):
            parts.start(part)
        yield parts


def _parts(kit: Path, profile: Path, gate: str, port: int, run: RunFolder) -> Iterator[Part]:
    here, tasks = run.environment, {"PATH": run.path_to("flwr-clientapp", "sites.launcher"), PROFILE: str(profile)}
    secret, authority = str(run.secret()), str(kit / AUTHORITY)
    supernode = [
        *(sys.executable, "-P", "-m", "sites.supernode"),
        *(str(kit / NODE_CERTIFICATE), str(kit / TLS_KEY), authority),
        *("--superlink", gate, "--root-certificates", authority),
        *("--auth-supernode-private-key", str(kit / NODE_KEY)),
        *("--isolation", "process", "--superexec-auth-secret-file", secret),
        *("--host", HERE, "--port", str(port), "--node-config", f"profile={json.dumps(str(profile))}"),
    ]
    yield Part("supernode", supernode, run.log("supernode"), here, meanings=MEANINGS)
    superexec = [
        *(str(PROGRAMS / "flower-superexec"), "--runtime-api-address", f"{HERE}:{port}", "--insecure"),
        *("--superexec-auth-secret-file", secret),
    ]
    yield Part("superexec", superexec, run.log("superexec"), {**here, **tasks})
