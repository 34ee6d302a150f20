"""One tree of errors, each with its exit code, each one line for a person."""

from __future__ import annotations

import re

import pytest

from fedcxr import errors
from fedcxr.errors import ConfigError, FedcxrError, UnknownName


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = {
        name: (int(code), depth)
        for line in (errors.__doc__ or "").splitlines()
        if (found := re.match(r"^([│├└─ ]*)(\w+) +(\d+) {3}\S", line))
        for depth, name, code in [(len(found[1]) // 4, found[2], found[3])]
    }
    real = {
        name: (cls.exit_code, len(cls.__mro__) - len(FedcxrError.__mro__))
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, FedcxrError)
    }
    assert drawn == real
    assert len(real) >= 12


def test_exit_codes_are_those_promised() -> None:
    promised = {
        "ConfigError": 2,
        "DataError": 3,
        "TooFewSites": 4,
        "Refused": 5,
        "ControlFailed": 6,
        "Interrupted": 130,
    }
    assert {name: getattr(errors, name).exit_code for name in promised} == promised


def test_says_what_was_given_what_is_allowed_and_what_to_do() -> None:
    error = ConfigError("too many sites", given=7, allowed="1 to 5", do="use fewer")
    assert str(error) == "too many sites; given: 7; allowed: 1 to 5; use fewer"
    assert str(ConfigError("too many sites")) == "too many sites"


@pytest.mark.parametrize("falsy", [0, "", False, []])
def test_shows_even_a_falsy_value(falsy: object) -> None:
    assert f"given: {falsy}" in str(ConfigError("wrong", given=falsy, do="stop"))


def test_a_given_value_becomes_one_short_line() -> None:
    text = str(ConfigError("wrong", given="a\nb\t" + "x" * 10_000))
    assert "\n" not in text
    assert text.startswith("wrong; given: a b x")
    assert len(text) < 300


def test_a_number_too_long_to_print_does_not_hide_the_error() -> None:
    assert str(ConfigError("wrong", given=1 << 100_000)).startswith("wrong; given: ")


def test_an_unknown_name_offers_the_nearest() -> None:
    error = UnknownName("method", "noize", ["none", "noise", "dp_pix"])
    assert str(error) == "unknown method; given: noize; allowed: dp_pix, noise, none; did you mean 'noise'?"
    assert "did you mean" not in str(UnknownName("method", "zzzzzz", ["none", "noise"]))
    assert "(none)" in str(UnknownName("method", "x", []))


def test_the_place_of_an_error_is_in_code_of_ours_or_of_a_contribution() -> None:
    """And not in the library that was handed something wrong."""
    contribution = "import json\njson.dumps(float('nan'), allow_nan=False)"
    with pytest.raises(ValueError, match="JSON") as caught:
        exec(compile(contribution, "/own/edges.py", "exec"), {})
    assert errors.place(caught.value) == "edges.py:2"


@pytest.mark.parametrize(
    ("file", "library"),
    [
        ("/usr/lib/python3.11/json/encoder.py", True),
        ("/home/me/.venv/lib/python3.12/site-packages/numpy/core/numeric.py", True),
        ("/usr/lib/python3/dist-packages/scipy/stats.py", True),
        ("/home/me/.venv/lib/python3.12/site-packages/fedcxr/world.py", False),
        ("/home/me/.venv/lib/python3.12/site-packages/server/measure.py", False),
        ("/home/me/fedcxr/fedcxr/world.py", False),
        ("/home/me/edges.py", False),
    ],
)
def test_what_is_installed_and_not_ours_is_a_library(file: str, library: bool) -> None:
    assert bool(errors.LIBRARY.search(file)) is library
