"""Findings read by one linear layer behind a backbone that has never seen the films."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evidences import showing
from evidences import squares as evidence
from safetensors.torch import save_file

from fedcxr import training
from fedcxr.errors import ConfigError, DataError
from fedcxr.models.backbone import Design, ImagenetBackbone
from fedcxr.models.frozen import Frozen
from fedcxr.plugins import File, build
from fedcxr.rng import stream
from fedcxr.storage.artefacts import Artefacts
from fedcxr.tasks import Bench, Evidence
from fedcxr.tasks._findings import Labelled
from fedcxr.tasks.findings import Findings
from fedcxr.tasks.frozen_findings import FrozenFindings
from fedcxr.training.compute import Compute

FP32 = Compute.choose("cpu", "fp32")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> FrozenFindings:
    """Its backbone has learnt elsewhere what squares are: of films with another grain, from another seed."""
    grain = stream(3, "grain").integers(0, 30, (240, 16, 16), dtype=np.uint8)
    other = replace(evidence().cohort, pixels=evidence().cohort.films() // 2 + grain)
    path = tmp_path_factory.mktemp("weights") / "narrow.safetensors"
    network = Findings(width=4, steps=60, learning_rate=1e-2).train(Labelled.of(other), Bench(7, FP32), "")
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return FrozenFindings(
        width=4, pretrained=File(str(path)), mirrored=False, middle=1.0, learning_rate=0.02, epochs=25, bootstraps=20
    )


def measure(given: Evidence, task: FrozenFindings, **bench: Any) -> dict[str, Any]:
    return task.measure(given, replace(Bench(1, FP32), **bench))


def test_each_arm_is_trained_and_tested_on_the_films_it_names(task: FrozenFindings) -> None:
    given = evidence()
    # Released films hold the findings upside down: a layer learns from them, but not to read clean ones.
    figures = measure(showing(given, {"films": 255 - given.clean}), task)
    assert list(figures) == ["trained", "trained_released", "frozen", "raw", "unauthorised"]
    assert figures["unauthorised"] is None  # nothing is kept from anyone
    value = {name: arm["mean_auc"]["value"] for name, arm in figures.items() if arm}
    assert value["raw"] > 0.9
    assert value["trained_released"] > 0.75
    assert value["frozen"] < 0.6
    assert value["trained"] < 0.6
    upper = figures["raw"]["per_finding"]["Upper"]
    assert upper["ci95"][0] <= upper["value"] <= upper["ci95"][1]
    json.dumps(figures, allow_nan=False)


def test_a_finding_that_no_training_film_has_is_left_out_and_listed(task: FrozenFindings) -> None:
    given = evidence()
    labels = given.cohort.labels.copy()
    labels[given.cohort.splits == 0, 1] = 0.0  # of "Lower", only films of the test show anything
    table = given.cohort.index.assign(Lower=labels[:, 1])
    without = replace(given, labels=labels, cohort=replace(given.cohort, index=table))
    figures = measure(without, task)
    assert figures["raw"]["per_finding"]["Lower"] is None
    assert figures["raw"]["skipped"] == ["Lower", "Rare"]
    assert figures["raw"]["mean_auc"]["value"] == figures["raw"]["per_finding"]["Upper"]["value"]
    assert "Lower, Rare" in " ".join(task.table(figures).notes)


def test_what_the_backbone_makes_of_films_is_computed_once(
    task: FrozenFindings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second release of the same films costs its own features, and no clean film's."""
    given, seen = evidence(), []
    noisy = [np.clip(given.clean + stream(s).normal(0, 60, given.clean.shape), 0, 255).astype(np.uint8) for s in (1, 2)]
    predict = training.predict

    def counted(network: torch.nn.Module, films: np.ndarray, *rest: Any) -> np.ndarray:
        seen.append(len(films))
        return predict(network, films, *rest)

    monkeypatch.setattr(training, "predict", counted)
    both = task.model_copy(update={"mirrored": True})
    bench: dict[str, Any] = {"artefacts": Artefacts.below(tmp_path)}
    train, test = (int((given.split == number).sum()) for number in (0, 2))
    both.foresee(given.cohort, replace(Bench(1, FP32), **bench))
    assert sorted(seen) == sorted([train, train, test])  # what is learnt from in two views, and what is read in one
    seen.clear()
    figures = [measure(showing(given, {"films": films}), both, **bench) for films in noisy]
    assert sorted(seen) == sorted(2 * [train, train, test])
    assert figures[0]["raw"] == figures[1]["raw"]
    assert figures[0]["frozen"] != figures[1]["frozen"]
    seen.clear()
    assert measure(showing(given, {"films": noisy[0]}), both) == figures[0], "found on file or not, it is the same"
    assert sorted(seen) == sorted(2 * [train, train, test]), "without a store, no set of films is seen twice, either"


