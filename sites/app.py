"""The Flower ClientApp of a hospital: opens its cohort, releases, and never lets an error pass unnamed."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedcxr import wire
from fedcxr.errors import FedcxrError, Refused
from fedcxr.protocol import site_step
from fedcxr.scenario import Scenario
from sites.data import open_cohort

app = ClientApp()
LONGEST_REASON = 500  # characters


@app.query("release")
def release(message: Message, context: Context) -> Message:
    """Answer a request with one Release, or with what went wrong and where."""
    request = wire.unpack_request(message.content)
    start = time.perf_counter()
    try:
        answer = _release(request)
    except Refused as error:
        answer = wire.Answer(request.site, "refused", str(error)[:LONGEST_REASON])
    # Whatever a method raises belongs to this site; it must not end the round for the others.
    except Exception as error:
        reason = str(error) if isinstance(error, FedcxrError) else f"{type(error).__name__}: {error}"
        answer = wire.Answer(request.site, "dropped", reason[:LONGEST_REASON], _place(error))
    return Message(wire.pack_answer(answer.after(time.perf_counter() - start)), reply_to=message)


def _release(request: wire.Request) -> wire.Answer:
    scenario = Scenario.from_yaml(request.scenario)
    cohort = open_cohort(request.scenario, request.site)
    released = site_step(scenario, request.site, cohort, scenario.seed)
    return wire.Answer(
        request.site,
        "ok",
        patients=len(set(cohort.patients)),
        images=len(cohort),
        release=released.to_bytes(),
    )


def _place(error: Exception) -> str:
    """The innermost file and line of our own or a plug-in's code, rather than a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename] or list(frames)
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
