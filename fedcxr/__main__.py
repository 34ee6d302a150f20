"""Where the command `fedcxr` begins: Ctrl-C is one line from the first moment, also while modules are being loaded."""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = b"error: interrupted; nothing was begun\n"


def main() -> None:
    """Load the commands, which takes a fraction of a second, and run them."""
    signal.signal(signal.SIGINT, _end)
    from fedcxr.cli import process

    process()


def _end(number: int, frame: FrameType | None) -> None:
    """At once: an exception would come up anywhere in somebody else's half-loaded module."""
    os.write(2, INTERRUPTED)
    os._exit(130)


if __name__ == "__main__":
    main()
