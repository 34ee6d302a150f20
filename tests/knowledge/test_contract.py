"""What every kind of knowledge promises, checked for each file in the folder: a new one is tested by being there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import canary
import numpy as np
import numpy.typing as npt
import pytest
from parameters import wrong_parameters
from worlds import CANARY, METHODS, SITES, another_global_state, granted, locked, plain, tiny

from fedcxr import plugins
from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError, NotGranted
from fedcxr.keys import ReleaseKey
from fedcxr.knowledge import Holding, Knowledge
from fedcxr.methods import Method
from fedcxr.questions import no_film
from fedcxr.scenario import Scenario
from fedcxr.view import Nobody
from fedcxr.world import Roles, World
from server import leak as leaks

pytestmark = pytest.mark.parametrize("name", plugins.names("knowledge"))

Worlds = Callable[[str], World]


def usual(name: str) -> Knowledge:
    return cast(Knowledge, plugins.build("knowledge", name))


def refusal(known: Knowledge, method: Method) -> str:
    """Why this cannot be granted with a method; empty if it can."""
    try:
        known.check(method, SITES)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def world(people: Cohort) -> Worlds:
    """A world in which there is something of each kind to be known."""

    def made(name: str) -> World:
        methods = {form: cast(Method, plugins.build("method", spec)) for form, spec in METHODS.items()}
        # Where anything is kept under keys, there is most to be known; else wherever this kind is granted.
        form = next(form for form in ("purified", *methods) if not refusal(granted(name), methods[form]))
        return tiny(people, form).world

    return cache(made)


def roles_in(world: World) -> Roles:
    """The people of the test split are attacked; all others are the adversary's own."""
    tested, nobody = locked(world.tested), locked(no_film(world))
    return Roles(attacked=tested, owned=locked(~tested), known=nobody, member=nobody)


def assigned(known: Knowledge, world: World) -> Roles:
    roles = known.assign(world, roles_in(world))
    attacked, owned, member = locked(roles.attacked), locked(roles.owned), locked(roles.member)
    return replace(roles, attacked=attacked, owned=owned, known=locked(roles.known), member=member)


def held(known: Knowledge, world: World) -> Holding | None:
    return known.held(world, assigned(known, world))


# What is granted ------------------------------------------------------------------------------------------------------


def test_what_is_granted_is_held(name: str, world: Worlds) -> None:
    """Things in hand, keys, or films of others."""
    known, there = granted(name), world(name)
    assert known.granted
    assert held(known, there) is not None or known.holder(there) is not None


def test_what_is_not_granted_is_not_held(name: str, world: Worlds) -> None:
    known = usual(name)
    if not known.granted:
        assert held(known, world(name)) is None
        assert known.holder(world(name)) is None
        assert not known.keeps_updates


def test_each_method_is_told_whether_there_is_anything_to_grant(name: str) -> None:
    """As it usually is, with any method; and a kind that no method has would be of no use."""
    methods = [cast(Method, plugins.build("method", spec)) for spec in METHODS.values()]
    assert not any(refusal(usual(name), method) for method in methods)
    reasons = [refusal(granted(name), method) for method in methods]
    assert not all(reasons)
    for said in filter(None, reasons):
        assert "\n" not in said
        assert f"knowledge.{name}" in said


def test_it_is_granted_in_a_scenario_as_it_is_written_down(name: str, world: Worlds) -> None:
    known, plan = granted(name), {"tasks": {}, "adversaries": {}, "sites": SITES}
    told = {**plan, "method": world(name).method.spec(), "knowledge": {name: known.model_dump(mode="json")}}
    scenario = Scenario.parse(told)
    assert scenario.knowledge[name] == known
    assert Scenario.parse(scenario.document()).knowledge == scenario.knowledge


# Who plays which part -------------------------------------------------------------------------------------------------


def test_nobody_plays_two_parts(name: str, world: Worlds) -> None:
    before, roles = roles_in(world(name)), assigned(granted(name), world(name))
    for part in (roles.attacked, roles.owned, roles.known, roles.member):
        assert part.shape == before.attacked.shape
        assert part.dtype == np.bool_
    assert not (roles.attacked & (roles.owned | roles.known)).any()
    assert not (roles.owned & roles.known).any()
    assert not (roles.attacked & ~before.attacked).any()  # what is known makes nobody a victim


