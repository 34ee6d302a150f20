"""Asking sites and hearing their answers as they arrive: what every phase of a run does on any of Flower's grids."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from flwr.app import Message
from flwr.serverapp import Grid

from fedcxr import wire
from fedcxr.errors import EngineBroken, FedcxrError, Refused
from fedcxr.keys.provider import Job, Work
from fedcxr.keys.signatures import sign_request, verify_answer, verify_release
from fedcxr.release import Header, Packed, Release
from fedcxr.runs import Run, site_logs
from fedcxr.view import Holder
from server.absence import why_absent
from server.mailbox import APP_RAISED, replies
from server.quorum import require_quorum
from server.register import Register
from server.roll_call import NONCE_BYTES, PULL_INTERVAL, RollCall, expiry
from server.traffic import Traffic

Read = TypeVar("Read")

WORK: Mapping[str, Work] = {wire.RELEASE: "release", wire.LEARN: "learn", wire.TEST: "test"}  # by kind of message
START_UP = 100.0  # seconds within which an engine has started the nodes of a simulation
PATIENCE = 0.25  # of a run's time: so long, in all its rounds together, the others wait for whoever is late


class Exchange:
    """The sites of one run, each at a node, and how long they may take in all."""

    def __init__(self, grid: Grid, run: Run, register: Register) -> None:
        self._grid, self._run, self._scenario, self._register = grid, run, run.scenario, register
        self._traffic = Traffic.of(run)
        limit, began = run.scenario.compute.timeout_s, time.monotonic()
        self._patience = PATIENCE * limit
        self._silent: set[str] = set()  # nobody waits a second time for whoever did not answer the first time
        self._document = run.scenario.to_yaml()
        # Who is not there by half of the time must not cost the others theirs. Simulated nodes are there as soon as
        # their engine has started, and a slow machine's start is no site's time.
        self._sites = RollCall(grid, run, register).take(limit / 2 + (START_UP if register.simulated else 0.0))
        self._deadline = (time.monotonic() if register.simulated else began) + limit

    @property
    def simulated(self) -> bool:
        """Whether all sites are."""
        return self._register.simulated

    @property
    def reader(self) -> Holder:
        """The coordinator as whoever sites grant keys."""
        return self._register.reader

    def ask(
        self,
        kind: str,
        sites: Sequence[str],
        turn: int = 1,
        learnt: Release | None = None,
        enough: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[str, wire.Answer | Refused]]:
        """Each site's answer as it arrives, or what is wrong with it; a site that keeps silent has `dropped`.

        Where more is to be asked, `enough` says whether the run could go on with what has arrived: from then on the
        rest are waited for in patience, which is half of what is left of it, and not until the time is over.
        """
        told = b"" if learnt is None else learnt.to_bytes()
        yield from ((site, self._sites.absent[site]) for site in sites if site in self._sites.absent)
        present = [site for site in sites if site in self._sites.nodes]
        seconds = max(self._deadline - time.monotonic(), 1.0)
        alike = wire.Request(self._document, "", turn, learnt=told, expires=expiry(seconds))
        requests = {site: alike.to(site, os.urandom(NONCE_BYTES)) for site in present}
        asked = {site: one.digest(kind) for site, one in requests.items()}
        messages = [
            Message(
                wire.pack_request(replace(one, signature=sign_request(self._register.coordinator, asked[site]))),
                dst_node_id=self._sites.nodes[site],
                message_type=kind,
                group_id=str(turn),
                ttl=seconds,
            )
            for site, one in requests.items()
        ]
        sizes = {site: wire.size(message.content) for site, message in zip(present, messages, strict=True)}
        asked_at = time.monotonic()
        waiting = dict(zip(self._grid.push_messages(messages), present, strict=True))
        for site in present:
            self._run.event("visit", site=site, round=turn, what="asked", work=WORK[kind])
        complete = math.inf  # when there were enough
        while waiting and time.monotonic() < min(self._deadline, complete + self._grace(waiting.values())):
            heard = False
            for name, reply in replies(self._grid, waiting, simulated=self._register.simulated):
                site, heard = waiting.pop(name), True
                answer = self._read(kind, turn, site, asked[site], reply)
                carried = 0 if isinstance(reply, Refused) or reply.has_error() else wire.size(reply.content)
                self._traffic.note(kind, turn, site, sizes[site], carried)
                yield site, answer
            if enough():
                complete = min(complete, time.monotonic())
            if not heard:
                time.sleep(PULL_INTERVAL)
        self._patience -= max(time.monotonic() - complete, 0.0)
        waited = f"{time.monotonic() - asked_at:.3g} s, after which there were enough others"
        limit = f"{self._scenario.compute.timeout_s:g} s" if complete == math.inf else waited
        self._silent |= {*waiting.values()}
        for site in waiting.values():
            self._traffic.note(kind, turn, site, sizes[site], 0)
            yield site, wire.Answer(site, "dropped", f"no answer within {limit}")

    def gather(
        self,
        kind: str,
        turn: int,
        told: Release,
        read: Callable[[str, wire.Answer], Read],
        about: str,
        sites: Sequence[str] | None = None,
    ) -> dict[str, Read]:
        """By site, what `read` makes of its answer; sites that have none are left out while enough others are left.

        Of these sites; of all, if they are not named.
        """
        asked = self._scenario.site_names if sites is None else sites
        found: dict[str, Read] = {}
        silent: dict[str, str] = {}
        needed = self._scenario.needed_of(len(asked))
        for site, answer in self.ask(kind, asked, turn, told, lambda: len(found) >= needed):
            reason = why_not(answer)
            if reason is None and not isinstance(answer, Refused):
                try:
                    found[site] = read(site, answer)
                    self._run.event("visit", site=site, round=turn, what="answered", work=WORK[kind])
                    continue
                except Exception as why:  # nobody else's run may end by what a site has sent
                    reason = fault(why)
            silent[site] = f"{reason}, {about}"
            self._run.event("site", site=site, round=turn, status="dropped", reason=reason)
            require_quorum(self._scenario, silent, asked)
        return dict(sorted(found.items()))  # they arrived in any order, and sums of floats depend on it

    def without(
        self, odd: Mapping[str, str], found: Mapping[str, Read], turn: int, asked: Sequence[str]
    ) -> dict[str, Read]:
        """What was gathered, but for sites that turn out odd beside the others; refused if too few are left."""
        for site, reason in odd.items():
            self._run.event("site", site=site, round=turn, status="refused", reason=reason)
        left = {site: read for site, read in found.items() if site not in odd}
        missing = {site: odd.get(site, "no answer") for site in asked if site not in left}
        require_quorum(self._scenario, missing, asked)
        return left

    def release(
        self, site: str, answer: wire.Answer, job: Job, admit: Callable[[Header], None]
    ) -> tuple[Packed, Release]:
        """What a site released, as it came and unpacked, once it is certain that it did, and for this request.

        Signature, request and what `admit` asks of its header come first: they cost nothing, and unpacking may.
        """
        packed = verify_release(answer.release, self._register.cards[site])
        expected = job.facts
        told = {key: packed.header.facts.get(key) for key in expected}
        if told != expected:
            raise Refused("a release that answers another request", given=told, allowed=str(expected))
        admit(packed.header)
        return packed, Release.of(packed)

    def holding(self, site: str) -> int:
        """How many films this site said that it holds, and accounted for, when it released; 0: it did not."""
        note = self._run.release_note(site)
        return 0 if note is None else int(note["images"])

    def stored(self, site: str) -> Packed | None:
        """The release of this site that is on file, if it is whole and this site signed it; else it is none."""
        packed = self._run.stored_release(site)
        try:
            return None if packed is None else verify_release(packed.to_bytes(), self._register.cards[site])
        except (Refused, KeyError):
            return None

    def _grace(self, late: Iterable[str]) -> float:
        """For how many seconds more the others wait for these, once they are enough: half of their patience."""
        return 0.0 if self._silent.issuperset(late) else max(self._patience, 0.0) / 2

    def _read(self, kind: str, turn: int, site: str, asked: bytes, reply: Message | Refused) -> wire.Answer | Refused:
        if isinstance(reply, Refused):
            return reply
        if reply.has_error():
            # Our ClientApp answers even when a method raises. What it raises all the same is its site's; any other
            # error is the engine's own. Flower puts a dead Ray actor back into its pool, where it spoils every message
            # after this one: stop here.
            if self._register.simulated and reply.error.code != APP_RAISED:
                said = wire.line(reply.error.reason or "")
                raise EngineBroken("the engine died while a site was at work", given=f"{site}: {said}")
            return wire.Answer(site, "dropped", why_absent(reply.error, kind))
        try:
            answer = wire.unpack_answer(reply.content)
            if answer.site != site:
                raise Refused("an answer in another site's name", given=answer.site, allowed=site)
            # Until it is signed, nothing of it is believed: not why it failed, and not how many films there are.
            by, coordinator = self._register.cards[site], self._register.coordinator.public
            verify_answer(by, coordinator, asked, answer.digest, answer.signature)
        except Refused as why:
            return why
        site_logs.keep(self._run.folder, site, WORK[kind], turn, answer)
        return answer


def fault(error: Exception) -> str:
    """What is said of a site whose answer ends in this error when it is read."""
    return wire.line(
        str(error) if isinstance(error, FedcxrError) else f"cannot be read: {type(error).__name__}: {error}"
    )


def why_not(answer: wire.Answer | Refused) -> str | None:
    """Why this answer holds no release; None: it holds one."""
    if isinstance(answer, Refused):
        return str(answer)
    if answer.status == "ok":
        return None
    return f"{answer.reason} ({answer.place})" if answer.place else answer.reason
