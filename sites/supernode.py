"""Flower's SuperNode, but for one thing: it shows the coordinator's gate the hospital's certificate. And it waits less.

Flower's own proves which key a node has, and has no switch for a client's certificate. So its connection is made here,
by a client that is Flower's in everything but the TLS it speaks, and in what it makes of a link that is cut: Flower
takes what TLS says of that for a certificate that is wrong, and ends the node. A cut may also leave a reply behind, and
Flower's node would then be late by one for ever: see `in_turn`.
"""

from __future__ import annotations

import importlib
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

from fedcxr.deployment.run_folder import EAGER

LOOK = 1.0  # seconds between looks for a message, in place of three: every message waits for half of it
PULL, PUSH = "_pull_and_store_message", "_push_messages"


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
    node = importlib.import_module("flwr.supernode.start_client_internal")  # a function has its name, too
    setattr(node, "time", SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, LOOK))))  # noqa: B010
    in_turn(node)
    vars(fleet_http_connection)["FleetHttpClient"]  # where it is made; a Flower without it would go on with its own
    setattr(fleet_http_connection, "FleetHttpClient", Presenting)  # noqa: B010  it is theirs
    sys.argv = ["flower-supernode", *arguments]
    flower_supernode()


def in_turn(node: ModuleType | SimpleNamespace) -> None:
    """Have Flower's node go on sending until the message that it received last is answered.

    Its own sends whatever replies there are, and looks for the next message. A link that is cut while the coordinator
    is told that a message arrived leaves the reply to that one behind: it would go in place of the next, that one in
    place of the one after it, and nobody would hear from this node in time again.
    """
    pull, push = vars(node)[PULL], vars(node)[PUSH]
    unanswered = ""

    def pull_one(*, receive: Callable[[], Any], **more: Any) -> int | None:
        def receive_one() -> Any:
            nonlocal unanswered
            if received := receive():
                unanswered = received[0].metadata.message_id
            return received

        run: int | None = pull(receive=receive_one, **more)
        return run

    def push_all(*, send: Callable[..., Any], **more: Any) -> None:
        def send_one(reply: Any, *also: Any) -> Any:
            nonlocal unanswered
            if reply.metadata.reply_to_message_id == unanswered:
                unanswered = ""
            return send(reply, *also)

        while unanswered:  # as it is whenever Flower's loop comes here, which it does once a message has come
            push(send=send_one, **more)

    setattr(node, PULL, pull_one)
    setattr(node, PUSH, push_all)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
