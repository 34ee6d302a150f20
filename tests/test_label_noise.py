"""What a scenario and a file say of how often labels are right, and what is refused of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr import plugins
from fedcxr.errors import ConfigError, UnknownName
from fedcxr.label_noise import LabelNoise, Rates, parsed, read

FINDINGS = ("Mass", "Nodule")
SURE = {"sensitivity": 0.9, "specificity": 0.8}

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-0.2, 1.2) | st.sampled_from([0.0, 0.5, 1.0])
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
rates = st.fixed_dictionaries({"sensitivity": numbers, "specificity": numbers})


def told(**values: object) -> LabelNoise:
    return plugins.validate(LabelNoise, values, "label noise")


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(FINDINGS), rates, max_size=2) | plain)
def test_a_table_is_read_as_it_says_or_refused_in_one_line(table: object) -> None:
    each: dict[str, Rates] = {}
    refused = ""
    try:
        each = parsed(table, "a table")
    except ConfigError as error:
        refused = str(error)
    assert "\n" not in refused
    assert refused or {name: one.model_dump() for name, one in each.items()} == table
    for one in each.values():
        assert min(one.sensitivity, one.specificity) > 0
        assert max(one.sensitivity, one.specificity) < 1 < one.sensitivity + one.specificity


@settings(max_examples=50)
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_every_informative_pair_is_taken_and_no_other(sensitivity: float, specificity: float) -> None:
    pair = {"sensitivity": sensitivity, "specificity": specificity}
    if sensitivity + specificity > 1:
        assert parsed({"Mass": pair}, "a table")["Mass"].model_dump() == pair
    else:
        with pytest.raises(ConfigError, match="sum to more than 1"):
            parsed({"Mass": pair}, "a table")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sensitivity": 1.0, "specificity": 0.9}, "sensitivity: Input should be less than 1"),
        ({"sensitivity": 0.9, "specificity": 0.0}, "specificity: Input should be greater than 0"),
        ({"sensitivity": 0.5, "specificity": 0.5}, "sum to more than 1, not 1"),
        ({"sensitivity": 0.9}, "given together"),
        ({"estimated": True, **SURE}, "give one of them"),
        ({"findings": {"Mass": {"sensitivity": 0.9}}}, "findings.Mass.specificity"),
        ({"learnt": True, "estimated": True}, "estimated: rates of sites that are learnt"),
        ({"learnt": True, "sites": {"site-1": SURE}}, "sites: rates of sites that are learnt"),
        ({"sites": {"site-1": {"sensitivity": 0.1, "specificity": 0.9}}}, "sum to more than 1, not 1"),
        ({"unknown": 1.5}, "unknown: Input should be less than 1"),
        ({"sensitivty": 0.9}, "did you mean 'sensitivity'"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        told(**values)


def test_single_findings_outrank_what_holds_for_all(tmp_path: Path) -> None:
    one = {"sensitivity": 0.7, "specificity": 0.99}
    expected = (Rates.model_validate(one), Rates.model_validate(SURE))
    assert told(**SURE, findings={"Mass": one}).of(FINDINGS) == expected
    assert told(findings={"Mass": one}).of(FINDINGS) == (expected[0], None)
    for name, text in {"a.yaml": yaml.safe_dump({"Mass": one}), "a.json": json.dumps({"Mass": one})}.items():
        (tmp_path / name).write_text(text)
        assert told(file=str(tmp_path / name), findings={"Nodule": SURE}).of(FINDINGS) == expected
    assert not LabelNoise().on
    assert LabelNoise().of(FINDINGS) == (None, None)


def test_an_unknown_finding_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'Nodule'"):
        told(findings={"Nodul": SURE}).of(FINDINGS)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"- Mass", b"Mass: 0.9", b"Mass: [", b"{1: {}}", b"[" * 500, None])
def test_a_file_that_is_no_table_is_refused_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "rates.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"rates\.yaml") as caught:
        read(path)
    assert "\n" not in str(caught.value)
