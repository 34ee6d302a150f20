"""For a data-protection officer: singling out, linkability and inference under one policy, and what nobody measured.

The three criteria are those of WP29 opinion 05/2014, applied to shared models as EDPB opinion 28/2024 does, and asked
of each recipient with what that recipient holds (CJEU, C-413/23 P). Whether that is enough is a question of law, and no
answer to it stands here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.errors import ConfigError, OtherVersion
from fedcxr.report import _wording
from fedcxr.report._judged import judged
from fedcxr.report._measures import measures
from fedcxr.report._recipients import by_recipient
from fedcxr.report._sightings import Result, entries

SCHEMA = 1
RESULT_SCHEMA = 1
CRITERIA = ("singling_out", "linkability", "inference")
NEVER_SAID = re.compile("anonym[a-z]*", re.IGNORECASE)  # a word of law, which no failed attack can prove


def assess(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The body of dpia.json, from the results of one policy under one seed or several."""
    _demand_one_policy(results)
    told = [judged(measure, results) for measure in measures(results)]
    first = results[0]
    body = {
        "schema": SCHEMA,
        "policy": {
            "id": first["run"]["id"],
            "name": first["scenario"]["name"],
            "method": dict(first["scenario"]["method"]),
        },
        "seeds": [result["run"]["seed"] for result in results],
        "simulated": not any("unmeasured" in result for result in results),
        "sites": len(first["sites"]),
        "patients": sum(site.get("patients") or 0 for site in first["sites"] if site["status"] == "ok"),
        "criteria": {name: [one for one in told if one["criterion"] == name] for name in CRITERIA},
        "others": _others(results),
        "recipients": by_recipient(results, told),
        "formal": _formal(results),
        "not_tried": _not_tried(results, told),
    }
    found: dict[str, Any] = _purged(body)
    return found


def paragraphs(assessment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A section that can be pasted into an impact assessment: headings, and what stands below each."""
    return [(_purged(heading), _purged(text)) for heading, text in _wording.section(assessment)]


def _demand_one_policy(results: Sequence[Result]) -> None:
    if not results:
        raise ConfigError("there is no result to assess", do="name finished runs")
    others = [result.get("schema") for result in results if result.get("schema") != RESULT_SCHEMA]
    if others:
        raise OtherVersion(
            "a result was written by another version of fedcxr", given=f"schema {others[0]}", allowed=str(RESULT_SCHEMA)
        )
    policies = dict.fromkeys(str(result["run"]["id"]) for result in results)
    if len(policies) > 1:
        raise ConfigError(
            "these results are of several policies",
            given=", ".join(policies),
            allowed="one policy, under several seeds",
        )


def _others(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Questions that are known to nobody here: what their attackers reached, without a control that could be named."""
    known = {measure.question for measure in measures(results)}
    return [
        {
            "question": entry["question"],
            "adversary": entry["adversary"],
            "attacker": entry["attacker"],
            "seed": result["run"]["seed"],
            "auc": entry.get("auc"),
            "controls_held": entry.get("conclusive"),
        }
        for result in results
        for entry in entries(result)
        if entry["question"] not in known
    ]


def _formal(results: Sequence[Result]) -> dict[str, Any]:
    """The weakest guarantee that the runs give, what its unit promises, and what it does not."""
    given = [result["privacy"]["formal"] for result in results]
    if not all(given):
        return {"given": False, "guarantee": None, "promises": None, "does_not_promise": [], "contradicted": None}
    weakest = max(given, key=lambda one: float(one["epsilon"]))
    tested = [one.get("contradicts_epsilon") for result in results for one in result["privacy"].get("membership") or ()]
    known = [one for one in tested if one is not None]
    return {
        "given": True,
        "guarantee": {name: weakest[name] for name in ("epsilon", "delta", "unit", "accountant")},
        "promises": _wording.PROMISES[weakest["unit"]],
        "does_not_promise": [*_wording.NOT_OF_UNIT[weakest["unit"]], *_wording.NEVER_PROMISED],
        "contradicted": any(known) if known else None,
    }


def _not_tried(results: Sequence[Result], told: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader might think was tried: questions, knowledge, and what no program here does."""
    knowledge = results[0]["scenario"]["knowledge"]
    nobody = [f"{one['measure']}: {one['unknown_because']}" for one in told if not one["measured"]]
    withheld = [why for name, (no, why) in _wording.WITHHELD.items() if _wording.withheld(knowledge.get(name), no)]
    return [*nobody, *withheld, *_wording.NOBODY_TRIES]


def _purged(value: Any) -> Any:
    """Without a word that claims what no measurement shows, whoever wrote it into a name or a reason."""
    if isinstance(value, str):
        return NEVER_SAID.sub("[...]", value)
    if isinstance(value, Mapping):
        return {_purged(key): _purged(one) for key, one in value.items()}
    return [_purged(one) for one in value] if isinstance(value, list | tuple) else value
