"""report.html: one file that needs nothing else, for somebody who has never seen this project."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.audit import _drawing
from fedcxr.audit._examples import Example, picture
from fedcxr.audit.pairing import Paired

STYLE = """
:root { --ink: #1d2733; --soft: #5b6875; --line: #d5dbe1; --bad: #a4262c; --calm: #2b5c8a; --paper: #fff; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 46rem; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.15rem; color: var(--soft); font-weight: 600; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
p, ul { margin: .5rem 0; } li { margin: .2rem 0; }
.verdict { border-left: 6px solid var(--calm); background: #f3f6f9; padding: 1rem 1.2rem; }
.verdict.bad { border-color: var(--bad); background: #fbf1f1; }
.verdict strong { display: block; font-size: 1.35rem; line-height: 1.3; margin-bottom: .4rem; }
.warning { border: 2px solid var(--bad); padding: .5rem .9rem; font-weight: 600; }
.soft { color: var(--soft); font-size: .9rem; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .28rem .5rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td { white-space: nowrap; } td:first-child { white-space: normal; }
svg { width: 100%; height: auto; display: block; margin: .6rem 0; font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--line); } svg .chance { stroke: var(--ink); stroke-dasharray: 4 3; }
svg .band { fill: #e8ecf0; } svg .tick { text-anchor: middle; fill: var(--soft); }
svg .name { text-anchor: end; fill: var(--ink); } svg .value { fill: var(--ink); }
svg .span { stroke-width: 2.5; } svg line.other { stroke: var(--calm); } svg line.worst { stroke: var(--bad); }
svg circle.other { fill: var(--calm); } svg circle.worst { fill: var(--bad); }
svg .curve { fill: none; stroke: var(--calm); stroke-width: 2; }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(21rem, 1fr)); gap: 1rem; }
.example { display: grid; grid-template-columns: repeat(3, 1fr); gap: .3rem; break-inside: avoid; font-size: .8rem; }
.example img { width: 100%; display: block; background: #000; } .example figure { margin: 0; }
.example p { grid-column: 1 / -1; margin: 0; overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } h2 { break-after: avoid; }
  .verdict, .warning, svg, tr { break-inside: avoid; } }
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
        f'<div class="verdict{bad}"><strong>{_text(said["headline"])}</strong>{_paragraphs(said["sentences"])}</div>',
    ]
    if shown is not None:
        parts.append('<p class="warning">This page holds pictures of patients. Keep it where their films are kept.</p>')
    parts.append(
        f"<p>{films['pairs']} released films of {films['patients']} patients, {films['several']} of whom have two "
        f"films or more, were compared with their originals.</p>{_list(films['notes'])}"
    )
    for question, (title, about) in QUESTIONS.items():
        parts += [f"<h2>{title}</h2><p>{about}</p>", _question(report[question])]
    parts += [_controls(report["controls"]), _curve(report["person"])]
    if shown is not None:
        parts += [_examples(paired, question, shown[question]) for question in QUESTIONS]
    parts += [
        f"<h2>What was tried</h2>{_list(said['tried'])}",
        f"<h2>What was not tried</h2>{_list(said['not_tried'])}",
        _reading(),
        _run(report["run"]),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{_text(said['headline'])}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _question(answer: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{_text(one['attacker'])}<br><span class='soft'>{_text(one['told'])}</span></td>"
        f"<td>{_number(one['auc']['value'])}</td><td>{_span(one['auc']['ci95'])}</td>{_near(one)}"
        f"<td>{_share(one['rank1'])}</td><td>{_share(one['tpr_at_fpr']['0.01'])}</td></tr>"
        for one in answer["attackers"]
    )
    best = answer["attackers"][0]
    chance = f"; chance would be right for {_share(best['rank1_by_chance'])}" if best["rank1"] is not None else ""
    return (
        _drawing.attackers(answer["attackers"], answer["worst_case"], answer["smallest_auc"])
        + "<table><tr><th>attacker</th><th>AUC</th><th>95 % interval</th>"
        f"{'<th>AUC in one source</th>' if best['same_source_auc'] else ''}"
        f"<th>first match right</th><th>found at 1 % false alarms</th></tr>{rows}</table>"
        f'<p class="soft">{answer["attackers"][0]["pairs"]["genuine"]} pairs that belong together, '
        f"{answer['attackers'][0]['pairs']['impostor']} that do not; first match among "
        f"{best['gallery'] or 0} films{chance}. The dashed line is chance; "
        "in the grey band a success could not have been told from it.</p>"
    )


def _near(entry: Mapping[str, Any]) -> str:
    """A cell of the table, where the films' sources are known."""
    near = entry["same_source_auc"]
    return "" if near is None else f"<td>{_number(near['value'])}</td>"


def _controls(controls: Mapping[str, Any]) -> str:
    originals = controls["originals"]
    rows = (
        f"<tr><td>originals in place of released films: must succeed</td><td>{_number(originals['auc'])}</td></tr>"
        + "".join(
            f"<tr><td>identities shuffled, {one['question']}, {_text(one['attacker'])}: must be near .5</td>"
            f"<td>{_number(one['auc'])}</td></tr>"
            for one in controls["shuffled"]
        )
    )
    state = "passed" if controls["passed"] else f"failed: {controls['failed_because']}"
    return (
        f"<h2>Could the attackers have told?</h2>"
        f"<p>The same attackers in two places where the answer is known: {_text(state)}.</p>"
        f"<table><tr><th>control</th><th>AUC</th></tr>{rows}</table>"
    )


def _curve(answer: Mapping[str, Any]) -> str:
    entry = next(one for one in answer["attackers"] if one["attacker"] == "pairs")
    drawn = _drawing.curve(entry["curve"] or [])
    if not drawn:
        return ""
    state = {
        True: "The last doubling brought next to nothing: learning for longer would not have helped.",
        False: "The last doubling still helped: the figures would rise if learning went on.",
        None: "It never left chance, which proves nothing about longer learning.",
    }[entry["converged"]]
    return (
        "<h2>Had learning for longer found more?</h2><p>How often <code>pairs</code> tells another film of the patient "
        f"from somebody else's (AUC), by steps of learning. {state}</p>{drawn}"
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
        caption = f"<p><b>{told}</b> <span class='soft'>{_text(names)}</span></p>"
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
    return f"<p class='soft'>{_text(told)}</p>"


def _paragraphs(sentences: Sequence[str]) -> str:
    return "".join(f"<p>{_text(sentence)}</p>" for sentence in sentences)


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(item)}</li>' for item in items)}</ul>" if items else ""


def _text(value: object) -> str:
    return html.escape(str(value))


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _span(ci95: Sequence[float] | None) -> str:
    return "unknown" if ci95 is None else f"{ci95[0]:.3f} to {ci95[1]:.3f}"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.0f} %"
