"""Sections about attackers: what each reached, on the way and at the end, and what of that proves nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fedcxr.page import text
from fedcxr.page.plots import Mark, data, marks
from fedcxr.page.plots import curves as drawn_curves
from fedcxr.page.tables import drawn, table
from fedcxr.report._cells import UNKNOWN, ends, figure_cell, guarantee_cell, head_of, some_of, unit_in_words
from fedcxr.report._drawing import Drawing, Policy
from fedcxr.table import figure, share
from fedcxr.verdict import GUESSING

OPEN = "A lower bound: it never rose from chance, or nobody looked whether more effort helps"
RISING = "Still rising when it was stopped, so that more effort would find more"
OTHERS = ("attacker", "question", "what is told", "value", "state")
MOST_LINES = 12  # curves of policies in one drawing


def attackers(drawing: Drawing) -> str:
    """Under each policy, every attacker with its controls and what became of it."""
    shown = [p for p in drawing.detailed if p["attackers"]]
    if not shown:
        return "<p>Nobody attacked: who can be re-identified is unknown.</p>"
    opened = " open" if len(shown) == 1 else ""
    parts = [drawing.gloss("control", "inconclusive", "converged")]
    for policy in shown:
        summary = f"<summary>{drawing.number(policy)}&ensp;{text(policy['name'])}</summary>"
        parts.append(f'<details class="part"{opened}>{summary}{_attacked(policy)}</details>')
    return "".join(parts) + drawing.rest(len(shown), len(drawing.known), "tables/attackers.csv")


def _attacked(policy: Policy) -> str:
    parts = []
    for question in dict.fromkeys(one["question"] for one in policy["attackers"]):
        told = [one for one in policy["attackers"] if one["question"] == question]
        worst = max(told, key=lambda one: one["auc"]["value"] or 0.0)
        beyond = (worst["auc"]["ci95"] or [0.0])[0] > GUESSING
        smallest = max((one["smallest_auc"] for one in told if one["smallest_auc"] is not None), default=None)
        picture = marks(
            f"{head_of(question)}: AUC of each attacker under {policy['name']}",
            [
                Mark(
                    f"{one['adversary']}, {one['attacker']}",
                    one["auc"]["value"],
                    one["auc"]["ci95"],
                    "doubt" if not one["conclusive"] else "worst" if one is worst and beyond else "other",
                    one["converged"] is not True,
                )
                for one in told
            ],
            smallest,
        )
        rows = [
            (
                "",
                [
                    text(f"{one['adversary']}, {one['attacker']}"),
                    figure_cell(one["auc"]),
                    share(one["rank1"]),
                    share(one["at_1_percent"]),
                    figure(one["control_must_succeed"]),
                    figure(one["control_must_be_chance"]),
                    _end(one),
                ],
            )
            for one in told
        ]
        heads = ("attacker", "AUC", "first guess right", "found at 1 % FPR", "must succeed", "must be chance", "state")
        parts += [
            f"<h3>{text(head_of(question))}</h3>",
            f'<div class="figure" role="group" aria-label="{text(policy["name"])}, {text(question)}" tabindex="0">'
            f"{picture}</div>",
            drawn(f"{policy['name']}, {question}: attackers and their controls", heads, rows),
        ]
    if policy["others"]:
        listed = [
            (
                "",
                [
                    text(f"{one['adversary']}, {one['attacker']}"),
                    text(one["question"].replace("_", " ")),
                    text((one["figure"] or UNKNOWN).replace("_", " ")),
                    figure_cell(one),
                    '<span class="doubt">inconclusive</span>' if one["inconclusive_because"] else "",
                ],
            )
            for one in policy["others"]
        ]
        parts.append("<h3>Other questions</h3>")
        parts.append(drawn(f"{policy['name']}: attackers of other questions", OTHERS, listed))
    return "".join(parts)


def _end(one: Mapping[str, Any]) -> str:
    ended = {True: "converged", False: "still rising: lower bound", None: "not shown to have ended"}[one["converged"]]
    if one["effort"] is False:
        ended = "takes no steps: no effort to raise"
    if one["conclusive"]:
        return ended
    return f'<span class="doubt">inconclusive</span><small>{ended}</small>'


def curves(drawing: Drawing) -> str:
    """Over the budget, and over what attackers own where a study varies it."""
    parts = [*_owned(drawing), *_budgets(drawing)]
    return "".join(parts)


def _budgets(drawing: Drawing) -> Iterator[str]:
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for policy in drawing.detailed:
        told = [one for one in policy["attackers"] if len(one["curve"]) > 1]
        if told:
            best = max(told, key=lambda one: one["auc"]["value"] or 0.0)
            points = [(one["budget"], one["auc"]) for one in best["curve"]]
            lines.setdefault(best["question"], {})[str(policy["name"])] = points
    for question, by_policy in lines.items():
        first = dict(list(by_policy.items())[:MOST_LINES])
        head = f"{head_of(question)}: AUC over the attacker's budget"
        picture = drawn_curves(head, first, "budget (steps, or shares of it)")
        rows = [(name, f"{x:g}", figure(y)) for name, points in first.items() for x, y in points]
        yield f"<h3>{text(head)}</h3><p>Of each policy, the attacker that ends highest among those who train.</p>"
        yield f'<div class="figure" role="group" aria-label="{text(head)}" tabindex="0">{picture}</div>'
        yield data("The same as a table", table(head, ("policy", "budget", "AUC"), rows))


def _owned(drawing: Drawing) -> Iterator[str]:
    keys = dict.fromkeys(key for p in drawing.known for key in p["differs"] if key.startswith("knowledge."))
    for key in keys:
        groups: dict[str, list[tuple[float, Policy]]] = {}
        for policy in drawing.known:
            value = policy["differs"].get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and policy["risk"]["value"] is not None:
                others = {name: one for name, one in policy["differs"].items() if name != key}
                named = ", ".join(f"{n} {json.dumps(one)}" for n, one in others.items()) or "all alike"
                groups.setdefault(f"{named}; {policy['risk']['question']}", []).append((float(value), policy))
        lines = {name: sorted((x, p["risk"]["value"]) for x, p in told) for name, told in groups.items()}
        head = f"Worst attack over {key}"
        picture = drawn_curves(head, lines, key)
        if picture:
            rows = [(n, f"{x:g}", *ends(p["risk"])) for n, told in groups.items() for x, p in told]
            yield f"<h3>{text(head)}</h3>"
            yield f'<div class="figure" role="group" aria-label="{text(head)}" tabindex="0">{picture}</div>'
            yield data("The same as a table", table(head, ("others", key, "AUC", "95 % interval"), rows))


def members(drawing: Drawing) -> str:
    """What was proved of epsilon, and what is guaranteed; each in its unit."""
    shown = [p for p in drawing.known if p["membership"] or p["formal"]]
    if not shown:
        return "<p>No policy guarantees anything formally, and membership was asked of none.</p>"
    units = {str(one["unit"]) for p in shown for one in (p["membership"], p["formal"]) if one}
    warning = (
        f"<p><strong>Units differ ({text(', '.join(sorted(units)))}): an epsilon per one says nothing of another, and "
        "rows of different units must not be compared.</strong></p>"
        if len(units) > 1
        else ""
    )
    rows = []
    for policy in shown[: drawing.rows]:
        asked = [one for one in policy["attackers"] if one["question"] == "membership"]
        best = max(asked, key=lambda one: one["auc"]["value"] or 0.0, default=None)
        least = policy["membership"]
        proved = f"≥ {least['value']:.2f}<small>per {text(unit_in_words(least['unit']))}</small>" if least else UNKNOWN
        could = f"{least['provable']:.2f}" if least and least["provable"] is not None else UNKNOWN
        cells = [text(policy["name"]), figure_cell(best["auc"] if best else None), proved, could]
        rows.append(("", [*cells, guarantee_cell(policy["formal"])]))
    heads = ("policy", "membership (AUC)", "epsilon proved by attack", "most that could be proved", "guaranteed")
    return (
        warning
        + drawing.gloss("membership", "epsilon", "unit")
        + drawn("Membership and epsilon, with its unit", heads, rows)
    )


def doubts(drawing: Drawing) -> str:
    """Each reason once, with everybody of whom it holds."""
    reasons: dict[str, list[str]] = {}
    for policy in drawing.known:
        for one in policy["attackers"]:
            who = f"{policy['name']}: {one['adversary']}, {one['attacker']}"
            for reason in one["inconclusive_because"]:
                reasons.setdefault(f"Inconclusive, because {reason}", []).append(who)
            if one["converged"] is not True:
                reasons.setdefault(RISING if one["converged"] is False else OPEN, []).append(who)
        for one in policy["others"]:
            who = f"{policy['name']}: {one['adversary']}, {one['attacker']}"
            for reason in one["inconclusive_because"]:
                reasons.setdefault(f"Inconclusive, because {reason}", []).append(who)
    unknown = [policy["name"] for policy in drawing.known if policy["risk"]["value"] is None]
    if unknown:
        reasons["Nobody attacked, so that the risk is unknown"] = unknown
    missing = [policy["name"] for policy in drawing.policies if not policy["runs"]]
    if missing:
        reasons["No result is on file"] = missing
    if not reasons:
        return "<p>All attackers' controls held, and all had stopped rising.</p>"
    rows = [("", [text(why), text(some_of(who))]) for why, who in reasons.items()]
    return drawn("What proves nothing, and why", ("why", "of whom"), rows[: drawing.rows], kind="long")
