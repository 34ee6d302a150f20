"""The section about tasks: of each the main figure, and under every policy the table that whoever ran it was shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedcxr.page import text
from fedcxr.page.tables import drawn
from fedcxr.report._cells import some_of, task_in_words
from fedcxr.report._drawing import Drawing, Policy
from fedcxr.table import figure

MOST_POLICIES = 24  # of which a task's own table is shown
MOST_ROWS = 40  # of one table: a task without a table of its own may have hundreds of figures


def tasks(drawing: Drawing) -> str:
    """Whatever tasks there are, in the order of the scenario."""
    return "".join(_task(drawing, task, main) for task, main in drawing.document["tasks"].items())


def _task(drawing: Drawing, task: str, main: Mapping[str, Any]) -> str:
    asked = [policy for policy in drawing.detailed if task in policy["tasks"]][:MOST_POLICIES]
    shown = [policy for policy in asked if policy["tasks"][task]["table"]]
    without = [str(policy["name"]) for policy in asked if policy not in shown]
    head = task_in_words(task)
    parts = [f"<h3>{text(head[:1].upper() + head[1:])}</h3>"]
    if main["name"] is not None:
        parts.append(f"<p>{text(main['name'])}: {text(main['says'])}; more is better, and 1 the best.</p>")
    opened = " open" if len(shown) == 1 else ""
    for policy in shown:
        told = policy["tasks"][task]
        reached = "" if main["name"] is None else f": {text(main['name'])} {figure(told['value'])}"
        summary = f"<summary>{drawing.number(policy)}&ensp;{text(policy['name'])}{reached}</summary>"
        parts.append(f'<details class="part"{opened}>{summary}{_shown(policy, task, told)}</details>')
    if without:
        why = "it does not apply, or cannot be read"
        parts.append(f'<p class="soft">No figure under {text(some_of(without))}: {why}.</p>')
    all_asked = sum(task in policy["tasks"] for policy in drawing.known)
    return "".join(parts) + drawing.rest(len(asked), all_asked, "report.json")


def _shown(policy: Policy, task: str, told: Mapping[str, Any]) -> str:
    table = told["table"]
    headline, *others = table["verdict"] or [""]
    parts = [f"<p><strong>{text(headline)}</strong> {text(' '.join(others))}</p>"] if headline else []
    rows = [
        (
            "",
            [
                f"{text(row['about'])}{_doubt(row['doubt'])}",
                *(text(cell) for cell in row["cells"]),
                *[""] * (len(table["heads"]) - len(row["cells"])),
            ],
        )
        for row in table["rows"][:MOST_ROWS]
    ]
    caption = f"{policy['name']}, {task_in_words(task)}: {table['title']}"
    parts.append(drawn(caption, ("of what", *table["heads"]), rows, kind="told") if rows else "")
    notes = list(table["notes"])
    if len(table["rows"]) > len(rows):
        notes.insert(0, f"{len(rows)} of {len(table['rows'])} figures are shown; report.json has all")
    if len(told["seeds"]) > 1:
        seeds = ", ".join(f"{one['seed']} {figure(one['value'])}" for one in told["seeds"])
        notes.insert(0, f"this table is of seed {table['seed']}; the main figure by seed: {seeds}")
    return "".join([*parts, *(f'<p class="soft">{text(note[0].upper() + note[1:])}.</p>' for note in notes if note)])


def _doubt(doubt: str) -> str:
    return f'<small class="doubt">{text(doubt)}</small>' if doubt else ""
