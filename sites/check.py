"""`python -m sites.check FILE`: whether a node works with this profile, and what it lets out. Nothing is sent.

A node reads its profile when it is asked something, so that a slip of the pen would come up when others wait for it.
With `--scenario FILE` it says what the node would answer to that, and ends with 5 if a rule forbids any of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from fedcxr.data import cache_folder
from fedcxr.errors import FedcxrError, Refused
from fedcxr.scenario.document import read_file, to_text
from sites.budget import Privacy
from sites.profile import Bounds, Profile
from sites.rehearsal import rehearsed

UNKNOWN = (
    "not looked at: what was used of the budgets before, for the vault stays closed, and how like its original a "
    "released film would be (limits)"
)


def checked(file: Path) -> str:
    """What the profile in this file comes to, in a few lines."""
    profile = Profile.read(file)
    films = profile.films(cache_folder())
    said = {
        "site": f"{profile.site}, vault {profile.vault}",
        "coordinator": "; then ".join(f"{one.name}, {_spaced(one.fingerprint)}" for one in profile.coordinators),
        "films": f"{len(films)} of {len(set(films.patients))} patients",
        "findings that leave": ", ".join(films.findings),
        "methods": "; ".join(_bounded(name, bounds) for name, bounds in profile.methods.items()),
        "tasks": ", ".join(profile.tasks),
        "code from outside": ", ".join(profile.outside),
        "privacy": _promised(profile.budget.privacy),
    }
    odd = [] if len(films) >= profile.smallest else [f"too few films to answer anything: {profile.smallest} at least"]
    if profile.budget.privacy is not None and profile.budget.privacy.delta * len(set(films.patients)) >= 1:
        odd.append("delta lets one of the patients be told outright: take less than one in their number")
    return "\n".join([*(f"{what}: {value or 'none'}" for what, value in said.items()), *odd])


def _spaced(fingerprint: str) -> str:
    """As `fedcxr keys` shows it, to be compared over the telephone."""
    return " ".join(fingerprint[i : i + 8] for i in range(0, len(fingerprint), 8))


def _promised(privacy: Privacy | None) -> str:
    if privacy is None:
        return "no limit is promised"
    if not privacy.epsilon:
        return "nothing is promised, and nothing may be spent"
    return f"epsilon {privacy.epsilon:g} at delta {privacy.delta:g} per {privacy.unit}"


def _bounded(method: str, bounds: Mapping[str, Bounds]) -> str:
    return " ".join((method, *(f"({parameter} {bound})" for parameter, bound in bounds.items())))


def foreseen(file: Path, scenario: Path) -> tuple[str, bool]:
    """What a node with this profile would answer to this scenario, and whether it would do all of it."""
    answers = rehearsed(file, to_text(read_file(scenario)))
    return "\n".join([*map(str, answers), UNKNOWN]), not any(one.rule for one in answers)


def main(arguments: list[str]) -> int:
    """The exit code, after a few lines or one that says what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m sites.check")
    parser.add_argument("profile", type=Path)
    parser.add_argument("--scenario", type=Path, metavar="FILE", help="say what the node would answer to this")
    given = parser.parse_args(arguments)
    try:
        told, done = foreseen(given.profile, given.scenario) if given.scenario else (checked(given.profile), True)
    except FedcxrError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{told}\n")
    return 0 if done else Refused.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
