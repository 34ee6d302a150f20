"""report.html: for a data-protection officer, a clinician and an engineer, each of whom may read a part alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fedcxr.page import document as whole
from fedcxr.page import items, paragraphs, text
from fedcxr.report import _of_attackers, _of_evidence, _of_policies, _of_tasks
from fedcxr.report._drawing import Drawing
from fedcxr.report._style import SCRIPT, STYLE
from fedcxr.report.pictures import Picture

LARGEST = 3_000_000  # bytes
OFFICER, CLINICIAN, ENGINEER = "Data-protection officer", "Clinician", "ML engineer"
EVERYBODY = (OFFICER, CLINICIAN, ENGINEER)

# By name of its place on the page: its head, for whom it is, and what draws it; an empty one is left out.
SECTIONS: Mapping[str, tuple[str, Sequence[str], Callable[[Drawing], str]]] = {
    "policies": ("Which policies meet the constraints", EVERYBODY, _of_policies.policies),
    "frontier": ("Usefulness against risk", EVERYBODY, _of_policies.frontier),
    "findings": ("Usefulness by finding", (CLINICIAN, ENGINEER), _of_policies.findings),
    "tasks": ("Usefulness, task by task", (CLINICIAN, ENGINEER), _of_tasks.tasks),
    "attackers": ("The attackers, and whether to believe them", (OFFICER, ENGINEER), _of_attackers.attackers),
    "curves": ("What more effort, or more data, gives an attacker", (ENGINEER,), _of_attackers.curves),
    "members": ("Membership and formal guarantees", (OFFICER, ENGINEER), _of_attackers.members),
    "differences": ("Which differences can be told", (CLINICIAN, ENGINEER), _of_policies.differences),
    "cost": ("What it costs", (ENGINEER,), _of_policies.cost),
    "pictures": ("What was released looks like this", (CLINICIAN, OFFICER), _of_policies.pictures),
    "doubts": ("What could not be told, and why", EVERYBODY, _of_attackers.doubts),
    "threat": ("What the attackers knew and held", (OFFICER, ENGINEER), _of_evidence.threat),
    "officer": ("For the impact assessment", (OFFICER,), _of_evidence.officer),
    "provenance": ("Where the figures come from", (OFFICER, ENGINEER), _of_evidence.provenance),
}

# How much is shown of many policies, from everything to what fits on a page in any case.
AMOUNTS = ((10_000, 400), (10_000, 60), (60, 30), (20, 8), (8, 0))  # policies in full, and pictures
MOST_ROWS = 1_000  # of policies in a table; tables/policies.csv has all


def page(document: Mapping[str, Any], shown: Mapping[str, Sequence[Picture]]) -> str:
    """The whole page, with as much in it as may be."""
    drawn = ""
    for full, films in AMOUNTS:
        drawn = _page(Drawing(document, shown, full, films, MOST_ROWS))
        if len(drawn.encode()) <= LARGEST:
            break
    return drawn


def _page(drawing: Drawing) -> str:
    told = drawing.document
    parts = {place: draw(drawing) for place, (_, _, draw) in SECTIONS.items()}
    kept = [place for place, part in parts.items() if part]
    title = f"Who could be re-identified, and how useful is it? {told['title']}"
    return whole(title, _parts(told, parts, kept), style=STYLE, script=SCRIPT)


def _parts(told: Mapping[str, Any], parts: Mapping[str, str], kept: Sequence[str]) -> Iterator[str]:
    kind = "One run" if told["single"] else f"{len(told['policies'])} policies compared"
    yield '<a class="skip" href="#policies">Skip to the figures</a>'
    yield f'<header><p class="kicker">{kind}</p><h1>{text(told["title"])}</h1></header>'
    yield "<main>"
    first, *others = told["answer"]
    yield (
        '<section class="answer" aria-labelledby="answer"><h2 id="answer">The answer</h2>'
        f'<p class="lead">{text(first)}</p>{paragraphs(others)}</section>'
    )
    if told["pictures_of_patients"]:
        yield '<p class="warning">This page holds pictures of patients. Keep it where their films are kept.</p>'
    warned = [one for one in (told["other_code"], *told["lacking"]) if one]
    if warned:
        yield f'<aside class="notice" aria-label="Before you rely on this">{items(warned)}</aside>'
    yield f'<nav aria-label="Sections, by reader">{"".join(_links(reader, kept, told) for reader in EVERYBODY)}</nav>'
    for place in kept:
        _, readers, _ = SECTIONS[place]
        head = _head(place, told)
        yield (
            f'<section aria-labelledby="{place}"><h2 id="{place}">{head}</h2>'
            f'<p class="readers">{" · ".join(readers)}</p>{parts[place]}</section>'
        )
    yield "</main>"
    yield '<footer><p class="soft">All figures are read from stored results; nothing was computed anew. '
    yield "No attack that fails proves that nobody can succeed.</p></footer>"


def _links(reader: str, kept: Sequence[str], told: Mapping[str, Any]) -> str:
    links = [f'<li><a href="#{place}">{_head(place, told)}</a></li>' for place in kept if reader in SECTIONS[place][1]]
    return f'<div><p class="reader">{reader}</p><ul>{"".join(links)}</ul></div>'


def _head(place: str, told: Mapping[str, Any]) -> str:
    return "At a glance" if place == "policies" and told["single"] else SECTIONS[place][0]
