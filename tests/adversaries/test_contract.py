"""What every adversary promises, checked for each file in the folder: a new one is tested by being there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from parameters import wrong_parameters
from worlds import ADVERSARIES, adversary_of, another_global_state, attacked_by, locked_leak

from fedcxr import plugins
from fedcxr.adversaries import Adversary, Leak
from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError
from fedcxr.questions import Answers
from fedcxr.simulation.threat import Put
from fedcxr.training.compute import Compute
from server import answers
from server import leak as leaks

CPU = Compute.choose("cpu", "fp32")

pytestmark = [
    pytest.mark.parametrize("name", ADVERSARIES),
    pytest.mark.filterwarnings("ignore:The given NumPy array is not writable"),  # so it is, and torch copies it
]

Asked = tuple[str, str]  # a question and the world in which it is put
Stages = list[tuple[str, int, int]]


@dataclass(frozen=True)
class Heard:
    """What an adversary answered to everything it is asked, and what it told of its progress."""

    puts: Mapping[Asked, Put]
    answers: Mapping[Asked, Answers]
    stages: Stages


def answered(adversary: Adversary, question: str, leak: Leak, stages: Stages) -> Answers:
    def progress(stage: str, done: int, total: int) -> None:
        stages.append((stage, done, total))

    prepared = adversary.prepare(leak.own, 1, CPU, progress) if "own_films" in leak.holdings else {}
    with CPU.session():
        return adversary.answer(question, leak, prepared, 1, CPU, progress)


@pytest.fixture(scope="module")
def heard(people: Cohort) -> Callable[[str], Heard]:
    """Every adversary's answers in every world, once."""

    def ask(name: str) -> Heard:
        tiny, stages = attacked_by(name, people), Stages()
        puts = {(question, where): put for question, worlds in tiny.put.items() for where, put in worlds.items()}
        asked = {key: put for key, put in puts.items() if key[0] in adversary_of(name).answers}
        given = {key: answered(_in(put, name), key[0], locked_leak(put.leak), stages) for key, put in asked.items()}
        return Heard(asked, given, stages)

    return cache(ask)


def _in(put: Put, name: str) -> Adversary:
    return adversary_of(name).on_smoke_budget() if put.setting.smoke else adversary_of(name)


def test_it_is_asked_all_that_it_says_it_answers(name: str, heard: Callable[[str], Heard]) -> None:
    """With everything granted there is something to ask; and each question is one that exists."""
    said = adversary_of(name).answers
    assert said
    for question in said:
        plugins.build("question", question)
    assert {question for question, _ in heard(name).puts} == set(said)


def test_answers_are_what_was_asked_for(name: str, heard: Callable[[str], Heard]) -> None:
    for key, put in heard(name).puts.items():
        found = heard(name).answers[key]
        answers.check(found, put.asked.parts)
        for answer in found.values():
            assert set(answer) <= set(put.asked.parts)
    in_earnest = {key[0] for key, found in heard(name).answers.items() if key[1] == "protected" and found}
    assert in_earnest == set(adversary_of(name).answers)


def test_who_answers_in_earnest_answers_in_every_control(name: str, heard: Callable[[str], Heard]) -> None:
    for (question, _), found in heard(name).answers.items():
        assert heard(name).answers[question, "protected"].keys() <= found.keys()


def test_answers_reach_the_scorer_as_they_are(name: str, heard: Callable[[str], Heard], tmp_path: Path) -> None:
    for number, (key, put) in enumerate(heard(name).puts.items()):
        found, outcome = heard(name).answers[key], tmp_path / str(number)
        outcome.mkdir()
        answers.save(found, put.asked.parts, outcome)
        assert equal(answers.load(outcome, put.asked.parts), found, put)


def equal(one: Answers, other: Answers, put: Put) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[attacker][part], other[attacker][part].astype(put.asked.parts[part].dtype), equal_nan=True)
        for attacker in one
        for part in one[attacker]
    )


def test_same_seed_same_answers_from_disk_and_whatever_the_global_generators_are(
    name: str, heard: Callable[[str], Heard], tmp_path: Path
) -> None:
    """As in its own process: arrays are mapped from files, and the adversary was made from its written form."""
    for number, (key, put) in enumerate(heard(name).puts.items()):
        folder = tmp_path / str(number)
        leaks.save_early(put.leak.holdings, folder)
        leaks.save(put.leak, put.asked, folder)
        arrived = leaks.read(folder)
        assert arrived is not None
        again = cast(Adversary, plugins.build("adversary", _in(put, name).spec()))
        with another_global_state(number) as untouched:
            found = answered(again, key[0], arrived[0], Stages())
            assert untouched()
        assert equal(found, heard(name).answers[key], put)


def test_progress_ends_at_its_end(name: str, heard: Callable[[str], Heard]) -> None:
    last = {stage: (done, total) for stage, done, total in heard(name).stages}
    assert last
    assert all(0 < done == total for done, total in last.values())


def test_the_control_that_fails_at_any_budget_is_the_same_attack(name: str) -> None:
    brief = adversary_of(name).on_smoke_budget()
    assert type(brief) is type(adversary_of(name))
    assert brief.answers == adversary_of(name).answers
    assert plugins.build("adversary", brief.spec()) == brief


def test_an_attacker_that_runs_the_mechanism_is_one_of_its_own(name: str, heard: Callable[[str], Heard]) -> None:
    own = {attacker for found in heard(name).answers.values() for attacker in found}
    for attacker in adversary_of(name).running_mechanism:
        assert attacker in own or adversary_of(name).on_smoke_budget() != adversary_of(name)


# Parameters -----------------------------------------------------------------------------------------------------------


def test_parameters_can_be_written_down_and_read_again(name: str) -> None:
    for adversary in (plugins.build("adversary", name), adversary_of(name)):
        assert plugins.build("adversary", adversary.spec()) == adversary


def test_wrong_parameters_are_one_line(name: str) -> None:
    for parameters in wrong_parameters("adversary", name):
        with pytest.raises(ConfigError) as caught:
            plugins.build("adversary", {"name": name, **parameters})
        said = str(caught.value)
        assert "\n" not in said
        assert next(iter(parameters)) in said
        assert f"adversary {name}" in said
        assert caught.value.exit_code == 2


def test_every_number_has_limits(name: str) -> None:
    for field, told in plugins.load("adversary", name).model_json_schema().get("properties", {}).items():
        if told.get("type") in ("number", "integer") and "enum" not in told:
            assert {"minimum", "exclusiveMinimum"} & told.keys(), f"{field} has no lower limit"


def test_says_what_it_does_and_what_it_reads(name: str) -> None:
    cls = cast(type[Adversary], plugins.load("adversary", name))
    assert (cls.__doc__ or "").strip()
    assert cls.reads <= {"films", "purified", "codes", "model"}
    assert cls.reads
    assert isinstance(adversary_of(name).required_files(), tuple)
