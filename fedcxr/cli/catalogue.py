"""What plug-ins there are and what one of them can be told, as text or JSON."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from fedcxr import plugins
from fedcxr.errors import ConfigError, one_line, printable

MUST = "(must be given)"


def listing(kind: plugins.Kind, form: str) -> str:
    """Every plug-in of a folder with its first sentence, or with why it cannot be used: none hides the others."""
    found = {name: _sentence(kind, name) for name in plugins.names(kind)}
    if form == "json":
        return json.dumps(found, indent=1)
    return "\n".join(f"{name:<16}{sentence}" for name, sentence in found.items()) or "(none)"


def entry(kind: plugins.Kind, name: str, form: str) -> str:
    """One plug-in: what it does, its paper, our deviations, its guarantee and its parameters."""
    about, schema = _outside(name) if kind == "adversary" and ":" in name else _about(plugins.load(kind, name))
    facts: dict[str, Any] = {
        "name": name,
        "does": about["does"],
        "paper": about["paper"],
        **({"equations": about["equations"]} if about["equations"] else {}),
        "deviations": about["deviations"],
    }
    if kind == "method":
        from fedcxr.methods import Method, guarantee_of  # here and not above: they import NumPy

        guarantee = guarantee_of(cast(Method, plugins.build(kind, name)))
        facts["guarantee"] = guarantee.model_dump() if guarantee else None
    if kind == "question":
        from fedcxr.questions import Question  # here and not above: it imports NumPy

        facts["rules"] = list(cast(type[Question], plugins.load(kind, name)).rules)
    facts["parameters"] = dict(_keys(schema.get("properties", {}), schema.get("$defs", {})))
    if form == "json":
        return json.dumps(facts, indent=1)
    lines = [f"{name}: {facts['does']}"]
    told = ("paper", "equations", "deviations", "guarantee")
    lines += [f"{key}: {facts[key] or 'none'}" for key in told if key in facts]
    lines += facts.get("rules", [])
    lines += [printable(_parameter(key, value)) for key, value in facts["parameters"].items()]
    return "\n".join(lines)


def parameters(schema: Mapping[str, Any]) -> dict[str, tuple[str, str, str]]:
    """By every key that a JSON schema knows, as `--set` names it: default, what is allowed, what it is for."""
    required = schema.get("required", ())
    told = {name: _told(one) for name, one in _keys(schema.get("properties", {}), schema.get("$defs", {}))}
    # Whatever need not be given and has no default of its own has it from elsewhere: a preset.
    elsewhere = {name for name, one in told.items() if one[0] == MUST and name.partition(".")[0] not in required}
    return {name: ("", *one[1:]) if name in elsewhere else one for name, one in told.items()}


def _about(cls: type[plugins.Plugin]) -> tuple[dict[str, str | None], dict[str, Any]]:
    told = {"does": inspect.getdoc(cls), "paper": cls.paper, "equations": cls.equations, "deviations": cls.deviations}
    return told, cls.model_json_schema()


def _outside(name: str) -> tuple[Mapping[str, str | None], Mapping[str, Any]]:
    """The same of an adversary whose module must not run here, in words that are safe to show."""
    from fedcxr.adversaries._outside import Outside  # here and not above: it imports NumPy

    told = Outside.named(name, {}).described(weaker=False).known
    about = {key: None if text is None else one_line(text, 1000) for key, text in told.about.items()}
    return about, {"properties": told.takes}


def _sentence(kind: plugins.Kind, name: str) -> str:
    try:
        return (inspect.getdoc(plugins.load(kind, name)) or "").split("\n")[0]
    except ConfigError as error:
        return str(error)


def _keys(properties: Mapping[str, Any], groups: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every key as `--set` names it: a group of keys is told key by key."""
    for name, schema in properties.items():
        group = groups.get(schema.get("$ref", "").rpartition("/")[2], {})
        if "properties" in group:
            yield from _keys(group["properties"], groups, f"{above}{name}.")
        else:
            yield f"{above}{name}", schema


def _parameter(name: str, schema: Mapping[str, Any]) -> str:
    value, allowed, told = _told(schema)
    return f"  {name} = {value}  {allowed}  {told}".rstrip()


def _told(schema: Mapping[str, Any]) -> tuple[str, str, str]:
    limits = {
        "minimum": ">= ", "exclusiveMinimum": "> ", "maximum": "<= ", "exclusiveMaximum": "< "
    }  # fmt: skip
    allowed = ", ".join(f"{words}{schema[key]}" for key, words in limits.items() if key in schema)
    if "enum" in schema:
        allowed = f"one of {', '.join(map(str, schema['enum']))}"
    value = json.dumps(schema["default"]) if "default" in schema else MUST
    return value, allowed or " or ".join(dict.fromkeys(_types(schema))), schema.get("description", "")


def _types(schema: Mapping[str, Any]) -> Iterator[str]:
    for one in schema.get("anyOf", [schema]):
        told = one.get("type", "null")
        yield from (kind for kind in ([told] if isinstance(told, str) else told) if kind != "null")
