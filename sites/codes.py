"""All that a hospital tells a coordinator when it does not do as asked: one of these, and nothing of why.

A hospital whose profile says so (`tells: line`) tells besides at which line of our code it ended, and with `tells: log`
also which steps it took (`fedcxr.steps`).

A reason would answer questions that nobody may ask: whether a path, a table's column or somebody's name is there. It
stands in the hospital's own log, with its place.
"""

from __future__ import annotations

import logging
import traceback
from enum import StrEnum

from fedcxr.errors import PrivacySpent, Refused
from fedcxr.storage.disk import is_full
from sites.own_line import own_line

log = logging.getLogger("sites")
LONGEST = 1 << 14  # characters of an entry in the log: whoever may ask must not fill the disk at once

Told = tuple[str, str, str, float]  # status, reason, place and seconds of an answer


class Code(StrEnum):
    """What is told; the coordinator's scenario, and the hospital's profile as far as it was shown, explain all but
    the last four. That privacy is spent tells that others asked, too; a run would otherwise ask on in vain."""

    COORDINATOR = "not signed by its coordinator"
    EXPIRED = "expired, or of another time: compare the clocks"
    SCENARIO = "not a scenario"
    SOURCES = "films are named, and not as the hospital's own"
    CONTRIBUTION = "a contribution from outside"
    METHOD = "a method that is not allowed"
    PARAMETER = "a parameter that is not allowed"
    LEARNING = "learning where it is not allowed"
    FILE = "a file that is not allowed"
    TASK = "a task that is not allowed"
    SITE = "another site"
    FILMS = "too few films"
    LIMITS = "a release that is too like the films"
    PRIVACY = "no privacy left for this"
    DISK = "its disk is full"
    REFUSED = "refused"
    FAILED = "failed"


# Which key of the profile forbids what is told so; of the last two, many may.
RULES = {
    Code.COORDINATOR: "coordinator",
    Code.EXPIRED: "coordinator",
    Code.SCENARIO: "what a scenario is",
    Code.SOURCES: "cohort",
    Code.CONTRIBUTION: "outside",
    Code.METHOD: "methods",
    Code.PARAMETER: "methods",
    Code.LEARNING: "learns",
    Code.FILE: "files",
    Code.TASK: "tasks",
    Code.SITE: "site",
    Code.FILMS: "smallest",
    Code.LIMITS: "limits",
    Code.PRIVACY: "budget.privacy",
}


class Denied(Refused):
    """What a hospital's profile does not allow: the code is for the coordinator, the message for the hospital."""

    def __init__(self, code: Code, what: str, *, given: object = None, allowed: str | None = None) -> None:
        super().__init__(what, given=given, allowed=allowed)
        self.code = code


def tell(error: Exception, *, line: bool = False) -> Told:
    """What becomes of an error at a hospital, by `line` also where. How long it took would be an answer, too."""
    log.warning("not done: %s", _whole(error))
    place = own_line(error) if line else ""
    match error:
        case Denied():
            return "refused", error.code.value, place, 0.0
        case PrivacySpent():
            return "refused", Code.PRIVACY.value, place, 0.0
        case _ if is_full(error):
            return "dropped", Code.DISK.value, place, 0.0
        case Refused():
            return "refused", Code.REFUSED.value, place, 0.0
        case _:
            return "dropped", Code.FAILED.value, place, 0.0


def _whole(error: Exception) -> str:
    """The error with its place. What is quoted in it may be the coordinator's: it cannot write lines of its own."""
    told = "".join(traceback.format_exception(error))
    told = told if len(told) <= LONGEST else f"{told[: LONGEST // 2]}\n...\n{told[-LONGEST // 2 :]}"
    lines = ("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) for line in told.split("\n"))
    return "\n  | ".join(lines).rstrip(" |\n")
