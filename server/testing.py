"""What was learnt from all releases, tested at the sites: where the films are, in one message, and none leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from fedcxr import wire
from fedcxr.data._vocabulary import canonical, union
from fedcxr.errors import Refused
from fedcxr.keys.provider import Job
from fedcxr.protocol import COORDINATOR, context_of, job_of, task_seed, taught_message
from fedcxr.release import Header, Release
from fedcxr.runs import Run
from fedcxr.tasks import Bench, Material, Tested
from fedcxr.view import Holder, Shared
from server.exchange import Exchange

MOST_TOLD = 1 << 14  # bytes of figures for each of a site's films


def test_at_sites(exchange: Exchange, run: Run, shared: Shared, holder: Holder) -> dict[str, Any]:
    """By task: its figures on everybody's test films, as far as they can be told from there; else None."""
    material = _material(run, shared, holder)
    figures: dict[str, Any] = {}
    for name, task in run.scenario.tasks.items():
        compute = context_of(run.scenario, COORDINATOR, None).compute
        bench = Bench(task_seed(run.scenario, name), compute, run.progress)
        taught = task.teach(material, bench)
        figures[name] = None
        if taught is not None:
            message = taught_message(run.scenario, name, taught)
            job = job_of(run.scenario, "test", name, message)
            tested = _ask(exchange, message, job, partial(task.check, taught=taught))
            # Nobody can check what a site tells of its own films: who tells wonders stands there by name.
            alone = {site: task.figures({site: told}, taught, bench) for site, told in tested.items()}
            figures[name] = {**task.figures(tested, taught, bench), "by_site": alone}
    return figures


def _ask(exchange: Exchange, message: Release, job: Job, check: Callable[[Tested], None]) -> Mapping[str, Tested]:
    """What each site that answers tells of its films."""

    def admit(header: Header, images: int) -> None:
        if (header.kind, header.facts.get("task")) != ("update", message.facts["task"]):
            raise Refused("this is not the site's test", given=f"{header.kind} of {header.facts.get('task')}")
        size = sum(stated.size for stated in header.arrays.values())
        if size > MOST_TOLD * max(images, 1):
            raise Refused("a test tells more than figures of the site's films", given=f"{size} bytes")

    def told(site: str, answer: wire.Answer) -> Tested:
        _, release = exchange.release(site, answer, job, partial(admit, images=answer.images))
        held = min(answer.images, exchange.holding(site))
        longest = max((len(array) if array.ndim else 0 for array in release.arrays.values()), default=0)
        if longest > held:
            raise Refused("a test of more films than the site holds", given=longest, allowed=str(held))
        check(release.arrays)
        return release.arrays

    return exchange.gather(wire.TEST, 1, message, told, "test")


def _material(run: Run, shared: Shared, holder: Holder) -> Material:
    """What the coordinator can learn from."""
    method = run.scenario.method
    view = method.view(shared, holder, context_of(run.scenario, COORDINATOR, None))
    rows = [release for release in shared.releases if len(release)]
    findings = union(*(release.facts["findings"] for release in rows)) if rows else ()
    labels = np.full((len(view), len(findings)), np.nan, dtype=np.float32)
    splits = [np.zeros(0, dtype=np.int8)]
    for release, first in zip(rows, np.cumsum([0, *map(len, rows)]), strict=False):
        columns = [findings.index(canonical(name)) for name in release.facts["findings"]]
        told = method.told(release, holder)
        labels[first : first + len(release), columns] = told.findings
        splits.append(told.split)
    return Material(
        view=view,
        labels=labels,
        split=np.concatenate(splits),
        released_by=shared.released_by,
        findings=findings,
        method=method,
        taught=shared.taught or ({},),
    )
