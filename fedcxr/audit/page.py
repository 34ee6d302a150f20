"""report.html: one file that needs nothing else, for somebody who has never seen this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.audit._examples import Example, picture
from fedcxr.audit.pairing import Paired
from fedcxr.page import document, items, paragraphs, text
from fedcxr.page.plots import Mark, curves, marks
from fedcxr.page.tables import drawn, table
from fedcxr.table import figure, span

STYLE = """
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 1rem; }
.example { display: grid; grid-template-columns: repeat(3, 1fr); gap: .3rem; break-inside: avoid; font-size: .8rem; }
.example img { width: 100%; display: block; background: #000; } .example figure { margin: 0; }
.example p { grid-column: 1 / -1; margin: 0; overflow-wrap: anywhere; }
"""

QUESTIONS = {
    "person": (
        "Is a patient found by another of their films?",
        "Somebody holds films of known people and looks for whom a released film shows. "
        "A film's own original is never among those that count.",
    ),
    "film": (
        "Is the very film found?",
        "Somebody holds the original itself, say in an archive or an earlier publication, "
        "and looks for what was made of it.",
    ),
}


def page(report: Mapping[str, Any], paired: Paired, shown: Mapping[str, Sequence[Example]] | None) -> str:
    """The whole page; without `shown` it holds no picture and no name of a file."""
    said, films = report["verdict"], report["films"]
    bad = " bad" if said["level"] in ("patients are found", "films are found") else ""
    parts = [
        "<h1>How re-identifiable are these anonymised films?</h1>",
        f'<div class="verdict{bad}"><strong>{text(said["headline"])}</strong>{paragraphs(said["sentences"])}</div>',
    ]
    if shown is not None:
        parts.append('<p class="warning">This page holds pictures of patients. Keep it where their films are kept.</p>')
    parts.append(
        f"<p>{films['pairs']} released films of {films['patients']} patients, {films['several']} of whom have two "
        f"films or more, were compared with their originals.</p>{items(films['notes'])}"
    )
    for question, (title, about) in QUESTIONS.items():
        parts += [f"<h2>{title}</h2><p>{about}</p>", _question(title, report[question])]
    parts += [_controls(report["controls"]), _curve(report["person"])]
    if shown is not None:
        parts += [_examples(paired, question, shown[question]) for question in QUESTIONS]
    parts += [
        f"<h2>What was tried</h2>{items(said['tried'])}",
        f"<h2>What was not tried</h2>{items(said['not_tried'])}",
        _reading(),
        _run(report["run"]),
    ]
    return document(said["headline"], ["<main>", *parts, "</main>"], style=STYLE)


def _question(title: str, answer: Mapping[str, Any]) -> str:
    worst, best = answer["worst_case"], answer["attackers"][0]
    heads = ["attacker", "AUC", "95 % interval", "first match right", "found at 1 % false alarms"]
    heads[3:3] = ["AUC in one source"] if best["same_source_auc"] else []
    rows = [
        (
            "",
            [
                f"{text(one['attacker'])}<br><span class='soft'>{text(one['told'])}</span>",
                figure(one["auc"]["value"]),
                span(one["auc"]["ci95"]),
                *_near(one),
                _share(one["rank1"]),
                _share(one["tpr_at_fpr"]["0.01"]),
            ],
        )
        for one in answer["attackers"]
    ]
    told = [
        Mark(
            one["attacker"],
            one["auc"]["value"],
            one["auc"]["ci95"],
            "worst" if worst["found"] and one["attacker"] == worst["attacker"] else "other",
        )
        for one in answer["attackers"]
    ]
    chance = f"; chance would be right for {_share(best['rank1_by_chance'])}" if best["rank1"] is not None else ""
    return (
        marks(f"{title} AUC of every attacker, with 95 % intervals", told, answer["smallest_auc"])
        + drawn(f"Attackers: {title}", heads, rows)
        + f'<p class="soft">{best["pairs"]["genuine"]} pairs that belong together, '
        f"{best['pairs']['impostor']} that do not; first match among "
        f"{best['gallery'] or 0} films{chance}. The dashed line is chance; "
        "in the grey band a success could not have been told from it.</p>"
    )


def _near(entry: Mapping[str, Any]) -> list[str]:
    """A cell of the table, where the films' sources are known."""
    near = entry["same_source_auc"]
    return [] if near is None else [figure(near["value"])]


def _controls(controls: Mapping[str, Any]) -> str:
    originals = controls["originals"]
    rows = [
        ("originals in place of released films: must succeed", figure(originals["auc"])),
        *(
            (f"identities shuffled, {one['question']}, {one['attacker']}: must be near .5", figure(one["auc"]))
            for one in controls["shuffled"]
        ),
    ]
    state = "passed" if controls["passed"] else f"failed: {controls['failed_because']}"
    return (
        f"<h2>Could the attackers have told?</h2>"
        f"<p>The same attackers in two places where the answer is known: {text(state)}.</p>"
        + table("Controls", ("control", "AUC"), rows)
    )


def _curve(answer: Mapping[str, Any]) -> str:
    entry = next(one for one in answer["attackers"] if one["attacker"] == "pairs")
    known = [(point["budget"], point["auc"]) for point in entry["curve"] or [] if point["auc"] is not None]
    learnt = curves("AUC by steps of learning", {"pairs": known}, "steps of learning")
    if not learnt:
        return ""
    state = {
        True: "The last doubling brought next to nothing: learning for longer would not have helped.",
        False: "The last doubling still helped: the figures would rise if learning went on.",
        None: "It never left chance, which proves nothing about longer learning.",
    }[entry["converged"]]
    return (
        "<h2>Had learning for longer found more?</h2><p>How often <code>pairs</code> tells another film of the patient "
        f"from somebody else's (AUC), by steps of learning. {state}</p>{learnt}"
    )


def _examples(paired: Paired, question: str, examples: Sequence[Example]) -> str:
    title = "Best matches: another film of the patient" if question == "person" else "Best matches: the very film"
    shown = []
    for one in examples:
        told = "right" if one.right else "wrong: somebody else"
        tiles = "".join(
            f"<figure><img alt='' src='{picture(paired, row, side)}'><figcaption>{caption}</figcaption></figure>"
            for row, side, caption in (
                (one.released, "released", "released"),
                (one.found, "original", "found"),
                (one.released, "original", "its original"),
            )
        )
        names = f"{paired.pairs[one.released].released.name}, matched with {paired.pairs[one.found].original.name}"
        caption = f"<p><b>{told}</b> <span class='soft'>{text(names)}</span></p>"
        shown.append(f"<div class='example'>{tiles}{caption}</div>")
    return f"<h2>{title}</h2><div class='examples'>{''.join(shown)}</div>"


def _reading() -> str:
    return (
        "<h2>How to read the figures</h2><p><b>AUC</b>: shown a released film, one that belongs to it and one that "
        "does not, how often the attacker picks the right one. .5 is guessing, 1 is never wrong. <b>Interval</b>: what "
        "other patients of the same kind might have given, in 95 of 100 cases. <b>AUC in one source</b>: the same if "
        "the one that does not belong to it is of the same device, publication or whatever the table's column "
        "<code>source</code> tells; without that column nobody knows whether a patient was recognised or a device. "
        "<b>First match right</b>: how often the best-scored of all films compared is a right one. <b>Found at 1 % "
        "false alarms</b>: the share of pairs that belong together found by whoever tolerates that 1 of 100 others is "
        "called a match.</p>"
    )


def _run(run: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in run.items())
    return f"<p class='soft'>{text(told)}</p>"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.0f} %"
