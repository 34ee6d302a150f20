"""Who a hospital's coordinator is: the cards that its profile names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedcxr.keys.cards import Card
from fedcxr.keys.identity import PublicIdentity
from sites.own_file import own_text


def cards_of(files: Sequence[str]) -> list[PublicIdentity]:
    """The coordinator by each of its cards, of which every one was signed by the one before as its next.

    All of them count, so that a hospital can enter a renewed card before the coordinator changes over.
    """
    known: list[PublicIdentity] = []
    for file in files:
        card = Card.read(own_text(Path(file).expanduser(), "card of the coordinator"))
        if known:
            card.check_follows(known[-1])
        known.append(card.public)
    return known
