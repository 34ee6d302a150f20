"""A hospital's own profile: its films, and what may be done with them, whoever asks. No message can change it.

One YAML file, read as strictly as a scenario. What it does not allow is refused; what it does not know is an error.
`configs/sites/hospital.yaml` is one with every key explained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic

from fedcxr import plugins
from fedcxr.cohort import Cohort
from fedcxr.data import Source
from fedcxr.errors import ConfigError, DataError
from fedcxr.keys.identity import PublicIdentity
from fedcxr.learning import Place
from fedcxr.partition import Partition
from fedcxr.scenario.document import read_yaml
from fedcxr.scenario.sections import Section, built
from fedcxr.scenario.sites import in_order
from sites.coordinator import cards_of
from sites.custody import Custody
from sites.findings import released
from sites.inspection import Limits
from sites.own_file import own_text

Scalar = bool | int | float | str | None


class Bounds(Section):
    """What one parameter of a method may be."""

    at_least: float | None = None
    at_most: float | None = None
    one_of: tuple[Scalar, ...] | None = pydantic.Field(None, min_length=1)

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> Self:
        if (self.at_least, self.at_most, self.one_of) == (None, None, None):
            raise ValueError("a bound says at_least, at_most or one_of")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError("at_least is more than at_most")
        return self

    def allow(self, value: object) -> bool:
        """Whether this value is within; of what is no number, no bound says so."""
        truth = isinstance(value, bool)  # to Python, true is 1
        if self.one_of is not None and not any(isinstance(one, bool) == truth and one == value for one in self.one_of):
            return False
        if (self.at_least, self.at_most) == (None, None):
            return True
        if truth or not isinstance(value, int | float):
            return False
        low = self.at_least is None or value >= self.at_least
        return low and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        said = {"at least": self.at_least, "at most": self.at_most, "one of": self.one_of}
        return ", ".join(f"{word} {value}" for word, value in said.items() if value is not None)


class Fence(Section):
    """What keeps the process in that answers a coordinator."""

    weaker: bool = pydantic.Field(
        False, description="answer also where the kernel cannot fence it in whole: Linux before 6.2, or no seccomp"
    )
    reads: tuple[str, ...] = pydantic.Field(
        (), description="what it may read besides its films and `files`: where links among the films lead, other code"
    )


class Profile(Custody, Section):
    """What this hospital has, and what it allows."""

    site: str = pydantic.Field(description="its name, which is its vault's")
    coordinator: str | Annotated[tuple[str, ...], pydantic.Field(min_length=1)] = pydantic.Field(
        description="the file of its card: nobody else is answered. While the card is renewed [earlier, next]"
    )
    cohort: Annotated[Source, built("cohort")] = pydantic.Field(description="its films")
    findings: tuple[str, ...] | None = pydantic.Field(
        None, description="those that may leave; null: all that the shared vocabulary knows"
    )
    methods: dict[str, dict[str, Bounds]] = pydantic.Field(
        {}, description="those allowed, and the bounds of their parameters; a parameter without bounds is free"
    )
    learns: tuple[Place, ...] = pydantic.Field(
        ("local",),
        description="where a method may learn. What comes from elsewhere is whatever the coordinator sends: it decides "
        "what a generator makes of films, and from which weights an update of them starts",
    )
    tasks: tuple[str, ...] = pydantic.Field((), description="those that may be tested on its films")
    outside: tuple[str, ...] = pydantic.Field((), description="module:Class of other people's code that may run here")
    files: dict[str, str] = pydantic.Field({}, description="what a scenario may name, and where it lies")
    limits: Limits = pydantic.Field(Limits(), description="how like its films may be what leaves")
    tells: Literal["code", "line", "log"] = pydantic.Field(
        "code",
        description="what a coordinator hears of what is not done: one of a few codes; with it a line of our code; or "
        "both, and with every answer which steps were taken for it and how long they took",
    )
    fence: Fence = pydantic.Field(Fence(), description="what keeps the process in that answers")
    smallest: int = pydantic.Field(20, ge=1, description="films: nothing is answered about fewer")

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        in_order([self.site])
        if self.cohort.plugin_name() == "own":
            raise ConfigError("profile: which films are its own, a hospital says here", given="cohort: own")
        kept = self.vault, *filter(None, [self.agent, self.journal])
        for named in (*kept, *self.cards, *self.files.values(), *self.fence.reads):
            if not Path(named).expanduser().is_absolute():
                raise ConfigError(
                    "profile: a path that depends on where one stands", given=named, allowed="/... or ~/..."
                )
        for name in self.outside:
            if ":" not in name:
                raise ConfigError("profile: outside lists code by module:Class", given=name)
        for method, bounds in self.methods.items():
            self._refuse_unknown("method", method)
            fields = plugins.load("method", method).model_fields
            for parameter in bounds:
                if parameter not in fields:
                    raise ConfigError(
                        f"profile: {method} has no such parameter", given=parameter, allowed=", ".join(fields)
                    )
        for task in self.tasks:
            self._refuse_unknown("task", task)
        return self

    def _refuse_unknown(self, kind: plugins.Kind, name: str) -> None:
        if not self.knows(kind, name):
            allowed = ", ".join((*plugins.names(kind), *self.outside))
            raise ConfigError(f"profile: unknown {kind}", given=name, allowed=allowed)

    def knows(self, kind: plugins.Kind, name: str) -> bool:
        """Whether this is a contribution that came with fedcxr, or one that this hospital lists."""
        return name in plugins.names(kind) or name in self.outside

    @property
    def coordinators(self) -> list[PublicIdentity]:
        """Whose requests count: the coordinator's, by any of its cards."""
        return cards_of(self.cards)

    @property
    def cards(self) -> tuple[str, ...]:
        """The files of the coordinator's cards."""
        return (self.coordinator,) if isinstance(self.coordinator, str) else self.coordinator

    def films(self, cache: Path) -> Cohort:
        """The hospital's films, with those findings alone that may leave."""
        return released(self.cohort.resolved_for(1, Partition()).open(cache), self.findings)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Profile:
        """A profile from plain data; nothing that it names is looked for."""
        if document.get("coordinator") is None:
            raise ConfigError(
                "profile: it does not say which coordinator this hospital answers",
                given="no coordinator",
                allowed="coordinator: FILE.card",
                do="get the coordinator's card, and compare its fingerprint (python -m sites.check) by telephone",
            )
        return plugins.validate(cls, document, "profile")

    @classmethod
    def stated(cls, path: Path) -> Profile:
        """The profile in a file that is its user's own; nothing that it names is looked for."""
        return cls.parse(read_yaml(own_text(path, "profile")))

    @classmethod
    def read(cls, path: Path) -> Profile:
        """The same, and everything that it names is there."""
        profile = cls.stated(path)
        for named in profile.files.values():
            if not Path(named).expanduser().is_file():
                raise DataError("profile: there is no such file", given=named, do="check files")
        profile.cohort.required_files()
        cards_of(profile.cards)
        return profile
