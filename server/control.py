"""What the coordinator says to its own SuperLink, over the Control API that nobody else can reach."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fedcxr.errors import EngineBroken

# Flower wants a bundle with every run. Both launchers throw it away, so ours says who it is for and holds no code.
BUNDLE: Mapping[str, bytes] = {
    "pyproject.toml": b"""[project]
name = "fedcxr"
version = "0.0.0"
dependencies = ["flwr"]

[tool.flwr.app]
publisher = "fedcxr"

[tool.flwr.app.components]
serverapp = "server.app:app"
clientapp = "sites.app:app"

[tool.flwr.app.config]
scenario = ""
"""
}
FINISHED = "finished"


@dataclass(frozen=True)
class Status:
    """How far Flower is with a run: pending, starting, running or finished; then how it ended, and what it said."""

    stage: str
    outcome: str = ""  # completed | failed | stopped
    details: str = ""

    @property
    def finished(self) -> bool:
        return self.stage == FINISHED


@dataclass(frozen=True)
class Node:
    """A node that the SuperLink knows, and whether it is connected: registered, online, offline or unregistered."""

    number: int
    status: str


class Control:
    """One SuperLink's Control API."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    @contextmanager
    def of(cls, address: str, authority: Path) -> Iterator[Self]:
        """At this address, whose certificate the consortium's authority has signed."""
        from flwr.supercore.control import ControlHttpClient
        from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

        checks = [RuntimeVersionHttpInterceptor(component_name="flwr CLI")]
        client = ControlHttpClient.from_server_address(address, False, authority.read_bytes(), checks)
        try:
            yield cls(client)
        finally:
            client.close()

    def answers(self) -> bool:
        """Whether anybody is there."""
        try:
            self.nodes()
        except EngineBroken:
            return False
        return True

    def nodes(self) -> Mapping[bytes, Node]:
        """By public key, every node that may connect."""
        from flwr.proto.control_pb2 import ListNodesRequest

        listed = self._ask("ListNodes", ListNodesRequest()).nodes_info
        return {node.public_key: Node(node.node_id, node.status) for node in listed}

    def admit(self, public_key: bytes, name: str) -> None:
        """Let the node with this key connect."""
        from flwr.proto.control_pb2 import RegisterNodeRequest

        self._ask("RegisterNode", RegisterNodeRequest(public_key=public_key, name=name))

    def start(self, scenario: str) -> int:
        """Have the coordinator's app conduct a scenario of its kit; returns Flower's number of the run."""
        from flwr.cli.build import build_fab_from_files
        from flwr.common.serde import fab_to_proto, user_config_to_proto
        from flwr.proto.control_pb2 import StartRunRequest
        from flwr.supercore.fab import Fab

        bundle, _ = build_fab_from_files(BUNDLE)
        fab = fab_to_proto(Fab(hashlib.sha256(bundle).hexdigest(), bundle, {}))
        asked = StartRunRequest(fab=fab, override_config=user_config_to_proto({"scenario": scenario}))
        return int(self._ask("StartRun", asked).run_id)

    def status(self, run: int) -> Status:
        """How far a run is."""
        from flwr.proto.control_pb2 import ListRunsRequest

        found = self._ask("ListRuns", ListRunsRequest(run_id=run)).run_dict
        if run not in found:
            raise EngineBroken("the SuperLink does not know this run", given=run, do="it forgets them when it ends")
        said = found[run].status
        return Status(said.status, said.sub_status, said.details)

    def at_work(self, scenario: str) -> Sequence[int]:
        """The runs of a scenario that are not over."""
        from flwr.proto.control_pb2 import ListRunsRequest

        runs = self._ask("ListRuns", ListRunsRequest()).run_dict
        return [
            number
            for number, run in runs.items()
            if run.override_config["scenario"].string == scenario and run.status.status != FINISHED
        ]

    def stop_all(self, scenario: str) -> int:
        """End all runs of a scenario that are not over; returns how many there were."""
        asked = self.at_work(scenario)
        for number in asked:
            self.stop(number)
        return len(asked)

    def stop(self, run: int) -> None:
        """End a run."""
        from flwr.proto.control_pb2 import StopRunRequest

        self._ask("StopRun", StopRunRequest(run_id=run))

    def _ask(self, what: str, request: Any) -> Any:
        import httpx

        try:
            return getattr(self._client, what)(request)
        except httpx.HTTPError as error:
            raise EngineBroken(
                "the SuperLink does not answer as it should", given=f"{what}: {error}", do="read run/superlink.log"
            ) from None
