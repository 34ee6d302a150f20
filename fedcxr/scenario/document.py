"""A scenario's document: plain data from strict YAML, changed by flags, filled in by a preset."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from fedcxr import plugins
from fedcxr.errors import ConfigError, UnknownName
from fedcxr.scenario.sites import in_order

LARGEST_FILE = 1 << 16  # bytes: a scenario is a page, not a data set
DEEPEST = 32  # mappings and lists within each other
LONGEST_NUMBER = 64  # characters

# The sections of a scenario that hold plug-ins, and whether they hold one or several by name.
ONE: Mapping[str, tuple[plugins.Kind, str]] = {"cohort": ("source", "source"), "method": ("method", "name")}
SEVERAL: Mapping[str, plugins.Kind] = {"tasks": "task", "questions": "question", "adversaries": "adversary"}


def read_yaml(text: str) -> dict[str, Any]:
    """A mapping from YAML that holds plain data only: no tags, no aliases, no key twice, and nothing without end."""
    _refuse_large(len(text) if len(text) > LARGEST_FILE else len(text.encode("utf-8", "surrogatepass")))
    try:
        document = yaml.load(text, Loader=_PlainLoader)  # noqa: S506  a SafeLoader, made stricter below
    # PyYAML lets through whatever Python raises at a text such as "\UFFFFFFFF".
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, ArithmeticError) as error:
        raise ConfigError("this is not the YAML of a scenario", do=" ".join(str(error).split())[:300]) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError("a scenario maps keys to values", given=type(document).__name__)
    for key in document:
        if not isinstance(key, str):
            raise ConfigError("a scenario maps keys to values, and a key is a word", given=key)
    return document


def to_text(document: Mapping[str, Any]) -> str:
    """The YAML of a document, refused where `read_yaml` would not read it back."""
    text = yaml.safe_dump(document, sort_keys=False)
    _refuse_large(len(text), "name fewer sites, or give their number")  # ASCII
    return text


def _refuse_large(size: int, do: str | None = None) -> None:
    if size > LARGEST_FILE:
        raise ConfigError(
            "this is too large for a scenario", given=f"{size} bytes or more", allowed=str(LARGEST_FILE), do=do
        )


class _PlainLoader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # Aliases can make a small file unfold into gigabytes, and a scenario has no use for them or for tags.
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.YAMLError("aliases are not allowed")
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError("tags are not allowed")
        if self.depth == DEEPEST:
            raise yaml.YAMLError(f"more than {DEEPEST} mappings and lists within each other")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        twice = sorted(key for key, times in found.items() if times > 1)
        if twice:
            raise yaml.YAMLError(f"key given twice: {', '.join(twice)}")
        for key, _ in node.value:
            if key.tag == TRUTH:  # YAML 1.1 makes `true: films` of `on: films`, and of the site `no` a falsehood
                key.tag = TEXT
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A number that is no longer than numbers are: what Python makes of many digits takes their square."""
        if len(node.value) > LONGEST_NUMBER:
            raise yaml.YAMLError(f"a number of {len(node.value)} characters")
        construct = self.construct_yaml_int if node.tag == INT else self.construct_yaml_float
        return construct(node)


INT, FLOAT, TRUTH, TEXT = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "str"))
# YAML 1.1 also reads 1:30 as ninety, and takes minutes for a page of `1:1:1`. Here, as in YAML 1.2, it is text.
NUMBERS = {
    INT: r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)",
    FLOAT: r"([-+]?[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, re.compile(rf"^(?:{NUMBERS[tag]})$") if tag in NUMBERS else pattern) for tag, pattern in resolvers]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag in NUMBERS:
    _PlainLoader.add_constructor(_tag, _PlainLoader.construct_number)


def read_file(path: Path) -> dict[str, Any]:
    """The document in a scenario file."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        _refuse_large(len(raw))
        return read_yaml(raw.decode())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("cannot read the scenario", given=path, do=str(error)) from None


def override(document: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    """The document with one `a.b=VALUE` applied; VALUE is YAML."""
    path, equals, value = assignment.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError("--set needs a key and a value", given=assignment, allowed="a.b=VALUE")
    return assign(document, keys, read_yaml(f"value: {value or 'null'}")["value"])


def assign(document: Mapping[str, Any], keys: Sequence[str], value: object) -> dict[str, Any]:
    """The document with one value, some levels deep, replaced."""
    return _assign(document, keys, value, ())


def choose(document: Mapping[str, Any], **flags: object) -> dict[str, Any]:
    """The document with top-level keys as a command's flags give them; None leaves a key as it is."""
    chosen = dict(document)
    for key, value in flags.items():
        given = chosen.get(key)
        if key == "sites" and value is not None and isinstance(given, list | Mapping):
            raise ConfigError(
                "the scenario names its sites, so their number is given",
                given=f"--sites {value}",
                allowed=str(len(given)),
                do="remove the flag",
            )
        # Naming the method that the file names anyway must not drop its parameters.
        named_already = key in ONE and isinstance(given, Mapping) and given.get(ONE[key][1]) == value
        if value is not None and not named_already:
            chosen[key] = value
    return chosen


