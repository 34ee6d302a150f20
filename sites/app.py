"""The Flower ClientApp of a site: opens its cohort, releases, and never lets an error pass unnamed."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedcxr import wire
from fedcxr.cohort import Cohort
from fedcxr.errors import FedcxrError, Refused
from fedcxr.keys.provider import KeyProvider
from fedcxr.keys.signatures import sign_answer, sign_hello
from fedcxr.protocol import job_of, learn_step, round_of, site_step, test_step
from fedcxr.release import Release
from fedcxr.scenario import Scenario
from sites.data import scratch_folder
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

    @property
    def scratch(self) -> Path:
        return scratch_folder(self.scenario, self.name)

    def answer(self, release: Release) -> wire.Answer:
        patients = len(set(self.cohort.patients))
        return wire.Answer(self.name, "ok", patients=patients, images=len(self.cohort), release=release.to_bytes())


def _introduction(message: Message, context: Context, premises: Opened) -> wire.Introduction:
    hello = wire.unpack_hello(message.content)
    try:
        with premises(context.node_config).key_provider(hello.scenario) as keys:
            signature = sign_hello(keys.identity, hello.run, hello.nonce)
            return wire.Introduction(keys.identity.public.name, "ok", signature=signature)
    except Refused as error:
        return wire.Introduction("", "refused", wire.line(str(error)))
    except Exception as error:  # as below
        return wire.Introduction("", "dropped", wire.line(f"{_reason(error)} ({_place(error)})"))


def _answered(
    message: Message, context: Context, premises: Opened, work: Callable[[wire.Request, Site], wire.Answer]
) -> Message:
    request = wire.unpack_request(message.content)
    start = time.perf_counter()
    try:
        here = premises(context.node_config)
        with here.key_provider(request.scenario) as keys:
            answer = _answer(request, here, keys, work).after(time.perf_counter() - start)
            signature = sign_answer(keys.identity, request.digest(message.metadata.message_type), answer.digest)
            answer = replace(answer, signature=signature)
    except Exception as error:  # without keys there is nothing to sign with, and nobody will believe a word of it
        answer = wire.Answer(request.site, "refused", _reason(error))
    return Message(wire.pack_answer(answer), reply_to=message)


def _answer(
    request: wire.Request, here: Premises, keys: KeyProvider, work: Callable[[wire.Request, Site], wire.Answer]
) -> wire.Answer:
    own = keys.identity.public.name
    try:
        scenario = Scenario.from_yaml(request.scenario)
        if own != request.site:
            raise Refused("this node is another site", given=own, allowed=request.site)
        if own not in scenario.site_names:
            raise Refused("this site is not in the scenario", given=own, allowed=", ".join(scenario.site_names))
        return work(request, Site(scenario, own, here.cohort(scenario, own), keys))
    except Refused as error:
        return wire.Answer(request.site, "refused", _reason(error))
    # Whatever a method raises belongs to this site; it must not end the round for the others.
    except Exception as error:
        return wire.Answer(request.site, "dropped", _reason(error), _place(error))


def _release(request: wire.Request, site: Site) -> wire.Answer:
    _asked_once(request)
    learnt = _update(request) if request.learnt else None
    job = job_of(site.scenario, "release", told=learnt)
    shared = site_step(site.scenario, site.name, site.cohort, site.keys, learnt, site.scratch, job=job)
    answer = site.answer(shared)
    shutil.rmtree(site.scratch, ignore_errors=True)  # it served its purpose, and it was made of real films
    return answer


def _learn(request: wire.Request, site: Site) -> wire.Answer:
    turn, start = round_of(site.scenario, request.turn), _update(request)
    job = job_of(site.scenario, "learn", turn.number, start)
    update = learn_step(site.scenario, site.name, site.cohort, site.keys, start, turn, site.scratch, job=job)
    return site.answer(update)


def _test(request: wire.Request, site: Site) -> wire.Answer:
    _asked_once(request)
    message = _update(request)
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


def _reason(error: Exception) -> str:
    named = str(error) if isinstance(error, FedcxrError) else f"{type(error).__name__}: {error}"
    return wire.line(named)


def _place(error: Exception) -> str:
    """The innermost file and line of our own or a plug-in's code, rather than a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename] or list(frames)
    return wire.line(f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "", wire.LONGEST_PLACE)
