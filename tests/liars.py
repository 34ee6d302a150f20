"""Sites that say what they like, and sign it: everything a coordinator hears from them is well-formed and wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import Error, Message

from fedcxr import wire
from fedcxr.keys.provider import SERVER
from fedcxr.keys.signatures import PURPOSE, sign_answer
from fedcxr.release import Packed, Release
from fedcxr.simulation.keys import simulated_identity
from server.inline import InlineGrid
from server.simulate import client_app

LIAR = "site-2"
Lie = Callable[[wire.Answer], wire.Answer]


class Liars(InlineGrid):
    """A simulation of which one site lies, to messages of some kinds, in answers that it signs."""

    def __init__(self, lies: Mapping[str, Lie], sites: int = 3, seed: int = 0, app: Any = None) -> None:
        super().__init__(client_app() if app is None else app, sites, workers=2)
        self.lies = lies
        self.identity = simulated_identity(seed, LIAR)
        self.coordinator = simulated_identity(seed, SERVER).public
        self.asked: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        messages = list(messages)
        ids = list(super().push_messages(messages))
        self.asked |= dict(zip(ids, messages, strict=True))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self.said(message) for message in super().pull_messages(message_ids)]

    def said(self, reply: Message) -> Message:
        asked = self.asked[reply.metadata.reply_to_message_id]
        lie = self.lies.get(asked.metadata.message_type)
        if lie is None or reply.has_error():
            return reply
        answer = wire.unpack_answer(reply.content)
        if answer.site == LIAR:
            reply.content = wire.pack_answer(self.signed(lie(answer), asked))
        return reply

    def signed(self, answer: wire.Answer, asked: Message) -> wire.Answer:
        digest = wire.unpack_request(asked.content).digest(asked.metadata.message_type)
        return replace(answer, signature=sign_answer(self.identity, self.coordinator, digest, answer.digest))


class Failing(Liars):
    """A simulation in which the message to one site ends in an error of Flower's."""

    def __init__(self, kind: str, code: int, reason: str = "it is gone") -> None:
        super().__init__({})
        self._kind, self._code, self._reason = kind, code, reason

    def said(self, reply: Message) -> Message:
        asked = self.asked[reply.metadata.reply_to_message_id]
        lost = asked.metadata.message_type == self._kind and asked.metadata.dst_node_id == 2
        return Message(Error(code=self._code, reason=self._reason), reply_to=asked) if lost else reply


def crafted(answer: wire.Answer, seed: int = 0, **changes: Any) -> wire.Answer:
    """The answer with a release of which parts were changed, or left out where None, and which nobody has checked.

    `facts` and `arrays` are changed one by one.
    """
    release = Release.from_bytes(answer.release)
    told = {"kind": release.kind, "site": release.site, "method": release.method}
    facts = _changed(release.facts, changes.pop("facts", {}))
    arrays = _changed(release.arrays, changes.pop("arrays", {}))
    envelopes = changes.pop("envelopes", release.envelopes)
    packed = Packed.of({**told, "facts": facts, **changes}, arrays, envelopes)
    return as_signed(answer, packed, seed)


def as_signed(answer: wire.Answer, packed: Packed, seed: int = 0) -> wire.Answer:
    signature = simulated_identity(seed, LIAR).sign(PURPOSE, bytes.fromhex(packed.digest))
    return replace(answer, release=replace(packed, signature=signature).to_bytes())


def lie(**changes: Any) -> Lie:
    """Changes to a release; a function makes a part of what it was."""
    return lambda answer: crafted(answer, **changes)


def rows(array: np.ndarray, *shape: int) -> np.ndarray:
    """Zeros of the same type for as many films."""
    return np.zeros((len(array), *shape), dtype=array.dtype)


def _changed(parts: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(parts)
    for name, change in changes.items():
        if change is None:
            del made[name]
        else:
            made[name] = change(made.get(name)) if callable(change) else change
    return made
