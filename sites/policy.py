"""A scenario as a hospital takes it: what its profile does not allow is refused before anything of it is made.

Names are read off the plain document, because building a contribution imports its module: a scenario that could name
any module could run it here. Then the method is built, and its parameters are checked as they are, whether the
scenario, a preset or a default says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pydantic

from fedcxr import plugins
from fedcxr.errors import ConfigError
from fedcxr.plugins import File, Kind
from fedcxr.scenario import Preset, Scenario
from fedcxr.scenario.document import ONE, SEVERAL, filled_in, preset_of, read_yaml
from sites.codes import Code, Denied
from sites.profile import Profile

OWN = ("own", {ONE["cohort"][1]: "own"})  # the films of a site, as a scenario for hospitals has them: short, or long


def admitted(text: str, profile: Profile) -> Scenario:
    """The scenario in this document, if the hospital allows all of it; its files are the hospital's."""
    try:
        document = read_yaml(text)
        _refuse_sources(document)
        _refuse_contributions(_whole(document), profile)
        scenario = Scenario.parse(document)
    except ConfigError as error:
        raise Denied(Code.SCENARIO, str(error)) from None
    _refuse_method(scenario, profile)
    located: Scenario = _located(scenario, profile.files)
    return located


def _refuse_sources(document: Mapping[str, Any]) -> None:
    """Which films, of what table, under what names: nobody says that but the hospital."""
    sites = document.get("sites")
    listed = list(sites.values()) if isinstance(sites, Mapping) else sites
    if not isinstance(listed, list):
        raise Denied(Code.SOURCES, "a hospital takes no share of one cohort", given=sites, allowed="sites: {NAME: own}")
    public = [document["public"]] if document.get("public") is not None else []
    for source in (*listed, *public):
        if source not in OWN:
            raise Denied(Code.SOURCES, "a scenario names films", given=source, allowed="own")
    knowledge = document.get("knowledge")
    for granted in knowledge.values() if isinstance(knowledge, Mapping) else ():
        if isinstance(granted, Mapping) and granted.get("source") is not None:
            raise Denied(Code.SOURCES, "a scenario names films", given=granted["source"], allowed="no `source`")
    if "cohort" in document:
        raise Denied(Code.SOURCES, "a scenario names films", given=document["cohort"], allowed="no `cohort`")


def _whole(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What will be built: with all that the preset fills in."""
    preset = document.get("preset", "default")
    if preset not in get_args(Preset):  # a preset is a file of ours, and no other file is one
        raise Denied(Code.SCENARIO, "unknown preset", given=preset, allowed=", ".join(get_args(Preset)))
    return filled_in(document, preset_of(preset))


def _refuse_contributions(document: Mapping[str, Any], profile: Profile) -> None:
    for kind, name in _names(document):
        if not isinstance(name, str) or not profile.knows(kind, name):
            allowed = ", ".join((*plugins.names(kind), *profile.outside))
            raise Denied(Code.CONTRIBUTION, f"the hospital does not know this {kind}", given=name, allowed=allowed)
        if kind == "method" and name not in profile.methods:
            raise Denied(Code.METHOD, "this method is not allowed", given=name, allowed=", ".join(profile.methods))


def _names(document: Mapping[str, Any]) -> Iterator[tuple[Kind, object]]:
    """Every contribution that the document names, but for sources."""
    method = document["method"]
    yield "method", method.get(ONE["method"][1]) if isinstance(method, Mapping) else method
    for section, kind in {**SEVERAL, "knowledge": "knowledge"}.items():
        named = document.get(section, {})
        if not isinstance(named, Mapping):
            raise Denied(Code.SCENARIO, f"{section} must map names to parameters", given=named)
        yield from ((kind, name) for name in named)


def _refuse_method(scenario: Scenario, profile: Profile) -> None:
    name, bounded = scenario.method.plugin_name(), profile.methods[scenario.method.plugin_name()]
    learning = scenario.method.learning
    if learning is not None and learning.place not in profile.learns:
        allowed = ", ".join(profile.learns)
        raise Denied(Code.LEARNING, f"{name} learns elsewhere", given=learning.place, allowed=allowed)
    for parameter, showing in type(scenario.method).shows.items():
        value = getattr(scenario.method, parameter)
        if value in showing and parameter not in bounded:
            raise Denied(
                Code.PARAMETER, f"{name}: the profile must list a {parameter} that shows film or person", given=value
            )
    for parameter, bounds in bounded.items():
        value = getattr(scenario.method, parameter)
        if not bounds.allow(value):
            raise Denied(
                Code.PARAMETER, f"{name}: {parameter} is not allowed to be this", given=value, allowed=str(bounds)
            )


def _located(value: Any, files: Mapping[str, str]) -> Any:
    """The same, in which each file that the scenario names is the one that the hospital calls so."""
    match value:
        case File():
            if value.name not in files:
                raise Denied(Code.FILE, "this file is not allowed", given=value.name, allowed=", ".join(files))
            return File(str(Path(files[value.name]).expanduser()), value.name)
        case pydantic.BaseModel():
            changed = {field: _located(getattr(value, field), files) for field in type(value).model_fields}
            return value.model_copy(update=changed)
        case Mapping():
            return {key: _located(one, files) for key, one in value.items()}
        case tuple() | list():
            return type(value)(_located(one, files) for one in value)
        case _:
            return value
