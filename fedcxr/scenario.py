"""A scenario: one sharing arrangement as data, read from YAML, presets and the command line."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import pydantic
import yaml

from fedcxr import plugins
from fedcxr.adversaries import Adversary
from fedcxr.data import Source
from fedcxr.errors import ConfigError, UnknownName
from fedcxr.methods import Method
from fedcxr.partition import Partition, site_names
from fedcxr.tasks import Task

Preset = Literal["quick", "default", "paper"]
LARGEST_FILE = 1 << 20  # bytes: a scenario is a page, not a data set

# The sections of a scenario that hold plug-ins, and whether they hold one or several by name.
ONE: Mapping[str, tuple[plugins.Kind, str]] = {"cohort": ("source", "source"), "method": ("method", "name")}
SEVERAL: Mapping[str, plugins.Kind] = {"tasks": "task", "adversaries": "adversary"}


class Section(pydantic.BaseModel):
    """A part of a scenario: frozen, and an unknown key is an error."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Knowledge(Section):
    """What the threat model grants the adversary."""

    auxiliary: Literal["train"] = pydantic.Field(
        "train",
        description="clean films and identities of people who are not attacked: those of the train and val splits",
    )
    known_films: float = pydantic.Field(
        0.5,
        gt=0,
        lt=1,
        description="share of each attacked patient's films that the adversary has from elsewhere",
    )
    mechanism: bool = pydantic.Field(True, description="the adversary can run the method on films of its own")


class ComputePlan(Section):
    """Where it runs. A result depends on `device`, `precision` and `threads`, and on nothing else here."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: int = pydantic.Field(1, ge=1, le=256, description="threads of one training")
    workers: int | None = pydantic.Field(None, ge=1, le=1024, description="sites at work at once; null: one per core")
    gpu_server_share: float = pydantic.Field(0.5, ge=0, lt=1, description="share of each GPU that sites leave free")
    timeout_s: float = pydantic.Field(3600.0, gt=0, le=1e7, description="longest wait for sites, and for an attack")


def _built(section: str) -> pydantic.PlainValidator:
    kind, key = ONE[section]

    def build(value: object) -> plugins.Plugin:
        parameters = dict(value) if isinstance(value, Mapping) else {key: value}
        name = parameters.pop(key, None)
        _refuse_second_name(section, parameters)
        return plugins.build(kind, {"name": name, **parameters})

    return pydantic.PlainValidator(build)


def _built_by_name(section: str) -> pydantic.PlainValidator:
    kind = SEVERAL[section]

    def build(value: object) -> Mapping[str, plugins.Plugin]:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{section} must map names to parameters", given=value)
        for name, parameters in value.items():
            if not isinstance(parameters, Mapping):
                raise ConfigError(f"{section}.{name} must map parameters to values", given=parameters)
            _refuse_second_name(f"{section}.{name}", parameters)
        return {name: plugins.build(kind, {"name": name, **parameters}) for name, parameters in value.items()}

    return pydantic.PlainValidator(build)


def _refuse_second_name(where: str, parameters: Mapping[str, object]) -> None:
    if "name" in parameters:
        raise ConfigError(
            f"{where} has a name already", given=f"name: {parameters['name']}", do="remove the key `name`"
        )


class Scenario(Section):
    """One sharing arrangement: who holds what, how they share it, what is done with it, and who attacks it."""

    name: str = pydantic.Field("study", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    seed: int = pydantic.Field(0, ge=0, le=2**31 - 1)
    preset: Preset = "default"
    sites: int = pydantic.Field(5, ge=1, le=10_000)
    min_sites: int | None = pydantic.Field(None, ge=1, description="go on with this many; null: every site must answer")
    cohort: Annotated[Source, _built("cohort")]
    partition: Partition = Partition()
    method: Annotated[Method, _built("method")]
    knowledge: Knowledge = Knowledge()
    tasks: Annotated[dict[str, Task], _built_by_name("tasks")]
    adversaries: Annotated[dict[str, Adversary], _built_by_name("adversaries")]
    compute: ComputePlan = ComputePlan()

    @property
    def site_names(self) -> tuple[str, ...]:
        return site_names(self.sites)

    @property
    def needed_sites(self) -> int:
        return self.sites if self.min_sites is None else self.min_sites

    @property
    def id(self) -> str:
        """Method and fingerprint: equal scenarios have equal ids, whatever they are called and wherever they run."""
        counted = {k: v for k, v in self.document().items() if k not in ("name", "seed", "preset")}
        counted["compute"] = {k: counted["compute"][k] for k in ("device", "precision", "threads")}
        method = self.method.plugin_name().replace(":", ".")
        return f"{method}-{hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:8]}"

    def document(self) -> dict[str, Any]:
        """Plain data from which `parse` makes an equal scenario."""
        document = self.model_dump(mode="json", exclude={*ONE, *SEVERAL})
        for section, (_, key) in ONE.items():
            spec = getattr(self, section).spec()
            document[section] = {key: spec.pop("name"), **spec}
        for section in SEVERAL:
            document[section] = {
                name: {k: v for k, v in plugin.spec().items() if k != "name"}
                for name, plugin in getattr(self, section).items()
            }
        return {field: document[field] for field in type(self).model_fields}

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.document(), sort_keys=False)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Scenario:
        """A scenario from plain data: what is missing comes from the preset, what is unknown or wrong is an error."""
        preset = document.get("preset", "default")
        if not isinstance(preset, str):
            raise ConfigError("a preset is a name", given=preset, allowed=", ".join(get_args(Preset)))
        if preset not in get_args(Preset):
            raise UnknownName("preset", preset, get_args(Preset))
        scenario = plugins.validate(cls, _with_preset(document, _preset(preset)), "scenario")
        if scenario.needed_sites > scenario.sites:
            raise ConfigError("min_sites is more than sites", given=f"{scenario.min_sites} of {scenario.sites}")
        if scenario.partition.patient_overlap and scenario.sites < 2:
            raise ConfigError("patient_overlap needs two sites", given=f"{scenario.sites} site")
        if "retrained" in _attackers(scenario) and not scenario.knowledge.mechanism:
            raise ConfigError(
                "the attacker `retrained` must know the mechanism",
                given="knowledge.mechanism: false",
                do="grant it, or set adversaries.verifier.attackers=[naive]",
            )
        cohort = scenario.cohort.suited(scenario.sites, scenario.partition)
        return scenario.model_copy(update={"cohort": cohort})

    @classmethod
    def from_yaml(cls, text: str) -> Scenario:
        return cls.parse(read_yaml(text))


def _attackers(scenario: Scenario) -> tuple[str, ...]:
    return tuple(a for adversary in scenario.adversaries.values() for a in getattr(adversary, "attackers", ()))


def read_yaml(text: str) -> dict[str, Any]:
    """A mapping from YAML that holds plain data only: no tags, no aliases, no key twice."""
    if len(text) > LARGEST_FILE:
        raise ConfigError(
            "this is too large for a scenario", given=f"{len(text)} characters", allowed=str(LARGEST_FILE)
        )
    try:
        document = yaml.load(text, Loader=_PlainLoader)  # noqa: S506  a SafeLoader, made stricter below
    # PyYAML lets through whatever Python raises at a text such as "\UFFFFFFFF" or a number of too many digits.
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, ArithmeticError) as error:
        raise ConfigError("this is not the YAML of a scenario", do=" ".join(str(error).split())[:300]) from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise ConfigError("a scenario maps keys to values", given=type(document).__name__)
    return document


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # Aliases can make a small file unfold into gigabytes, and a scenario has no use for them or for tags.
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.YAMLError("aliases are not allowed")
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError("tags are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        twice = sorted(key for key, times in found.items() if times > 1)
        if twice:
            raise yaml.YAMLError(f"key given twice: {', '.join(twice)}")
        return super().construct_mapping(node, deep)


def read_file(path: Path) -> dict[str, Any]:
    """The document in a scenario file."""
    try:
        return read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("cannot read the scenario", given=path, do=str(error)) from None


def override(document: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    """The document with one `a.b=VALUE` applied; VALUE is YAML."""
    path, equals, value = assignment.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError("--set needs a key and a value", given=assignment, allowed="a.b=VALUE")
    return _assign(document, keys, read_yaml(f"value: {value or 'null'}")["value"], ())


def choose(document: Mapping[str, Any], **flags: object) -> dict[str, Any]:
    """The document with top-level keys as a command's flags give them; None leaves a key as it is."""
    chosen = dict(document)
    for key, value in flags.items():
        given = chosen.get(key)
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
    if inner is None:
        # Setting one task's parameter must not drop the preset's other tasks.
        usual = _preset(str(document.get("preset", "default")))["scenario"] if not where and key in SEVERAL else {}
        inner = {str(name): {} for name in usual.get(key, ())}
    elif not where and key in ONE and isinstance(inner, str):
        inner = {ONE[key][1]: inner}
    elif not where and key in SEVERAL and isinstance(inner, str | list):
        inner = {str(name): {} for name in ([inner] if isinstance(inner, str) else inner)}
    elif not isinstance(inner, Mapping):
        raise ConfigError("--set goes below something that is no mapping", given=".".join((*where, *keys)))
    return {**document, key: _assign(inner, rest, value, (*where, key))}


