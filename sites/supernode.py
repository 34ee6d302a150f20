"""Flower's SuperNode, but for one thing: it shows the coordinator's gate the hospital's certificate. And it waits less.

Flower's own proves which key a node has, and has no switch for a client's certificate. So its connection is made here,
by a client that is Flower's in everything but the TLS it speaks, and in what it makes of a link that is cut: Flower
takes what TLS says of that for a certificate that is wrong, and ends the node.
"""

from __future__ import annotations

import importlib
import ssl
import sys
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from fedcxr.deployment.run_folder import EAGER

LOOK = 1.0  # seconds between looks for a message, in place of three: every message waits for half of it


def main(certificate: str, key: str, authority: str, arguments: Sequence[str]) -> None:
    """Run `flower-supernode` with these arguments."""
    import httpx
    from flwr.supercore.inflatable.inflatable_utils import pull_objects
    from flwr.supernode import fleet_http_connection
    from flwr.supernode.cli.flower_supernode import flower_supernode
    from flwr.supernode.fleet_http_client import FleetHttpClient

    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)

    class Presenting(FleetHttpClient):
        """Flower's client, which presents a certificate, and believes the consortium's authority alone."""

        @classmethod
        def from_server_address(
            cls, server_address: str, insecure: bool, root_certificates: Any, interceptors: Any, **more: Any
        ) -> Any:
            return cls(f"https://{server_address}", interceptors=interceptors, verify=context, **more)

        def _send(self, *asked: Any, **how: Any) -> Any:
            try:
                return super()._send(*asked, **how)
            except httpx.TransportError as failed:
                if isinstance(failed, httpx.TimeoutException) or "EOF" in str(failed):
                    raise type(failed)("the link to the coordinator's gate is cut") from failed
                raise

    (pull_objects.__kwdefaults__ or {}).update(EAGER)
    waits = importlib.import_module("flwr.supernode.start_client_internal")  # a function has its name, too
    setattr(waits, "time", SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, LOOK))))  # noqa: B010
    vars(fleet_http_connection)["FleetHttpClient"]  # where it is made; a Flower without it would go on with its own
    setattr(fleet_http_connection, "FleetHttpClient", Presenting)  # noqa: B010  it is theirs
    sys.argv = ["flower-supernode", *arguments]
    flower_supernode()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