def test_parts_do_not_depend_on_what_a_control_makes_of_identities(name: str, world: Worlds) -> None:
    known, there = granted(name), world(name)
    one, other = assigned(known, there), assigned(known, there.shuffled())
    for part in ("attacked", "owned", "known", "member"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


# What is in hand ------------------------------------------------------------------------------------------------------


def test_the_same_is_held_again_whatever_the_global_generators_are(name: str, world: Worlds) -> None:
    known, before = granted(name), world(name).cohort.index.copy()
    with another_global_state(8) as untouched:
        same(held(known, world(name)), held(known, world(name)))
        assert untouched()
    assert world(name).cohort.index.equals(before)


def same(one: Holding | None, other: Holding | None) -> None:
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    assert dict(one.facts) == dict(other.facts)
    assert one.arrays.keys() == other.arrays.keys()
    for key, array in one.arrays.items():
        assert array.dtype == other.arrays[key].dtype
        np.testing.assert_array_equal(array, other.arrays[key])


def test_what_is_held_before_anything_is_released_is_the_same_afterwards(name: str, world: Worlds) -> None:
    if granted(name).before_releases:
        same(held(granted(name), replace(world(name), traces=None)), held(granted(name), world(name)))


def test_controls_hold_what_there_is_in_their_worlds(name: str, world: Worlds) -> None:
    """Where nothing was protected there are no codes and no keys; and where identities mean nothing, all the same."""
    known = granted(name)
    for control in (world(name).unprotected(), world(name).shuffled()):
        holding = held(known, control)
        known.holder(control)
        if holding is not None:
            arrays_of(holding)


def arrays_of(holding: Holding) -> Mapping[str, npt.NDArray[Any]]:
    """Its arrays, if they and its facts are such as can be handed to another process."""
    plain(dict(holding.facts))
    for array in holding.arrays.values():
        assert isinstance(array, np.ndarray)
        assert array.dtype.kind in "biuf"
        assert np.isfinite(array).all()
    return holding.arrays


@pytest.mark.parametrize("early", [True, False])
def test_what_is_held_survives_the_disk(name: str, world: Worlds, early: bool, tmp_path: Path) -> None:
    holding = held(granted(name), world(name))
    if holding is None:
        pytest.skip(f"{name} puts nothing into anybody's hands")
    arrays_of(holding)
    leaks.save_early({name: holding}, tmp_path / "leak")
    read = leaks.load_early(tmp_path / "leak")
    assert list(read) == [name]
    same(read[name], holding)
    first = leaks.save_early({name: held(granted(name), world(name))}, tmp_path / "again")  # type: ignore[dict-item]
    assert first == leaks.save_early({name: holding}, tmp_path / "leak")  # by which adversaries share preparations


def test_what_is_held_names_nobody(name: str, world: Worlds, tmp_path: Path) -> None:
    for number, there in enumerate((world(name), world(name).unprotected())):
        holding = held(granted(name), there)
        if holding is not None:
            leaks.save_early({name: holding}, tmp_path / str(number))
    assert not canary.leaks([CANARY], tmp_path)
    assert not canary.leaks([CANARY], *(str(path) for path in tmp_path.rglob("*")))


def test_keys_open_what_they_are_keys_to_and_nothing_else(name: str, world: Worlds) -> None:
    there = world(name)
    holder = granted(name).holder(there)
    if holder is None:
        return
    opened = set()
    for release in there.released.shared.releases:
        try:
            keys = holder.keys(release)
        except NotGranted:
            continue
        assert isinstance(keys, ReleaseKey)
        assert keys.origin.site == release.site
        opened.add(release.site)
    assert 0 < len(opened) < SITES
    seen = there.view(holder).opened
    np.testing.assert_array_equal(seen, np.isin(there.released.sites, list(opened)))
    assert not there.view(Nobody()).opened.any()


# Parameters -----------------------------------------------------------------------------------------------------------


def test_parameters_can_be_written_down_and_read_again(name: str) -> None:
    for known in (usual(name), granted(name)):
        assert plugins.build("knowledge", known.spec()) == known


def test_wrong_parameters_are_one_line(name: str) -> None:
    for parameters in wrong_parameters("knowledge", name):
        with pytest.raises(ConfigError) as caught:
            plugins.build("knowledge", {"name": name, **parameters})
        said = str(caught.value)
        assert "\n" not in said
        assert next(iter(parameters)) in said
        assert f"knowledge {name}" in said
        assert caught.value.exit_code == 2


def test_every_number_has_limits(name: str) -> None:
    for field, told in plugins.load("knowledge", name).model_json_schema().get("properties", {}).items():
        if told.get("type") in ("number", "integer") and "enum" not in told:
            assert {"minimum", "exclusiveMinimum"} & told.keys(), f"{field} has no lower limit"
            assert {"maximum", "exclusiveMaximum"} & told.keys(), f"{field} has no upper limit"


def test_says_what_is_known(name: str) -> None:
    cls = plugins.load("knowledge", name)
    assert (cls.__doc__ or "").strip()
    for field in cls.model_fields.values():
        assert field.description  # it may be given alone, so that nobody reads its name
        assert not field.is_required()  # every scenario knows every kind