def source(name: str, assignments: Sequence[str]) -> Source:
    """A source from its name and `key=VALUE` texts, as a command line gives them."""
    spec: dict[str, Any] = {"name": name}
    for assignment in assignments:
        spec = override(spec, assignment)
    return cast(Source, plugins.build("source", spec))


def _preset(name: str) -> dict[str, Any]:
    return read_yaml((resources.files("fedcxr") / "presets" / f"{name}.yaml").read_text(encoding="utf-8"))


def _with_preset(document: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what the document leaves open: plug-ins by the preset's parameters for that very plug-in."""
    filled = {**preset.get("scenario", {}), **document}
    for section, (_, key) in ONE.items():
        given = filled.get(section)
        given = {key: given} if isinstance(given, str) else given
        if isinstance(given, Mapping):
            defaults = preset.get(section, {})
            given = {key: preset["scenario"][section], **given}
            filled[section] = {**defaults.get(str(given[key]), {}), **given}
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


def json_schema() -> dict[str, Any]:
    """The JSON schema of a scenario, with every plug-in of the folders spelt out (for editors)."""
    schema = Scenario.model_json_schema()
    usual = _preset("default")["scenario"]
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
    for section, kind in SEVERAL.items():
        schema["properties"][section] = {
            "anyOf": [
                {"type": "object", "properties": {name: _variant(kind, name, shared) for name in plugins.names(kind)}},
                {"type": "array", "items": {"type": "string"}},
                {"type": "string"},
            ]
        }
    schema["required"] = []
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _variant(kind: plugins.Kind, name: str, shared: dict[str, Any]) -> dict[str, Any]:
    """One plug-in's schema; what it refers to is added to the `shared` definitions under the plug-in's name."""
    schema = plugins.load(kind, name).model_json_schema(ref_template=f"#/$defs/{kind}.{name}.{{model}}")
    for model, definition in schema.pop("$defs", {}).items():
        shared[f"{kind}.{name}.{model}"] = definition
    return schema
