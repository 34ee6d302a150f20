"""Before anything else every node is asked who it is: a node is a site because it says so and signs so."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from flwr.app import Message
from flwr.serverapp import Grid

from fedcxr import wire
from fedcxr.errors import EngineBroken, Refused
from fedcxr.keys.signatures import sign_request, verify_hello
from fedcxr.runs import Run
from server.absence import why_absent
from server.mailbox import APP_RAISED, replies
from server.register import Register
from server.traffic import Traffic

PULL_INTERVAL = 0.02  # seconds between looks for answers
GREET_AGAIN = 10.0  # seconds after which a node that could not say who it is, is asked once more
STRAGGLERS = 2.0  # seconds for the other nodes, once all sites are known
NONCE_BYTES = 32
MOST_REMARKS = 50  # on nodes that are none of the sites: strangers may be many, and inventive


@dataclass(frozen=True)
class Attendance:
    """Which node is which site, and why some sites are at none."""

    nodes: Mapping[str, int]
    absent: Mapping[str, wire.Answer | Refused]


def expiry(seconds: float) -> int:
    """Until when somebody who has so long may answer, in unix seconds."""
    return math.ceil(time.time() + min(seconds, wire.LONGEST_LIFE))


class RollCall:
    """Greets the nodes of a grid as they appear, until all sites of the run are known or the time is over."""

    def __init__(self, grid: Grid, run: Run, register: Register) -> None:
        self._grid, self._run, self._register = grid, run, register
        self._expected = [site for site in run.scenario.site_names if site in register.cards]
        self._asked: dict[int, bytes] = {}  # by node, the digest of its last greeting
        self._waiting: dict[str, int] = {}  # nodes, by the message that they have not answered yet
        self._again: dict[int, float] = {}  # when a node may be greeted (once more)
        self._said: dict[int, str] = {}  # why a node is none of the sites
        self._remarks = 0
        self._nodes: dict[str, list[int]] = {}
        self._sizes: dict[int, int] = {}  # of what was said to each node, in bytes
        self._traffic = Traffic.of(run)

    def take(self, seconds: float) -> Attendance:
        """Who is there; a site that keeps silent for so long is not."""
        began, complete = time.monotonic(), math.inf
        while time.monotonic() < min(began + seconds, complete + STRAGGLERS):
            self._greet(seconds)
            heard = False
            for name, reply in replies(self._grid, self._waiting, simulated=self._register.simulated):
                self._hear(self._waiting.pop(name), reply)
                heard = True
            if len(self._nodes) == len(self._expected):
                complete = min(complete, time.monotonic())
            if not self._waiting and (complete < math.inf or self._nobody_else_comes):
                break
            if not heard:
                time.sleep(PULL_INTERVAL)
        return self._attendance(seconds)

    @property
    def _nobody_else_comes(self) -> bool:
        """A simulation has one node for each site."""
        return self._register.simulated and len(self._asked) >= len(self._run.scenario.site_names)

    def _greet(self, seconds: float) -> None:
        now, asked = time.monotonic(), set(self._waiting.values())
        due = [node for node in self._grid.get_node_ids() if node not in asked and self._again.get(node, 0.0) <= now]
        scenario = self._run.scenario
        document = scenario.to_yaml() if self._register.simulated and due else ""
        messages = []
        for node in due:
            hello = wire.Hello(scenario.run_name, os.urandom(NONCE_BYTES), document, expiry(seconds))
            self._asked[node], self._again[node] = hello.digest(wire.HELLO), math.inf
            hello = replace(hello, signature=sign_request(self._register.coordinator, self._asked[node]))
            messages.append(Message(wire.pack_hello(hello), dst_node_id=node, message_type=wire.HELLO, ttl=seconds))
            self._sizes[node] = wire.size(messages[-1].content)
        if messages:
            self._waiting |= dict(zip(self._grid.push_messages(messages), due, strict=True))

    def _hear(self, node: int, reply: Message | Refused) -> None:
        try:
            if isinstance(reply, Refused):
                raise reply
            site = self._introduced(node, reply)
        except Refused as why:
            if self._said.get(node) != str(why) and self._remarks < MOST_REMARKS:
                self._run.event("node", node=str(node), reason=str(why))  # a node's number is too large for JSON
                self._said[node] = str(why)
                self._remarks += 1
            return
        self._traffic.note(wire.HELLO, 0, site, self._sizes[node], wire.size(reply.content))
        self._run.event("visit", site=site, round=0, what="connected")
        self._nodes.setdefault(site, []).append(node)

    def _introduced(self, node: int, reply: Message) -> str:
        """Which of the run's sites this node is; refused if it is none, or does not prove it."""
        if reply.has_error():
            if self._register.simulated and reply.error.code != APP_RAISED:  # then no node is to blame
                raise EngineBroken(
                    "the engine died while a node was greeted", given=wire.line(reply.error.reason or "")
                )
            self._again[node] = time.monotonic() + GREET_AGAIN
            raise Refused("a node does not answer", given=why_absent(reply.error, wire.HELLO))
        told = wire.unpack_introduction(reply.content)
        if told.status != "ok":
            self._again[node] = time.monotonic() + GREET_AGAIN
            raise Refused(told.reason)
        if told.site not in self._expected:
            raise Refused("a node that is no site of this run", given=told.site, allowed=", ".join(self._expected))
        coordinator = self._register.coordinator.public
        verify_hello(self._register.cards[told.site], coordinator, self._asked[node], told.signature)
        return told.site

    def _attendance(self, seconds: float) -> Attendance:
        absent: dict[str, wire.Answer | Refused] = {}
        for site in self._run.scenario.site_names:
            nodes = self._nodes.get(site, [])
            if site not in self._expected:
                absent[site] = Refused("nobody knows this site's signature", given=site, do="enter its card")
            elif len(nodes) > 1:
                absent[site] = Refused(
                    "several nodes say that they are this site",
                    given=f"{site}: {', '.join(map(str, sorted(nodes)))}",
                    do="stop all but one",
                )
            elif not nodes:
                absent[site] = wire.Answer(site, "dropped", self._missing(seconds))
        return Attendance({site: nodes[0] for site, nodes in self._nodes.items() if site not in absent}, absent)

    def _missing(self, seconds: float) -> str:
        waited = "" if self._nobody_else_comes else f" within {seconds:g} s"
        others = [f"a node: {reason}" for reason in sorted(set(self._said.values()))]
        return wire.line("; ".join([f"not connected{waited}", *others]))