def test_another_backbone_finds_nothing_of_the_firsts(task: FrozenFindings, tmp_path: Path) -> None:
    bench: dict[str, Any] = {"artefacts": Artefacts.below(tmp_path)}
    given, chance = evidence(), task.model_copy(update={"pretrained": "none"})
    figures = [measure(given, one, **bench)["raw"] for one in (task, chance)]
    assert figures[0] != figures[1]
    assert figures == [measure(given, one)["raw"] for one in (task, chance)]


def test_what_is_seen_is_the_middle_of_a_film_as_it_is_or_mirrored() -> None:
    class Kept(torch.nn.Module):
        def forward(self, films: torch.Tensor) -> torch.Tensor:
            return films.flatten(1)

    films = torch.arange(64.0).view(1, 1, 8, 8) / 64
    middle = films[:, :, 1:7, 1:7]
    plain, mirrored = (Frozen(Kept(), 0.75, None, way) for way in (False, True))  # type: ignore[arg-type]
    torch.testing.assert_close(plain(films), middle.flatten(1))
    torch.testing.assert_close(mirrored(films), middle.flip(-1).flatten(1))
    assert Frozen(Kept(), 0.75, 20, False)(films).shape == (1, 400)  # type: ignore[arg-type]


# Where the backbone's weights come from -------------------------------------------------------------------------------


def test_weights_that_are_not_there_are_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDCXR_WEIGHTS", str(tmp_path))
    for network in ("resnet50", "densenet121", "vit_b_16"):
        with pytest.raises(ConfigError, match=f"{network}.safetensors"):
            FrozenFindings(network=network, pretrained="imagenet").required_files()
        assert FrozenFindings(network=network, pretrained="none").required_files() == ()
    with pytest.raises(ConfigError, match="narrow network has no pretrained weights"):
        FrozenFindings(pretrained="imagenet").required_files()


def test_imagenets_networks_see_films_of_imagenets_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = set()
    forward = ImagenetBackbone.forward

    def measured(self: ImagenetBackbone, films: torch.Tensor) -> torch.Tensor:
        sizes.add(tuple(films.shape[-2:]))
        return forward(self, films)

    monkeypatch.setattr(ImagenetBackbone, "forward", measured)
    given, short = evidence(films=18), {"epochs": 1, "bootstraps": 1, "min_positives": 1}
    chance = build("task", {"name": "frozen_findings", "network": "resnet18", "pretrained": "none", **short})
    assert isinstance(chance, FrozenFindings)
    assert measure(given, chance)["raw"]["mean_auc"]["value"] is not None
    assert sizes == {(224, 224)}
    assert Design("resnet18").architecture == chance.network


# Too little to learn from ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "label", "said"),
    [("test", 1.0, "no finding can be scored"), ("train", 0.0, "no finding can be learnt"), ("train", 1.0, "learnt")],
)
def test_films_of_one_class_are_refused_before_anything_starts(split: str, label: float, said: str) -> None:
    given = evidence()
    names = list(given.findings)
    table = given.cohort.index.copy()
    table.loc[table["split"] == split, names] = label
    with pytest.raises(DataError, match=said) as caught:
        FrozenFindings().demand(replace(given.cohort, index=table))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3
    FrozenFindings().demand(given.cohort)


def test_one_patient_cannot_say_when_to_stop(task: FrozenFindings) -> None:
    given = evidence()
    table = given.cohort.index.assign(patient=np.where(given.cohort.splits == 0, "one", given.cohort.patients))
    with pytest.raises(DataError, match="1 patients in train"):
        measure(replace(given, cohort=replace(given.cohort, index=table)), task)
