"""A scenario: one sharing arrangement as data, read from YAML, presets and the command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast, get_args

import numpy as np
import pydantic

from fedcxr import plugins
from fedcxr.adversaries import Adversary
from fedcxr.cohort import Cohort
from fedcxr.data import Source
from fedcxr.errors import ConfigError, UnknownName
from fedcxr.keys.provider import SERVER
from fedcxr.knowledge import Knowledge
from fedcxr.methods import Method
from fedcxr.partition import Partition, Rows, site_names
from fedcxr.questions import Question
from fedcxr.scenario import _fit, sections
from fedcxr.scenario.document import ONE, SEVERAL, filled_in, override, preset_of, read_yaml, to_text
from fedcxr.scenario.sections import Section, Shares
from fedcxr.scenario.sites import numbered
from fedcxr.tasks import Task

Preset = Literal["quick", "default", "robust", "paper"]


class ComputePlan(Section):
    """Where it runs. A result depends on `device`, `precision` and `threads`, and on nothing else here."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: int = pydantic.Field(1, ge=1, le=256, description="threads of one training")
    workers: int | None = pydantic.Field(None, ge=1, le=1024, description="sites at work at once; null: one per core")
    gpu_server_share: float = pydantic.Field(0.5, ge=0, lt=1, description="share of each GPU that sites leave free")
    timeout_s: float = pydantic.Field(3600.0, gt=0, le=1e7, description="longest wait for sites, and for an attack")
    attack_memory_gb: float = pydantic.Field(32.0, gt=0, le=1e6, description="memory of an attack's process")
    attack_disk_gb: float = pydantic.Field(8.0, gt=0, le=1e6, description="what an attack may leave on the disk")
    attack_processes: int = pydantic.Field(512, ge=1, le=1_000_000, description="processes and threads of an attack")
    weaker_fence: bool = pydantic.Field(
        False, description="run adversaries from outside also where the kernel cannot fence them in"
    )


