"""Who takes part: the coordinator, and whose signature counts as which site's, by their cards or by a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcxr.errors import ConfigError, Refused
from fedcxr.keys.cards import LONGEST, Card
from fedcxr.keys.identity import Identity, PublicIdentity
from fedcxr.keys.provider import SERVER
from fedcxr.reading import Recipient
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import simulated_identity, simulated_register

CARD = "*.card"


@dataclass(frozen=True)
class Register:
    """By name, who the sites are, and who asks them; in a simulation all nodes are its own, none a stranger's."""

    cards: Mapping[str, PublicIdentity]
    coordinator: Identity  # who signs what the sites are asked, and whom they may grant keys
    simulated: bool = False

    @classmethod
    def of_simulation(cls, scenario: Scenario) -> Register:
        sites = simulated_register(scenario.root, scenario.site_names)
        return cls(sites, simulated_identity(scenario.root, SERVER), simulated=True)

    @property
    def reader(self) -> Recipient:
        """The coordinator as whoever sites grant keys: at hospitals those that entered its card in their vaults."""
        return Recipient(self.coordinator, self.cards)

    @classmethod
    def read(cls, folder: Path, coordinator: Identity) -> Register:
        """The cards in a folder, each under its own name; of one name, that which all the others signed.

        So a renewed card is put beside the one that is there, and counts if that one signed it.
        """
        found: dict[str, list[Card]] = {}
        for path in sorted(folder.glob(CARD)):
            card = Card.read(_text(path))
            found.setdefault(card.public.name, []).append(card)
        if not found:
            raise ConfigError("a register without cards", given=folder, do="put the sites' files *.card there")
        return cls({name: _last(name, cards) for name, cards in found.items()}, coordinator)


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
