"""What a node would answer to a scenario, and which rule of its profile forbids what it would not do.

Nothing leaves, nothing is counted and no vault is opened. So two things are not known: what the films and their people
have left of their budgets, which are taken as unused, and how like its original a film would be that is released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fedcxr.cohort import Cohort
from fedcxr.errors import PrivacySpent, Refused
from fedcxr.methods import Round
from fedcxr.protocol import job_of
from fedcxr.scenario import Scenario
from sites.codes import RULES, Code, Denied
from sites.ledger import Ledger
from sites.premises import Hospital
from sites.profile import Profile

EVERYTHING = "everything"


@dataclass(frozen=True)
class Foreseen:
    """One thing that the scenario asks for; what forbids it, if anything does, and why."""

    asked: str
    rule: str = ""
    why: str = ""

    def __str__(self) -> str:
        return f"{self.asked}: forbidden by {self.rule}: {self.why}" if self.rule else f"{self.asked}: would be done"


def rehearsed(file: Path, document: str) -> list[Foreseen]:
    """All that a coordinator with this scenario asks for, at the node of the profile in this file."""
    here = Hospital({"profile": str(file)})
    profile = here.profile
    try:
        scenario = here.scenario(document)
        if profile.site not in scenario.site_names:
            names = ", ".join(scenario.site_names)
            raise Denied(Code.SITE, "this site is not in the scenario", given=profile.site, allowed=names)
    except Denied as error:
        return [_foreseen(EVERYTHING, error)]
    films = here.cohort(scenario, profile.site)
    return [_tried(asked, step) for asked, step in _requests(here, scenario, films)]


def _requests(here: Hospital, scenario: Scenario, films: Cohort) -> Iterator[tuple[str, Callable[[], None]]]:
    profile, learning = here.profile, scenario.method.learning

    def learn() -> None:
        train = films.where("train")
        here.allow(train)
        scenario.method.check_films(train)
        rounds = learning.rounds if learning is not None else 1
        _within("turns", rounds, profile)
        _affordable(scenario, rounds, profile)

    def release() -> None:
        here.allow(films)
        _within("releases", 1, profile)
        if learning is not None and learning.place == "local":
            train = films.where("train")
            here.allow(train)
            scenario.method.check_films(train)
            _affordable(scenario, 1, profile)
        elif learning is not None:
            here.allow(films.where("train"))

    def test(task: str) -> Callable[[], None]:
        def tested() -> None:
            here.allow(films.where("test"), task)
            _within("tests", len(scenario.tasks), profile)

        return tested

    if learning is not None and learning.place == "federated":
        yield "learn", learn
    yield "release", release
    for task in scenario.tasks:
        yield f"test {task}", test(task)


def _within(what: str, wanted: int, profile: Profile) -> None:
    allowed = getattr(profile.budget, what)
    if wanted > allowed:
        raise _Beyond(f"budget.{what}", f"{wanted} {what} of each film are asked for, and {allowed} allowed")


def _affordable(scenario: Scenario, rounds: int, profile: Profile) -> None:
    """Refused where not even a ledger in which nothing was spent allows it."""
    turn, promise = scenario.method.spending(Round()), profile.budget.privacy
    whole = None if turn is None else turn.model_copy(update={"steps": turn.steps * rounds})
    job = job_of(scenario, "learn" if scenario.method.learning else "release")
    for spending in (turn, whole):  # a single turn first: it tells what no number of rounds would change
        Ledger().after(job, spending, promise)


class _Beyond(Refused):
    """What a number in the profile forbids."""

    def __init__(self, rule: str, why: str) -> None:
        super().__init__(why)
        self.rule = rule


def _tried(asked: str, step: Callable[[], None]) -> Foreseen:
    try:
        step()
    except Refused as error:
        return _foreseen(asked, error)
    return Foreseen(asked)


def _foreseen(asked: str, error: Refused) -> Foreseen:
    match error:
        case Denied():
            return Foreseen(asked, RULES[error.code], str(error))
        case PrivacySpent():
            return Foreseen(asked, RULES[Code.PRIVACY], str(error))
        case _Beyond():
            return Foreseen(asked, error.rule, str(error))
        case _:
            return Foreseen(asked, "the method itself", str(error))
