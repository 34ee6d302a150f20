"""Who links films to patients how well, where a method has keys: what holds for one recipient holds for no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Entry = Mapping[str, Any]
UNKNOWN: Entry = {"value": None, "ci95": None}


def recipients(
    attacks: Sequence[Entry], access: Entry | None, sites: Sequence[Entry], leaked: Sequence[str]
) -> list[dict[str, Any]] | None:
    """The adversary, everybody whom sites granted keys, and whoever gets those of one site: of the worst one.

    None: there are no keys, so that all see the same. `leaked` are the sites whose keys the adversary has.
    """
    asked = [attack for attack in attacks if attack.get("with_keys") is not None]
    if access is None or not asked:
        return None
    films = {site["name"]: site["released"] for site in sites if site["status"] == "ok"}
    opened = {reader["name"]: reader["opened"] for reader in access["readers"]}
    every, first = sum(films.values()), asked[0]["with_keys"]
    adversary = _recipient("adversary", "", sum(films.get(site, 0) for site in leaked), every, asked, ("auc",))
    readers = [
        _recipient("reader", name, opened.get(name, 0), every, asked, ("with_keys", "readers", name))
        for name in first["readers"]
    ]
    lost = [
        _recipient("keys", site, films.get(site, 0), every, asked, ("with_keys", "by_site", site))
        for site in first["by_site"]
    ]
    worst = max(lost, key=lambda one: one["auc"]["value"] or 0.0, default=None)
    return [adversary, *readers, *([] if worst is None else [worst])]


def _recipient(
    role: str, name: str, opens: int, of: int, asked: Sequence[Entry], place: Sequence[str]
) -> dict[str, Any]:
    """By the attacker that does best with what this recipient can open; `place` is where its AUC stands."""
    found = [(_at(attack, place), attack) for attack in asked]
    known = [(auc, attack) for auc, attack in found if auc["value"] is not None]
    auc, best = max(known, key=lambda one: float(one[0]["value"]), default=(UNKNOWN, {}))
    return {
        "role": role,
        "name": name,
        "opens": opens,
        "of": of,
        "adversary": best.get("adversary"),
        "attacker": best.get("attacker"),
        "auc": {"value": auc["value"], "ci95": auc["ci95"]},
    }


def _at(entry: Entry, place: Sequence[str]) -> Entry:
    for name in place:
        entry = entry[name]
    return entry
