"""Whose signature counts as which site's: hospitals are entered by their cards, simulated sites by the seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedcxr.errors import ConfigError
from fedcxr.keys.identity import LONGEST_CARD, PublicIdentity
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import simulated_register

CARD = "*.card"


@dataclass(frozen=True)
class Register:
    """By name, who the sites are; in a simulation all nodes are its own, and none is a stranger's."""

    cards: Mapping[str, PublicIdentity]
    simulated: bool = False

    @classmethod
    def of_simulation(cls, scenario: Scenario) -> Register:
        return cls(simulated_register(scenario.root, scenario.site_names), simulated=True)

    @classmethod
    def read(cls, folder: Path) -> Register:
        """The cards in a folder, each under the name that it gives itself."""
        cards: dict[str, PublicIdentity] = {}
        for path in sorted(folder.glob(CARD)):
            card = PublicIdentity.from_card(_text(path))
            if card.name in cards:
                raise ConfigError("two cards of one name", given=f"{card.name}, {path}", do="keep the right one")
            cards[card.name] = card
        if not cards:
            raise ConfigError("a register without cards", given=folder, do="put the sites' files *.card there")
        return cls(cards)


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(LONGEST_CARD + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("cannot read a card", given=path, do=str(error)) from None
