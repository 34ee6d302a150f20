"""A fenced process for the tests of what keeps it in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fenced import Fenced


@pytest.fixture
def fenced() -> Iterator[Callable[..., Fenced]]:
    """Makes them, and clears their folders."""
    with ExitStack() as stack:

        def make(code: str, **how: Any) -> Fenced:
            one = Fenced.make(code, **how)
            stack.callback(one.clear)
            return one

        yield make
