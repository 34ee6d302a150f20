"""A document has an end: no text of the size that is read takes long, and numbers are no longer than numbers are."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from fedcxr.errors import ConfigError
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import DEEPEST, LARGEST_FILE, LONGEST_NUMBER, read_yaml

# What has taken PyYAML, or what Python makes of its numbers, more than it should.
HARD = {
    "sixties": ("a: 1", ":1", ""),
    "sixties with a fraction": ("a: 1", ":1", ".5"),
    "digits": ("a: ", "9", ""),
    "hexadecimal": ("a: 0x", "f", ""),
    "underscores": ("a: 1", "_", ""),
    "an exponent": ("a: 1.0e+", "9", ""),
    "lists in lists": ("a: ", "[", ""),
    "mappings in mappings": ("a: ", "{", ""),
    "dashes": ("", "- ", ""),
    "questions": ("", "? ", ""),
    "merges": ("", "<<: {", ""),
    "keys on a line": ("{", "a,", "}"),
    "a list": ("a: [", "1,", "]"),
    "colons": ("", ":", ""),
    "escapes": ('a: "', "\\x41", '"'),
    "folded": ("a: b\n", " b\n", ""),
}


def hard(name: str) -> str:
    begin, again, end = HARD[name]
    return begin + again * ((LARGEST_FILE - len(begin + end)) // len(again)) + end


def test_no_document_takes_minutes() -> None:
    """As large as may be, in a process that is ended: a megabyte of 1:1:1 took 150 s, and grew with the square."""
    program = (
        "import sys\nfrom fedcxr.errors import ConfigError\nfrom fedcxr.scenario.document import read_yaml\n"
        "for text in sys.stdin.read().split('\\0'):\n"
        "    try:\n        read_yaml(text)\n    except ConfigError:\n        pass\n"
    )
    texts = "\0".join(hard(name) for name in HARD)
    subprocess.run([sys.executable, "-c", program], input=texts, text=True, check=True, timeout=120)


@pytest.mark.parametrize("name", HARD)
def test_a_byte_more_is_not_read(name: str) -> None:
    with pytest.raises(ConfigError, match="too large for a scenario"):
        read_yaml(hard(name).ljust(LARGEST_FILE + 1))
    with pytest.raises(ConfigError, match="too large for a scenario"):
        read_yaml("#" + "\N{GREEK SMALL LETTER ALPHA}" * (LARGEST_FILE // 2))  # bytes, not characters


@given(st.lists(st.integers(0, 99), min_size=2, max_size=30), st.sampled_from(["", "+", "-"]), st.booleans())
@example([1, 30], "", False)
def test_minutes_are_text(parts: list[int], sign: str, fraction: bool) -> None:
    text = sign + ":".join(map(str, parts)) + (".5" if fraction else "")
    assert read_yaml(f"a: {text}") == {"a": text}


@given(st.integers(0, LONGEST_NUMBER * 2), st.sampled_from(["", "0x", "0b1", "1.", "1.0e+"]))
def test_a_number_has_so_many_digits_at_most(more: int, begin: str) -> None:
    text = begin + "1" * (more + 1)
    if len(text) <= LONGEST_NUMBER:
        assert isinstance(read_yaml(f"a: {text}")["a"], int | float)
    else:
        with pytest.raises(ConfigError, match=f"a number of {len(text)} characters"):
            read_yaml(f"a: {text}")


@given(st.integers(1, DEEPEST * 2), st.lists(st.sampled_from("[{-"), min_size=1))
def test_lists_and_mappings_are_so_deep_at_most(deep: int, kinds: list[str]) -> None:
    value: Any = 1
    for level in range(deep):
        value = {"a": value} if kinds[level % len(kinds)] == "{" else [value]
    text = yaml.safe_dump({"a": value}, default_flow_style="-" not in kinds)
    if deep + 2 <= DEEPEST:
        assert read_yaml(text) == {"a": value}
    else:
        with pytest.raises(ConfigError, match=f"more than {DEEPEST} mappings and lists"):
            read_yaml(text)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), PLAIN, max_size=4))
@example({"a": "1:30"})
@example({"a": "0o17", "b": "+.5", "c": "1e3", "d": "0b", "e": "1_0", "f": "08", "g": ".", "h": "-"})
def test_what_is_written_reads_back(document: dict[str, Any]) -> None:
    """What is text to us is text to whoever writes it, and the same for numbers."""

    def shown(value: Any) -> Any:
        return "nan" if isinstance(value, float) and math.isnan(value) else value

    back = read_yaml(yaml.safe_dump(document))
    assert repr(_each(back, shown)) == repr(_each(dict(sorted(document.items())), shown))


def _each(value: Any, shown: Any) -> Any:
    if isinstance(value, dict):
        return {key: _each(one, shown) for key, one in sorted(value.items())}
    return [_each(one, shown) for one in value] if isinstance(value, list) else shown(value)


def test_a_scenario_that_could_not_be_read_back_is_not_written() -> None:
    many = Scenario.parse({"sites": [{"source": "phantom", "patients": 8}] * 1000, "tasks": {}, "adversaries": {}})
    with pytest.raises(ConfigError, match=r"too large for a scenario.*name fewer sites"):
        many.to_yaml()


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "On", "true"])
def test_a_key_is_a_word_where_yaml_has_a_truth_value(word: str) -> None:
    """`tasks.findings.on: films`, and a hospital called `no`."""
    assert read_yaml(f"a: {{{word}: films}}\nb: {word}") == {
        "a": {word: "films"},
        "b": word.lower() in ("on", "yes", "true"),
    }


def test_a_key_that_is_no_word_is_named() -> None:
    with pytest.raises(ConfigError, match="given: 12"):
        read_yaml("12: a")
