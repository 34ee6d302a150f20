"""Parameters that a plug-in's own schema forbids: what every contract test tries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fedcxr import plugins


def wrong_parameters(kind: plugins.Kind, name: str) -> Iterator[dict[str, Any]]:
    """Each with one key only: an unknown one, or a field with a value it cannot have."""
    yield {"no_such_key": 1}
    for field, told in plugins.load(kind, name).model_json_schema().get("properties", {}).items():
        for value in wrong_values(told):
            yield {field: value}


def wrong_values(told: dict[str, Any]) -> list[object]:
    """What a field's own schema forbids."""
    kinds = {told.get("type"), *(variant.get("type") for variant in told.get("anyOf", ()))}
    wrong: list[object] = [{"a": 1}]
    if "enum" in told:
        wrong += ["no such choice", next(n for n in (1, 3, 5, 7) if n not in told["enum"])]
    if kinds & {"number", "integer"}:
        wrong += ["1", True, float("nan"), float("inf"), -float("inf")]
        wrong += [told["minimum"] - 1] if "minimum" in told else []
        wrong += [told["exclusiveMinimum"]] if "exclusiveMinimum" in told else []
        wrong += [told["maximum"] + 1] if "maximum" in told else []
        wrong += [told["exclusiveMaximum"]] if "exclusiveMaximum" in told else []
    if kinds == {"integer"}:
        wrong += [1.5]
    if kinds == {"boolean"}:
        wrong += [1, "yes"]
    return wrong
