"""The JSON schema of scenarios, with which an editor completes and checks them."""

from __future__ import annotations

from typing import Any

from fedcxr import plugins
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import ONE, SEVERAL, preset_of
from fedcxr.scenario.sections import NUMBER_OF_SITES
from fedcxr.scenario.sites import NAME, RESERVED


def json_schema() -> dict[str, Any]:
    """The JSON schema of a scenario, with every plug-in of the folders spelt out (for editors)."""
    schema = Scenario.model_json_schema()
    usual = preset_of("default")["scenario"]
    shared = schema.setdefault("$defs", {})
    for section, (kind, key) in ONE.items():
        variants = []
        for name in plugins.names(kind):
            variant = _variant(kind, name, shared)
            variant.setdefault("properties", {})[key] = {"const": name}
            if name != usual[section]:
                variant["required"] = [*variant.get("required", []), key]
            variants.append(variant)
        schema["properties"][section] = {"anyOf": [{"enum": list(plugins.names(kind))}, *variants]}
    number = NUMBER_OF_SITES.json_schema()
    share = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    schema["properties"]["grant"] |= {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}},
            {"type": "object", "additionalProperties": share},
        ]
    }
    schema["properties"]["public"] = schema["properties"]["cohort"]
    source = schema["properties"]["cohort"]
    schema["properties"]["sites"] |= {
        "anyOf": [
            number,
            {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": NAME, "not": {"enum": list(RESERVED)}},
                "additionalProperties": source,
            },
            {"type": "array", "minItems": 1, "items": source},
        ]
    }
    for section, kind in SEVERAL.items():
        by_name = _by_name(kind, {name: _variant(kind, name, shared) for name in plugins.names(kind)})
        schema["properties"][section] = {
            "anyOf": [by_name, {"type": "array", "items": {"type": "string"}}, {"type": "string"}]
        }
    known = {name: _variant("knowledge", name, shared) for name in plugins.names("knowledge")}
    named = {"anyOf": [{"type": "string"}, {"required": [ONE["cohort"][1]]}]}  # none is usual: no preset fills it in
    for granted in known.values():
        if "source" in granted["properties"]:
            granted["properties"]["source"] |= {"anyOf": [{"allOf": [source, named]}, {"type": "null"}]}
    schema["properties"]["knowledge"] |= _by_name(
        "knowledge", {name: {"anyOf": [next(iter(one["properties"].values())), one]} for name, one in known.items()}
    )
    schema["required"] = []
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _by_name(kind: plugins.Kind, variants: dict[str, Any]) -> dict[str, Any]:
    """Plug-ins by name: those of the folder as these schemas have them, and any from outside."""
    names = {"anyOf": [{"enum": list(plugins.names(kind))}, {"pattern": ":"}]}
    return {"type": "object", "properties": variants, "propertyNames": names}


def _variant(kind: plugins.Kind, name: str, shared: dict[str, Any]) -> dict[str, Any]:
    """One plug-in's schema; what it refers to is added to the `shared` definitions under the plug-in's name."""
    schema = plugins.load(kind, name).model_json_schema(ref_template=f"#/$defs/{kind}.{name}.{{model}}")
    for model, definition in schema.pop("$defs", {}).items():
        shared[f"{kind}.{name}.{model}"] = definition
    return schema
