"""Sections about policies: what they are worth beside each other, what they cost, and what was released."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.page import text
from fedcxr.page.plots import Mark, data, marks
from fedcxr.page.tables import drawn, table
from fedcxr.report import _scatter
from fedcxr.report._cells import (
    UNKNOWN,
    ends,
    figure_cell,
    guarantee_cell,
    risk_cell,
    task_in_words,
    usefulness_head,
)
from fedcxr.report._drawing import Drawing, Policy
from fedcxr.report.words import QUESTIONS

STATES = {
    True: ("meets", "meets all", "good"),
    False: ("fails", "breaks one", "bad"),
    None: ("open", "cannot tell", "doubt"),
}


def policies(drawing: Drawing) -> str:
    """One row each, which a script may sift."""
    constrained = any(policy["constraints"] for policy in drawing.policies)
    others = _other_tasks(drawing)
    heads = ["policy", *(["constraints"] if constrained else []), usefulness_head(drawing.policies)]
    heads += ["worst attack (AUC)", *others.values(), "guarantee", "runs"]
    listed = drawing.policies[: drawing.rows]
    rows = []
    for policy in listed:
        state, said, kind = STATES[policy["meets"]]
        name = f"{drawing.number(policy)}&ensp;{text(policy['name'])}{_lesser(policy)}"
        verdict = [f'<span class="{kind}">{said}</span>'] if constrained else []
        wanted = "" if policy["runs"] == policy["wanted"] else f" of {policy['wanted']}"
        cells = [name, *verdict, figure_cell(policy["utility"]), risk_cell(policy)]
        cells += [*(figure_cell(policy["tasks"].get(task)) for task in others), guarantee_cell(policy["formal"])]
        rows.append((f'data-state="{state}"', [*cells, f"{policy['runs']}{wanted}"]))
    caption = "Policies: usefulness, worst attack and guarantee"
    note = "" if constrained else "<p>No constraint is on file, so that none of them passes or fails.</p>"
    return (
        note
        + drawing.gloss("policy", "AUC", "interval", "worst case", "at least (≥)", "dominated")
        + (_filter(constrained) if len(listed) > 2 else "")
        + drawn(caption, heads, rows, kind="policies")
        + drawing.rest(len(listed), len(drawing.policies), "tables/policies.csv")
        + (_constraints(listed) if constrained else "")
    )


def _other_tasks(drawing: Drawing) -> dict[str, str]:
    """With their heads, those of which some policy has the main figure, but for the one by which policies stand."""
    return {
        task: task_in_words(task, main["name"])
        for task, main in drawing.document["tasks"].items()
        if task != drawing.policies[0]["utility"]["task"]
        and any((policy["tasks"].get(task) or {"value": None})["value"] is not None for policy in drawing.policies)
    }


def _filter(constrained: bool) -> str:
    states = "".join(f'<option value="{name}">{said}</option>' for name, said, _ in STATES.values())
    state = f'<label>constraints<select name="state"><option value="">any</option>{states}</select></label>'
    hidden = '<input type="hidden" name="state" value="">'
    return (
        '<form class="filter" hidden aria-label="Filter the policies"><label>policy contains'
        f'<input name="word" type="search" autocomplete="off"></label>{state if constrained else hidden}'
        '<output aria-live="polite"></output></form>'
    )


def _constraints(listed: Sequence[Policy]) -> str:
    rows = [
        ("", [text(policy["name"]), f"<code>{text(one['constraint'])}</code>", _met(one["met"]), text(one["because"])])
        for policy in listed
        for one in policy["constraints"]
    ]
    return data(
        "Every constraint, and why", drawn("Constraints", ("policy", "constraint", "met", "because"), rows, kind="long")
    )


def _met(met: bool | None) -> str:
    said = {True: ("good", "met"), False: ("bad", "broken"), None: ("doubt", "cannot tell")}[met]
    return f'<span class="{said[0]}">{said[1]}</span>'


def _lesser(policy: Policy) -> str:
    by = policy["dominated_by"]
    if by is None:
        return ""
    return f"<small>dominated by {text(by['name'])}{'' if by['surely'] else ', if that figure holds'}</small>"


def frontier(drawing: Drawing) -> str:
    """A drawing for each question that worst cases answer: risks of different questions are not compared."""
    parts = [drawing.gloss("unprotected")]
    asked = dict.fromkeys(p["risk"]["question"] for p in drawing.known if p["risk"]["question"] is not None)
    if len(asked) > 1:
        parts.append("<p>Attackers were asked different questions, and what they reached is not comparable:</p>")
    for question in asked:
        shown = [p for p in drawing.known if p["risk"]["question"] == question]
        picture = _scatter.scatter(question, [(drawing.number(p), p) for p in shown])
        if not picture:
            continue
        rows = [(f"{drawing.number(p)} {p['name']}", *ends(p["utility"]), *ends(p["risk"]), _place(p)) for p in shown]
        useful = usefulness_head(shown)
        heads = ("policy", useful, "95 % interval", "worst attack (AUC)", "95 % interval", "place")
        told = QUESTIONS.get(question)
        parts += [
            f"<h3>{text(told.head if told else question)}</h3>",
            f'<div class="figure" role="group" aria-label="{text(question)}: drawing" tabindex="0">{picture}</div>',
            '<p class="soft">Better is up and to the left. Filled: nothing dominates it. Hollow: dominated. Broken '
            "outline: a control failed. Arrow: a lower bound, the truth may lie further right. Lines: 95 % intervals; "
            "where they overlap, one may be above another by chance. Where there are keys, this is about attackers "
            "without any.</p>",
            data("The same as a table", table(f"Frontier: {question}", heads, rows[: drawing.rows])),
        ]
    return "".join(parts) if len(parts) > 1 else ""


def _place(policy: Policy) -> str:
    by = policy["dominated_by"]
    told = "not dominated" if by is None else f"dominated by {by['name']}" + ("" if by["surely"] else ", if it holds")
    least = ", lower bound" if policy["risk"]["lower_bound"] else ""
    return f"{told}{least}{'' if policy['risk']['conclusive'] else ', inconclusive'}"


def findings(drawing: Drawing) -> str:
    """Each finding under each policy."""
    shown = [p for p in drawing.detailed if p["utility"]["arm"] and p["findings"][p["utility"]["arm"]]]
    if not shown:
        return ""
    names = list(dict.fromkeys(name for p in shown for name in p["findings"][p["utility"]["arm"]]))
    raw: Mapping[str, Any] = next((p["findings"]["raw"] for p in shown if p["findings"]["raw"]), {})
    rows = []
    for name in names:
        cells = [text(name.replace("_", " ")), figure_cell(raw.get(name))]
        rows.append(("", [*cells, *(figure_cell(p["findings"][p["utility"]["arm"]].get(name)) for p in shown)]))
    heads = ("finding", "unprotected", *(str(p["name"]) for p in shown))
    only = f" Under {shown[0]['name']}." if len(shown) == 1 else ""
    best = shown[0]
    told = best["findings"][best["utility"]["arm"]]
    drawing_of = marks(
        f"AUC of each finding under {best['name']}",
        [Mark(n.replace("_", " "), one["value"], one["ci95"]) for n, one in told.items()],
    )
    return (
        f"<p>How well a classifier tells each finding: {text(_arm(best))}.{text(only)}</p>"
        f'<div class="figure" role="group" aria-label="Findings: drawing" tabindex="0">{drawing_of}</div>'
        f'<p class="soft">Drawn: {text(best["name"])}.</p>'
        + drawn("AUC of each finding, with 95 % intervals", heads, rows)
        + drawing.rest(len(shown), len(drawing.known), "tables/findings.csv")
    )


def _arm(policy: Policy) -> str:
    return {
        "trained": "one that learnt from what was shared, on unprotected films of other patients",
        "trained_released": "one that learnt from what was shared, on released films",
        "frozen": "one that learnt from unprotected films, on released ones",
    }[policy["utility"]["arm"]]


def differences(drawing: Drawing) -> str:
    """Between policies, corrected for how many were looked at."""
    found = drawing.document["differences"]
    if not found:
        return ""
    rows = []
    for one in sorted(found, key=lambda one: not one["told"])[: drawing.rows]:
        said = '<span class="good">told</span>' if one["told"] else '<span class="doubt">cannot tell</span>'
        needed = one.get("patients_needed")
        p = [UNKNOWN if value is None else f"{value:.3g}" for value in (one["p"], one["p_adjusted"])]
        cells = [text(f"{one['left']} less {one['right']}"), text(one["figure"]), figure_cell(one["difference"])]
        rows.append(("", [*cells, *p, said, UNKNOWN if needed is None else f"{needed:,}"]))
    heads = ("policies", "figure", "difference", "p", "p corrected", "verdict", "patients needed")
    others = drawing.document["other_differences"]
    more = f"{len(others or ())} comparisons of other pairs, corrected for each other, are in tables/differences.csv."
    return (
        "<p>Runs of one seed are compared with each other, patient by patient; p values are corrected for the number "
        "of comparisons.</p>"
        + drawn("Differences between policies", heads, rows)
        + drawing.rest(len(rows), len(found), "tables/differences.csv")
        + (f'<p class="soft">{more}</p>' if others else "")
    )


def cost(drawing: Drawing) -> str:
    """Of one run, on average."""
    rows = []
    for policy in drawing.known[: drawing.rows]:
        told = policy["cost"]
        peak = told["peak_rss_mb"]
        cells = (policy["name"], *(_megabytes(told[name]) for name in ("bytes_up", "bytes_down")))
        memory = UNKNOWN if peak is None else f"{peak / 1024:.1f} GiB"
        rows.append((*cells, UNKNOWN if told["seconds"] is None else f"{told['seconds']:,.0f} s", memory))
    return table("Cost of one run", ("policy", "sent by sites", "sent to sites", "time, with attacks", "memory"), rows)


def _megabytes(size: float | None) -> str:
    return UNKNOWN if size is None else f"{size / 1e6:,.1f} MB"


def pictures(drawing: Drawing) -> str:
    """The first films of one site each."""
    shown = [(name, one) for name, told in drawing.shown.items() for one in told][: drawing.films]
    if not shown:
        return ""
    return (
        "<p>Rows are films; what each column is stands above it. That a film looks changed does not mean that nobody "
        'is found by it.</p><div class="films">'
        + "".join(
            f'<figure><img src="{one.source}" width="{one.width}" height="{one.height}" '
            f'alt="Films of {text(one.site)} before and after protection under {text(name)}">'
            f"<figcaption>{text(name)}, {text(one.site)}</figcaption></figure>"
            for name, one in shown
        )
        + "</div>"
    )
