"""The Flower ClientApp of a site: opens its cohort, releases, and never lets an error pass unnamed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedcxr import wire
from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.errors import Refused
from fedcxr.keys.identity import PublicIdentity
from fedcxr.keys.provider import KeyProvider
from fedcxr.keys.signatures import sign_answer, sign_hello
from fedcxr.protocol import job_of, learn_step, round_of, site_step, test_step
from fedcxr.release import Release
from fedcxr.scenario import Scenario
from fedcxr.steps import Step
from fedcxr.storage.workshops import Workshops
from sites.asking import asking
from sites.codes import Code, Denied, Told, tell
from sites.premises import Opened, Premises, of_the_node


def client_app(premises: Opened) -> ClientApp:
    """The app of every site whose films and keys are where `premises` says."""
    app = ClientApp()

    @app.query("hello")
    def hello(message: Message, context: Context) -> Message:
        """Say which site this node is, and sign it."""
        return Message(wire.pack_introduction(_introduction(message, context, premises)), reply_to=message)

    @app.query("release")
    def release(message: Message, context: Context) -> Message:
        """Answer a request with one Release, or with what went wrong and where."""
        return _answered(message, context, premises, _release)

    @app.train()
    def learn(message: Message, context: Context) -> Message:
        """Answer a request to learn with an update, which is a Release like any other."""
        return _answered(message, context, premises, _learn)

    @app.evaluate()
    def test(message: Message, context: Context) -> Message:
        """Answer a request to test what was learnt with figures of this site's films."""
        return _answered(message, context, premises, _test)

    return app


app = client_app(of_the_node)


@dataclass(frozen=True)
class Site:
    """Everything that a site answers a request with."""

    scenario: Scenario
    name: str
    cohort: Cohort
    keys: KeyProvider
    premises: Premises

    def workshop(self, *, last: bool) -> AbstractContextManager[Path]:
        return Workshops.below(cache_folder()).open(self.scenario.run_name, self.name, last=last)

    def inspect(self, original: Cohort, release: Release) -> None:
        self.premises.begins(Step.LIMITS)
        self.premises.inspect(original, release)
        self.premises.begins(Step.SIGN)

    def answer(self, release: Release) -> wire.Answer:
        patients = len(set(self.cohort.patients))
        return wire.Answer(self.name, "ok", patients=patients, images=len(self.cohort), release=release.to_bytes())


Work = Callable[[wire.Request, Site], wire.Answer]


def _introduction(message: Message, context: Context, premises: Opened) -> wire.Introduction:
    explain = _as_a_hospital
    try:
        hello = wire.unpack_hello(message.content)
        here = premises(context.node_config)
        explain = here.explain
        coordinator, asked = _asking(hello, message, here)
        with here.key_provider(hello.scenario) as keys:
            signature = sign_hello(keys.identity, coordinator, asked)
            return wire.Introduction(keys.identity.public.name, "ok", signature=signature)
    except Exception as error:  # as below
        status, reason, place, _ = explain(error, 0.0)
        return wire.Introduction("", status, wire.line(f"{reason} ({place})" if place else reason))


def _answered(message: Message, context: Context, premises: Opened, work: Work) -> Message:
    start, site, explain = time.perf_counter(), "", _as_a_hospital
    try:
        request = wire.unpack_request(message.content)
        site = request.site
        here = premises(context.node_config)
        explain = here.explain
        coordinator, asked = _asking(request, message, here)
        here.begins(Step.KEYS)
        with here.key_provider(request.scenario) as keys:
            here.asked_by(coordinator)
            answer = _answer(request, here, keys, work, start)
            answer = replace(answer, log=here.log())
            answer = replace(answer, signature=sign_answer(keys.identity, coordinator, asked, answer.digest))
    except Exception as error:  # without keys there is nothing to sign with, and nobody will believe a word of it
        answer = _refusal(site, explain(error, time.perf_counter() - start))
    return Message(wire.pack_answer(answer), reply_to=message)


def _asking(asked: wire.Asked, message: Message, here: Premises) -> tuple[PublicIdentity, bytes]:
    """Who asks, and the digest of what. Before keys are derived, which is slow, and before the scenario is read."""
    kind = message.metadata.message_type
    return asking(asked, kind, here.coordinators(asked.scenario), time.time()), asked.digest(kind)


def _as_a_hospital(error: Exception, seconds: float) -> Told:
    """While it is not known whose premises these are, no more is told than by a hospital."""
    return tell(error)


def _refusal(site: str, told: Told) -> wire.Answer:
    status, reason, place, seconds = told
    return wire.Answer(site, status, wire.line(reason), wire.line(place, wire.LONGEST_PLACE), seconds=seconds)


def _answer(request: wire.Request, here: Premises, keys: KeyProvider, work: Work, start: float) -> wire.Answer:
    own = keys.identity.public.name
    try:
        here.begins(Step.SCENARIO)
        scenario = here.scenario(request.scenario)  # it imports what it names: after the keys are elsewhere
        if own != request.site:
            raise Denied(Code.SITE, "this node is another site", given=own, allowed=request.site)
        if own not in scenario.site_names:
            names = ", ".join(scenario.site_names)
            raise Denied(Code.SITE, "this site is not in the scenario", given=own, allowed=names)
        here.begins(Step.FILMS)
        site = Site(scenario, own, here.cohort(scenario, own), keys, here)
        here.begins(Step.WORK)
        done = work(request, site)
        return done.after(here.told_seconds(time.perf_counter() - start))
    # Whatever a method raises belongs to this site; it must not end the round for the others.
    except Exception as error:
        return _refusal(request.site, here.explain(error, time.perf_counter() - start))


def _release(request: wire.Request, site: Site) -> wire.Answer:
    _asked_once(request)
    learnt = _update(request) if request.learnt else None
    site.premises.allow(site.cohort)
    if learnt is None and site.scenario.method.learning is not None:  # what it learns here may leave, too
        site.premises.allow(site.cohort.where("train"))
    job = job_of(site.scenario, "release", told=learnt)
    with site.workshop(last=True) as workshop:
        known, inspect = (site.cohort, site.keys, learnt, workshop), site.inspect
        shared = site_step(site.scenario, site.name, *known, job=job, inspect=inspect)
        return site.answer(shared)


def _learn(request: wire.Request, site: Site) -> wire.Answer:
    turn, start = round_of(site.scenario, request.turn), _update(request)
    site.premises.allow(site.cohort.where("train"))
    job = job_of(site.scenario, "learn", turn.number, start)
    with site.workshop(last=False) as workshop:  # the next round goes on from there, and so does one after a failure
        update = learn_step(site.scenario, site.name, site.cohort, site.keys, start, turn, workshop, job=job)
        return site.answer(update)


def _test(request: wire.Request, site: Site) -> wire.Answer:
    _asked_once(request)
    message = _update(request)
    site.premises.allow(site.cohort.where("test"), str(message.facts.get("task")))
    job = job_of(site.scenario, "test", message.facts.get("task"), message)
    return site.answer(test_step(site.scenario, site.name, site.cohort, site.keys, message, job))


def _asked_once(request: wire.Request) -> None:
    """Learning alone has turns."""
    if request.turn != 1:
        raise Refused("there is one turn of this", given=request.turn, allowed="1")


def _update(request: wire.Request) -> Release:
    learnt = Release.from_bytes(request.learnt)
    if learnt.kind != "update":
        raise Refused("what a method learnt is an update", given=learnt.kind)
    return learnt
