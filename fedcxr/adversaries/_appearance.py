"""What was released, in pictures: for adversaries that look at films, whatever form these were released in."""

from __future__ import annotations

import numpy as np

from fedcxr.adversaries import Leak
from fedcxr.errors import ConfigError
from fedcxr.methods import RunContext
from fedcxr.view import Appearance, Films


def not_granted(
    leak: Leak, who: str, do: str, allowed: str = "a method whose releases can be looked at"
) -> ConfigError:
    """Why somebody cannot attack who runs the method on films of their own."""
    mechanism = leak.mechanism
    given = "nothing" if mechanism is None else mechanism.plugin_name()
    return ConfigError(f"{who} must be granted the method", given=given, allowed=allowed, do=do)


def appearances(leak: Leak, context: RunContext) -> tuple[Appearance, ...]:
    """How the method makes films look, once for each version of what it learnt; empty where it is not known."""
    method = leak.mechanism
    if method is None:
        return ()
    found = (method.appearance(leak.own.films, weights, context) for weights in leak.taught)
    return tuple(appearance for appearance in found if appearance is not None)


def pictures(leak: Leak, known: tuple[Appearance, ...]) -> Films:  # (n, h, w)
    """The films that lie open, and of others what they look like without a key; blanks where nobody knows."""
    view = leak.view
    films = np.array(view.forms.get("films", np.zeros((len(view), *leak.own.films.shape[1:]))), dtype=np.uint8)
    for version, appearance in enumerate(known):
        rows = np.flatnonzero((view.versions == version) & ~view.opened)
        if len(rows):
            films[rows] = appearance.released(view.take(rows))
    return films
