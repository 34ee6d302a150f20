"""For whom which figure holds: the server, a partner, the public. What was not measured for one of them is unknown.

Whether a person can be identified is asked of a recipient, with what that recipient holds (CJEU, C-413/23 P): keys
above all, and of a federation what is sent in between. A figure of somebody who holds less says nothing of who holds
more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.report._residual import Residual, over_seeds, residual
from fedcxr.report._sightings import Result
from fedcxr.verdict import GUESSING, Figure

SERVER, PARTNER, PUBLIC = ROLES = ("server", "partner", "public")
OF_A_MODEL = ("membership", "inversion")
Told = Mapping[str, Any]  # a measure, as dpia.json holds it


def by_recipient(results: Sequence[Result], told: Sequence[Told]) -> list[dict[str, Any]]:
    """All three, each with what it holds, the figures that hold for it, and what is not known of it."""
    if any("unmeasured" in result for result in results):
        why = "nobody is attacked at real hospitals, and who could open what is not told"
        return [_recipient(role, "what hospitals sent or granted it", None, [], [why]) for role in ROLES]
    tell = _keyless if results[0]["access"] is None else _keyed
    return [tell(results, told, role) for role in ROLES]


def _keyless(results: Sequence[Result], told: Sequence[Told], role: str) -> dict[str, Any]:
    """There are no keys: whoever receives what is released sees the same. Of a federation, some see more."""
    scenario = results[0]["scenario"]
    seen, federated = str(_first_of(scenario["knowledge"].get("updates", "model"))), "rounds" in scenario["method"]
    own = [one for one in told if one["measured"] and role in _who(one["question"], seen)]
    unknown = []
    if not any(one["measured"] for one in told):
        unknown.append("nothing was measured")
    elif not own:
        unknown.append(f"what was measured is of somebody who sees more ({seen} of a federation), and not of this one")
    if role == SERVER and federated and seen != "sites":
        unknown.append("what every hospital sends in every round was not attacked (knowledge.updates: sites)")
    if role == PARTNER:
        unknown.append("a hospital that takes part also has films of its own, of patients who may be the same")
        if federated and seen == "model":
            unknown.append("what every round made of all updates was not attacked (knowledge.updates: rounds)")
    holds = "all that is released; there are no keys, so that everybody who receives it sees the same"
    return _recipient(role, holds, None, [_copied(one) for one in own], unknown)


def _who(question: str, seen: str) -> Sequence[str]:
    """Who holds at least what the adversary of a question held, where there are no keys."""
    if question == "inversion":
        return (SERVER,)  # a single hospital's update, which nobody else receives
    if question in OF_A_MODEL:
        return {"model": ROLES, "rounds": (SERVER, PARTNER), "sites": (SERVER,)}.get(seen, (SERVER,))
    return ROLES


def _keyed(results: Sequence[Result], told: Sequence[Told], role: str) -> dict[str, Any]:
    """Whoever has keys sees films, and an attacker's figure says nothing of them."""
    leaked = int(_first_of(results[0]["scenario"]["knowledge"].get("keys", 0)))
    measured = [_copied(one) for one in told if one["measured"]]
    nothing = [] if measured else ["nothing was measured"]
    if role == PUBLIC and not leaked:
        return _recipient(role, "all that is released, and no key", None, measured, nothing)
    if role == PUBLIC:
        because = f"the attackers held the keys of {leaked} hospitals, and nobody without a key was asked"
        return _recipient(role, "all that is released, and no key", None, [], [because])
    granted = [reader for reader in results[0]["access"]["readers"] if (reader["name"] == SERVER) is (role == SERVER)]
    if role == PARTNER and leaked:
        holds = f"all that is released, and the keys of {leaked} hospitals, which leaked or which collude"
        return _recipient(role, holds, None, measured, nothing)
    with_keys = [one for one in (_reader(results, name) for name in _readers(results, role)) if one is not None]
    if role == PARTNER and not granted and with_keys:
        holds = "all that is released, and the keys of one hospital if it gets them, of the one where that is worst"
        rest = "films that it does not open are to it what they are to the public"
        return _recipient(role, holds, _opens(results, role), with_keys, [rest])
    if not granted:
        holds = "all that is released, and no key: it was granted none"
        more = ["a hospital opens what is its own, which nobody attacked"] if role == PARTNER else []
        return _recipient(role, holds, None, [] if leaked else measured, nothing + more)
    unknown = [] if with_keys else ["nobody was asked whose films those are that it opens"]
    unknown.append("it sees these films: what else they tell is what any film tells, and was not attacked")
    holds = "all that is released, and the keys that hospitals granted it"
    return _recipient(role, holds, _opens(results, role), with_keys, unknown)


