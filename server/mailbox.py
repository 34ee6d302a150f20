"""Replies as nodes send them, one by one: what comes need be no message, and may say that it answers somebody else's.

Flower reads a reply, and whose question it answers, from bytes that the node made; what it cannot read, it raises at
whoever pulls, together with all that came along. So each question is asked after alone, and its reply is its node's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flwr.app import Message
from flwr.serverapp import Grid

from fedcxr.errors import Refused

APP_RAISED = 2  # Flower's error code for an exception in a ClientApp: of all errors, the one that is the node's


def replies(grid: Grid, asked: Iterable[str], *, simulated: bool) -> Iterator[tuple[str, Message | Refused]]:
    """What has arrived to these messages, by their names; in a simulation what is broken is the engine."""
    for name in list(asked):
        try:
            yield from ((name, reply) for reply in list(grid.pull_messages([name]))[:1])
        except Exception as error:
            if simulated:
                raise
            yield name, Refused("a node sends what is no message", given=type(error).__name__)
