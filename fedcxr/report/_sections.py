"""What stands in each section of a report's page, drawn from report.json alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedcxr.page import items, text
from fedcxr.page.plots import Mark, data, marks
from fedcxr.page.plots import curves as drawn_curves
from fedcxr.page.tables import drawn, table
from fedcxr.report import _scatter, dpia
from fedcxr.report.pictures import Picture
from fedcxr.report.words import GLOSSARY, QUESTIONS
from fedcxr.table import figure, share, span
from fedcxr.verdict import GUESSING

Policy = Mapping[str, Any]
STATES = {
    True: ("meets", "meets all", "good"),
    False: ("fails", "breaks one", "bad"),
    None: ("open", "cannot tell", "doubt"),
}
UNKNOWN = "unknown"
OPEN = "A lower bound: it never rose from chance, or nobody looked whether more effort helps"
RISING = "Still rising when it was stopped, so that more effort would find more"
OTHERS = ("attacker", "question", "what is told", "value", "state")
MOST_LINES = 12  # curves of policies in one drawing


@dataclass
class Drawing:
    """The document, how much of it is shown, and which words were explained already."""

    document: Mapping[str, Any]
    shown: Mapping[str, Sequence[Picture]]
    full: int  # policies of which everything is shown
    films: int  # pictures
    rows: int  # of a table
    explained: set[str] = field(default_factory=set)

    @property
    def policies(self) -> Sequence[Policy]:
        found: Sequence[Policy] = self.document["policies"]
        return found

    @property
    def known(self) -> Sequence[Policy]:
        """Those with results."""
        return [policy for policy in self.policies if policy["runs"]]

    @property
    def detailed(self) -> Sequence[Policy]:
        """Those of which everything is shown: first whom nobody dominates."""
        return sorted(self.known, key=lambda policy: policy["dominated_by"] is not None)[: self.full]

    def number(self, policy: Policy) -> int:
        return next(number for number, other in enumerate(self.policies, 1) if other is policy)

    def gloss(self, *terms: str) -> str:
        """What these words mean, where they first stand."""
        new = [term for term in terms if term not in self.explained]
        self.explained.update(new)
        return "".join(f'<p class="gloss"><dfn>{text(term)}</dfn>: {text(GLOSSARY[term])}.</p>' for term in new)

    def rest(self, shown: int, of: int, file: str) -> str:
        return "" if shown >= of else f'<p class="soft">{shown} of {of} are shown; {file} has all.</p>'


def policies(drawing: Drawing) -> str:
    """One row each, which a script may sift."""
    constrained = any(policy["constraints"] for policy in drawing.policies)
    heads = ["policy", *(["constraints"] if constrained else []), "findings (AUC)", "worst attack (AUC)"]
    heads += ["guarantee", "runs"]
    listed = drawing.policies[: drawing.rows]
    rows = []
    for policy in listed:
        state, said, kind = STATES[policy["meets"]]
        name = f"{drawing.number(policy)}&ensp;{text(policy['name'])}{_lesser(policy)}"
        verdict = [f'<span class="{kind}">{said}</span>'] if constrained else []
        wanted = "" if policy["runs"] == policy["wanted"] else f" of {policy['wanted']}"
        cells = [name, *verdict, _figure(policy["utility"]), _risk(policy), _guarantee(policy["formal"])]
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
        rows = [(f"{drawing.number(p)} {p['name']}", *_ends(p["utility"]), *_ends(p["risk"]), _place(p)) for p in shown]
        heads = ("policy", "findings", "95 % interval", "worst attack", "95 % interval", "place")
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


def findings(drawing: Drawing) -> str:
    """Each finding under each policy."""
    shown = [p for p in drawing.detailed if p["utility"]["arm"] and p["findings"][p["utility"]["arm"]]]
    if not shown:
        return ""
    names = list(dict.fromkeys(name for p in shown for name in p["findings"][p["utility"]["arm"]]))
    raw: Mapping[str, Any] = next((p["findings"]["raw"] for p in shown if p["findings"]["raw"]), {})
    rows = []
    for name in names:
        cells = [text(name.replace("_", " ")), _figure(raw.get(name))]
        rows.append(("", [*cells, *(_figure(p["findings"][p["utility"]["arm"]].get(name)) for p in shown)]))
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
            f"{_head(question)}: AUC of each attacker under {policy['name']}",
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
                    _figure(one["auc"]),
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
            f"<h3>{text(_head(question))}</h3>",
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
                    _figure(one),
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
        head = f"{_head(question)}: AUC over the attacker's budget"
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
            rows = [(n, f"{x:g}", *_ends(p["risk"])) for n, told in groups.items() for x, p in told]
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
        proved = f"≥ {least['value']:.2f}<small>per {text(_unit(least['unit']))}</small>" if least else UNKNOWN
        could = f"{least['provable']:.2f}" if least and least["provable"] is not None else UNKNOWN
        cells = [text(policy["name"]), _figure(best["auc"] if best else None), proved, could]
        rows.append(("", [*cells, _guarantee(policy["formal"])]))
    heads = ("policy", "membership (AUC)", "epsilon proved by attack", "most that could be proved", "guaranteed")
    return (
        warning
        + drawing.gloss("membership", "epsilon", "unit")
        + drawn("Membership and epsilon, with its unit", heads, rows)
    )


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
        cells = [text(f"{one['left']} less {one['right']}"), text(one["figure"]), _figure(one["difference"])]
        rows.append(("", [*cells, *p, said, UNKNOWN if needed is None else f"{needed:,}"]))
    heads = ("policies", "figure", "difference", "p", "p corrected", "verdict", "patients needed")
    return (
        "<p>Runs of one seed are compared with each other, patient by patient; p values are corrected for the number "
        "of comparisons.</p>" + drawn("Differences between policies", heads, rows)
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
    rows = [("", [text(why), text(_whose(who))]) for why, who in reasons.items()]
    return drawn("What proves nothing, and why", ("why", "of whom"), rows[: drawing.rows], kind="long")


def _whose(names: Sequence[str]) -> str:
    return "; ".join(names[:8]) + (f"; and {len(names) - 8} more" if len(names) > 8 else "")


def threat(drawing: Drawing) -> str:
    """What figures hold for, and for nothing else."""
    told = drawing.document["threat"]
    parts = ["<p>Figures hold for attackers who know and hold this. One who holds more may find more.</p>"]
    for one in told[: drawing.full]:
        named = f"<h3>{text(_whose(one['policies']))}</h3>" if len(told) > 1 else ""
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
                f"<code>{text((run['code_sha256'] or UNKNOWN)[:16])}</code>"
                + ("<small>another version</small>" if run["of_other_code"] else ""),
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


def _figure(told: Mapping[str, Any] | None) -> str:
    if told is None or told["value"] is None:
        return UNKNOWN
    return f"{figure(told['value'])}<small>{span(told['ci95']) if told['ci95'] else 'interval unknown'}</small>"


def _ends(told: Mapping[str, Any]) -> tuple[str, str]:
    return figure(told["value"]), span(told["ci95"])


def _risk(policy: Policy) -> str:
    risk = policy["risk"]
    if risk["value"] is None:
        return UNKNOWN
    least = "≥ " if risk["lower_bound"] else ""
    doubt = "" if risk["conclusive"] else '<span class="doubt">inconclusive</span> '
    holder = policy["holder"]
    keys = "" if holder is None else f"<small>with keys: {figure(holder['auc']['value'])}</small>"
    return f"{doubt}{least}{_figure(risk)}<small>{text(_head(risk['question']).lower())}</small>{keys}"


def _lesser(policy: Policy) -> str:
    by = policy["dominated_by"]
    if by is None:
        return ""
    return f"<small>dominated by {text(by['name'])}{'' if by['surely'] else ', if that figure holds'}</small>"


def _place(policy: Policy) -> str:
    by = policy["dominated_by"]
    told = "not dominated" if by is None else f"dominated by {by['name']}" + ("" if by["surely"] else ", if it holds")
    least = ", lower bound" if policy["risk"]["lower_bound"] else ""
    return f"{told}{least}{'' if policy['risk']['conclusive'] else ', inconclusive'}"


def _guarantee(formal: Mapping[str, Any] | None) -> str:
    if formal is None:
        return '<span class="soft">none</span>'
    return f"epsilon {formal['epsilon']:.3g}<small>delta {formal['delta']:g}, per {text(_unit(formal['unit']))}</small>"


def _unit(unit: object) -> str:
    return str(unit).replace("_", " ")


def _head(question: str) -> str:
    told = QUESTIONS.get(question)
    return told.head if told else str(question)


def _arm(policy: Policy) -> str:
    return {
        "trained": "one that learnt from what was shared, on unprotected films of other patients",
        "trained_released": "one that learnt from what was shared, on released films",
        "frozen": "one that learnt from unprotected films, on released ones",
    }[policy["utility"]["arm"]]


def _megabytes(size: float | None) -> str:
    return UNKNOWN if size is None else f"{size / 1e6:,.1f} MB"
