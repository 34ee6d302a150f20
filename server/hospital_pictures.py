"""A run's pictures where hospitals hold the films: what was released, as the coordinator sees it, and no original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedcxr.protocol import COORDINATOR, context_of
from fedcxr.runs import Run
from fedcxr.runs.pictures import sheet
from fedcxr.view import Holder, Shared, Told
from server.drawing import CURVE, PICTURED_FILMS, README, draw_learning, keep, method_told

TEXT = """\
These pictures hold films as hospitals released them, and none as it was.

{drawn}

Left out:

{left_out}

This folder is readable by its owner only (folder 0700, files 0600). Leave it so: who was on a film may be found by what
was released of it. No result depends on it.
"""
ALWAYS_LEFT_OUT = {
    "originals beside them, and what changed": "films as they are never leave a hospital",
    "QUESTION.matches.png": "nobody here knows who is who: simulate the scenario, or audit films of your own",
}
NO_CURVE = (
    "each of its points would be a test more of the hospitals' films, which budget.tests of their profiles counts"
)


def draw(run: Run, shared: Shared, reader: Holder, utility: Mapping[str, Mapping[str, Any]]) -> None:
    """Some films of each site as this reader sees them, the curves that there are, and a text that says what is not."""
    drawn: dict[str, str] = {}
    left_out = dict(ALWAYS_LEFT_OUT)
    view = run.scenario.method.view(shared, reader, context_of(run.scenario, COORDINATOR, None))
    firsts = np.cumsum([0, *map(len, shared.releases)])
    for release, first in zip(shared.releases, firsts, strict=False):
        rows = first + np.flatnonzero(view.opened[first : first + len(release)])[:PICTURED_FILMS]
        name = f"{release.site}.png"
        if not len(release):
            left_out[name] = "it released no film but what it learnt"
        elif "films" not in view.forms:
            left_out[name] = "what it released shows no film"
        elif not len(rows):
            left_out[name] = view.refusals.get(release.site, "the coordinator has no key to its films")
        else:
            told = run.scenario.method.told(release, reader)
            picture = sheet(
                list(np.asarray(view.forms["films"], np.uint8)[rows]),
                columns=PICTURED_FILMS,
                heads=["released"] * len(rows),
                captions=[_said(told, int(row - first), release.facts["findings"]) for row in rows],
                title=[f"{release.site}: {method_told(run.scenario)}"],
            )
            keep(run, name, picture)
            drawn[name] = f"films of {release.site} as it released them, with the findings that it told"
    for name in draw_learning(run, utility):
        drawn[name] = "how good a model was that sites learnt together, round by round"
    learning = run.scenario.method.learning
    if learning is not None and learning.place == "federated" and not any(name.endswith(CURVE) for name in drawn):
        left_out[f"TASK{CURVE}"] = NO_CURVE
    listed = "\n".join(f"{name}: {what}" for name, what in drawn.items()) or "There is none."
    keep(run, README, TEXT.format(drawn=listed, left_out=_lines(left_out)))


def _lines(told: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {why}" for name, why in told.items())


def _said(told: Told, row: int, findings: list[str]) -> str:
    labels = told.findings[row]
    if np.isnan(labels).all():
        return "findings are not told"
    return "; ".join(name for name, label in zip(findings, labels, strict=True) if label == 1) or "no finding"
