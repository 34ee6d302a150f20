"""Where something went wrong, as a coordinator may be told: lines of ours, whatever code ran and whatever it said."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.release import Release
from sites.own_line import HOME, is_own_line, own_line

CANARY = "Kowalczyk"
NAMED = st.one_of(
    st.text(max_size=40).map(lambda text: f"{CANARY}{text}"),
    st.sampled_from([f"{HOME}/sites/{CANARY}.py", f"{HOME}/sites/../{CANARY}/app.py", f"{HOME}/sites/app.py", "\0"]),
)


def raised(work: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  whatever it is
        work()
    return caught.value


def compiled(name: str, line: int, message: str) -> Callable[[], object]:
    """Code that says it lies in such a file, at such a line, and fails there."""
    code = compile("\n" * line + "raise ValueError(message)", name, "exec")
    return lambda: exec(code, {"message": message})


def test_it_is_the_innermost_line_of_ours() -> None:
    place = own_line(raised(lambda: Release.from_bytes(b"no release")))
    file, _, line = place.partition(":")
    assert file.startswith("fedcxr/release/")
    assert "raise" in (HOME / file).read_text().splitlines()[int(line) - 1]
    assert is_own_line(place)
    assert own_line(raised(lambda: int("x"))) == ""  # no line of ours was passed


@given(NAMED.filter(lambda name: "\0" not in name), st.integers(0, 2000), st.text(max_size=40))
def test_whatever_code_calls_itself_no_word_of_it_is_told(name: str, line: int, message: str) -> None:
    place = own_line(raised(compiled(name, line, f"{CANARY} {message}")))
    assert CANARY not in place
    if place:
        file, _, number = place.partition(":")
        assert (file, int(number)) == ("sites/app.py", line + 1)
        assert int(number) <= len(Path(HOME, file).read_text().splitlines())


@given(st.one_of(st.text(max_size=60), st.from_regex(r"(sites|fedcxr)/.{1,20}\.py:\d+", fullmatch=True)))
def test_what_is_entered_has_the_form_of_a_line(text: str) -> None:
    assert is_own_line(text) == bool(
        len(text) <= 120 and re.fullmatch(r"(fedcxr|sites)/[a-z0-9_/]+\.py:[1-9][0-9]{0,5}", text)
    )
