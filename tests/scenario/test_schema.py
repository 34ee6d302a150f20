"""What an editor is told of questions and of knowledge, by itself or in its short form: what the parser takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from parameters import wrong_parameters

from fedcxr import plugins
from fedcxr.errors import ConfigError
from fedcxr.scenario import Scenario
from fedcxr.scenario.schema import json_schema

BARE: dict[str, Any] = {"method": "sca", "tasks": {}, "adversaries": {}}
ASKING: dict[str, Any] = {"method": "sca", "tasks": {}, "adversaries": ["support"]}


@pytest.fixture(scope="module")
def accepts() -> Callable[[Any], bool]:
    """Whether an editor would accept a document."""
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    return lambda document: bool(validator.is_valid(document))


def first_of(kind: str) -> str:
    return next(iter(plugins.load("knowledge", kind).model_fields))


@pytest.mark.parametrize("kind", plugins.names("knowledge"))
def test_what_is_known_may_be_given_alone_or_by_its_name(accepts: Callable[[Any], bool], kind: str) -> None:
    usual = plugins.build("knowledge", kind).model_dump(mode="json")[first_of(kind)]
    short, long = ({**BARE, "knowledge": {kind: value}} for value in (usual, {first_of(kind): usual}))
    assert accepts(short)
    assert accepts(long)
    assert Scenario.parse(short) == Scenario.parse(long)


@pytest.mark.parametrize("kind", plugins.names("knowledge"))
def test_neither_takes_wrong_knowledge_in_any_form(accepts: Callable[[Any], bool], kind: str) -> None:
    for parameters in wrong_parameters("knowledge", kind):
        # An editor knows no NaN and takes infinities for numbers; both come from texts only.
        telling = all(value == value and abs(value) < 1e300 for value in parameters.values() if type(value) is float)
        for granted in (parameters, parameters.get(first_of(kind))):
            if granted is None:
                continue  # a key that is none has no short form
            document = {**BARE, "knowledge": {kind: granted}}
            assert not (telling and accepts(document)), granted
            with pytest.raises(ConfigError, match=kind):
                Scenario.parse(document)


@pytest.mark.parametrize(
    ("document", "right"),
    [
        ({"questions": {"linkage": {}, "reconstruction": {}}}, True),
        ({"questions": ["linkage"]}, True),
        ({"questions": "linkage"}, True),
        ({"questions": {"linkages": {}}}, False),
        ({"questions": {"linkage": {"of": "everybody"}}}, False),
        ({"questions": 3}, False),
        ({"knowledge": ["pairs"]}, False),
        ({"knowledge": {"pears": 3}}, False),
    ],
)
def test_editor_and_parser_agree(accepts: Callable[[Any], bool], document: dict[str, Any], right: bool) -> None:
    whole = {**ASKING, **document}
    assert accepts(whole) is right
    if right:
        assert accepts(Scenario.parse(whole).document())
    else:
        with pytest.raises(ConfigError):
            Scenario.parse(whole)


def test_whoever_comes_from_outside_is_not_judged_by_an_editor(accepts: Callable[[Any], bool]) -> None:
    assert accepts({"questions": {"ours:Question": {"any": 1}}, "knowledge": {"ours:Known": 3}})
