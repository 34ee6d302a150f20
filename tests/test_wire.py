"""Flower's records carry requests and answers unchanged, and anything else in them is refused."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import example, given
from hypothesis import strategies as st

from fedcxr import steps
from fedcxr.errors import Refused
from fedcxr.steps import Step
from fedcxr.wire import (
    LONGEST_NAME,
    LONGEST_PLACE,
    LONGEST_REASON,
    MOST_FILMS,
    STYPE,
    Answer,
    Hello,
    Introduction,
    Request,
    line,
    pack_answer,
    pack_hello,
    pack_introduction,
    pack_request,
    unpack_answer,
    unpack_hello,
    unpack_introduction,
    unpack_request,
)

text = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=20)  # printable
counts = st.integers(0, 2**31)
answers = st.builds(
    Answer,
    site=text,
    status=st.sampled_from(["ok", "dropped", "refused"]),
    reason=text,
    place=text,
    patients=st.integers(0, 1000),
    images=st.integers(1000, MOST_FILMS),
    seconds=st.floats(0, 1e9),
    signature=st.binary(max_size=50),
    release=st.binary(max_size=50),
)
plain = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | text
    | st.binary(max_size=4)
    | st.lists(counts, max_size=2)
)

REQUEST = Request("sites: 3", "site-1")
ANSWER = Answer("site-1", "ok", patients=3, images=7, seconds=1.5, release=b"bytes")


COUNTS = {"patients": range(ANSWER.images + 1), "images": range(ANSWER.patients, MOST_FILMS + 1)}


def blob(data: bytes = b"x", stype: str = STYPE) -> Array:
    return Array(dtype="uint8", shape=(len(data),), stype=stype, data=data)


def answer_with(release: Any = None, **facts: Any) -> RecordDict:
    """An answer's records with some facts changed; None takes one away."""
    told = {k: v for k, v in asdict(ANSWER).items() if k != "release"} | facts
    content = RecordDict({"answer": ConfigRecord({k: v for k, v in told.items() if v is not None})})
    content["release"] = ArrayRecord({"blob": blob()}) if release is None else release
    return content


def request_with(**facts: Any) -> RecordDict:
    """A request's records with some facts changed; None takes one away."""
    told = {k: v for k, v in asdict(REQUEST).items() if k != "learnt"} | facts
    content = RecordDict({"request": ConfigRecord({k: v for k, v in told.items() if v is not None})})
    content["learnt"] = ArrayRecord({"blob": blob()})
    return content


@given(
    st.builds(
        Request, scenario=text, site=text, turn=counts, nonce=st.binary(max_size=50), learnt=st.binary(max_size=50)
    )
)
def test_round_trip_of_requests(request_: Request) -> None:
    assert unpack_request(pack_request(request_)) == request_


@given(answers)
def test_round_trip_of_answers(answer: Answer) -> None:
    assert unpack_answer(pack_answer(answer)) == answer


@given(st.builds(Hello, run=text, nonce=st.binary(max_size=50), scenario=text))
def test_round_trip_of_greetings(hello: Hello) -> None:
    assert unpack_hello(pack_hello(hello)) == hello


@given(
    st.builds(
        Introduction,
        site=text,
        status=st.sampled_from(["ok", "dropped", "refused"]),
        reason=text,
        signature=st.binary(max_size=50),
    )
)
def test_round_trip_of_introductions(introduction: Introduction) -> None:
    assert unpack_introduction(pack_introduction(introduction)) == introduction


def test_an_introduction_of_another_status_is_refused() -> None:
    with pytest.raises(Refused, match="a damaged introduction: its status; given: fine"):
        unpack_introduction(pack_introduction(Introduction("site-1", "fine")))


def test_the_baseline_is_accepted() -> None:
    assert unpack_answer(answer_with()) == replace(ANSWER, release=b"x")
    assert unpack_request(request_with()) == replace(REQUEST, learnt=b"x")


def test_a_release_travels_as_one_array_that_nobody_can_unpickle() -> None:
    found = pack_answer(ANSWER).array_records["release"]["blob"]
    assert found.data == b"bytes"
    assert found.stype == STYPE != "numpy.ndarray"


@pytest.mark.parametrize("name", [f.name for f in fields(Answer) if f.name != "release"])
def test_a_missing_field_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="a damaged answer"):
        unpack_answer(answer_with(**{name: None}))


@pytest.mark.parametrize("name", [f.name for f in fields(Request) if f.name != "learnt"])
def test_a_missing_field_of_a_request_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="a damaged request"):
        unpack_request(request_with(**{name: None}))


@given(name=text.filter(lambda key: key not in {**asdict(ANSWER), **asdict(REQUEST)}), value=plain)
def test_an_extra_field_is_refused(name: str, value: Any) -> None:
    with pytest.raises(Refused, match="a damaged answer"):
        unpack_answer(answer_with(**{name: value}))
    with pytest.raises(Refused, match="a damaged request"):
        unpack_request(request_with(**{name: value}))


