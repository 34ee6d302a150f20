"""The answer in three sentences, made of the data and never better news than they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.report._cells import task_in_words
from fedcxr.report.words import QUESTIONS
from fedcxr.table import figure, span
from fedcxr.verdict import IN_BRACKETS, Figure, listed

MOST_NAMED = 4
Policy = Mapping[str, Any]


def answer(policies: Sequence[Policy], *, single: bool) -> list[str]:
    """Of a study: what meets its constraints, what cannot be told, who is found at worst; of a run: what it gave."""
    known = [policy for policy in policies if policy["runs"]]
    if not known:
        return ["Nothing is known: no result could be read.", "No policy can be told.", "Nobody is known to be safe."]
    if single:
        return [_useful(known[0]), _found(known[0]), _doubts(known)]
    if not any(policy["constraints"] for policy in policies):
        return [_unconstrained(policies, known), _doubts(known), _worst(known)]
    return [_meeting(policies), _untold(policies), _worst([p for p in known if p["meets"]] or known)]


def _meeting(policies: Sequence[Policy]) -> str:
    good = [policy["name"] for policy in policies if policy["meets"] is True]
    bad = sum(policy["meets"] is False for policy in policies)
    if not good:
        return f"No policy is known to meet every constraint: {bad} of {len(policies)} break one."
    verb = "meets" if len(good) == 1 else "meet"
    return f"{len(good)} of {len(policies)} policies {verb} every constraint ({_named(good)}), and {bad} break one."


def _untold(policies: Sequence[Policy]) -> str:
    doubtful = [policy for policy in policies if policy["meets"] is None]
    if not doubtful:
        return "There is no policy of which that cannot be told."
    reasons = [one["because"].rstrip(".") for one in doubtful[0]["constraints"] if one["met"] is None]
    because = f"; of {doubtful[0]['name']} because {reasons[0]}" if reasons else ""
    return f"Of {_named([policy['name'] for policy in doubtful])} it cannot be told{because}."


def _unconstrained(policies: Sequence[Policy], known: Sequence[Policy]) -> str:
    scored = [policy for policy in known if policy["utility"]["value"] is not None]
    begin = "No constraint was set or none is on file, so that no policy passes or fails"
    if not scored:
        return f"{begin}, and of none of {len(policies)} is known how useful it is."
    best = max(scored, key=lambda policy: float(policy["utility"]["value"]))
    begin = f"{begin}; the most useful of {len(policies)} is {best['name']}"
    if best["utility"]["arm"] is None:
        return f"{begin}, whose {_of_a_task(best)}."
    return f"{begin}, which tells findings right in {Figure.of(best['utility']).told}."


def _worst(known: Sequence[Policy]) -> str:
    scored = [policy for policy in known if policy["risk"]["value"] is not None]
    if not scored:
        return "Who is re-identified at worst is unknown: nobody attacked."
    worst = max(scored, key=lambda policy: (policy["risk"]["question"] == "linkage", policy["risk"]["value"]))
    said = _attack(worst)
    return f"At worst, under {worst['name']}: {said[0].lower()}{said[1:]}{_with_keys(known)}"


def _useful(policy: Policy) -> str:
    told, raw = Figure.of(policy["utility"]), Figure.of(policy["arms"]["raw"])
    if told.value is None:
        return "How useful it is to share in this way is unknown: nothing was learnt from what was shared."
    if policy["utility"]["arm"] is None:
        table = policy["tasks"][policy["utility"]["task"]]["table"] or {"verdict": []}
        return f"{' '.join([*table['verdict'][:1], ''])}The {_of_a_task(policy)}."
    ceiling = "" if raw.value is None else f", and one that learnt from unprotected films in {raw.told}"
    return (
        f"Shown a film with a finding and one without, what was learnt picks the right one in {told.told}{ceiling}; "
        f"{IN_BRACKETS}."
    )


def _of_a_task(policy: Policy) -> str:
    """What was measured by another task than findings, in whose words an AUC is told."""
    told, figure_of = policy["utility"], task_in_words(policy["utility"]["task"], policy["utility"]["name"])
    ends = "interval unknown" if told["ci95"] is None else span(told["ci95"])
    return f"main figure of {figure_of} is {figure(told['value'])} ({ends})"


def _found(policy: Policy) -> str:
    if policy["risk"]["value"] is None:
        return "Who can be re-identified is unknown: nobody attacked, or no attacker has a figure."
    held = "all controls held" if policy["risk"]["conclusive"] else "a control failed: a low figure proves nothing"
    return f"{_attack(policy).rstrip('.')}; {held}.{_with_keys([policy])}"


def _attack(policy: Policy) -> str:
    risk = policy["risk"]
    asked = QUESTIONS.get(risk["question"])
    task = asked.task if asked else f"asked {risk['question']}"
    least = "at least " if risk["lower_bound"] else ""
    return f"{task}, the best attacker ({risk['attacker']}) is right in {least}{Figure.of(risk).told}."


def _with_keys(known: Sequence[Policy]) -> str:
    """What holds without a key does not hold for whoever has some."""
    holding = [policy for policy in known if policy["holder"] is not None]
    if not holding:
        return ""
    most = max(holding, key=lambda policy: float(policy["holder"]["auc"]["value"]))
    told = Figure.of(most["holder"]["auc"]).told
    return f" With keys it is another matter: under {most['name']}, {most['holder']['name']} is right in {told}."


def _doubts(known: Sequence[Policy]) -> str:
    failed = [policy["name"] for policy in known if not policy["risk"]["conclusive"]]
    bounds = [policy["name"] for policy in known if policy["risk"]["conclusive"] and policy["risk"]["lower_bound"]]
    if not failed and not bounds:
        return "Every attacker's controls held and the worst had stopped rising, which does not prove that nobody can."
    said = []
    if failed:
        said.append(f"the risk under {_named(failed)} cannot be told, as a control failed or nobody attacked")
    if bounds:
        least = "is the least it can be: that attackers could not reach more was not shown"
        said.append(f"the risk under {_named(bounds)} {least}")
    sentence = "; ".join(said)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _named(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMED
    return listed([*names[:MOST_NAMED], f"{rest} others"] if rest > 1 else names)
