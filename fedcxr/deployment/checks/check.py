"""One thing that is looked at, what was found, and what to do; all things of a list, whatever any of them finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from fedcxr.errors import DataError, FedcxrError, Refused, place


class Verdict(StrEnum):
    """What becomes of a machine in this state."""

    ok = "ok"
    warning = "warning"  # it works today
    problem = "problem"  # it does not
    unchecked = "unchecked"  # nobody knows: what this rests on is missing


@dataclass(frozen=True)
class Outcome:
    """What a look came to."""

    verdict: Verdict
    found: str
    fix: str = ""  # one sentence
    exit_code: int = 0


def fine(found: str) -> Outcome:
    """As it should be."""
    return Outcome(Verdict.ok, found)


def odd(found: str, fix: str) -> Outcome:
    """It works, and will not always."""
    return Outcome(Verdict.warning, found, fix)


def wrong(found: str, fix: str) -> Outcome:
    """It does not work."""
    return Outcome(Verdict.problem, found, fix, DataError.exit_code)


def insecure(found: str, fix: str) -> Outcome:
    """It must not work."""
    return Outcome(Verdict.problem, found, fix, Refused.exit_code)


def unchecked(why: str, fix: str = "") -> Outcome:
    """Nobody looked."""
    return Outcome(Verdict.unchecked, why, fix)


@dataclass(frozen=True)
class Check:
    """A named look; after others, without which there is nothing to see."""

    name: str
    look: Callable[[], Outcome]
    after: tuple[str, ...] = ()

    def looked(self) -> Outcome:
        """What was found; an error is a finding too, so that the next thing is looked at all the same."""
        try:
            return self.look()
        except FedcxrError as error:
            found = str(error).removesuffix(error.do or "").removesuffix("; ")
            code = error.exit_code if isinstance(error, Refused) else DataError.exit_code
            return Outcome(Verdict.problem, found, error.do or "", code)
        except OSError as error:
            return wrong(f"{error.filename or self.name}: {error.strerror or error}", "let this user read it")
        except Exception as error:  # a bug of ours in one look keeps nobody from the others
            return wrong(f"{type(error).__name__}: {error} ({place(error)})", "report it: this look has a bug of ours")


@dataclass(frozen=True)
class Report:
    """Everything that was looked at, in order."""

    outcomes: dict[str, Outcome]

    @classmethod
    def of(cls, checks: Iterable[Check]) -> Report:
        """All of them; those that rest on one that failed are not looked at."""
        outcomes: dict[str, Outcome] = {}
        for check in checks:
            broken = [name for name in check.after if outcomes[name].verdict in (Verdict.problem, Verdict.unchecked)]
            outcomes[check.name] = unchecked(f"needs {broken[0]} first") if broken else check.looked()
        return cls(outcomes)

    def named(self, verdict: Verdict) -> list[str]:
        """Which checks ended so."""
        return [name for name, outcome in self.outcomes.items() if outcome.verdict is verdict]

    @property
    def facts(self) -> list[dict[str, Any]]:
        """For programs; what a person need not do is an empty text."""
        return [
            {key: value for key, value in {"check": name, **asdict(outcome)}.items() if key != "exit_code"}
            for name, outcome in self.outcomes.items()
        ]

    def demand(self, do: str) -> None:
        """Raise if there is a problem: as refused, if one of them is of security."""
        problems = self.named(Verdict.problem)
        if not problems:
            return
        security = any(outcome.exit_code == Refused.exit_code for outcome in self.outcomes.values())
        kind = Refused if security else DataError
        count = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
        raise kind("this machine is not ready", given=f"{count}: {', '.join(problems)}", do=do)
