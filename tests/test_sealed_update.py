"""Updates under keys: who is granted them reads the update, and nobody else anything of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import SMALL

from fedcxr.errors import BrokenSeal, NotGranted, Refused
from fedcxr.keys.provider import SERVER
from fedcxr.methods._coded import release_key
from fedcxr.protocol import initial_step, learn_step, round_of
from fedcxr.reading import Recipient
from fedcxr.release import Header, Release
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.sealed_update import admit, seal, unseal
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import simulated, simulated_identity, simulated_register
from fedcxr.view import Thief
from server.simulate import Options, simulate

TINY: dict[str, Any] = {"width": 2, "rounds": 2, "steps": 2, "batch": 4, "findings": ["Mass"]}
KEY, OTHER = (release_key("site-1", stream(seed)) for seed in (0, 1))


def scenario(**method: Any) -> Scenario:
    named = {"name": "fedavg", **TINY, **method}
    return Scenario.parse({**SMALL, "tasks": {}, "adversaries": {}, "method": named})


def update() -> Release:
    weights = {"slope": np.arange(6, dtype=np.float32).reshape(2, 3)}
    return Release("update", "site-1", "m", {}, {"films": 7}).publishing(weights)


def anything(header: Header) -> None:
    pass


def test_an_update_opens_to_its_key_and_to_no_other() -> None:
    sealed = Release.from_bytes(seal(update(), KEY, {}).to_bytes())
    opened = unseal(sealed, Thief({"site-1": KEY}), anything)
    assert opened.facts == {"films": 7}
    np.testing.assert_array_equal(opened.weights["slope"], update().weights["slope"])
    with pytest.raises(BrokenSeal):
        unseal(sealed, Thief({"site-1": OTHER}), anything)
    with pytest.raises(NotGranted):
        unseal(sealed, Thief({}), anything)


def test_what_travels_tells_how_long_it_is_and_nothing_of_what_is_in_it() -> None:
    sealed = seal(update(), KEY, {})
    assert set(sealed.arrays) == {"update"}
    assert set(sealed.facts) == {"key"}
    assert b"slope" not in sealed.to_bytes()
    assert b"films" not in sealed.to_bytes()


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_an_altered_update_does_not_open(place: int, bit: int) -> None:
    sealed = seal(update(), KEY, {})
    closed = sealed.arrays["update"].copy()
    closed[place % len(closed)] ^= 1 << bit
    altered = Release("update", "site-1", "m", {"update": closed}, sealed.facts)
    with pytest.raises(BrokenSeal):
        unseal(altered, Thief({"site-1": KEY}), anything)


def test_what_is_inside_is_looked_at_before_it_is_unpacked_and_must_be_its_sites() -> None:
    def refuse(header: Header) -> None:
        raise Refused("not this")

    with pytest.raises(Refused, match="not this"):
        unseal(seal(update(), KEY, {}), Thief({"site-1": KEY}), refuse)
    of_another = Release("update", "site-1", "n", {}, {"films": 7})
    closed = np.frombuffer(KEY.image_key("update").seal(of_another.to_bytes(), "m"), dtype=np.uint8)
    posing = Release("update", "site-1", "m", {"update": closed}, {})
    with pytest.raises(Refused, match="another's name"):
        unseal(posing, Thief({"site-1": KEY}), anything)


@pytest.mark.parametrize("arrays", [{}, {"update": np.zeros((2, 2), np.uint8)}, {"other": np.zeros(2, np.uint8)}])
def test_only_a_sealed_update_is_admitted(arrays: dict[str, Any]) -> None:
    from fedcxr.release import Packed

    sent = Release("update", "site-1", "m", arrays, {})
    with pytest.raises(Refused, match="no sealed update"):
        admit(Packed.from_bytes(sent.to_bytes()).header)


def test_the_coordinator_opens_what_a_site_sends_and_another_site_does_not(tmp_path: Path) -> None:
    of = scenario(sealed=True)
    site = Experiment.open(of, tmp_path).site("site-1")
    sent = learn_step(of, "site-1", site, simulated(of, "site-1"), initial_step(of), round_of(of, 1))
    register = simulated_register(of.root, of.site_names)
    opened = unseal(sent, Recipient(simulated_identity(of.root, SERVER), register), anything)
    assert opened.weights.keys() == initial_step(of).weights.keys()
    with pytest.raises(NotGranted):
        unseal(sent, Recipient(simulated_identity(of.root, "site-2"), register), anything)


def test_sealed_or_not_the_same_is_learnt(tmp_path: Path) -> None:
    learnt = []
    for sealed in (False, True):
        run = simulate(scenario(sealed=sealed), Options(tmp_path, "inline"))
        made = run.learnt()
        assert made is not None
        learnt.append(made.weights)
    for name, array in learnt[0].items():
        np.testing.assert_array_equal(array, learnt[1][name])
