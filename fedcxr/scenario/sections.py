"""The sections of a scenario, from plain data: plug-ins by name, grants, knowledge, and who the sites are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, cast

import pydantic

from fedcxr import plugins
from fedcxr.adversaries import Adversary
from fedcxr.adversaries._outside import Outside
from fedcxr.data import Source
from fedcxr.errors import ConfigError
from fedcxr.knowledge import Knowledge
from fedcxr.knowledge.keys import MOST_SITES
from fedcxr.partition import site_names
from fedcxr.scenario.document import ONE, SEVERAL


class Section(pydantic.BaseModel):
    """A part of a scenario: frozen, and an unknown key is an error."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


HEX = "^[0-9a-f]{64}$"  # of a secret


def secret(value: object) -> str | None:
    """256 bits, which no error shows."""
    if value is not None and not (isinstance(value, str) and re.fullmatch(HEX, value)):
        raise ConfigError("this is no secret of a scenario", allowed="64 digits of 0 to 9 and a to f, or null")
    return value


Shares = dict[str, float]  # by recipient


def grants(value: object) -> Shares:
    """Who is granted the keys of how large a share of every site's images: `none`, a list of names, or a mapping."""
    if value == "none" or value is None:
        return {}
    if isinstance(value, str):
        value = [value]
    if isinstance(value, Mapping):
        shares = dict(value)
    elif isinstance(value, Sequence) and all(isinstance(name, str) for name in value):
        shares = dict.fromkeys(value, 1.0)
    else:
        raise ConfigError("a grant names recipients", given=value, allowed="none, [server, site-2] or {server: 0.25}")
    for name, share in shares.items():
        if type(share) not in (int, float) or not 0 < share <= 1:
            raise ConfigError(f"grant.{name} is a share of images", given=share, allowed="more than 0, at most 1")
    return {str(name): float(share) for name, share in shares.items()}


def built(section: str) -> pydantic.PlainValidator:
    """For a section that holds one plug-in."""
    kind, key = ONE[section]

    return pydantic.PlainValidator(lambda value: _one(section, kind, key, value))


Build = Callable[[plugins.Kind, Mapping[str, Any]], plugins.Plugin]


def built_by_name(section: str, build_one: Build = plugins.build) -> pydantic.PlainValidator:
    """For a section that holds plug-ins by name."""
    kind = SEVERAL[section]

    def build(value: object) -> Mapping[str, plugins.Plugin]:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{section} must map names to parameters", given=value)
        for name, parameters in value.items():
            if not isinstance(parameters, Mapping):
                raise ConfigError(f"{section}.{name} must map parameters to values", given=parameters)
            _refuse_second_name(f"{section}.{name}", parameters)
        return {name: build_one(kind, {"name": name, **parameters}) for name, parameters in value.items()}

    return pydantic.PlainValidator(build)


def adversary(kind: plugins.Kind, spec: Mapping[str, Any]) -> Adversary:
    """One of ours, or a stand-in for one from outside: to import that would run code of whoever is measured."""
    name = str(spec["name"])
    if ":" in name:
        return Outside.named(name, {key: value for key, value in spec.items() if key != "name"})
    return cast(Adversary, plugins.build(kind, spec))


def known(value: object) -> Mapping[str, Knowledge]:
    """Every kind of knowledge: as it is granted, or as it usually is."""
    if not isinstance(value, Mapping):
        raise ConfigError("knowledge maps kinds of knowledge to what is granted of them", given=value)
    known: dict[str, Knowledge] = {}
    for name in dict.fromkeys((*plugins.names("knowledge"), *map(str, value))):
        parameters = value.get(name, {})
        if not isinstance(parameters, Mapping):  # the first of its parameters may stand alone
            first = next(iter(plugins.load("knowledge", name).model_fields))
            parameters = {first: parameters}
        _refuse_second_name(f"knowledge.{name}", parameters)
        known[name] = cast(Knowledge, plugins.build("knowledge", {"name": name, **parameters}))
    return known


def plain_knowledge(knowledge: Mapping[str, Knowledge]) -> dict[str, Any]:
    """The same as it is written down: the first parameter alone where all others are as usual."""
    return {name: _plain(one) for name, one in knowledge.items()}


def _plain(known: Knowledge) -> object:
    told = known.model_dump(mode="json")
    (_, first), *others = told.items()
    usual = {name: field.default for name, field in type(known).model_fields.items()}
    return first if all(value == usual[name] for name, value in others) else told


NUMBER_OF_SITES: pydantic.TypeAdapter[int] = pydantic.TypeAdapter(
    Annotated[int, pydantic.Field(strict=True, ge=1, le=MOST_SITES)]
)


def number_or_sources(value: object) -> int | dict[str, Source]:
    """Either so many hospitals that share one cohort, or the source of each hospital's own films, by name."""
    if isinstance(value, str) or not isinstance(value, Sequence | Mapping):
        try:
            return NUMBER_OF_SITES.validate_python(value)
        except pydantic.ValidationError as error:
            raise plugins.explain(error, "scenario: sites", Section) from None
    if not 1 <= len(value) <= MOST_SITES:
        raise ConfigError("sites lists too few or too many", given=len(value), allowed=f"1 to {MOST_SITES}")
    kind, key = ONE["cohort"]
    if isinstance(value, Mapping):
        return {name: cast(Source, _one(f"sites.{name}", kind, key, entry)) for name, entry in value.items()}
    names = site_names(len(value))
    return {
        name: cast(Source, _one(f"sites.{place}", kind, key, entry))
        for place, (name, entry) in enumerate(zip(names, value, strict=True))
    }


def _one(where: str, kind: plugins.Kind, key: str, value: object) -> plugins.Plugin:
    parameters = dict(value) if isinstance(value, Mapping) else {key: value}
    name = parameters.pop(key, None)
    _refuse_second_name(where, parameters)
    return plugins.build(kind, {"name": name, **parameters})


def _refuse_second_name(where: str, parameters: Mapping[str, object]) -> None:
    if "name" in parameters:
        raise ConfigError(
            f"{where} has a name already", given=f"name: {parameters['name']}", do="remove the key `name`"
        )
