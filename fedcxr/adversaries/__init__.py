"""Measures of privacy: one file per adversary, each given only what leaked and what the threat model grants."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from fedcxr.methods import Method, Weights
from fedcxr.plugins import Plugin
from fedcxr.release import Kind

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all
Scores = npt.NDArray[np.float32]  # (released films, known films): higher means more likely the same patient


@dataclass(frozen=True)
class Auxiliary:
    """Clean films the adversary owns, of people it does not attack."""

    films: npt.NDArray[np.uint8]  # (n, h, w)
    people: npt.NDArray[np.int64]  # (n,) anonymous numbers
    sources: npt.NDArray[np.int64]  # (n,) anonymous numbers of hospitals
    held_out: npt.NDArray[np.bool_]  # (n,) people to validate on, by patient


@dataclass(frozen=True)
class Pairs:
    """Films of the adversary's own that the sites released too, with what is public of their codes."""

    public: npt.NDArray[np.int8]  # (k, p, h, w)
    films: npt.NDArray[np.int64]  # (k,) rows of the adversary's own films
    versions: npt.NDArray[np.int64]  # (k,) which of what was learnt a film's codec is


@dataclass(frozen=True)
class Coded:
    """What is public of films that were released as codes, beside what is sealed."""

    public: npt.NDArray[np.int8] | None  # (n, p, h, w) values in the clear; None: all is sealed
    versions: npt.NDArray[np.int64]  # (n,) which of what was learnt a film's codec is
    facts: Mapping[str, Any] = field(default_factory=dict)  # those that all releases agree on
    again: npt.NDArray[np.int8] | None = None  # (n, p, h, w) the same films in another release, if there was one
    pairs: Pairs | None = None  # None: none granted, or nothing public of them
    opened: npt.NDArray[np.bool_] | None = None  # (n,) films whose keys leaked; None: no key did
    films: npt.NDArray[np.uint8] | None = None  # (n, h, w) these films as the keys show them, and blanks


@dataclass(frozen=True)
class Guess:
    """What an attacker makes of films that were released as codes."""

    support: npt.NDArray[np.float16]  # (n, c, h, w) higher: this number is more likely kept
    pictures: npt.NDArray[np.uint8]  # (n, h, w)


@dataclass(frozen=True)
class Leak:
    """All an adversary holds: nothing else reaches its process."""

    released: npt.NDArray[np.uint8]  # (n, h, w) the released films under attack; of codes: (n, bytes) what is sealed
    known: npt.NDArray[np.uint8]  # (m, h, w) real films of the same people, from elsewhere
    auxiliary: Auxiliary
    mechanism: Method | None  # the method as the adversary may run it on its own films; None: not known
    learnt: tuple[Weights, ...] = ()  # what the mechanism learnt, once for each place where it did; none: nothing
    coded: Coded | None = None  # None: films were released

    @property
    def kind(self) -> Kind:
        return "images" if self.coded is None else "codes"


class Adversary(Plugin):
    """Answers: whose films are these? Its fields are keys under `adversaries:` in a scenario."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"images"})  # releases it can read

    @property
    def running_mechanism(self) -> tuple[str, ...]:
        """Its attackers that run the method on films of their own, so that `knowledge.mechanism` must be granted."""
        return ()

    @classmethod
    def reads(cls, kind: Kind) -> bool:
        """Whether there is anything to attack: whoever reads films is shown what codes look like without a key."""
        return kind in cls.kinds or (kind == "codes" and "images" in cls.kinds)

    def prepare(self, auxiliary: Auxiliary, seed: int, compute: Compute, progress: Progress) -> Weights:
        """What can be learnt before anything leaked; shared by every attack with the same knowledge."""
        return {}

    def briefly(self) -> Self:
        """The same adversary with less training: the control with shuffled identities fails at any budget."""
        return self

    @abstractmethod
    def attack(
        self, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Mapping[str, Scores]:
        """One score matrix per attacker, for instance `naive` and `retrained`."""

    def recover(self, leak: Leak, seed: int, compute: Compute, progress: Progress) -> Mapping[str, Guess]:
        """What the films under attack were, by attacker; nothing from adversaries that only compare."""
        return {}

    def recognise(self, leak: Leak, compute: Compute) -> Mapping[str, Scores]:
        """For each of the leak's pairs, whether it is the release of each pair's film: (k, k), by attacker."""
        return {}
