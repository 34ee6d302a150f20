"""What learning costs people: added up over all that is asked, never above what was promised, never lost or doubled."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from asked import SCENARIO, WORDS, Asked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedcxr import wire
from fedcxr.errors import PrivacySpent, Refused, VaultLocked
from fedcxr.keys.provider import Job
from fedcxr.learning.accounting import epsilon, noise_multiplier
from fedcxr.learning.spending import Spending
from fedcxr.protocol import initial_step
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import Simulated
from sites.agency import unlocked_elsewhere
from sites.agent import Agent
from sites.budget import Budget, Privacy
from sites.codes import Code
from sites.contents import Contents
from sites.custody import Custody
from sites.ledger import Ledger
from sites.passphrase import VARIABLE
from sites.vault import Cost, Vault

IMAGES = ["a", "b", "c"]
TURN = Spending(unit="patient", noise_multiplier=1.0, sample_rate=0.1, steps=20)
DELTA = 1e-5


def after(turns: int) -> float:
    """What so many turns cost."""
    return epsilon([TURN] * turns, DELTA)


def promised(spent: float, **more: Any) -> Budget:
    return Budget(privacy=Privacy(epsilon=spent, delta=DELTA, **more))


def turn(number: int, run: str = "r") -> Job:
    return Job("learn", run, str(number), digest="ab")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Vault.create(tmp_path / "ring", "mercy", WORDS, Cost(log_n=4)).__exit__()
    return tmp_path / "ring"


@pytest.fixture
def vault(folder: Path) -> Iterator[Vault]:
    """Of a hospital that promised what three turns cost."""
    with Vault.unlock(folder, WORDS, promised(after(3))) as vault:
        yield vault


# What is promised -----------------------------------------------------------------------------------------------------


def test_the_turn_that_would_exceed_is_refused_before_anything_is_noted(vault: Vault, folder: Path) -> None:
    for number, run in enumerate(("one", "one", "another")):
        vault.begin(turn(number, run), IMAGES, TURN)
    before = vault._box.read()
    for again in (turn(3, "one"), turn(0, "a third"), Job("release", "a third")):
        with pytest.raises(PrivacySpent, match=r"more privacy than .* promised; given: epsilon [\d.]+ at delta 1e-05"):
            vault.begin(again, ["new"], TURN)
    assert vault._box.read() == before
    assert vault.tallies(["new"]) == [(0, 0, 0)]
    assert vault.ledger.of("patient") == (TURN.model_copy(update={"steps": 60}),)
    vault.rotate()  # no new budget
    with pytest.raises(PrivacySpent):
        vault.begin(turn(0, "one"), IMAGES, TURN)
    cheap = Spending(unit="patient", noise_multiplier=2.0, sample_rate=0.1, steps=1)
    with pytest.raises(PrivacySpent):
        vault.begin(turn(4), IMAGES, cheap)
    with Vault.unlock(folder, WORDS, promised(after(3) + 0.1)) as raised:
        raised.begin(turn(4), IMAGES, cheap)
    assert len(vault.ledger.spent) == 2


def test_the_same_job_costs_nothing_again(vault: Vault, folder: Path) -> None:
    keys = {vault.begin(turn(number), IMAGES, TURN).reveal() for number in (0, 1, 2, 0, 1, 2)}
    with Vault.unlock(folder, WORDS, promised(after(3))) as later:
        keys.add(later.begin(turn(1), IMAGES, TURN).reveal())
    assert len(keys) == 3
    assert sum(one.steps for one in vault.ledger.spent) == 60


def test_noise_that_was_reckoned_for_a_budget_lasts_for_it_and_no_longer(folder: Path) -> None:
    noise = noise_multiplier(4.0, DELTA, 0.1, 5 * 30)
    planned = Spending(unit="patient", noise_multiplier=noise, sample_rate=0.1, steps=30)
    with Vault.unlock(folder, WORDS, promised(4.0)) as vault:
        for number in range(5):
            vault.begin(turn(number), IMAGES, planned)
        with pytest.raises(PrivacySpent):
            vault.begin(turn(5), IMAGES, planned)


def test_units_are_not_mixed_under_a_promise(folder: Path) -> None:
    per_film = TURN.model_copy(update={"unit": "record"})
    refused = pytest.raises(PrivacySpent, match="nothing is promised to a patient by what is spent per record")
    with Vault.unlock(folder, WORDS, promised(100.0)) as people, refused:
        people.begin(turn(0), IMAGES, per_film)
    with Vault.unlock(folder, WORDS, promised(100.0, unit="record")) as films:
        films.begin(turn(0), IMAGES, per_film)
        with pytest.raises(PrivacySpent, match="nothing is promised to a record by what is spent per patient"):
            films.begin(turn(1), IMAGES, TURN)
    refused = pytest.raises(PrivacySpent, match="given: per patient, after 1 entries per record")
    with Vault.unlock(folder, WORDS, promised(100.0)) as people, refused:
        people.begin(turn(1), IMAGES, TURN)
    with Vault.unlock(folder, WORDS, Budget(privacy=None)) as nothing:
        nothing.begin(turn(1), IMAGES, TURN)
        assert (nothing.ledger.of("patient"), nothing.ledger.of("record")) == ((TURN,), (per_film,))


def test_a_promise_is_asked_for_before_anything_is_spent(folder: Path) -> None:
    with Vault.unlock(folder, WORDS) as silent:
        with pytest.raises(PrivacySpent, match=r"allowed: epsilon 0: budget\.privacy"):
            silent.begin(turn(0), IMAGES, TURN)
        silent.begin(turn(0), IMAGES)  # what guarantees nothing was always for `methods` to allow
    with Vault.unlock(folder, WORDS, promised(100.0)) as vault:
        with pytest.raises(PrivacySpent, match="guarantees nothing, and the hospital promised something"):
            vault.begin(turn(1), IMAGES)
        vault.begin(Job("release", "r"), IMAGES)
        vault.begin(Job("test", "r"), IMAGES)


@pytest.mark.parametrize("wrong", [{"epsilon": -1.0}, {"epsilon": float("nan")}, {"delta": 0.0}, {"delta": 0.5}])
def test_a_promise_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="privacy"):
        Budget.model_validate({"privacy": {"epsilon": 1, "delta": 1e-5, **wrong}})


KINDS = st.tuples(
    st.sampled_from(["record", "patient"]), st.floats(0.01, 1e4), st.floats(1e-8, 1), st.integers(1, 10**4)
)


@given(st.lists(KINDS, max_size=5), st.data())
def test_what_is_alike_is_one_entry_and_nothing_is_lost(kinds: list[tuple[Any, float, float, int]], data: Any) -> None:
    asked = data.draw(st.lists(st.sampled_from(kinds), max_size=12)) if kinds else []
    ledger, by_hand = Ledger(), Counter[tuple[Any, float, float]]()
    for unit, noise, rate, steps in asked:
        ledger = ledger.adding(Spending(unit=unit, noise_multiplier=noise, sample_rate=rate, steps=steps))
        by_hand[unit, noise, rate] += steps
    read = Ledger.unpack(msgpack.unpackb(msgpack.packb(ledger.pack())))
    assert read == ledger
    assert {(one.unit, one.noise_multiplier, one.sample_rate): one.steps for one in read.spent} == by_hand
    assert len(read.spent) == len(by_hand)


# In the vault ---------------------------------------------------------------------------------------------------------


def test_a_vault_of_before_opens_with_nothing_spent(vault: Vault, folder: Path) -> None:
    def earlier(packed: bytes) -> bytes:
        said = msgpack.unpackb(packed, use_list=False, strict_map_key=False)
        return bytes(msgpack.packb([2, *said[1:5]]))

    ring = vault.ring.pack()
    vault._box.change(earlier, lambda packed: None)
    with Vault.unlock(folder, WORDS, promised(after(1))) as opened:
        assert (opened.ring.pack(), opened.ledger) == (ring, Ledger())
        opened.begin(turn(0), IMAGES, TURN)
    assert vault.ledger.spent == (TURN,)
    with pytest.raises(VaultLocked, match="nothing that this version"):
        Contents.unpack(bytes(msgpack.packb([5, *msgpack.unpackb(vault._box.read(), strict_map_key=False)[1:]])))


def test_an_older_copy_does_not_bring_privacy_back(vault: Vault, folder: Path) -> None:
    copy = shutil.copytree(folder, folder.with_name("copy"))
    vault.begin(turn(0), IMAGES, TURN)
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    with pytest.raises(Refused, match="an older copy"):
        vault.begin(turn(1), IMAGES, TURN)


class Killed(BaseException):
    """The process is gone: nothing after this runs, also no tidying up."""


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_kill_spends_a_turn_or_nothing_and_never_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real, spent, outcomes = getattr(os, call), 0, set()
    for moment in range(100):
        steps = iter(range(100))

        def stepped(*arguments: object, moment: int = moment, steps: Iterator[int] = steps, **more: object) -> object:
            if next(steps) >= moment:  # and whatever is tried after it
                raise Killed
            return real(*arguments, **more)

        finished = True
        with Vault.unlock(folder, WORDS, promised(100.0)) as vault, monkeypatch.context() as patched:
            patched.setattr(os, call, stepped)
            try:
                vault.begin(turn(moment), IMAGES, TURN)
            except Killed:
                finished = False
        with Vault.unlock(folder, WORDS, promised(100.0)) as again:
            noted = sum(one.steps for one in again.ledger.spent) - spent
            known = turn(moment).name in [made.release for made in again.ring.jobs]
            assert noted == TURN.steps * known
            again.begin(turn(moment), IMAGES, TURN)  # to go on with it
            spent += TURN.steps
            assert sum(one.steps for one in again.ledger.spent) == spent
        assert known or not finished
        outcomes.add((known, finished))
        if finished:
            break
    assert {(False, False), (True, True)} <= outcomes


# Between processes ----------------------------------------------------------------------------------------------------

PLAIN = ["learn", "r", "0", "ab"]
COST = TURN.model_dump()


def test_the_key_agent_keeps_the_ledger(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.touch(mode=0o600)
    words.write_bytes(WORDS)
    monkeypatch.setenv(VARIABLE, str(words))
    with unlocked_elsewhere(Custody(vault=str(folder), budget=promised(after(1)))) as keys:
        keys.begin(turn(0), IMAGES, TURN)
        keys.begin(turn(0), IMAGES, TURN)
    with (
        unlocked_elsewhere(Custody(vault=str(folder), budget=promised(after(1)))) as keys,
        pytest.raises(PrivacySpent, match="than the hospital"),
    ):
        keys.begin(turn(1), IMAGES, TURN)
    with Vault.unlock(folder, WORDS) as vault:
        assert vault.ledger.spent == (TURN,)


ALMOST = st.fixed_dictionaries(
    {},
    optional={
        "unit": st.sampled_from(["patient", "record", "site", 1]),
        "noise_multiplier": st.floats() | st.integers() | st.text(max_size=3),
        "sample_rate": st.floats() | st.none(),
        "steps": st.integers(-(2**40), 2**40) | st.floats() | st.booleans(),
        "more": st.none(),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(ALMOST.map(lambda some: {**COST, **some}) | st.recursive(st.integers() | st.text(), st.lists, max_leaves=3))
def test_no_cost_that_an_app_tells_breaks_the_agent_or_gives_privacy_back(vault: Vault, cost: object) -> None:
    before = vault.ledger
    kind, _ = Agent(vault).answer(["begin", PLAIN, IMAGES, cost])
    assert kind in ("ok", "PrivacySpent", "Refused")
    steps = [sum(one.steps for one in ledger.spent) for ledger in (before, vault.ledger)]
    assert steps[1] >= steps[0]
    assert epsilon(vault.ledger.spent, DELTA) <= after(3)


@pytest.mark.parametrize(
    "cost",
    [
        {},
        [],
        "patient",
        {**COST, "steps": 0},
        {**COST, "steps": -20},
        {**COST, "noise_multiplier": 0.0},
        {**COST, "noise_multiplier": float("nan")},
        {**COST, "sample_rate": 1.5},
        {**COST, "unit": "site"},
        {**COST, "refund": 1},
    ],
    ids=str,
)
def test_what_is_no_cost_is_refused_and_begins_nothing(vault: Vault, cost: object) -> None:
    before = vault._box.read()
    kind, said = Agent(vault).answer(["begin", PLAIN, IMAGES, cost])
    assert (kind, said) == ("Refused", "this is nothing that learning can cost")
    assert vault._box.read() == before


def test_a_coordinator_hears_that_privacy_is_spent_and_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "words"))
    hospital = Asked.at(tmp_path)
    name = "learners:Frugal"
    once = Spending(unit="patient", noise_multiplier=1.0, sample_rate=0.1, steps=10)
    privacy = {"epsilon": 1.01 * epsilon([once], DELTA), "delta": DELTA}
    allowed = {"outside": [name], "methods": {name: {}}, "learns": ["federated", "local"]}
    heard = []
    with hospital.allowing(**allowed, budget={"releases": 9, "privacy": privacy}):
        for seed, place in ((1, "federated"), (2, "federated"), (3, "local")):
            asked: dict[str, Any] = {"method": {"name": name, "fit": place}, "seed": seed}
            start = initial_step(Scenario.parse({**SCENARIO, **asked})).to_bytes() if place == "federated" else b""
            heard.append(hospital.answer(wire.LEARN if start else wire.RELEASE, start, **asked))
    assert heard[0].status == "ok", heard[0]
    assert heard[1:] == [wire.Answer("charite", "refused", Code.PRIVACY)] * 2
    with Vault.unlock(tmp_path / "vault", WORDS) as vault:
        assert vault.ledger.spent == (once,)


def test_a_simulation_supposes_that_nothing_was_spent() -> None:
    site = Simulated(1, "mercy", {})
    for number in range(50):
        site.begin(turn(number), IMAGES, TURN)
