"""Who sees films and who does not, where a method has keys: the rule that keeps one recipient's figure from another.

An adversary's figure says nothing about those who hold keys, and so each of them has a sentence: whoever opens films
sees them, and a protection that ends with the key is none against its holder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.verdict import GUESSING, Figure

Recipient = Mapping[str, Any]


def called(one: Recipient) -> str:
    """What a recipient is called in a table, or the adversary in its title."""
    if one["role"] == "adversary":
        return "with the keys that leaked" if one["opens"] else "without a key"
    return f"{one['name']}, with its keys" if one["role"] == "reader" else f"whoever gets the keys of {one['name']}"


def recipients(told: Sequence[Recipient]) -> tuple[str, ...]:
    """A sentence for each who can open films; nothing, where nobody asked."""
    return tuple(_sentence(one) for one in told if one["role"] != "adversary")


def _sentence(one: Recipient) -> str:
    reader, auc = one["role"] == "reader", Figure.of(one["auc"])
    who, sees = (one["name"], "sees") if reader else ("anybody", "would see")
    keys = "With its keys" if reader else f"With the keys of {one['name']}"
    if not one["opens"]:
        return f"{keys}, {who} opens no film, and is as somebody without a key."
    opened = f"{keys}, {who} {sees} {one['opens']:,} of {one['of']:,} films"
    if auc.surely_above(GUESSING):
        return f"{opened} and {'finds' if reader else 'find'} patients among them, right in {auc.told}."
    return f"{opened}; whether patients are found among them was not shown, and is not ruled out."
