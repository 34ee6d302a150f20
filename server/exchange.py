"""Asking sites and hearing their answers as they arrive: what every phase of a run does on any of Flower's grids."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from flwr.app import Message
from flwr.serverapp import Grid

from fedcxr import wire
from fedcxr.errors import EngineBroken, Refused, TooFewSites
from fedcxr.keys.provider import Job
from fedcxr.keys.signatures import verify_release
from fedcxr.release import Release
from fedcxr.runs import Run
from server.register import Register
from server.roll_call import PULL_INTERVAL, RollCall
from server.traffic import Traffic

Read = TypeVar("Read")


class Exchange:
    """The sites of one run, each at a node, and how long they may take in all."""

    def __init__(self, grid: Grid, run: Run, register: Register) -> None:
        self._grid, self._run, self._scenario, self._register = grid, run, run.scenario, register
        self._traffic = Traffic.of(run)
        limit = run.scenario.compute.timeout_s
        self._deadline = time.monotonic() + limit
        self._document = run.scenario.to_yaml()
        # Who is not there by half of the time must not cost the others theirs.
        self._sites = RollCall(grid, run, register).take(limit / 2)

    def ask(
        self, kind: str, sites: Sequence[str], turn: int = 1, learnt: Release | None = None
    ) -> Iterator[tuple[str, wire.Answer | Refused]]:
        """Each site's answer as it arrives, or what is wrong with it; a site that keeps silent has `dropped`."""
        told = b"" if learnt is None else learnt.to_bytes()
        yield from ((site, self._sites.absent[site]) for site in sites if site in self._sites.absent)
        present = [site for site in sites if site in self._sites.nodes]
        messages = [
            Message(
                wire.pack_request(wire.Request(self._document, site, turn, told)),
                dst_node_id=self._sites.nodes[site],
                message_type=kind,
                group_id=str(turn),
                ttl=max(self._deadline - time.monotonic(), 1.0),
            )
            for site in present
        ]
        sizes = {site: wire.size(message.content) for site, message in zip(present, messages, strict=True)}
        # A reply names its message, and not always its site.
        waiting = dict(zip(self._grid.push_messages(messages), present, strict=True))
        while waiting and time.monotonic() < self._deadline:
            replies = list(self._grid.pull_messages(list(waiting)))
            for reply in replies:
                site = waiting.pop(reply.metadata.reply_to_message_id)
                answer = self._read(site, reply)
                carried = 0 if reply.has_error() else wire.size(reply.content)
                self._traffic.note(kind, turn, site, sizes[site], carried)
                yield site, answer
            if not replies:
                time.sleep(PULL_INTERVAL)
        for site in waiting.values():
            self._traffic.note(kind, turn, site, sizes[site], 0)
            yield site, wire.Answer(site, "dropped", f"no answer within {self._scenario.compute.timeout_s:g} s")

    def gather(
        self, kind: str, turn: int, told: Release, read: Callable[[str, wire.Answer], Read], about: str
    ) -> dict[str, Read]:
        """By site, what `read` makes of its answer; sites that have none are left out while enough others are left."""
        found: dict[str, Read] = {}
        silent: dict[str, str] = {}
        for site, answer in self.ask(kind, self._scenario.site_names, turn, told):
            reason = why_not(answer)
            if reason is None and not isinstance(answer, Refused):
                try:
                    found[site] = read(site, answer)
                    continue
                except Refused as why:
                    reason = str(why)
            silent[site] = f"{reason}, {about}"
            self._run.event("site", site=site, round=turn, status="dropped", reason=reason)
            self.require_quorum(silent)
        return dict(sorted(found.items()))  # they arrived in any order, and sums of floats depend on it

    def release(self, site: str, answer: wire.Answer, job: Job) -> Release:
        """The release in an answer, once it is certain that this site made it for this request."""
        release = Release.from_bytes(answer.release)
        verify_release(release, self._register.cards[site])
        expected = job.facts
        told = {key: release.facts.get(key) for key in expected}
        if told != expected:
            raise Refused("a release that answers another request", given=told, allowed=str(expected))
        return release

    def require_quorum(self, reasons: Mapping[str, str]) -> None:
        """Raise unless enough sites are left when these, for these reasons, are not."""
        names, needed = self._scenario.site_names, self._scenario.needed_sites
        sites = len(names)
        if sites - len(reasons) < needed:
            raise TooFewSites(
                "too few sites released anything",
                given=f"{sites - len(reasons)} of {sites}; "
                + "; ".join(f"{site}: {reasons[site]}" for site in names if site in reasons),
                allowed=f"at least {needed} (min_sites)",
            )

    def _read(self, site: str, reply: Message) -> wire.Answer | Refused:
        if reply.has_error():
            # Our ClientApp answers even when a method raises, so this error is the engine's own. Flower puts a dead
            # Ray actor back into its pool, where it spoils every message after this one: stop here.
            if self._register.simulated:
                raise EngineBroken("the engine died while a site was at work", given=f"{site}: {reply.error.reason}")
            return wire.Answer(site, "dropped", f"its node does not answer: {reply.error.reason}")
        try:
            answer = wire.unpack_answer(reply.content)
            if answer.site != site:
                raise Refused("an answer in another site's name", given=answer.site, allowed=site)
        except Refused as why:
            return why
        return answer


def why_not(answer: wire.Answer | Refused) -> str | None:
    """Why this answer holds no release; None: it holds one."""
    if isinstance(answer, Refused):
        return str(answer)
    if answer.status == "ok":
        return None
    return f"{answer.reason} ({answer.place})" if answer.place else answer.reason
