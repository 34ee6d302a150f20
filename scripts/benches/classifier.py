"""What an option of the classifier costs: seconds of a training step with it, against those of a plain one.

    scripts/bench classifier
    scripts/bench classifier --steps 20 --turns 15

All take turns on the same films in one process, on one thread and in processor time; each ratio is the median of those
of single turns. An option may cost 1.25 times a plain step.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fedcxr.cohort import BOXES, COLUMNS, FINDINGS, ORGANS, Annotation, Annotations, Cohort
from fedcxr.label_noise import Rates
from fedcxr.models.backbone import Design
from fedcxr.models.classifier import classifier
from fedcxr.models.options import places_of
from fedcxr.rng import stream
from fedcxr.training import to_device
from fedcxr.training.classifier import Recipe, teach
from fedcxr.training.compute import Compute
from fedcxr.training.label_noise import BySite, Correction
from fedcxr.training.places import Places


@dataclass(frozen=True)
class Option:
    """What a step does beside a plain one."""

    design: Design = Design()  # noqa: RUF009  it is frozen
    comorbid: bool = False
    corrected: bool = False
    by_site: bool = False
    anatomy: tuple[Annotation, ...] = ()


OPTIONS = {
    "plain": Option(),
    "labels": Option(corrected=True),
    "by site": Option(corrected=True, by_site=True),
    "film": Option(Design(normalise="film")),
    "histogram": Option(Design(normalise="histogram")),
    "bands": Option(Design(normalise="bands")),
    "comorbidity": Option(comorbid=True),
    "organs": Option(anatomy=ORGANS),
    "boxes": Option(anatomy=("boxes",)),
    "both": Option(anatomy=(*ORGANS, "boxes")),
}


@dataclass(frozen=True)
class Drawn:
    """Masks that are there already."""

    masks: npt.NDArray[np.bool_]  # (n, h, w)

    @property
    def there(self) -> npt.NDArray[np.bool_]:
        return np.ones(len(self.masks), dtype=np.bool_)

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        return self.masks[rows]


def annotated(films: npt.NDArray[np.uint8], labels: npt.NDArray[np.float32], rng: np.random.Generator) -> Cohort:
    """With two masks on each film, and a box of each finding."""
    film, finding = np.nonzero(labels)
    corners = pd.DataFrame(rng.random((len(film), 4)) * films.shape[1] / 2, columns=list(BOXES[2:]))
    boxes = pd.concat([pd.DataFrame({"film": film, "finding": np.array(FINDINGS)[finding]}), corners], axis=1)
    masks = {organ: Drawn(rng.random(films.shape) < 0.5) for organ in ORGANS}
    index = pd.DataFrame({column: [""] * len(films) for column in COLUMNS}).join(
        pd.DataFrame(labels, columns=list(FINDINGS))
    )
    return Cohort.whole(films, index, annotations=Annotations(masks, boxes))


def main() -> None:
    """Train as many steps with each option, turn by turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10, help="in a turn")
    parser.add_argument("--turns", type=int, default=11)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = stream(0, "bench", "classifier")
    films = rng.integers(0, 256, size=(8 * options.batch, options.size, options.size), dtype=np.uint8)
    labels = (rng.random((len(films), len(FINDINGS))) < 0.2).astype(np.float32)
    compute = Compute.choose("cpu")
    rates = [Rates(sensitivity=0.8, specificity=0.9)] * len(FINDINGS)
    correction, cohort = Correction.of(rates, 0.5, labels, compute.device), annotated(films, labels, rng)

    def took(option: Option) -> float:
        asked, known = option.anatomy, len(FINDINGS)
        heads, weights = places_of(asked, known), stream(0, "bench", "weights")
        network = to_device(classifier(option.design, known, weights, comorbid=option.comorbid, places=heads), compute)
        recipe = Recipe(options.steps, options.batch)
        told: Correction | BySite | None = correction if option.corrected else None
        if option.by_site:
            told = BySite(correction, [f"site-{film % 5}" for film in range(len(films))], {}, learnt=True)
        began, places = time.process_time(), Places.of(cohort, labels, FINDINGS, asked) if asked else None
        batches = stream(0, "bench", "batches")
        teach(network, films, labels, recipe, batches, compute, correction=told, places=places)
        return (time.process_time() - began) / int(options.steps)

    with compute.session():
        took(OPTIONS["plain"])  # imports, caches
        turns = [{name: took(option) for name, option in OPTIONS.items()} for _ in range(options.turns)]
    print(f"{options.batch} films of {options.size} px, {compute.precision}, median of {options.turns} turns")
    for name in OPTIONS:
        step, ratio = median(turn[name] for turn in turns), median(turn[name] / turn["plain"] for turn in turns)
        print(f"{name:<12} {1000 * step:7.1f} ms a step  {ratio:.3f} times a plain one")


if __name__ == "__main__":
    main()