@given(name=st.sampled_from([f.name for f in fields(Answer) if f.name != "release"]), value=plain)
@example(name="patients", value=True)
@example(name="images", value=3.0)
@example(name="seconds", value=3)
@example(name="site", value=b"site-1")
def test_a_field_of_another_type_is_refused(name: str, value: Any) -> None:
    right = type(getattr(ANSWER, name))
    word = name not in ("status", "log") or (name, value) == ("log", "")
    possible = type(value) is right and word and (right is not float or 0 <= value < math.inf)
    if possible and (right is not int or value in COUNTS[name]):
        assert getattr(unpack_answer(answer_with(**{name: value})), name) == value
    elif value not in ("ok", "dropped", "refused"):
        with pytest.raises(Refused, match="a damaged answer"):
            unpack_answer(answer_with(**{name: value}))


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_no_number_is_refused(seconds: float) -> None:
    """It would be refused by JSON when the coordinator writes it down, and end the run for everybody."""
    with pytest.raises(Refused):
        unpack_answer(answer_with(seconds=seconds))


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(Refused):
        unpack_answer(answer_with(status="fine"))


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"answer": ArrayRecord({"blob": blob()})}),
        RecordDict({"answer": MetricRecord({"site": 1})}),
        RecordDict({"release": ArrayRecord({"blob": blob()})}),
        pack_request(REQUEST),
    ],
)
def test_a_message_of_another_kind_is_refused(content: RecordDict) -> None:
    with pytest.raises(Refused):
        unpack_answer(content)
    if "request" not in content:
        with pytest.raises(Refused):
            unpack_request(content)


@pytest.mark.parametrize(
    "release",
    [
        ConfigRecord({"blob": b"x"}),
        ArrayRecord({}),
        ArrayRecord({"other": blob()}),
        ArrayRecord({"blob": blob(), "more": blob(b"secret")}),
        ArrayRecord({"blob": blob(stype="numpy.ndarray")}),
        ArrayRecord({"blob": blob(stype="")}),
    ],
)
def test_an_answer_with_something_else_for_a_release_is_refused(release: Any) -> None:
    with pytest.raises(Refused):
        unpack_answer(answer_with(release=release))


def test_what_travels_beside_is_refused() -> None:
    """Only a release leaves a hospital."""
    content = pack_answer(ANSWER)
    content["more"] = ConfigRecord({"patients": "Zaphod"})
    with pytest.raises(Refused):
        unpack_answer(content)
    asked = pack_request(REQUEST)
    asked["more"] = ArrayRecord({"blob": blob()})
    with pytest.raises(Refused):
        unpack_request(asked)


def test_seconds_are_written_into_a_copy() -> None:
    assert ANSWER.after(9.0) == replace(ANSWER, seconds=9.0)
    assert ANSWER.seconds == 1.5


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from([*Step, " ", ", ", "1", "10", "0", "x"])).map("".join)))
@example("keys 1, films 10")
@example("keys 01")
@example("keys 123")
@example("keys \u0661")
@example("keys 1,films 2")
@example("keys 1\n")
def test_a_log_is_steps_and_coarse_times_or_it_is_refused(log: str) -> None:
    if log and not steps.is_log(log):
        with pytest.raises(Refused, match="a damaged answer: its log") as caught:
            unpack_answer(answer_with(log=log))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500
        return
    told = unpack_answer(answer_with(log=log)).log
    assert told == log == ", ".join(f"{step} {seconds}" for step, seconds in (steps.parse(log) if log else ()))
    assert re.fullmatch(r"((keys|scenario|films|work|limits|sign) (0|[1-9]\d?0*)(, |$))*", log, re.ASCII)


HOSTILE = ["\x1b[2J", "a\nb", "\x9b31m", "\u202egnp", "\x00", "\x07", "a\rb", "\u200b"]


@pytest.mark.parametrize("words", HOSTILE)
def test_words_that_a_terminal_acts_on_are_refused(words: str) -> None:
    for name in ("site", "reason", "place"):
        with pytest.raises(Refused, match="a damaged answer: its words") as caught:
            unpack_answer(answer_with(**{name: words}))
        assert str(caught.value).isprintable()
    with pytest.raises(Refused, match="a damaged introduction"):
        unpack_introduction(pack_introduction(Introduction("site-1", "refused", words)))


@pytest.mark.parametrize(
    "facts",
    [
        {"site": "s" * (LONGEST_NAME + 1)},
        {"reason": "r" * (LONGEST_REASON + 1)},
        {"place": "p" * (LONGEST_PLACE + 1)},
        {"reason": "r" * 50_000_000},
        {"patients": -1},
        {"patients": 8},
        {"images": MOST_FILMS + 1},
        {"images": 2**62, "patients": 2**62},
        {"seconds": -1.0},
        {"signature": bytes(5000)},
        {"log": "keys 1, " * 1000 + "keys 1"},
        {"log": "k" * 50_000_000},
    ],
    ids="-".join,
)
def test_what_no_site_can_say_is_refused_in_a_few_words(facts: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        unpack_answer(answer_with(**facts))
    assert len(str(caught.value)) < 400


@given(st.text())
def test_any_words_can_be_made_to_travel(words: str) -> None:
    reason = line(words)
    assert unpack_answer(pack_answer(replace(ANSWER, reason=reason))).reason == reason
