"""An in-process Flower grid: the same apps on threads of this process, without Ray and without a SuperLink."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Iterable

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run as FlowerRun
from flwr.supercore.task_identity import TaskIdentity

from server.mailbox import APP_RAISED


class InlineGrid(Grid):
    """Hands messages to `workers` threads that call the ClientApp.

    The threads are daemons: a site that hangs must not keep the process alive after its time is over.
    """

    def __init__(self, client_app: ClientApp, sites: int, workers: int) -> None:
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
        self._app = client_app
        self._contexts = {
            node: Context(
                run_id=1,
                node_id=node,
                node_config={"partition-id": node - 1, "num-partitions": sites},
                state=RecordDict(),
                run_config={},
            )
            for node in range(1, sites + 1)
        }
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._replies: dict[str, Message] = {}
        for _ in range(workers):
            threading.Thread(target=self._work, daemon=True).start()

    def set_run(self, run: FlowerRun) -> None:
        """Nothing to do: the grid serves the one run of this process."""

    @property
    def run(self) -> FlowerRun:
        return FlowerRun.create_empty(run_id=1)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids: list[str] = []
        for message in messages:
            # What a SuperLink would stamp on the message; Flower offers no public way to do it.
            ids.append(uuid.uuid4().hex)
            message.metadata.__dict__.update({"_message_id": ids[-1], "_run_id": 1, "_src_node_id": 1})
            self._inbox.put(message)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(i) for i in message_ids if i in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError("collect() pushes and pulls, so that it can report each answer as it arrives")

    def _work(self) -> None:
        while True:
            message = self._inbox.get()
            try:
                reply = self._app(message=message, context=self._contexts[message.metadata.dst_node_id])
            except BaseException as error:  # as Flower's own engines do: an error is an answer, and an exit is one too
                reply = Message(Error(code=APP_RAISED, reason=f"{type(error).__name__}: {error}"), reply_to=message)
            self._replies[message.metadata.message_id] = reply


def run_inline(server_app: ServerApp, client_app: ClientApp, sites: int, workers: int) -> None:
    """Run both apps in this process until the ServerApp ends."""
    grid = InlineGrid(client_app, sites, workers)
    server_app(grid, Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={}))
