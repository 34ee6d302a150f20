"""What Flower's node does otherwise at a site: it answers what it was asked last, whatever was left from before."""

from __future__ import annotations

import importlib
import inspect
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.app import Message, Metadata, RecordDict
from flwr.app.message import make_message
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import RunNotRunningException
from flwr.supernode.nodestate import NodeStateFactory

from sites.supernode import PULL, PUSH, in_turn

FLOWER = importlib.import_module("flwr.supernode.start_client_internal")


class Node:
    """Flower's own turn of a node, message by message, with a coordinator that hears what is sent."""

    def __init__(self, *, turned: bool) -> None:
        kept = ObjectStoreFactory()
        self.kept = {"state": NodeStateFactory(kept).state(), "object_store": kept.store()}
        self.heard: list[str] = []
        self.turn: Any = SimpleNamespace(
            _pull_and_store_message=lambda receive, **_: receive()[0].metadata.run_id,
            _push_messages=FLOWER._push_messages,
        )
        if turned:
            in_turn(self.turn)

    def replies(self, asked: Message) -> None:
        FLOWER._insert_message(Message(RecordDict(), reply_to=asked), self.kept["state"], self.kept["object_store"])

    def _sent(self, reply: Message, *_: Any) -> Any:
        self.heard.append(reply.metadata.reply_to_message_id)
        if self.heard[-1] == "over":
            raise RunNotRunningException
        return set(), ""

    def take(self, asked: Message) -> None:
        """What is asked is answered a little later."""
        app = threading.Timer(0.1, self.replies, [asked])
        app.start()
        self.turn._pull_and_store_message(receive=lambda: (asked, None), **self.kept)
        self.turn._push_messages(send=self._sent, push_object=print, **self.kept)
        app.join()


def asked(name: str) -> Message:
    metadata = Metadata(
        run_id=1, message_id=name, src_node_id=1, dst_node_id=2, reply_to_message_id="", group_id="",
        created_at=time.time(), ttl=60.0, message_type="query",
    )  # fmt: skip
    return make_message(metadata, RecordDict())


@pytest.mark.parametrize("turned", [True, False])
def test_a_reply_that_was_left_over_does_not_go_in_place_of_the_next(turned: bool) -> None:
    """Flower's own, for which each reply is late by one from then on, is the control."""
    node = Node(turned=turned)
    node.replies(asked("over"))  # its run has ended while the link was cut
    for name in ("first", "second"):
        node.take(asked(name))
    assert node.heard == (["over", "first", "second"] if turned else ["over", "first"])


def test_what_is_sent_in_turn_is_what_flower_has() -> None:
    """Parameters that were given by place would end a node at its first message."""
    loop = inspect.getsource(FLOWER.start_client_internal)
    for name, given in {PULL: "receive=receive", PUSH: "send=send"}.items():
        assert given in loop.rpartition(f" {name}(")[2].partition("\n            )")[0]
