"""How well can findings be learnt from releases, and read off released films?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr import label_noise
from fedcxr.cohort import Cohort
from fedcxr.data._vocabulary import known_by
from fedcxr.errors import Refused
from fedcxr.label_noise import LabelNoise
from fedcxr.methods import Form, Method, RunContext
from fedcxr.metrics import MIN_POSITIVES, finding_aucs
from fedcxr.metrics.paired import of_findings
from fedcxr.models import pretrained
from fedcxr.models.architectures import ArchitectureName, named
from fedcxr.models.options import Comorbidity, Scanners
from fedcxr.plugins import File
from fedcxr.rng import stream
from fedcxr.storage.artefacts import digest_of, digest_of_file
from fedcxr.table import Table
from fedcxr.tasks import Bench, Evidence, Main, Material, Task, Taught, Tested
from fedcxr.tasks._believed import FOLDS, Believed
from fedcxr.tasks._believed import in_words as doubts
from fedcxr.tasks._findings import (
    ARMS,
    Inputs,
    Labelled,
    Scored,
    demand_scored,
    figures_of,
    lent,
    released,
    told_of,
    train_and_test,
)
from fedcxr.tasks._references import beginning, curve, references
from fedcxr.tasks._subgroups import groups_of, subgroups
from fedcxr.tasks._subgroups import in_words as worst_groups
from fedcxr.tasks._told import check_findings, told
from fedcxr.view import Films, Weights

if TYPE_CHECKING:
    from fedcxr.models.classifier import Classifier

# Torch and the networks are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second, and importing torch alone takes longer.


class Lesson(NamedTuple):
    """What is shared, in the form that a classifier reads."""

    learnt_from: Labelled
    read: Labelled


def _scored(network: Classifier, films: Labelled, bench: Bench) -> Scored:
    from fedcxr.training import predict

    return Scored(films.labels, predict(network, films.inputs, bench.compute), films.patients, films.findings)


def _judged(method: Method, films: Cohort, model: Weights, context: RunContext) -> Scored:
    judged = method.judged(films, model, context)
    return Scored(judged.labels, judged.scores, films.patients, judged.findings)


class Findings(Task):
    """Two classifiers, one trained on released and one on clean films, are each tested on both kinds of films.

    Both start from the same weights and see the same films in the same order for the same number of steps:
    what differs between their figures is the method's doing. Where there are keys, `unauthorised` is a third one,
    trained and tested on what the releases look like to somebody without any, who is lent the findings.
    """

    bounds: ClassVar[tuple[str, ...]] = tuple(
        f"{arm}.{figure}" for arm in (*ARMS, "together", "start") for figure in ("mean_auc", "per_finding.*")
    )
    main: ClassVar[Main | None] = Main(
        "trained.mean_auc",
        "AUC",
        "how well a classifier that learnt from what was shared tells findings on clean films",
    )
    paper: ClassVar[str | None] = "Packhaeuser et al., MICCAI 2023 (`frozen`); all others: ours"

    on: Literal["films", "purified", "codes"] = pydantic.Field(
        default="films",
        description="what is trained on: films (as their recipient sees them), purified codes, or codes as published; "
        "a model that is shared is tested as it is",
    )
    network: ArchitectureName = "narrow"
    width: int = pydantic.Field(default=16, ge=1, description="channels of the narrow network's first layer")
    stride: Literal[2, 4] = pydantic.Field(
        default=2, description="pixels per step of the narrow network's first layer: 2 sees more, 4 is faster"
    )
    pretrained: Literal["none", "imagenet"] | File = pydantic.Field(
        default="none", description="none, imagenet or a safetensors file"
    )
    steps: int = pydantic.Field(default=1000, ge=1)
    most_epochs: int | None = pydantic.Field(
        default=None,
        ge=1,
        description="fewer steps, so that no film is seen more often: a few hundred films seen too often are learnt by "
        "heart",
    )
    batch: int = pydantic.Field(default=32, ge=2)
    learning_rate: float = pydantic.Field(default=4e-3, gt=0)
    weight_decay: float = pydantic.Field(default=0.05, ge=0)
    shift: int = pydantic.Field(default=2, ge=0, description="augmentation: films are moved by up to so many pixels")
    smoothing: float = pydantic.Field(
        default=0.1, ge=0, lt=1, description="labels are drawn towards one half by so much"
    )
    rare: float = pydantic.Field(default=3.0, ge=1, description="a rare finding's films count at most so many times")
    label_noise: LabelNoise = pydantic.Field(
        default=LabelNoise(), description="how often the labels that are learnt from are right; the loss allows for it"
    )
    normalise: Scanners = "none"
    comorbidity: Comorbidity = False
    min_positives: int = pydantic.Field(
        default=MIN_POSITIVES, ge=1, description="rarer findings in the test are skipped"
    )
    bootstraps: int = pydantic.Field(default=1000, ge=1)

    @pydantic.model_validator(mode="after")
    def _for_codes(self) -> Findings:
        if self.on == "codes" and named(self.network).made_by is not None:
            raise ValueError(f"network: {self.network} reads films; codes as published need `narrow`")
        if self.on != "films" and self.normalise != "none":
            raise ValueError(
                f"normalise: {self.normalise} is for films, which {self.on} are not; set `normalise: none`"
            )
        return self

    @property
    def forms(self) -> tuple[Form, ...]:
        return (self.on, "model")

    @property
    def named_sites(self) -> tuple[str, ...]:
        return tuple(self.label_noise.sites)

    def applies(self, evidence: Evidence) -> bool:
        if self.on == "codes":
            return bool(evidence.rows("train").any())  # codes are public, and without findings teach nothing
        return evidence.view.model is not None or super().applies(evidence)

    def required_files(self) -> tuple[Path, ...]:
        weights, rates = pretrained.find(self.network, self.pretrained), self.label_noise.file
        if rates is not None:
            label_noise.read(Path(rates))
        return tuple(Path(file) for file in (weights, rates) if file is not None)

    def demand(self, cohort: Cohort) -> None:
        self.label_noise.of(cohort.findings)
        demand_scored(cohort.where("test"), self.min_positives, "findings")

    def foresee(self, cohort: Cohort, bench: Bench) -> None:
        """The classifier of clean films needs no release, unless it matters whose films they are."""
        if self.label_noise.by_site:
            return
        with bench.compute.session():
            self._ceiling(Labelled.of(cohort.where("train")), bench)

    def measure(self, evidence: Evidence, bench: Bench) -> dict[str, Any]:
        train, test = train_and_test(evidence)
        clean = Labelled.of(train, evidence.sites[evidence.films("train")])
        lesson, context = self._lesson(evidence), RunContext.on(bench.compute)
        arms: dict[str, Scored] = {}
        with bench.compute.session():
            believed = None if lesson is None else self._believed(lesson.learnt_from, bench)
            # The same bytes would train the same classifier again.
            unprotected = lesson is not None and not self.label_noise.learnt and lesson.learnt_from.same_as(clean)
            ceiling, shared = self._ceiling(clean, bench, believed if unprotected else None), None
            if lesson is not None:
                shared = ceiling if unprotected else self.train(lesson.learnt_from, bench, "released", believed)
            arms["raw"] = _scored(ceiling, Labelled.of(test), bench)
            if lesson is not None and shared is not None:
                own = evidence.own(self.on, evidence.films("test"), context)
                if own is not None:
                    arms["trained"] = _scored(shared, replace(Labelled.of(test), inputs=cast(Inputs, own)), bench)
                if len(lesson.read.labels):
                    arms["trained_released"] = _scored(shared, lesson.read, bench)
                if len(lesson.read.labels) and self.on == "films":
                    arms["frozen"] = _scored(ceiling, lesson.read, bench)
            if evidence.view.model is not None:
                arms["trained"] = _judged(evidence.method, test, evidence.view.model, context)
            if evidence.unauthorised is not None:
                arms["unauthorised"] = self._outside(evidence, evidence.unauthorised, bench)
        figures = {arm: self._figures(one, bench.seed) for arm, one in arms.items()}
        for arm, one in arms.items():
            bench.keep(f"{arm}.mean_auc", of_findings(one.labels, one.scores, one.patients, self.min_positives))
        told = {arm: figures.get(arm) for arm in ARMS} | self._of_a_federation(evidence, test, bench)
        told["subgroups"] = self._subgroups(arms, test, bench)
        if believed is not None:
            told["label_noise"] = believed.told()
        return told

    def _subgroups(self, arms: Mapping[str, Scored], test: Cohort, bench: Bench) -> dict[str, Any]:
        """Of the classifiers that are tested on all clean films."""
        groups = groups_of(test.index)
        return {
            arm: subgroups(arms[arm], groups, bench.seed, self.bootstraps, self.min_positives)
            for arm in ("trained", "raw")
            if arm in arms
        }

    def _of_a_federation(self, evidence: Evidence, test: Cohort, bench: Bench) -> dict[str, Any]:
        """What its model is compared with, and how good that was after some of its rounds; nothing of other methods."""
        start, context = beginning(evidence), RunContext.on(bench.compute)
        if start is None or evidence.view.model is None:
            return {}

        def figures(method: Method, model: Weights) -> dict[str, Any]:
            return self._figures(_judged(method, test, model, context), bench.seed)

        def auc(method: Method, model: Weights) -> float | None:
            one = _judged(method, test, model, context)
            return finding_aucs(one.labels, one.scores, one.findings, self.min_positives).mean_auc

        return references(evidence, start, bench, figures) | {"curve": curve(evidence, auc)}

    # Where the films are elsewhere ------------------------------------------------------------------------------------

    def teach(self, material: Material, bench: Bench) -> Taught | None:
        from fedcxr.training import arrays_of

        if material.view.model is not None:
            return Taught(material.view.model, material.method.judges)
        lesson = self._lesson(material)
        if lesson is None or not len(lesson.learnt_from.labels) or self.on != "films":
            return None  # codes are read by whoever has the codec, which a site's own films do not pass
        with bench.compute.session():
            return Taught(arrays_of(self.train(lesson.learnt_from, bench, "released")), material.findings)

    def tested(self, taught: Taught, cohort: Cohort, method: Method, bench: Bench) -> Tested:
        """Scores and labels of each film, and which films are of one patient: numbers that mean nothing elsewhere."""
        from fedcxr.training import loaded

        check_findings(taught.findings)
        own = known_by(cohort, taught.findings)
        with bench.compute.session():
            if "model" in method.forms:
                one = _judged(method, cohort, taught.weights, RunContext.on(bench.compute))
                check_findings(one.findings)
            else:
                films = Labelled(cohort.films(), own, cohort.patients, taught.findings)
                one = _scored(loaded(self._network(films, bench), taught.weights), films, bench)
        patients = pd.factorize(one.patients)[0].astype(np.int64)
        return {"scores": told(one.scores, one.labels), "findings": one.labels, "patients": patients}

    def check(self, tested: Tested, taught: Taught) -> None:
        films = len(tested["patients"]) if "patients" in tested and tested["patients"].ndim else -1
        table = ("float32", (films, len(taught.findings)))
        expected = {"scores": table, "findings": table, "patients": ("int64", (films,))}
        given = {name: (array.dtype.name, array.shape) for name, array in tested.items()}
        if given != expected:
            raise Refused("a test of other figures than were asked for", given=given, allowed=str(expected))
        findings, patients = tested["findings"], tested["patients"].astype(np.int64)
        if not (np.isnan(findings) | (findings == 0) | (findings == 1)).all():
            raise Refused("a test of findings that are not there, absent or unknown", allowed="1, 0 or NaN")
        if not ((patients >= 0) & (patients < films)).all():
            raise Refused("a test of more patients than films", given=films)

    def figures(self, tested: Mapping[str, Tested], taught: Taught, bench: Bench) -> dict[str, Any]:
        parts = sorted(tested.items())
        patients = [np.array([f"{site} {number}" for number in own["patients"]], dtype=object) for site, own in parts]
        labels, scores = (np.concatenate([own[name] for _, own in parts]) for name in ("findings", "scores"))
        one = Scored(labels.astype(np.float32), scores.astype(np.float32), np.concatenate(patients), taught.findings)
        hospital = np.repeat([site for site, _ in parts], [len(own["patients"]) for _, own in parts])
        sites = {"site": {site: np.asarray(hospital == site) for site, _ in parts}}
        groups = subgroups(one, sites, bench.seed, self.bootstraps, self.min_positives)
        return {**dict.fromkeys(ARMS), "trained": self._figures(one, bench.seed), "subgroups": {"trained": groups}}

    def _lesson(self, evidence: Material) -> Lesson | None:
        """What is learnt from and what is read of all that was shared; None: there are no films or codes in it."""
        if self.on not in evidence.view.forms:
            return None
        opened = np.ones_like(evidence.view.opened) if self.on == "codes" else evidence.view.opened
        inputs = cast(Inputs, evidence.view.forms[self.on])
        return Lesson(*(released(evidence, inputs, evidence.rows(split) & opened) for split in ("train", "test")))

    def _outside(self, evidence: Evidence, pictures: Films, bench: Bench) -> Scored:
        """What somebody without a key reads off pictures like those they learnt from."""
        train, test = (lent(evidence, pictures, split) for split in ("train", "test"))
        if (pictures == pictures[:1]).all():  # nothing to learn, and nothing to read
            return Scored(test.labels, np.zeros_like(test.labels), test.patients, test.findings)
        return _scored(self.train(train, bench, "without a key"), test, bench)

    def _ceiling(self, films: Labelled, bench: Bench, believed: Believed | None = None) -> Classifier:
        """The classifier of clean films, which other runs may have trained before; `believed` as in `train`."""
        from fedcxr.training import arrays_of, loaded

        compute = bench.compute
        if bench.artefacts is None:
            return self.train(films, bench, "clean", believed)
        key = bench.artefacts.key(
            "classifier",
            task={k: v for k, v in self.spec().items() if k not in ("min_positives", "bootstraps")},
            films=digest_of(films.inputs),
            labels=digest_of(films.labels),
            sites=digest_of(films.sites.astype(str)) if self.label_noise.by_site and films.sites is not None else None,
            seed=bench.seed,
            compute=compute.settings,
            pretrained=[digest_of_file(file) for file in self.required_files()],
        )
        made = bench.artefacts.made(key, lambda: arrays_of(self.train(films, bench, "clean", believed)))
        return loaded(self._network(films, bench), made)

    def table(self, figures: Mapping[str, Any]) -> Table:
        table = told_of(figures, "How useful: mean AUC of the findings")
        notes = doubts(figures.get("label_noise") or {})
        groups = worst_groups((figures.get("subgroups") or {}).get("trained", {}))
        return replace(table, notes=(*table.notes, *notes, *groups))

    def train(self, films: Labelled, bench: Bench, stage: str, believed: Believed | None = None) -> Classifier:
        """A classifier of the findings on these films, or on codes; `believed` of their labels, if it is known yet."""
        believed = self._believed(films, bench) if believed is None else believed
        return self._taught(films, bench, "batches", f"findings {stage}", believed)

    def _taught(self, films: Labelled, bench: Bench, batches: str, stage: str, believed: Believed | None) -> Classifier:
        from fedcxr.training.classifier import Recipe, teach

        network = self._network(films, bench)
        how = self.model_dump(include={field.name for field in dataclasses.fields(Recipe)})
        if self.most_epochs is not None:
            how["steps"] = min(self.steps, max(1, self.most_epochs * len(films.labels) // self.batch))
        rng, progress = stream(bench.seed, "findings", batches), partial(bench.progress, stage)
        correction = None if believed is None else believed.correction
        teach(network, films.inputs, films.labels, Recipe(**how), rng, bench.compute, progress, correction=correction)
        return network

    def _believed(self, films: Labelled, bench: Bench) -> Believed | None:
        """How often these labels are right; None: they are taken for it."""
        from fedcxr.training import predict

        def read(fold: int, others: Labelled, own: Labelled) -> npt.NDArray[np.float32]:
            stage = f"findings labels {fold + 1} of {FOLDS}"
            network = self._taught(others, bench, f"fold {fold}", stage, None)
            return predict(network, own.inputs, bench.compute)

        return Believed.of(self.label_noise, films, bench.seed, read, bench.compute.device)

    def _network(self, films: Labelled, bench: Bench) -> Classifier:
        """Not yet trained."""
        from fedcxr.models.backbone import Design
        from fedcxr.models.classifier import classifier
        from fedcxr.training import to_device

        channels = films.inputs.shape[1] if films.inputs.ndim == 4 else 1
        placed = channels > 1 and self.on == "purified"
        design = Design(
            self.network, self.width, self.stride, self.pretrained, channels, placed, normalise=self.normalise
        )
        rng = stream(bench.seed, "findings", "weights")
        return to_device(classifier(design, films.labels.shape[1], rng, comorbid=self.comorbidity), bench.compute)

    def _figures(self, one: Scored, seed: int) -> dict[str, Any]:
        # The same draws of patients in every arm, so that arms can be compared.
        return figures_of(one, stream(seed, "findings", "bootstrap"), self.bootstraps, self.min_positives)
