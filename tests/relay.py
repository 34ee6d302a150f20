"""A link between a hospital and the coordinator's gate that is as slow as a test says, or cut."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

PIECE = 1024  # bytes


class Relay:
    """Passes on what comes to `port`, and what comes back."""

    def __init__(self) -> None:
        self.to = 0  # a port of this machine
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._whole = threading.Event()
        self._turn = threading.Lock()
        self.port = int(self._listening.getsockname()[1])
        self.rate: float | None = None  # bytes a second, both ways and all connections together
        self.passed = 0  # bytes
        self.mend()

    def cut(self) -> None:
        """From now on nothing arrives, and nobody is told."""
        self._whole.clear()

    def mend(self) -> None:
        """What was on its way arrives."""
        self._whole.set()

    def serve(self) -> None:
        """Until it is closed."""
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        """One connection, both ways; one that leads nowhere is closed."""
        with near, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.to)) as far:
            back = threading.Thread(target=self._pass_on, args=(far, near), daemon=True)
            back.start()
            self._pass_on(near, far)
            back.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                self._whole.wait()
                if self.rate is not None:
                    with self._turn:
                        time.sleep(len(piece) / self.rate)
                self.passed += len(piece)
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.mend()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@contextlib.contextmanager
def relayed() -> Iterator[Relay]:
    """A relay, while the block lasts."""
    relay = Relay()
    serving = threading.Thread(target=relay.serve, daemon=True)
    serving.start()
    try:
        yield relay
    finally:
        relay.close()
        serving.join(10)
