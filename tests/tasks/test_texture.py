"""What is told of texture: of films that come back as they were, noisy, without a key, and where lungs are marked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import evidences
import numpy as np
import pytest
from conftest import DrawnMasks
from PIL import ImageColor
from scipy import ndimage

from fedcxr.cohort import Annotations
from fedcxr.errors import ConfigError, DataError
from fedcxr.metrics.agreement import icc
from fedcxr.metrics.paired import REPLICATES, Replicates
from fedcxr.metrics.radiomics import FAMILIES, NAMES, features
from fedcxr.runs import Run
from fedcxr.runs.agreement_map import COLOURS, agreement_map, of_run
from fedcxr.runs.constraints import Constraint, check, known
from fedcxr.scenario import Scenario
from fedcxr.tasks import Bench, Evidence
from fedcxr.tasks.texture import LEAST, Texture
from fedcxr.training.compute import Compute
from server.drawing import draw_agreement

N, SIDE = 12, 24
QUICK = Texture(bootstraps=50)


@pytest.fixture(scope="module")
def films() -> np.ndarray:
    """People differ in how bright and how smooth they are."""
    rng = np.random.default_rng(0)
    drawn = [ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), rng.uniform(0.5, 3)) for _ in range(N)]
    levels = [128 + rng.uniform(20, 60) * film / np.abs(film).max() + rng.uniform(-30, 30) for film in drawn]
    stack: np.ndarray = np.array(levels)
    return stack.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def noisy(films: np.ndarray) -> np.ndarray:
    return np.clip(films + np.random.default_rng(1).normal(0, 12, films.shape), 0, 255).astype(np.uint8)


def evidence(clean: np.ndarray, released: np.ndarray, split: list[int] | None = None, **changes: Any) -> Evidence:
    split = [2] * len(clean) if split is None else split
    owners = [f"p{row // 2}" for row in range(len(clean))]
    return evidences.evidence(clean, released, np.zeros((len(clean), 1), np.float32), split, patients=owners, **changes)


def marked(some: Evidence, masks: np.ndarray, there: np.ndarray) -> Evidence:
    annotations = Annotations({"lungs": DrawnMasks(masks, there)})
    return replace(some, cohort=replace(some.cohort, annotations=annotations))


def measure(some: Evidence, task: Texture = QUICK, **kept: Any) -> dict[str, Any]:
    told = task.measure(some, Bench(1, Compute.choose("cpu"), **kept))
    json.dumps(told, allow_nan=False)
    return told


def test_films_that_come_back_agree_in_everything(films: np.ndarray) -> None:
    told = measure(evidence(films, films))
    assert told["mean_icc"] == {"value": pytest.approx(1), "ci95": [pytest.approx(1), pytest.approx(1)]}
    assert told["excellent"] == {"value": 1, "ci95": [1, 1]}
    assert told["classes"] == {"poor": 0, "fair": 0, "good": 0, "excellent": len(told["features"])}
    assert told["median_are"] == pytest.approx(0, abs=1e-12)
    assert told["frd"]["value"] == pytest.approx(0, abs=1e-5)
    assert told["frd"]["between_halves"] == pytest.approx(told["frd"]["floor"])
    assert told["frd"]["floor"] > 1
    assert (told["films"], told["inside"], told["without_mask"], told["unauthorised"]) == (N, "film", 0, None)


def test_figures_are_those_of_the_features(films: np.ndarray, noisy: np.ndarray) -> None:
    told = measure(evidence(films, noisy, [0, 0] + [2] * (N - 2)))
    ours, theirs = features(films[2:]), features(noisy[2:])
    assert told["films"] == N - 2
    for column, name in enumerate(NAMES):
        if name in told["constant"]:
            continue
        one = told["features"][name]
        assert one["icc"]["value"] == pytest.approx(icc(ours, theirs)[column])
        low, high = one["icc"]["ci95"]
        assert low <= high
        errors = (theirs[:, column] - ours[:, column])[ours[:, column] != 0] / ours[:, column][ours[:, column] != 0]
        assert (one["re"], one["are"]) == (pytest.approx(errors.mean()), pytest.approx(np.abs(errors).mean()))
    assert sum(family["features"] for family in told["families"].values()) == len(told["features"])
    assert told["families"].keys() == FAMILIES.keys()
    assert told["excellent"]["value"] == pytest.approx(told["classes"]["excellent"] / len(told["features"]))
    assert told["mean_icc"]["value"] < 0.9
    assert told["frd"]["between_halves"] > told["frd"]["floor"]


def test_what_does_not_vary_is_named_and_counts_for_nothing(films: np.ndarray, noisy: np.ndarray) -> None:
    """Every film has a black and a white pixel, as films have whose greys are stretched."""
    clean = films.copy()
    clean[:, 0, 0], clean[:, -1, -1] = 0, 255
    told = measure(evidence(clean, noisy))
    assert {"firstorder_Minimum", "firstorder_Maximum", "firstorder_Range"} <= set(told["constant"])
    assert told["constant"] == [name for name in NAMES if name not in told["features"]]
    blank = measure(evidence(np.full_like(films, 9), noisy))
    assert blank["constant"] == list(NAMES)
    assert blank["excellent"] == blank["mean_icc"] == {"value": None, "ci95": None}
    assert "unknown" in QUICK.table(blank).verdict[0]


def test_texture_is_read_inside_the_lungs_where_they_are_marked(films: np.ndarray, noisy: np.ndarray) -> None:
    """What was done outside is not seen; a film with no mask, or next to nothing in it, is left out and counted."""
    masks = np.zeros((N, SIDE, SIDE), np.bool_)
    masks[:, 4:20, 4:12] = True
    masks[1] = False
    masks[1].ravel()[: LEAST - 1] = True
    there = np.arange(N) > 0
    some = marked(evidence(films, np.where(masks, films, noisy)), masks, there)
    told = measure(some)
    assert (told["inside"], told["films"], told["without_mask"]) == ("lungs", N - 2, 2)
    assert told["mean_icc"]["value"] == pytest.approx(1)
    whole = measure(some, Texture(where="film", bootstraps=50))
    assert (whole["inside"], whole["films"], whole["without_mask"]) == ("film", N, 0)
    assert whole["mean_icc"]["value"] < 0.9
    nowhere = marked(some, masks, np.zeros(N, np.bool_))
    assert measure(nowhere)["inside"] == "film"
    for lacking in (nowhere, evidence(films, noisy)):
        with pytest.raises(DataError, match="needs masks"):
            measure(lacking, Texture(where="lungs"))
        with pytest.raises(DataError, match=r"set tasks\.texture\.where to film"):
            Texture(where="lungs").demand(lacking.cohort)
    with pytest.raises(ConfigError, match="texture"):
        Scenario.parse({"tasks": {"texture": {"where": "heart"}}})


def test_without_a_key_it_is_told_too(films: np.ndarray, noisy: np.ndarray) -> None:
    noise = np.random.default_rng(2).integers(0, 256, films.shape).astype(np.uint8)
    told = measure(evidence(films, films, unauthorised=noise))
    assert told["mean_icc"]["value"] == pytest.approx(1)
    assert told["unauthorised"]["films"] == N
    assert told["unauthorised"]["mean_icc"]["value"] < 0.4
    assert told["unauthorised"]["frd"]["value"] > told["frd"]["floor"]
    rows = [row.about for row in QUICK.table(told).rows]
    assert rows[0] == "all"
    assert rows[-1] == "all, as they look without a key"


def test_films_of_one_patient_have_no_interval(films: np.ndarray, noisy: np.ndarray) -> None:
    kept: dict[str, Replicates | None] = {}
    told = measure(evidence(films[:2], noisy[:2]), keep=kept.__setitem__)
    assert told["mean_icc"]["ci95"] is None
    assert told["frd"]["floor"] is None
    assert kept == {"mean_icc": None, "excellent": None}
    with pytest.raises(DataError, match="test split"):
        measure(evidence(films, noisy, [0] * N))


def test_replicates_are_kept_to_compare_policies(films: np.ndarray, noisy: np.ndarray) -> None:
    kept: dict[str, Any] = {}
    told = measure(evidence(films, noisy), keep=kept.__setitem__)
    for name in ("mean_icc", "excellent"):
        values = np.array([value for value in kept[name].values if value is not None])
        assert kept[name].patients == N // 2
        assert len(kept[name].values) == REPLICATES
        assert np.quantile(values, 0.01) <= told[name]["value"] <= np.quantile(values, 0.99)


def test_a_study_may_set_a_bound_to_it() -> None:
    figures = known(Scenario.parse({"tasks": ["texture"]}))
    paths = ("excellent", "mean_icc", "families.glcm.mean_icc", "features.glcm_Contrast.icc", "unauthorised.excellent")
    check([Constraint.parse(f"utility.texture.{path} >= 0.75") for path in paths], figures)


def test_a_run_keeps_the_picture_for_its_owner_alone(films: np.ndarray, tmp_path: Path) -> None:
    run = Run.place(tmp_path, Scenario.parse({"tasks": ["texture"]}))
    draw_agreement(run, {"texture": {"measured": measure(evidence(films, films))}, "findings": {"measured": None}})
    kept = run.folder / "pictures" / "texture.icc.png"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in kept.parent.iterdir()) == ["README.txt", "texture.icc.png"]
    assert kept.name in (kept.parent / "README.txt").read_text().replace("TASK", "texture")


def test_its_picture_has_a_cell_for_every_feature(films: np.ndarray, noisy: np.ndarray) -> None:
    told = measure(evidence(films, films, unauthorised=noisy))
    drawn = of_run(told, "sca (s 8)")
    assert drawn is not None
    colours = {colour for _, colour in drawn.getcolors(1 << 20) or ()}
    shown = {one["class"] for arm in (told, told["unauthorised"]) for one in arm["features"].values()}
    assert {ImageColor.getrgb(COLOURS[name]) for name in shown} <= colours
    assert of_run({"psnr": {"value": 1}}, "none") is None
    alone = of_run(told | {"unauthorised": None}, "none")
    assert alone is not None
    assert alone.width < drawn.width < agreement_map(dict.fromkeys("abcdef", told), "six").width
