"""Hospitals that need no passphrase, at nodes whose every message is overheard."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from flwr.app import Message, RecordDict

from fedcxr import plugins, wire
from fedcxr.codes.ambiguation import Ambiguation
from fedcxr.errors import Refused
from fedcxr.keys.cards import Card
from fedcxr.keys.identity import Identity, PublicIdentity
from fedcxr.keys.provider import SERVER, KeyProvider
from fedcxr.keys.signatures import sign_request
from fedcxr.simulation.keys import Simulated, simulated_identity
from server.inline import InlineGrid
from sites.app import client_app
from sites.inspection import Limits
from sites.premises import Hospital
from sites.profile import Profile

SITES = ("site-1", "site-2", "site-3")
OWN = ["own"] * len(SITES)  # the films of all of them, as a scenario has them
AMBIGUATIONS = list(get_args(Ambiguation))
SECRET = 99  # the seed of hospitals' keys, which no scenario has
COORDINATOR = simulated_identity(SECRET, SERVER)  # whom all of them answer


class SampleHospital(Hospital):
    """A hospital whose keys need no passphrase: `name`, `patients`, `secret` and `grants` (whether the coordinator
    has its keys) are what its node was started with."""

    @cached_property
    def profile(self) -> Profile:
        films = {"source": "phantom", "patients": self._node.get("patients", 8), "size": 16, "seed": 1}
        return Profile.parse(permissive(site=str(self._node["name"]), cohort=films))

    def coordinators(self, document: str) -> Sequence[PublicIdentity]:
        return [COORDINATOR.public]

    @contextmanager
    def key_provider(self, document: str) -> Iterator[KeyProvider]:
        if "broken" in self._node:
            raise Refused("the passphrase is wrong")
        name, secret = str(self._node["name"]), int(str(self._node.get("secret", SECRET)))
        yield Simulated(secret, name, {SERVER: 1.0} if "grants" in self._node else {})


def card_in(folder: Path, of: Identity = COORDINATOR) -> str:
    """The file of a coordinator's card, for a profile that is read."""
    file = folder / f"{of.public.fingerprint[:8]}.card"
    file.touch(mode=0o600)
    file.write_text(Card.issue(of).text)
    return str(file)


def greeting(hello: wire.Hello, by: Identity = COORDINATOR) -> RecordDict:
    """A greeting as a coordinator sends it."""
    dated = replace(hello, expires=hello.expires or soon())
    return wire.pack_hello(replace(dated, signature=sign_request(by, dated.digest(wire.HELLO))))


def requested(request: wire.Request, kind: str = wire.RELEASE, by: Identity = COORDINATOR) -> RecordDict:
    """A request as a coordinator sends it."""
    dated = replace(request, expires=request.expires or soon())
    return wire.pack_request(replace(dated, signature=sign_request(by, dated.digest(kind))))


def soon() -> int:
    return int(time.time()) + 60


def permissive(**changes: Any) -> dict[str, Any]:
    """The profile of a hospital that allows all that came with fedcxr."""
    usual = {
        "site": "site-1",
        "vault": "/nowhere",
        "coordinator": "/nowhere/coordinator.card",
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
