"""What sites may be called: names that a person, a file and an envelope can bear."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fedcxr.errors import ConfigError
from fedcxr.keys.provider import SERVER
from fedcxr.partition import natural, site_names

RESERVED = (SERVER, "coordinator")  # keys are granted to the one, and files are written in the name of the other
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"  # no dot: `--set sites.charite.root=...` goes below a name


def in_order(names: Iterable[object]) -> list[str]:
    """These names, checked, in an order that does not depend on the one in which they are given."""
    checked = [_name(name) for name in names]
    same = {name.lower(): name for name in checked}
    twice = [name for name in checked if same[name.lower()] != name]
    if twice:  # some disks do not tell capital letters from small ones
        raise ConfigError("two sites of one name", given=f"{twice[0]} and {same[twice[0].lower()]}")
    return sorted(checked, key=natural)


def numbered(names: Iterable[str]) -> bool:
    """Whether these sites are called what sites are called that have a number only."""
    given = list(names)
    return given == list(site_names(len(given)))


def _name(name: object) -> str:
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise ConfigError(
            "this is no name for a site",
            given=repr(name),
            allowed="1 to 64 letters, digits, - and _, with a letter or digit first",
        )
    if name.lower() in RESERVED:
        raise ConfigError("a site cannot have this name", given=name, do="it is the coordinator's")
    return name
