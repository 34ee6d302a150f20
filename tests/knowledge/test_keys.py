"""Keys of some sites: they open all that these released and nothing else, and are never handed over themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from canary import leaks as traces_of
from consortium import FILMS_OF, Consortium

from fedcxr.adversaries._appearance import appearances, pictures
from fedcxr.errors import ConfigError, NotGranted
from fedcxr.knowledge.keys import Keys
from fedcxr.methods.none import Unprotected
from fedcxr.methods.sca import Sca

MakeConsortium = Callable[..., Consortium]


@pytest.mark.parametrize("method", ["sca", "sealed"])
def test_they_open_the_films_of_their_sites_and_no_others(method: str, make_consortium: MakeConsortium) -> None:
    consortium = make_consortium(method=method, knowledge={"keys": 1, "releases": 1, "pairs": 0})
    world = consortium.world
    attacked = world.rows_of(consortium.put["linkage"]["protected"].roles.attacked)
    own = world.released.sites[attacked] == "site-1"
    assert own.any()
    assert not own.all()
    coder = Sca().codec({}, world.context)
    originals = world.cohort.films(world.released.films[attacked])
    films = coder.decode(coder.encode(originals), world.cohort.size)
    for name in ("protected", "control_shuffled"):
        view = consortium.leak(world=name).view
        np.testing.assert_array_equal(view.opened, own)
        np.testing.assert_array_equal(view.forms["films"][own], films[own])
        assert not view.forms["films"][~own].any()
        assert not view.forms["purified"][~own].any()
    leak = consortium.leak()
    seen = pictures(leak, appearances(leak, world.context))
    np.testing.assert_array_equal(seen[own], films[own])
    assert not any(np.array_equal(a, b) for a, b in zip(seen[~own], films[~own], strict=True))


def test_no_key_is_handed_over(make_consortium: MakeConsortium) -> None:
    """What leaked keys open is in the view; the keys themselves would open it again wherever it is kept."""
    consortium = make_consortium(FILMS_OF[:20], method="sca", knowledge={"keys": 3})
    secrets = [consortium.experiment.release_key(site).reveal() for site in consortium.scenario.site_names]
    for one in consortium.put["linkage"].values():
        assert "keys" not in one.leak.holdings
        arrays = [*one.leak.view.forms.values(), *(a for h in one.leak.holdings.values() for a in h.arrays.values())]
        held = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
        assert not traces_of(secrets, held, *(repr(holding.facts) for holding in one.leak.holdings.values()))
    assert consortium.leak().view.opened.all()


def test_nobody_holds_any_unless_some_leaked(make_consortium: MakeConsortium) -> None:
    consortium = make_consortium(FILMS_OF[:10], method="sca")
    assert Keys().holder(consortium.world) is None
    assert Keys(sites=2).holder(consortium.world.unprotected()) is None  # where nothing is hidden, there are none
    holder = Keys(sites=2).holder(consortium.world)
    assert holder is not None
    first, second, third = consortium.shared.releases
    assert holder.keys(first).origin.site == "site-1"
    assert holder.keys(second).origin.site == "site-2"
    with pytest.raises(NotGranted, match="keys of site-3 did not leak"):
        holder.keys(third)


def test_more_than_there_are_sites_is_refused() -> None:
    Keys(sites=3).check(Sca(), 3)
    with pytest.raises(ConfigError, match="more than there are sites; given: 4; allowed: 3"):
        Keys(sites=4).check(Sca(), 3)
    with pytest.raises(ConfigError, match=r"knowledge\.keys is of released codes"):
        Keys(sites=1).check(Unprotected(), 3)
