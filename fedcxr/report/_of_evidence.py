"""Sections about what figures hold for, what an officer may paste, and where figures come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedcxr.page import items, text
from fedcxr.page.plots import data
from fedcxr.page.tables import drawn
from fedcxr.report import dpia
from fedcxr.report._cells import UNKNOWN, some_of
from fedcxr.report._drawing import Drawing


def threat(drawing: Drawing) -> str:
    """What figures hold for, and for nothing else."""
    told = drawing.document["threat"]
    parts = ["<p>Figures hold for attackers who know and hold this. One who holds more may find more.</p>"]
    for one in told[: drawing.full]:
        named = f"<h3>{text(some_of(one['policies']))}</h3>" if len(told) > 1 else ""
        parts.append(f"{named}{items(one['told'])}")
    return "".join(parts)


def officer(drawing: Drawing) -> str:
    """A section that can be pasted, for each policy."""
    shown = [policy for policy in drawing.detailed if policy["assessment"]]
    if not shown:
        return ""
    opened = " open" if len(shown) == 1 else ""
    parts = [
        "<p>For each policy a section to be pasted: singling out, linkability and inference, with the risk that is "
        "left beyond each control. dpia.json holds the same as data.</p>"
    ]
    for policy in shown:
        body = "".join(
            f"<h3>{text(heading)}</h3>" + "".join(f"<p>{text(line)}</p>" for line in said.split("\n") if line.strip())
            for heading, said in dpia.paragraphs(policy["assessment"])
        )
        name = f"{drawing.number(policy)}&ensp;{text(policy['name'])}"
        parts.append(f'<details class="part"{opened}><summary>{name}</summary>{body}</details>')
    return "".join(parts) + drawing.rest(len(shown), len(drawing.known), "dpia.json")


def provenance(drawing: Drawing) -> str:
    """Which code, which seeds, which bytes."""
    runs = [(p["name"], run) for p in drawing.known for run in p["provenance"]]
    versions: dict[str, int] = {}
    for _, run in runs:
        told = ", ".join(f"{name} {value}" for name, value in run["versions"].items() if value is not None)
        versions[told] = versions.get(told, 0) + 1
    rows = [
        (
            "",
            [
                text(name),
                str(run["seed"]),
                f"<code>{text(run['command'])}</code>",
                f"<code>{text(run['result_sha256'][:16])}</code>",
                _code(run),
            ],
        )
        for name, run in runs[: drawing.rows]
    ]
    heads = ("policy", "seed", "again, in the folder of the study", "result.json (SHA-256)", "code (SHA-256)")
    return (
        f"<p>This report was written by code <code>{text(drawing.document['code_sha256'][:16])}</code>.</p>"
        + items([f"{told} ({count} of {len(runs)} runs)" for told, count in list(versions.items())[:8]])
        + data("Every run", drawn("Runs", heads, rows))
        + drawing.rest(min(len(runs), drawing.rows), len(runs), "report.json")
    )


def _code(run: Mapping[str, Any]) -> str:
    """Which made a run, and what is to be said of that."""
    if run["code_sha256"] is None:
        return f"{UNKNOWN}<small>{text(run['code_unknown_because'])}</small>"
    other = "<small>another version</small>" if run["of_other_code"] else ""
    return f"<code>{text(run['code_sha256'][:16])}</code>{other}"
