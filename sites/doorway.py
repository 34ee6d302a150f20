"""The one way out of a fenced app: connections to its SuperNode, made by the process that started it.

The app can make no socket and connect none. It asks for one here, and is handed one that leads to one port of this
machine. So no rule has to tell addresses apart, which Landlock cannot: it knows ports alone.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from contextlib import suppress

HERE = "127.0.0.1"
ASKED, OPENED, CLOSED = b"?", b"+", b"-"
PATIENCE = 10.0  # seconds for a connection on this machine
WATCH = 1.0  # seconds between looks at whether whoever started us is there
ORPHAN = 1  # whose child one is whose parent was gone before one looked
GRACE, LOOK = 5.0, 0.02  # seconds: for the app to end, and between looks at whether it has


class Doorway:
    """The app's end, shared by its threads."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self._turn = threading.Lock()

    def connect(self, address: object, timeout: float | None = None, *more: object, **others: object) -> socket.socket:
        """As `socket.create_connection`, but that it leads to the SuperNode, whatever the address."""
        with self._turn:
            self.channel.sendall(ASKED)
            said, given, *_ = socket.recv_fds(self.channel, 1, 1)
        if said != OPENED or not given:
            raise ConnectionRefusedError("the SuperNode is not there")
        opened = socket.socket(fileno=given[0])
        opened.settimeout(timeout if isinstance(timeout, int | float) else None)
        return opened


def serve(channel: socket.socket, port: int, app: int, parent: int) -> None:
    """Hand out connections to this port until the app is gone; tell it to end if `parent`, who started us, is gone."""
    while os.getppid() == parent != ORPHAN:  # looked at also while the app asks and asks for a SuperNode that is gone
        if select.select([channel], [], [], WATCH)[0]:
            try:
                if channel.recv(1) != ASKED:
                    return
                _hand_out(channel, port)
            except OSError:
                return
    with suppress(ProcessLookupError):
        os.kill(app, signal.SIGTERM)


def ended(app: int) -> int:
    """How the app has ended, as `waitpid` tells it; nobody hands it anything any more, so it may not take long."""
    deadline = time.monotonic() + GRACE
    while True:
        gone, status = os.waitpid(app, os.WNOHANG)
        if gone:
            return status
        if time.monotonic() > deadline:
            os.kill(app, signal.SIGKILL)
            return os.waitpid(app, 0)[1]
        time.sleep(LOOK)


def _hand_out(channel: socket.socket, port: int) -> None:
    try:
        opened = socket.create_connection((HERE, port), PATIENCE)
    except OSError:
        channel.sendall(CLOSED)
        return
    with opened:
        opened.setblocking(True)
        socket.send_fds(channel, [OPENED], [opened.fileno()])
