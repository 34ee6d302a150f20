"""U-Nets find discs: each arm on the films it names, beside the disc that somebody drew on the film itself."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import evidences
import numpy as np
import pytest

from fedcxr.cohort import SPLITS, Annotations, Cohort
from fedcxr.data._masks import PackedMasks, packed
from fedcxr.errors import ConfigError, DataError
from fedcxr.metrics.paired import Replicates
from fedcxr.rng import stream
from fedcxr.runs.constraints import Constraint, check, known
from fedcxr.scenario import Scenario
from fedcxr.tasks import Bench, Evidence
from fedcxr.tasks.segmentation import COMPARED, FIGURES, KINDS, Outlined, Segmentation
from fedcxr.training.compute import Compute

FP32 = Compute.choose("cpu", "fp32")
TASK = Segmentation(width=4, levels=2, stride=1, steps=60, batch=16, learning_rate=2e-2, shift=1, bootstraps=20)
BARELY = TASK.model_copy(update={"steps": 2})  # where it does not matter what is found
SIZE, RADIUS = 20, 4


def discs(films: int = 72) -> tuple[np.ndarray, np.ndarray]:
    """Films with a bright disc somewhere, and where it is."""
    rng = stream(1, "toy segmentation")
    centres = rng.integers(RADIUS + 2, SIZE - RADIUS - 2, size=(films, 2, 1, 1))
    at = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij"))
    masks = ((at - centres) ** 2).sum(axis=1) <= RADIUS**2
    return (rng.integers(0, 60, masks.shape) + 150 * masks).astype(np.uint8), masks


FILMS, MASKS = discs()
SPLIT = [SPLITS.index("test" if film % 3 == 0 else "train") for film in range(len(FILMS))]


def evidence(
    released: np.ndarray = FILMS, masks: list[np.ndarray | None] | None = None, split: list[int] = SPLIT, **changes: Any
) -> Evidence:
    labels = np.zeros((len(FILMS), 1), np.float32)
    made = evidences.evidence(FILMS, released, labels, split, patients=[f"p{n // 2}" for n in range(72)], **changes)
    return replace(made, cohort=outlined(made.cohort, list(MASKS) if masks is None else masks))


def outlined(cohort: Cohort, masks: list[np.ndarray | None]) -> Cohort:
    kept = np.stack([packed(mask, SIZE) for mask in masks])
    return replace(cohort, annotations=Annotations({"lungs": PackedMasks(kept, (SIZE, SIZE))}))


def measure(given: Evidence, task: Segmentation = TASK, **bench: Any) -> tuple[dict[str, Any], set[str]]:
    stages: set[str] = set()
    return task.measure(given, Bench(1, FP32, lambda stage, step, steps: stages.add(stage), **bench)), stages


def dice(figures: dict[str, Any]) -> dict[str, float]:
    return {f"{a}.{b}": figures[a][b]["dice"]["value"] for a in KINDS for b in KINDS if figures[a] and figures[a][b]}


def test_the_matrix_has_the_promised_form() -> None:
    kept: dict[str, Replicates | None] = {}
    figures, stages = measure(evidence(), keep=kept.__setitem__)
    assert figures["unauthorised"] is None  # nothing is kept from anyone
    assert stages == {"segmentation clean"}  # the same bytes are not trained on twice
    assert figures["clean"] == figures["released"]
    arm = figures["clean"]["clean"]
    assert figures["clean"] == {"clean": arm, "released": arm, "unauthorised": None}
    assert arm.keys() == {*FIGURES, "films", "nothing_found"}
    for name in FIGURES:
        low, high = arm[name]["ci95"]
        assert low <= arm[name]["value"] <= high
    assert (arm["films"], arm["nothing_found"], arm["dice"]["value"] > 0.9) == (24, 0, True)
    assert arm["hausdorff"]["of_side"] == arm["hausdorff"]["value"] / SIZE
    assert figures["guess"]["dice"]["value"] < 0.7
    assert figures["learnt_from"] == {"clean": 48, "released": 48, "unauthorised": None}
    json.dumps(figures, allow_nan=False)
    arms = ("clean.clean", "clean.released", "released.clean", "released.released", "guess")
    assert kept.keys() == {f"{one}.{name}" for one in arms for name in COMPARED}
    assert TASK.table(figures).verdict[0].startswith("The anatomy survives")


def test_each_arm_is_trained_and_tested_on_the_films_it_names() -> None:
    """Released films are upside down in grey: a network learns from them, but not to read clean ones."""
    figures, stages = measure(evidence(255 - FILMS))
    found = dice(figures)
    assert stages == {"segmentation clean", "segmentation released"}
    assert min(found["clean.clean"], found["released.released"]) > 0.9
    assert max(found["clean.released"], found["released.clean"]) < 0.5
    assert len(TASK.table(figures).rows) == 5


def test_what_shows_without_a_key_is_learnt_from_by_itself() -> None:
    figures, stages = measure(evidence(unauthorised=255 - FILMS))
    found = dice(figures)
    assert stages == {"segmentation clean", "segmentation without a key"}
    assert min(found["unauthorised.unauthorised"], found["released.released"]) > 0.9
    assert max(found["unauthorised.released"], found["released.unauthorised"]) < 0.5


def test_where_films_are_moved_the_outline_to_be_found_is_that_of_the_film_itself() -> None:
    """Four pixels down: whoever learnt from clean films is wrong by them, and whoever saw moved ones undoes them."""
    figures, _ = measure(evidence(np.roll(FILMS, 4, axis=1)))
    away = {trained: figures[trained]["released"]["surface_mean"]["value"] for trained in ("clean", "released")}
    assert away["clean"] > 2
    assert away["released"] < 1


def test_what_holds_nothing_is_no_better_than_the_average_outline() -> None:
    noise = stream(5).integers(0, 256, size=FILMS.shape, dtype=np.uint8)
    figures, stages = measure(evidence(noise, unauthorised=np.full_like(FILMS, 7)))
    assert figures["released"]["released"]["dice"]["value"] < figures["guess"]["dice"]["value"] + 0.05
    assert figures["unauthorised"]["unauthorised"] == figures["guess"]  # pictures that are all the same
    assert stages == {"segmentation clean", "segmentation released"}
    assert dice(figures).keys() == {f"{a}.{b}" for a in KINDS for b in KINDS}
    headline, *_, misread, outside = TASK.table(figures).verdict
    assert headline.startswith("The anatomy was not shown to survive")
    assert misread.startswith("Whoever is used to clean films would do no better")
    assert outside.startswith("Without a key no outline was found beyond guessing")


def test_what_is_closed_or_of_nobody_is_neither_learnt_from_nor_tested() -> None:
    given = evidence()
    opened, origin = np.arange(72) % 4 < 2, np.where(np.arange(72) % 5 == 0, -1, np.arange(72))
    figures, _ = measure(replace(given, view=replace(given.view, opened=opened), origin=origin), BARELY)
    shown, test = opened & (origin >= 0), np.arange(72) % 3 == 0
    assert figures["released"]["released"]["films"] == (shown & test).sum()
    assert figures["learnt_from"] == {"clean": 48, "released": (shown & ~test).sum(), "unauthorised": None}
    assert figures["clean"]["clean"]["films"] == 24
    nobodys = replace(given, origin=np.full(72, -1))
    assert not TASK.applies(nobodys)


def test_films_without_a_mask_and_with_an_empty_one_are_left_out_and_counted() -> None:
    masks: list[np.ndarray | None] = list(MASKS)
    masks[0], masks[3], masks[4] = None, np.zeros_like(MASKS[3]), np.zeros_like(MASKS[4])
    figures, _ = measure(evidence(masks=masks), BARELY)
    assert figures["left_out"] == {
        "train": {"without_mask": 0, "empty_mask": 1},
        "test": {"without_mask": 1, "empty_mask": 1},
    }
    assert figures["learnt_from"]["clean"] == 47
    assert figures["clean"]["clean"]["films"] == 22
    assert "left out: 1 films without a mask, 2 with an empty one" in TASK.table(figures).notes


def test_a_film_on_which_nothing_is_found_has_no_distance_and_shows() -> None:
    figures, _ = measure(evidence(), BARELY)
    films = Outlined(FILMS[:4], MASKS[:4], np.array(["a", "a", "b", "b"], dtype=object))
    for found, nothing, value in (([0], 3, 0.25), ([], 4, 0.0)):
        masks = np.zeros_like(films.masks)
        masks[found] = films.masks[found]
        arm = TASK._figures("clean.clean", masks, films, Bench(1, FP32))
        assert (arm["nothing_found"], arm["dice"]["value"]) == (nothing, value)
        assert arm["hausdorff"] == dict.fromkeys(("value", "of_side"), 0.0 if found else None) | {"ci95": None}
        row, *_ = TASK.table({**figures, "clean": {"clean": arm}}).rows
        assert row.doubt == f"nothing found on {nothing} of 4"


def test_the_same_seed_measures_the_same_and_changes_no_film() -> None:
    released = 255 - FILMS
    before = released.copy()
    released.flags.writeable = FILMS.flags.writeable = False
    assert measure(evidence(released), BARELY) == measure(evidence(released), BARELY)
    assert np.array_equal(released, before)
    FILMS.flags.writeable = True


# Refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("masks", "split", "given"),
    [
        (list(MASKS), [0] * 72, "72 in train and 0 in test; 0 without a mask, 0 with an empty one"),
        ([MASKS[1], *[None] * 71], [0] * 36 + [2] * 36, "1 in train and 0 in test; 71 without a mask"),
        ([np.zeros_like(MASKS[0])] * 72, SPLIT, "0 in train and 0 in test; 0 without a mask, 72 with an empty one"),
    ],
    ids=["one split", "one film", "all empty"],
)
def test_too_few_films_with_masks_are_one_line(masks: list[np.ndarray | None], split: list[int], given: str) -> None:
    some = evidence(masks=masks, split=split)
    for refused in (lambda: TASK.demand(some.cohort), lambda: measure(some)):
        with pytest.raises(DataError, match=f"lungs are outlined, .*given: {given}") as caught:
            refused()
        assert caught.value.exit_code == 3
        assert "\n" not in str(caught.value)


def test_masks_of_another_size_are_one_line() -> None:
    cohort = evidence().cohort
    small = PackedMasks(np.stack([packed(mask[:8, :8], 8) for mask in MASKS]), (8, 8))
    with pytest.raises(DataError, match=r"masks of the lungs do not fit the films; given: \(72, 8, 8\)") as caught:
        TASK.demand(replace(cohort, annotations=Annotations({"lungs": small})))
    assert caught.value.exit_code == 3


def test_films_of_a_source_without_masks_are_refused_when_the_scenario_is_read() -> None:
    told: dict[str, Any] = {"tasks": ["segmentation"], "cohort": {"source": "chexpert", "root": "/films"}}
    with pytest.raises(ConfigError, match=r"the task `segmentation` needs annotations .*given: lungs; ") as caught:
        Scenario.parse(told)
    assert caught.value.exit_code == 2


def test_a_study_may_set_a_bound_to_its_figures() -> None:
    figures = known(Scenario.parse({"tasks": ["segmentation"]}))
    check([Constraint.parse("utility.segmentation.released.released.dice >= 0.9")], figures)
    with pytest.raises(ConfigError, match="do not have"):
        check([Constraint.parse("utility.segmentation.released.released.films >= 1")], figures)
