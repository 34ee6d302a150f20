"""How a script ends where what it was given cannot show anything: with one line, and the exit code of the commands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fedcxr.errors import FedcxrError


@contextmanager
def in_one_line() -> Iterator[None]:
    """Around all of its work."""
    try:
        yield
    except FedcxrError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
