"""What a hospital may let its coordinator keep of an answer: which steps were taken, in coarse times, and no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asked import PEOPLE, Asked, told
from hypothesis import given
from hypothesis import strategies as st
from nodes import requested

from fedcxr import wire
from fedcxr.keys.identity import Identity
from fedcxr.steps import MOST, Step, Steps, parse
from sites.codes import Code


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with Asked.started(tmp_path_factory.mktemp("hospital")) as hospital:
        yield hospital


@pytest.mark.parametrize("tells", ["code", "line"])
def test_nobody_is_told_unless_the_profile_says_so(hospital: Asked, tells: str) -> None:
    with hospital.allowing(tells=tells):
        assert hospital.answer().log == ""
    with hospital.allowing(tells="log"):
        assert hospital.answer().log != ""


def test_it_ends_where_the_answer_did(hospital: Asked) -> None:
    with hospital.allowing(tells="log"):
        done = hospital.answer()
        with hospital.allowing(tells="log", smallest=1000):
            few = hospital.answer()
        with hospital.allowing(tells="log", methods={}):
            forbidden = hospital.answer()
    assert [step for step, _ in parse(done.log)] == list(Step)
    assert [step for step, _ in parse(few.log)] == [Step.KEYS, Step.SCENARIO, Step.FILMS, Step.WORK]
    assert [step for step, _ in parse(forbidden.log)] == [Step.KEYS, Step.SCENARIO]
    assert few.place.startswith("sites/premises.py:")
    assert (few.reason, forbidden.reason) == (Code.FILMS, Code.METHOD)
    for answer in (done, few, forbidden):
        assert not any(word in answer.log for person in PEOPLE for word in person.split())


def test_a_stranger_is_told_no_step(hospital: Asked) -> None:
    with hospital.allowing(tells="log"):
        asked = requested(wire.Request("sites: {charite: own}", "charite"), by=Identity.generate("server"))
        stranger = told(hospital.hears(asked))
    assert (stranger.reason, stranger.log, stranger.place) == (Code.COORDINATOR, "", "")


@given(st.lists(st.tuples(st.sampled_from(Step), st.floats(0, 1e5)), max_size=3 * MOST))
def test_however_many_steps_it_takes_its_log_can_be_sent(taken: list[tuple[Step, float]]) -> None:
    now = 0.0
    steps = Steps(lambda: now)
    for step, seconds in taken:
        steps.begin(step)
        now += seconds
    assert [step for step, _ in parse(steps.text)] == [step for step, _ in taken[:MOST]] if taken else not steps.text
    for (_, exact), (_, said) in zip(taken, parse(steps.text) if taken else (), strict=False):
        assert abs(said - exact) <= max(0.5, 0.051 * exact) + 1e-6