def _assign(document: Mapping[str, Any], keys: Sequence[str], value: object, where: tuple[str, ...]) -> dict[str, Any]:
    key, *rest = keys
    if not rest:
        return {**document, key: value}
    inner = document.get(key)
    if isinstance(inner, list) and key not in SEVERAL:
        return {**document, key: _assign_within(inner, rest, value, (*where, key))}
    if key == "sites" and not where and isinstance(inner, Mapping | None) and len(rest) > 1:
        inner = _with_long_form(inner or {}, rest[0])
    if inner is None:
        # Setting one task's parameter must not drop the preset's other tasks.
        usual = _usual(document, preset_of(str(document.get("preset", "default")))) if not where else {}
        usual = usual if key in SEVERAL else {}
        inner = {str(name): {} for name in usual.get(key, ())}
    elif not where and key in ONE and isinstance(inner, str):
        inner = {ONE[key][1]: inner}
    elif not where and key in SEVERAL and isinstance(inner, str | list):
        inner = {str(name): {} for name in ([inner] if isinstance(inner, str) else inner)}
    elif not isinstance(inner, Mapping):
        raise ConfigError("--set goes below something that is no mapping", given=".".join((*where, *keys)))
    return {**document, key: _assign(inner, rest, value, (*where, key))}


def _with_long_form(sites: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Sites by name, of which this one is there, and its source can be told more than a name."""
    if name not in sites:  # a slip of the pen must not found a hospital
        raise UnknownName("site", name, map(str, sites))
    given = sites[name]
    return {**sites, name: {ONE["cohort"][1]: given}} if isinstance(given, str) else sites


def _assign_within(entries: Sequence[Any], keys: Sequence[str], value: object, where: tuple[str, ...]) -> list[Any]:
    """One entry of a list changed: `sites.0.root=/data/nih` is the first hospital's."""
    place, *rest = keys
    if not place.isdecimal() or int(place) >= len(entries):
        raise ConfigError(
            "--set names no entry of a list", given=".".join((*where, *keys)), allowed=f"0 to {len(entries) - 1}"
        )
    entry = entries[int(place)]
    if rest and isinstance(entry, str):
        entry = {ONE["cohort"][1]: entry}  # the short form of a source
    if rest and not isinstance(entry, Mapping):
        raise ConfigError("--set goes below something that is no mapping", given=".".join((*where, *keys)))
    changed = _assign(entry, rest, value, (*where, place)) if rest else value
    return [*entries[: int(place)], changed, *entries[int(place) + 1 :]]


def preset_of(name: str) -> dict[str, Any]:
    """What the preset says: usual plug-ins under `scenario`, and parameters per plug-in."""
    return read_yaml((resources.files("fedcxr") / "presets" / f"{name}.yaml").read_text(encoding="utf-8"))


def filled_in(document: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what the document leaves open: plug-ins by the preset's parameters for that very plug-in."""
    usual = _usual(document, preset)
    filled = {**usual, **document}
    granted = filled.get("knowledge")
    if "knowledge" in usual and isinstance(granted, Mapping):
        filled["knowledge"] = {**usual["knowledge"], **granted}
    sites = filled.get("sites")
    if isinstance(sites, list):
        filled["sites"] = [_filled(entry, "cohort", preset) for entry in sites]
    if isinstance(sites, Mapping):
        # Here and not later: in between, JSON makes a text of every key.
        filled["sites"] = {name: _filled(sites[name], "cohort", preset) for name in in_order(sites)}
    if isinstance(sites, list | Mapping):
        filled.pop("cohort")
    if filled.get("public") is not None:
        filled["public"] = _filled(filled["public"], "cohort", preset)
    for section in ONE:
        if section in filled:
            filled[section] = _filled(filled[section], section, preset)
    for section in SEVERAL:
        given = filled.get(section)
        given = [given] if isinstance(given, str) else given
        if isinstance(given, Sequence):
            given = {str(name): {} for name in given}
        if isinstance(given, Mapping):
            defaults = preset.get(section, {})
            filled[section] = {
                name: {**defaults.get(name, {}), **(parameters or {})}
                if isinstance(parameters, Mapping | None)
                else parameters
                for name, parameters in given.items()
            }
    return filled


def _usual(document: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """The plug-ins of a scenario that names none; some methods have opponents of their own."""
    usual = preset.get("scenario", {})
    given = document.get("method", usual.get("method"))
    name = given.get("name") if isinstance(given, Mapping) else given
    return {**usual, **(preset.get("scenario_of_method", {}).get(name, {}) if isinstance(name, str) else {})}


def _filled(given: object, section: str, preset: Mapping[str, Any]) -> object:
    """One plug-in's parameters with the preset's for that very plug-in."""
    _, key = ONE[section]
    given = {key: given} if isinstance(given, str) else given
    if not isinstance(given, Mapping):
        return given
    named = {key: preset["scenario"][section], **given}
    return {**preset.get(section, {}).get(str(named[key]), {}), **named}
