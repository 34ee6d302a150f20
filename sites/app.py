"""The Flower ClientApp of a hospital: opens its cohort, releases, and never lets an error pass unnamed."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedcxr import wire
from fedcxr.cohort import Cohort
from fedcxr.errors import FedcxrError, Refused
from fedcxr.methods import Weights
from fedcxr.protocol import learn_step, round_of, site_step
from fedcxr.release import Release
from fedcxr.scenario import Scenario
from sites.data import open_cohort, workshop_folder
from sites.keys import custodian

app = ClientApp()
LONGEST_REASON = 500  # characters


@app.query("release")
def release(message: Message, context: Context) -> Message:
    """Answer a request with one Release, or with what went wrong and where."""
    return _answered(message, context, _release)


@app.train()
def learn(message: Message, context: Context) -> Message:
    """Answer a request to learn with an update, which is a Release like any other."""
    return _answered(message, context, _learn)


def _answered(message: Message, context: Context, work: Callable[[wire.Request, Context], wire.Answer]) -> Message:
    request = wire.unpack_request(message.content)
    start = time.perf_counter()
    try:
        answer = work(request, context)
    except Refused as error:
        answer = wire.Answer(request.site, "refused", str(error)[:LONGEST_REASON])
    # Whatever a method raises belongs to this site; it must not end the round for the others.
    except Exception as error:
        reason = str(error) if isinstance(error, FedcxrError) else f"{type(error).__name__}: {error}"
        answer = wire.Answer(request.site, "dropped", reason[:LONGEST_REASON], _place(error))
    return Message(wire.pack_answer(answer.after(time.perf_counter() - start)), reply_to=message)


def _release(request: wire.Request, context: Context) -> wire.Answer:
    scenario, cohort = Scenario.from_yaml(request.scenario), open_cohort(request.scenario, request.site)
    workshop = workshop_folder(scenario, request.site)
    learnt = _learnt(request) if request.learnt else None
    with custodian(context, scenario, request.site) as keys:
        shared = site_step(scenario, request.site, cohort, keys, learnt, workshop)
    answer = _answer(request, cohort, shared)
    shutil.rmtree(workshop, ignore_errors=True)  # it served its purpose, and it was made of real films
    return answer


def _learn(request: wire.Request, context: Context) -> wire.Answer:
    scenario, cohort = Scenario.from_yaml(request.scenario), open_cohort(request.scenario, request.site)
    workshop, turn = workshop_folder(scenario, request.site), round_of(scenario, request.turn)
    with custodian(context, scenario, request.site) as keys:
        update = learn_step(scenario, request.site, cohort, keys, _learnt(request), turn, workshop)
    return _answer(request, cohort, update)


def _learnt(request: wire.Request) -> Weights:
    learnt = Release.from_bytes(request.learnt)
    if learnt.kind != "update":
        raise Refused("what a method learnt is an update", given=learnt.kind)
    return learnt.weights


def _answer(request: wire.Request, cohort: Cohort, release: Release) -> wire.Answer:
    patients = len(set(cohort.patients))
    return wire.Answer(request.site, "ok", patients=patients, images=len(cohort), release=release.to_bytes())


def _place(error: Exception) -> str:
    """The innermost file and line of our own or a plug-in's code, rather than a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename] or list(frames)
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