class Scenario(Section):
    """One sharing arrangement: who holds what, how they share it, what is done with it, and who attacks it."""

    name: str = pydantic.Field("study", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    seed: int = pydantic.Field(0, ge=0, le=2**31 - 1)
    secret: Annotated[str | None, pydantic.PlainValidator(sections.secret)] = pydantic.Field(
        None,
        description="with it nothing that an adversary must not know follows from the seed, which can be guessed",
        json_schema_extra={"type": ["string", "null"], "pattern": sections.HEX},
    )
    preset: Preset = "default"
    sites: Annotated[int | dict[str, Source], pydantic.PlainValidator(sections.number_or_sources)] = pydantic.Field(
        5,
        description="a number of hospitals that share out `cohort`, or the source of each one's own films: by name, or "
        "as a list",
    )
    min_sites: int | None = pydantic.Field(None, ge=1, description="go on with this many; null: every site must answer")
    cohort: Annotated[Source | None, sections.built("cohort")] = None
    public: Annotated[Source | None, sections.built("cohort")] = pydantic.Field(
        None, description="films the coordinator has, for methods that learn there"
    )
    partition: Partition = Partition()
    alike: Literal["none", "bands"] = pydantic.Field(
        "none",
        description="what each hospital does to its films before anything else. bands: those of different scanners are "
        "made alike, by a gain for each band that is fitted to its own training films and stays there",
    )
    method: Annotated[Method, sections.built("method")]
    grant: Annotated[Shares, pydantic.PlainValidator(sections.grants)] = pydantic.Field(
        {SERVER: 1.0},
        description="who gets the keys of each site's images, and of what share of them; for methods that have keys",
    )
    knowledge: Annotated[dict[str, Knowledge], pydantic.PlainValidator(sections.known)] = pydantic.Field(
        {}, validate_default=True, description="what the threat model grants the adversary, by kind of knowledge"
    )
    tasks: Annotated[dict[str, Task], sections.built_by_name("tasks")]
    questions: Annotated[dict[str, Question], sections.built_by_name("questions")] = pydantic.Field(
        {}, description="what adversaries are asked; by default all that they answer"
    )
    adversaries: Annotated[dict[str, Adversary], sections.built_by_name("adversaries", sections.adversary)]
    compute: ComputePlan = ComputePlan()

    @property
    def site_names(self) -> tuple[str, ...]:
        return site_names(self.sites) if isinstance(self.sites, int) else tuple(self.sites)

    @property
    def own_sources(self) -> dict[str, Source]:
        """Where each hospital's own films come from; empty if they share out one cohort."""
        return {} if isinstance(self.sites, int) else self.sites

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every source of films."""
        granted = (source for known in self.knowledge.values() for source in known.sources)
        public = () if self.public is None else (self.public,)
        return (*self.hospital_sources, *public, *granted)

    @property
    def hospital_sources(self) -> tuple[Source, ...]:
        """Every source of the hospitals' films."""
        return tuple(self.own_sources.values()) if self.cohort is None else (self.cohort,)

    @property
    def real(self) -> bool:
        """Whether somebody's films are in it, rather than rendered ones alone."""
        return any(source.real for source in self.sources)

    @property
    def contributions(self) -> tuple[plugins.Plugin, ...]:
        """Every plug-in that has a part in it."""
        asked = (*self.questions.values(), *self.knowledge.values(), *self.adversaries.values())
        return (*self.sources, self.method, *self.tasks.values(), *asked)

    @property
    def needed_sites(self) -> int:
        return len(self.site_names) if self.min_sites is None else self.min_sites

    def needed_of(self, asked: int) -> int:
        """How many of so many sites that are asked must answer: as many may be silent as may at the end."""
        return max(asked - (len(self.site_names) - self.needed_sites), 1)

    @property
    def reader(self) -> str:
        """Who trains on what the sites share: the coordinator, or else the first site that was granted keys."""
        return SERVER if SERVER in self.grant or not self.grant else next(iter(self.grant))

    @property
    def root(self) -> int:
        """Where all random streams of a simulation begin: at its seed, or where nobody can guess."""
        if self.secret is None:
            return self.seed
        return int.from_bytes(hashlib.sha256(f"fedcxr root {self.secret} {self.seed}".encode()).digest())

    def films_of(self, source: Source) -> Source:
        """A source as it is opened in this scenario: people who are made up are other people under another secret."""
        return source if self.secret is None else source.peopled(self.root)

    def made_alike(self, films: Cohort, of: str | Mapping[str, Rows]) -> Cohort:
        """Films as all work on them in this scenario: of one hospital, or which of them are of each."""
        if self.alike == "none":
            return films
        from fedcxr.alike import made_alike  # with torch, which is not waited for without need

        return made_alike(films, {of: np.arange(len(films), dtype=np.intp)} if isinstance(of, str) else of)

    @property
    def keeps_updates(self) -> bool:
        """Whether what each site sent in each round of learning is granted to an adversary, and so must be kept."""
        return any(known.keeps_updates for known in self.knowledge.values())

    @property
    def publishes_weights(self) -> bool:
        """Whether what each site learnt by itself must be told, for what an adversary is granted."""
        return any(known.publishes_weights for known in self.knowledge.values())

    @property
    def run_name(self) -> str:
        """What all sites call this run, and their releases in it."""
        return f"{self.id}-{self.seed}"

    @property
    def id(self) -> str:
        """Method and fingerprint: equal scenarios have equal ids, whatever they are called and wherever they run."""
        method = self.method.plugin_name().replace(":", ".")
        return f"{method}-{hashlib.sha256(json.dumps(self.counted(), sort_keys=True).encode()).hexdigest()[:32]}"

    def counted(self) -> dict[str, Any]:
        """The part of the document on which results depend, but for the seed."""
        counted = {k: v for k, v in self.document().items() if k not in ("name", "seed", "preset")}
        counted["compute"] = {k: counted["compute"][k] for k in ("device", "precision", "threads")}
        return _without_secret(counted)

    def told(self) -> dict[str, Any]:
        """The document as others may read it."""
        return _without_secret(self.document())

    def document(self) -> dict[str, Any]:
        """Plain data from which `parse` makes an equal scenario."""
        document = self.model_dump(mode="json", exclude={"sites", "public", "knowledge", *ONE, *SEVERAL})
        document["knowledge"] = sections.plain_knowledge(self.knowledge)
        document["public"] = None if self.public is None else _described("cohort", self.public)
        own = {site: _described("cohort", source) for site, source in self.own_sources.items()}
        document["sites"] = (list(own.values()) if numbered(own) else own) if own else self.sites
        for section in ONE:
            plugin = getattr(self, section)
            document[section] = None if plugin is None else _described(section, plugin)
        for section in SEVERAL:
            document[section] = {
                name: {k: v for k, v in plugin.spec().items() if k != "name"}
                for name, plugin in getattr(self, section).items()
            }
        # Of no use where every hospital has its own films, or where nothing is learnt from public ones.
        unused = {"cohort", "partition"} if self.own_sources else set()
        unused |= {"public"} if self.public is None else set()
        unused |= set() if self.method.keyed else {"grant"}
        unused |= {"secret"} if self.secret is None else set()
        unused |= {"alike"} if self.alike == "none" else set()
        fields = (f for f in type(self).model_fields if f not in unused)
        return {field: document[field] for field in fields}

    def with_budget(self, factor: float) -> Scenario:
        """The same, but adversaries that train may train so many times as long."""
        document = self.document()
        training = [name for name, one in self.adversaries.items() if "budget" in type(one).model_fields]
        if not training:
            raise ConfigError(
                "no adversary here can train for longer",
                given=", ".join(self.adversaries) or "no adversary",
                allowed="one that has a `budget`, as verifier does",
                do="leave the budget out",
            )
        for name in training:
            document["adversaries"][name]["budget"] = factor
        return self.parse(document)

    def to_yaml(self) -> str:
        return to_text(self.document())

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Scenario:
        """A scenario from plain data: what is missing comes from the preset, what is unknown or wrong is an error."""
        preset = document.get("preset", "default")
        if not isinstance(preset, str):
            raise ConfigError("a preset is a name", given=preset, allowed=", ".join(get_args(Preset)))
        if preset not in get_args(Preset):
            raise UnknownName("preset", preset, get_args(Preset))
        scenario = plugins.validate(cls, filled_in(document, preset_of(preset)), "scenario")
        weaker = scenario.compute.weaker_fence
        described = {name: one.described(weaker=weaker) for name, one in scenario.adversaries.items()}
        scenario = scenario.model_copy(update={"adversaries": described})
        if not scenario.questions:
            scenario = scenario.model_copy(update={"questions": _usual_questions(scenario.adversaries)})
        scenario._demand_fit(granted="grant" in document)
        if scenario.cohort is None:
            scenario = scenario._with_own_films(document)
        else:
            cohort = scenario.cohort.resolved_for(len(scenario.site_names), scenario.partition)
            scenario = scenario.model_copy(update={"cohort": cohort})
        resolved = {name: known.resolved_for(scenario.hospital_sources) for name, known in scenario.knowledge.items()}
        return scenario.model_copy(update={"knowledge": resolved})

    def _demand_fit(self, *, granted: bool) -> None:
        """Refuse parts that do not fit each other; `granted`: keys were granted on purpose."""
        method, sites = self.method, self.site_names
        if self.needed_sites > len(sites):
            raise ConfigError("min_sites is more than sites", given=f"{self.min_sites} of {len(sites)}")
        _fit.check_grants(self.grant, granted, method, sites)
        _fit.check_alike(self.alike, method, self.knowledge)
        if self.partition.patient_overlap and len(sites) < 2:
            raise ConfigError("patient_overlap needs two sites", given=f"{len(sites)} site")
        for known in self.knowledge.values():
            known.check(method, len(sites))
        _fit.check_questions(self.questions, self.adversaries, self.knowledge)
        for name, task in self.tasks.items():
            _fit.check_task(name, task, method, sites)
            instead = "remove it from `tasks`"
            _fit.check_annotations(f"the task `{name}`", task.annotations, instead, self.hospital_sources)
        for name, adversary in self.adversaries.items():
            _fit.check_attack(name, adversary, method, self.knowledge)
        _fit.check_learning(method, self.public, lambda learning: self.needed_of(learning.asked(len(sites))))
        learner, instead = f"the method {method.plugin_name()}", "take them out of `method`"
        _fit.check_annotations(learner, method.annotations, instead, self.hospital_sources)

    def _with_own_films(self, document: Mapping[str, Any]) -> Scenario:
        """Checked and filled in where every hospital has a source of its own: there is nothing to deal out."""
        pointless = [key for key in ("cohort", "partition") if key in document]
        if pointless:
            raise ConfigError(
                "sites with films of their own leave nothing to share out",
                given=", ".join(pointless),
                do=f"remove {pointless[0]}, or give sites as a number",
            )
        sizes = {site: getattr(source, "size", None) for site, source in self.own_sources.items()}
        if len({size for size in sizes.values() if size is not None}) > 1:
            told = ", ".join(f"{site} {size}" for site, size in sizes.items() if size is not None)
            raise ConfigError("the sites' films have different sizes", given=told, do="give all the same `size`")
        alone = {site: source.resolved_for(1, self.partition) for site, source in self.own_sources.items()}
        return self.model_copy(update={"sites": alone})

    @classmethod
    def from_yaml(cls, text: str) -> Scenario:
        return cls.parse(read_yaml(text))


def _without_secret(document: dict[str, Any]) -> dict[str, Any]:
    """A document in which a digest stands for the secret."""
    secret = document.get("secret")
    if secret is None:
        return document
    return {**document, "secret": f"sha256:{hashlib.sha256(str(secret).encode()).hexdigest()[:32]}"}


def _described(section: str, plugin: plugins.Plugin) -> dict[str, Any]:
    spec = plugin.spec()
    return {ONE[section][1]: spec.pop("name"), **spec}


def _usual_questions(adversaries: Mapping[str, Adversary]) -> dict[str, Question]:
    """All usual ones of ours that the adversaries answer; and linkage, of which the findings alone answer something.

    A question from outside is imported here, so the scenario itself has to name it: no adversary can.
    """
    answered = (name for one in adversaries.values() for name in one.answers if ":" not in name)
    names = dict.fromkeys(("linkage", *answered))
    questions = {name: cast(Question, plugins.build("question", name)) for name in names}
    return {name: question for name, question in questions.items() if question.usual}


def source(name: str, assignments: Sequence[str]) -> Source:
    """A source from its name and `key=VALUE` texts, as a command line gives them."""
    spec: dict[str, Any] = {"name": name}
    for assignment in assignments:
        spec = override(spec, assignment)
    return cast(Source, plugins.build("source", spec))