def _readers(results: Sequence[Result], role: str) -> list[tuple[str, str]]:
    """Role and name, in results, of those with keys who count as this recipient."""
    listed = [(one["role"], one["name"]) for result in results for one in result["privacy"].get("recipients") or ()]
    own = [one for one in dict.fromkeys(listed) if one[0] != "adversary"]
    if role == SERVER:
        return [one for one in own if one == ("reader", SERVER)]
    readers = [one for one in own if one[0] == "reader" and one[1] != SERVER]
    return readers or [("keys", "")] * any(one[0] == "keys" for one in own)


def _found(result: Result, who: tuple[str, str]) -> Told | None:
    """The entry of somebody with keys; whose keys are worst to lose differs from seed to seed."""
    listed = result["privacy"].get("recipients") or ()
    return next((one for one in listed if one["role"] == who[0] and who[1] in ("", one["name"])), None)


def _reader(results: Sequence[Result], who: tuple[str, str]) -> dict[str, Any] | None:
    """How well somebody with keys tells whose the films are that it opens."""
    found = [(result, one) for result in results if (one := _found(result, who)) is not None]
    attack = over_seeds([Figure.of(one["auc"]) for _, one in found])
    if attack.value is None:
        return None
    doubts = [doubt for result, one in found if (doubt := _doubt(result, one)) is not None]
    left = Residual.refused(f"it is inconclusive: {doubts[0]}") if doubts else residual(attack, GUESSING)
    return {
        "measure": "verification",
        "criterion": "linkability",
        "by": " ".join(filter(None, who)),
        "attack": {
            "adversary": found[0][1]["adversary"],
            "attacker": found[0][1]["attacker"],
            "value": attack.value,
            "ci95": None if attack.low is None or attack.high is None else [attack.low, attack.high],
        },
        "control": {"against": "chance", "value": GUESSING},
        "residual": left.told(),
    }


def _doubt(result: Result, one: Told) -> str | None:
    for entry in result["privacy"]["attacks"]:
        if entry["adversary"] == one["adversary"] and entry["attacker"] == one["attacker"] and not entry["conclusive"]:
            return str(entry["inconclusive_because"])
    return None


def _opens(results: Sequence[Result], role: str) -> dict[str, int] | None:
    found = [_found(result, who) for result in results for who in _readers(results, role)]
    known = [one for one in found if one is not None]
    return {"films": max(one["opens"] for one in known), "of": max(one["of"] for one in known)} if known else None


def _copied(one: Told) -> dict[str, Any]:
    """Of a measure, what a recipient's table holds."""
    return {name: one[name] for name in ("measure", "criterion", "attack", "control", "residual")} | {"by": None}


def _recipient(
    role: str, holds: str, opens: Mapping[str, int] | None, own: list[dict[str, Any]], unknown: list[str]
) -> dict[str, Any]:
    return {
        "recipient": role,
        "holds": holds,
        "opens": opens,
        "measured": bool(own),
        "measures": own,
        "unknown": unknown if own or unknown else ["nothing was measured"],
    }


def _first_of(known: Any) -> Any:
    """Knowledge stands as its first parameter alone, or with all of them."""
    return next(iter(known.values())) if isinstance(known, Mapping) else known
