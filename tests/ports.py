"""Ports on loopback that nobody listens on now."""

from __future__ import annotations

import contextlib
import socket


def free_port() -> int:
    """One."""
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """Different ones: all are held until the last is found."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
