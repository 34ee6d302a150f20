"""What every question promises, checked for each file in the folder: a new one is tested by being there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import canary
import numpy as np
import numpy.typing as npt
import pytest
from consortium import Consortium
from parameters import wrong_parameters
from worlds import CANARY, QUESTIONS, another_global_state, attacked_by, check_ranges, locked, plain, who_answers

from fedcxr import plugins
from fedcxr.adversaries import Leak
from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError
from fedcxr.knowledge import Holding
from fedcxr.questions import PROTECTED, Answer, Heard, Part, Question
from fedcxr.rng import stream
from fedcxr.simulation.threat import Put
from fedcxr.table import Table
from server import leak as leaks
from server.scorer import worst_case

pytestmark = pytest.mark.parametrize("name", QUESTIONS)

Fill = Callable[[Part], npt.NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """A question in a world in which somebody can answer it, put in all its worlds."""

    question: Question
    tiny: Consortium
    puts: Mapping[str, Put]

    def scored(self, fill: Fill, seed: int = 1) -> list[dict[str, Any]]:
        """The entries of two attackers who answer this, whatever they are asked."""
        heard = {where: Heard(put.asked.key, _answers(put, fill), 0.25) for where, put in self.puts.items()}
        return self.question.score(heard, seed)


def _answers(put: Put, fill: Fill) -> dict[str, Answer]:
    answer = {part: locked(fill(told)) for part, told in put.asked.parts.items()}
    needed = {part: array for part, array in answer.items() if not put.asked.parts[part].optional}
    return {"first": answer, "second": needed}


def at_random(part: Part) -> npt.NDArray[Any]:
    drawn = stream(3, "answers").normal(0, 60, part.shape)
    return (np.abs(drawn) if np.issubdtype(part.dtype, np.integer) else drawn).astype(part.dtype)


def always_the_same(part: Part) -> npt.NDArray[Any]:
    return np.zeros(part.shape, dtype=part.dtype)


@pytest.fixture(scope="module")
def case(people: Cohort) -> Callable[[str], Case]:
    """Every question, put once."""

    attacked = cache(lambda who: attacked_by(who, people))  # one world for all that somebody answers

    def put(name: str) -> Case:
        tiny = attacked(who_answers(name))
        return Case(tiny.scenario.questions[name], tiny, tiny.put[name])

    return cache(put)


# In which worlds, and about whom --------------------------------------------------------------------------------------


def test_its_worlds_are_known_before_anything_is_released(name: str, case: Callable[[str], Case]) -> None:
    """Adversaries prepare for each of them meanwhile; the first is the one that is."""
    threat = case(name).tiny.threat
    before, after = threat.settings(name), threat.settings(name, case(name).tiny.shared)
    assert list(before) == list(after)
    assert next(iter(before)) == PROTECTED
    assert not before[PROTECTED].smoke
    assert set(case(name).puts) == set(before)  # with everything granted there is something to ask in each
    for where in before:
        assert before[where].smoke == after[where].smoke


def test_nobody_plays_two_parts(name: str, case: Callable[[str], Case]) -> None:
    for put in case(name).puts.values():
        films, roles = len(put.setting.world.cohort), put.roles
        for part in (roles.attacked, roles.owned, roles.known, roles.member):
            assert part.shape == (films,)
            assert part.dtype == np.bool_
        assert not (roles.attacked & roles.owned).any()
        assert not (roles.attacked & roles.known).any()
        assert not (roles.owned & roles.known).any()


def test_it_hands_over_kinds_of_knowledge_that_exist(name: str, case: Callable[[str], Case]) -> None:
    assert set(case(name).question.knows) <= set(plugins.names("knowledge"))
    for put in case(name).puts.values():
        assert put.leak.holdings.keys() <= set(case(name).question.knows)


# What is asked --------------------------------------------------------------------------------------------------------


def test_an_answer_is_arrays_of_numbers(name: str, case: Callable[[str], Case]) -> None:
    for put in case(name).puts.values():
        assert put.asked.parts
        assert not all(part.optional for part in put.asked.parts.values())
        for part in put.asked.parts.values():
            assert all(side > 0 for side in part.shape)
            assert np.dtype(part.dtype).kind in "biuf"


def test_the_same_is_asked_again_whatever_the_global_generators_are(name: str, case: Callable[[str], Case]) -> None:
    tiny = case(name).tiny
    with another_global_state(5) as untouched:
        again = tiny.threat.put(tiny.shared)[name]
        assert untouched()
    assert again.keys() == case(name).puts.keys()
    for where, put in case(name).puts.items():
        same_leak(again[where].leak, put.leak)
        assert again[where].asked.parts == put.asked.parts
    twice = Case(case(name).question, tiny, again)
    assert plain(twice.scored(at_random)) == plain(case(name).scored(at_random))


def same_leak(one: Leak, other: Leak) -> None:
    same(one.view.forms, other.view.forms)
    same(
        {"opened": one.view.opened, "versions": one.view.versions},
        {"opened": other.view.opened, "versions": other.view.versions},
    )
    same(one.view.model or {}, other.view.model or {})
    held, others = ({**leak.holdings, "given": leak.given or Holding()} for leak in (one, other))
    assert held.keys() == others.keys()
    for kind, holding in held.items():
        same(holding.arrays, others[kind].arrays)
        assert dict(holding.facts) == dict(others[kind].facts)


def same(one: Mapping[str, npt.NDArray[Any]], other: Mapping[str, npt.NDArray[Any]]) -> None:
    assert one.keys() == other.keys()
    for key, array in one.items():
        assert array.dtype == other[key].dtype
        np.testing.assert_array_equal(array, other[key])


def keep(put: Put, folder: Path) -> None:
    """Write a leak as an adversary is given it."""
    leaks.save_early({}, folder)
    leaks.save(put.leak, put.asked, folder)


def test_what_is_asked_survives_the_disk(name: str, case: Callable[[str], Case], tmp_path: Path) -> None:
    for where, put in case(name).puts.items():
        keep(put, tmp_path / where)
        arrived = leaks.read(tmp_path / where)
        assert arrived is not None
        leak, parts = arrived
        same_leak(leak, put.leak)
        assert (leak.given is None) == (put.leak.given is None)
        shapes = [
            {part: (p.shape, np.dtype(p.dtype), p.optional, p.gaps) for part, p in told.items()}
            for told in (parts, put.asked.parts)
        ]
        assert shapes[0] == shapes[1]


def test_what_is_asked_names_nobody(name: str, case: Callable[[str], Case], tmp_path: Path) -> None:
    for where, put in case(name).puts.items():
        keep(put, tmp_path / where)
    assert not canary.leaks([CANARY], tmp_path)
    assert not canary.leaks([CANARY], *(str(path) for path in tmp_path.rglob("*")))


# How it is scored -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [at_random, always_the_same])
def test_entries_are_plain_figures_in_their_ranges(name: str, case: Callable[[str], Case], fill: Fill) -> None:
    entries = case(name).scored(fill)
    assert [entry["attacker"] for entry in entries] == ["first", "second"]
    plain(entries)
    check_ranges(entries)
    assert not canary.leaks([CANARY], plain(entries))
    if case(name).question.section != "attacks":
        return
    for entry in entries:
        assert entry["auc"].keys() >= {"value", "ci95"}
        assert entry["conclusive"] == (entry["inconclusive_because"] is None)
        assert entry["seconds"] >= 0
        assert any(key.startswith("control_") for key in entry)
    about = {"question": name, "adversary": "somebody"}
    worst = worst_case([{**about, **entry} for entry in entries])
    assert worst is not None
    assert worst["question"] == name


def test_the_same_answers_are_scored_the_same(name: str, case: Callable[[str], Case]) -> None:
    keys = {where: repr(put.asked.key) for where, put in case(name).puts.items()}
    with another_global_state(6) as untouched:
        again = case(name).scored(at_random)
        assert untouched()
    assert plain(again) == plain(case(name).scored(at_random))
    assert {where: repr(put.asked.key) for where, put in case(name).puts.items()} == keys


def test_what_stands_beside_its_entries_is_plain(name: str, case: Callable[[str], Case]) -> None:
    put = case(name).puts[PROTECTED]
    told = case(name).question.beside(put.asked.key, put.setting.world, put.roles)
    plain(told)
    check_ranges(told)
    assert not canary.leaks([CANARY], plain(told))


@pytest.mark.parametrize("fill", [at_random, always_the_same])
def test_its_table_is_text(name: str, case: Callable[[str], Case], fill: Fill) -> None:
    question, put = case(name).question, case(name).puts[PROTECTED]
    entries = [{"question": name, "adversary": "somebody", **entry} for entry in case(name).scored(fill)]
    beside = {"label_floor": None, **question.beside(put.asked.key, put.setting.world, put.roles)}
    privacy = {question.section: entries, "worst_case": None, **beside}
    told = question.table(entries, privacy)
    if told is None:
        return
    assert isinstance(told, Table)
    assert told.rows or told.notes
    for row in told.rows:
        assert len(row.cells) <= len(told.heads)
        assert all(isinstance(cell, str) for cell in (row.about, row.doubt, *row.cells))
        assert "nan" not in " ".join(row.cells)
    assert all("nan" not in note for note in told.notes)


# Parameters -----------------------------------------------------------------------------------------------------------


def test_parameters_can_be_written_down_and_read_again(name: str) -> None:
    question = plugins.build("question", name)
    assert plugins.build("question", question.spec()) == question


def test_wrong_parameters_are_one_line(name: str) -> None:
    for parameters in wrong_parameters("question", name):
        with pytest.raises(ConfigError) as caught:
            plugins.build("question", {"name": name, **parameters})
        said = str(caught.value)
        assert "\n" not in said
        assert next(iter(parameters)) in said
        assert f"question {name}" in said
        assert caught.value.exit_code == 2


def test_every_number_has_limits(name: str) -> None:
    for field, told in plugins.load("question", name).model_json_schema().get("properties", {}).items():
        if told.get("type") in ("number", "integer") and "enum" not in told:
            assert {"minimum", "exclusiveMinimum"} & told.keys(), f"{field} has no lower limit"
            assert {"maximum", "exclusiveMaximum"} & told.keys(), f"{field} has no upper limit"


def test_says_what_is_asked(name: str) -> None:
    cls = cast(type[Question], plugins.load("question", name))
    assert (cls.__doc__ or "").strip()
    assert cls.section.isidentifier()
