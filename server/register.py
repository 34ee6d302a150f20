"""Whose signature counts as which site's: hospitals are entered by their cards, simulated sites by the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcxr.errors import ConfigError, Refused
from fedcxr.keys.cards import LONGEST, Card
from fedcxr.keys.identity import PublicIdentity
from fedcxr.keys.provider import SERVER
from fedcxr.reading import Recipient
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import simulated_identity, simulated_register
from fedcxr.view import Holder, Nobody

CARD = "*.card"


@dataclass(frozen=True)
class Register:
    """By name, who the sites are; in a simulation all nodes are its own, and none is a stranger's."""

    cards: Mapping[str, PublicIdentity]
    simulated: bool = False

    @classmethod
    def of_simulation(cls, scenario: Scenario) -> Register:
        return cls(simulated_register(scenario.root, scenario.site_names), simulated=True)

    def reader(self, scenario: Scenario) -> Holder:
        """The coordinator as whoever sites grant keys; outside simulations it has no identity yet."""
        if not self.simulated:
            return Nobody()
        return Recipient(simulated_identity(scenario.root, SERVER), self.cards)

    @classmethod
    def read(cls, folder: Path) -> Register:
        """The cards in a folder, each under its own name; of one name, that which all the others signed.

        So a renewed card is put beside the one that is there, and counts if that one signed it.
        """
        found: dict[str, list[Card]] = {}
        for path in sorted(folder.glob(CARD)):
            card = Card.read(_text(path))
            found.setdefault(card.public.name, []).append(card)
        if not found:
            raise ConfigError("a register without cards", given=folder, do="put the sites' files *.card there")
        return cls({name: _last(name, cards) for name, cards in found.items()})


def _last(name: str, cards: Sequence[Card]) -> PublicIdentity:
    """The one that follows all the others, whatever their files are called."""
    for card in cards:
        try:
            for other in cards:
                if other is not card:
                    card.check_follows(other.public)
            return card.public
        except Refused:
            continue
    raise ConfigError("two cards of one name", given=name, do="keep the right one, or both if one signed the other")


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("cannot read a card", given=path, do=str(error)) from None
