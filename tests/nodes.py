"""Hospitals that need no passphrase, at nodes whose every message is overheard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, get_args

from flwr.app import Message

from fedcxr import plugins
from fedcxr.codes.ambiguation import Ambiguation
from fedcxr.errors import Refused
from fedcxr.keys.provider import KeyProvider
from fedcxr.simulation.keys import Simulated
from server.inline import InlineGrid
from sites.app import client_app
from sites.inspection import Limits
from sites.premises import Hospital
from sites.profile import Profile

SITES = ("site-1", "site-2", "site-3")
OWN = ["own"] * len(SITES)  # the films of all of them, as a scenario has them
AMBIGUATIONS = list(get_args(Ambiguation))
SECRET = 99  # the seed of hospitals' keys, which no scenario has


class SampleHospital(Hospital):
    """A hospital whose keys need no passphrase: `name` and `secret` are what its node was started with."""

    @cached_property
    def profile(self) -> Profile:
        films = {"source": "phantom", "patients": 8, "size": 16, "seed": 1}
        return Profile.parse(permissive(site=str(self._node["name"]), cohort=films))

    @contextmanager
    def key_provider(self, document: str) -> Iterator[KeyProvider]:
        if "broken" in self._node:
            raise Refused("the passphrase is wrong")
        name, secret = str(self._node["name"]), int(str(self._node.get("secret", SECRET)))
        yield Simulated(secret, name, {})


def permissive(**changes: Any) -> dict[str, Any]:
    """The profile of a hospital that allows all that came with fedcxr."""
    usual = {
        "site": "site-1",
        "vault": "/nowhere",
        "cohort": {"source": "phantom", "patients": 8, "size": 16},
        "methods": {name: {} for name in plugins.names("method")} | {"sca": {"ambiguation": {"one_of": AMBIGUATIONS}}},
        "learns": ["local", "public", "federated"],
        "tasks": list(plugins.names("task")),
        "budget": {"releases": 1000, "turns": 1000, "tests": 1000},
        "limits": dict.fromkeys(Limits.model_fields),
        "smallest": 1,
    }
    return {**usual, **changes}


class Nodes(InlineGrid):
    """An engine whose nodes were started as they say, and whose every message is overheard."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        super().__init__(client_app(SampleHospital), len(nodes), workers=2)
        for context, node in zip(self._contexts.values(), nodes, strict=True):
            context.node_config = node
        self.sent: list[Message] = []

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        messages = list(messages)
        self.sent += messages
        return super().push_messages(messages)

    def told(self, node: int) -> list[str]:
        """What was asked of a node."""
        return [m.metadata.message_type for m in self.sent if m.metadata.dst_node_id == node]


def named(*names: str) -> list[dict[str, Any]]:
    return [{"name": name} for name in names]
