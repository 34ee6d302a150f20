"""Leaks made by hand: what an adversary sees and holds, without a consortium that released it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedcxr.adversaries import Leak
from fedcxr.knowledge import Holding
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Method, RunContext
from fedcxr.release import Release
from fedcxr.view import Films, Nobody, Shared, View, Weights


def open_view(films: Films) -> View:
    """Films that everybody sees."""
    return View({"films": films}, np.ones(len(films), dtype=np.bool_), np.zeros(len(films), dtype=np.int64))


def closed_view(method: Method, releases: Sequence[Release]) -> View:
    """Releases as somebody sees them who holds no key."""
    return method.view(Shared(releases), Nobody(), RunContext("cpu", "fp32"))


def leak(view: View, own: Owned, known: Films, method: Method | None, taught: Sequence[Weights] = ()) -> Leak:
    """These rows in the hands of somebody who owns these films, and knows the method unless it is None."""
    held = {"own_films": Holding(vars(own)), "known_films": Holding({"films": known, "people": np.arange(len(known))})}
    if method is not None:
        arrays = {f"{version:04}/{name}": array for version, one in enumerate(taught) for name, array in one.items()}
        held["mechanism"] = Holding(arrays, {"method": method.spec()})
    return Leak(view, held)


def changed(old: Leak, **holdings: Holding | None) -> Leak:
    """The same leak with other holdings; None takes one away."""
    held = {**old.holdings, **holdings}
    return Leak(old.view, {kind: one for kind, one in held.items() if one is not None}, old.given)
