"""The verifier that comes with the package: trained on distorted phantoms until it stops rising, written as halves.

    scripts/make verifier                                # trains, writes, prints what it reaches on other phantoms
    scripts/make verifier --real DIR                     # and on real films, which it never learns from
    scripts/make verifier --score --real DIR             # of the shipped one, without training
    scripts/make verifier --people 30000 --size 96 --width 32 --batch 192 --device cuda --workers 16 --minutes 3

DIR holds folders, each with `metadata.csv` (filename, patientid) and `images/`. Training goes on in rounds, each as
long as all before it, and stops when a round has taken away less than a tenth of what was missing to an AUC of 1 on
people nobody trained on, or when `--steps` or `--minutes` are used up; what is written is the best round.
The header of the weights says how they were made. On a GPU two runs differ in the last digits.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from fedcxr.adversaries._shipped import SHIPPED, Verifier, prepared
from fedcxr.data import cache_folder
from fedcxr.data.phantom import Phantom
from fedcxr.errors import ConfigError
from fedcxr.metrics import auc
from fedcxr.models.backbone import Design
from fedcxr.models.relative import relative
from fedcxr.models.shipped import shipped_weights
from fedcxr.models.siamese import Siamese, partner_loss, siamese
from fedcxr.pairs.sampler import PairSampler
from fedcxr.rng import stream
from fedcxr.training import Plan, fit, to_device, to_tensor
from fedcxr.training.augmentation import Augmentation
from fedcxr.training.compute import Compute
from fedcxr.training.distortion import Distortion

Films = npt.NDArray[np.uint8]  # (n, h, w)

SEED, UNSEEN_SEED, UNSEEN_PEOPLE = 0, 1, 400
PER_SOURCE, MOST_SOURCES = 300, 64  # people of a hospital, so that a batch of one is full; hospitals
VISITS = 2.0  # films per person: more people teach more than more films of one
FALSE_ALARMS = 0.001
WORTH_A_ROUND, RISEN = 0.1, 0.8  # share of what is missing; AUC below which no round is the last
SHARPNESS = 8.0
SAME_SOURCE = 0.8  # share of batches from one hospital: with many, its style alone would tell most people apart


@dataclass(frozen=True)
class Album:
    """Films of phantoms and who is on them."""

    films: Films
    people: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]

    @classmethod
    def of(cls, people: int, size: int, seed: int, workers: int) -> Album:
        sources = min(max(2, people // PER_SOURCE), MOST_SOURCES)
        source = Phantom(patients=people, size=size, seed=seed, mean_visits=VISITS, sources=sources)
        cohort = source.open(cache_folder(), workers=workers)
        numbers = (np.unique(cohort.index[column], return_inverse=True)[1] for column in ("patient", "source"))
        return cls(np.array(cohort.films()), *numbers)


@dataclass
class Course:
    """Pairs of films of one person, each film distorted by itself, told from everybody else's in the batch."""

    album: Album
    people: int  # in a batch
    rng: np.random.Generator
    compute: Compute
    distortion: Distortion
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(noise=0.0))  # distortion has its own

    def __post_init__(self) -> None:
        self.paired = PairSampler.of(self.album.people.astype(object))
        self.hospital = self.album.sources[self.paired.rows[self.paired.start]]
        self.candidates = np.flatnonzero(self.paired.count > 1)
        if len(self.candidates) < self.people:
            raise ConfigError(
                "a batch needs more people with two films than there are",
                given=f"{len(self.candidates)} of {len(self.hospital)} people, --batch {self.people}",
                do="raise --people or lower --batch",
            )

    def loss(self, network: Siamese) -> Callable[[int], Tensor]:
        def loss(step: int) -> Tensor:
            pair = self.paired.two_each(self._drawn(), self.rng)
            films = to_tensor(self.album.films[np.concatenate(pair)], self.compute)
            embedded = network.embed(prepared(self.changed(films, self.rng)))
            return partner_loss(network.compare(*embedded.split(len(pair[0]))), SHARPNESS)

        return loss

    def changed(self, films: Tensor, rng: np.random.Generator) -> Tensor:
        return self.distortion(self.augmentation(films, rng), rng)

    def _drawn(self) -> npt.NDArray[np.intp]:
        """People of all hospitals or, where a scanner must not tell two people apart, of one."""
        among = self.candidates
        if self.rng.random() < SAME_SOURCE:
            local = among[self.hospital[among] == self.hospital[self.rng.choice(among)]]
            among = local if len(local) > 1 else among
        return self.rng.permutation(among)[: self.people]


@dataclass(frozen=True)
class Unseen:
    """People nobody trained on, their films distorted once: as they are, they are all told apart."""

    films: Tensor  # (n, 1, h, w)
    people: npt.NDArray[np.int64]

    @classmethod
    def of(cls, course: Course, size: int, workers: int) -> Unseen:
        album = Album.of(UNSEEN_PEOPLE, size, UNSEEN_SEED, workers)
        rng = stream(SEED, "verifier", "unseen")
        return cls(course.changed(to_tensor(album.films, course.compute), rng), album.people)

    def scored(self, network: Siamese, compute: Compute) -> tuple[float, float]:
        """AUC of all pairs, and the share of genuine pairs found at so many false alarms."""
        network.eval()
        with torch.inference_mode(), compute.autocast():
            embedded = torch.cat([network.embed(prepared(part)).float() for part in self.films.split(256)])
            scores = network.compare(embedded, embedded).cpu().numpy()
        genuine, values = _pairs(self.people, scores)
        threshold = np.quantile(values[~genuine], 1 - FALSE_ALARMS)
        return auc(genuine, values), float((values[genuine] > threshold).mean())


def main() -> None:
    """Train unless told otherwise, then score."""
    options = _options()
    compute = Compute.choose(options.device, threads=options.threads)
    with compute.session():
        if not options.score:
            trained(options, compute).write(options.out)
        verifier = Verifier.load(compute, options.out)
        content = options.out.read_bytes() if options.out else shipped_weights(SHIPPED)
        print(f"{(options.out or SHIPPED).name}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")
        print("\n".join(f"{name}: {value}" for name, value in verifier.made.items()))
        if options.real:
            real(verifier, options.real)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a file of your own instead of the shipped one; also with --score")
    parser.add_argument("--score", action="store_true", help="do not train")
    parser.add_argument("--real", type=Path, help="folders of real films")
    parser.add_argument("--people", type=int, default=3000)
    parser.add_argument("--size", type=int, default=64, help="pixels of a film's side")
    parser.add_argument("--width", type=int, default=24, help="channels of the network's first layer")
    parser.add_argument("--batch", type=int, default=32, help="people in a batch, two films of each")
    parser.add_argument("--steps", type=int, default=2000, help="at most")
    parser.add_argument("--first", type=int, default=500, help="steps of the first round")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training, at most; a round is never cut")
    parser.add_argument("--distortion", type=float, default=0.3, help="share of the full amounts")
    parser.add_argument("--learning-rate", type=float, default=8e-3)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that render phantoms")
    return parser.parse_args()


def trained(options: argparse.Namespace, compute: Compute) -> Verifier:
    """The network of the best round."""
    started = time.monotonic()
    album = Album.of(options.people, options.size, SEED, options.workers)
    print(f"{len(album.films)} films of {options.people} people after {time.monotonic() - started:.0f} s", flush=True)
    design = Design(width=options.width, stride=4)
    network = to_device(siamese(design, 128, stream(SEED, "verifier", "weights")), compute)
    distortion = Distortion().times(options.distortion)
    course = Course(album, options.batch, stream(SEED, "verifier", "batches"), compute, distortion)
    unseen = Unseen.of(course, options.size, options.workers)
    best, reached, found, learnt, taken = copy.deepcopy(network), 0.5, 0.0, 0, 0
    print("   steps   AUC   TPR at .001   seconds   steps/s", flush=True)
    for begun, steps in rounds(options.first, options.steps, options.minutes):
        fit(network, course.loss(network), Plan(steps, options.learning_rate, average=0.99), compute)
        seconds = time.monotonic() - begun
        value, share = unseen.scored(network, compute)
        taken += steps
        print(f"{taken:8}{value:7.4f}{share:10.3f}{seconds:14.0f}{steps / seconds:10.1f}", flush=True)
        # A line that is still flat at chance proves nothing.
        enough = value > RISEN and value - reached < WORTH_A_ROUND * (1 - reached)
        if value > reached:
            best, reached, found, learnt = copy.deepcopy(network), value, share, taken
        if enough:
            print("stopped rising", flush=True)
            break
    made = {
        "seen": f"{options.people} phantom people, {len(album.films)} films; no real film",
        "size": options.size,
        "width": options.width,
        "stride": design.stride,
        "dimensions": 128,
        "steps": learnt,
        "people_in_a_batch": options.batch,
        "distortion": options.distortion,
        "device": compute.device.type,
        "auc_on_distorted_unseen_phantoms": round(reached, 4),
        "tpr_at_fpr_001_on_distorted_unseen_phantoms": round(found, 3),
    }
    return Verifier(best.eval(), options.size, made, compute)


def rounds(first: int, steps: int, minutes: float) -> Iterator[tuple[float, int]]:
    """When each round begins and how many steps it takes: as many as all before it, while there is time for them."""
    started, taken, speed = time.monotonic(), 0, 0.0
    while taken < steps:
        planned = min(taken or first, steps - taken)
        begun = time.monotonic()
        left = 60 * minutes - (begun - started)
        if taken and planned / speed > left:
            planned = int(left * speed)  # the last round is as long as there is time
            if planned < first:
                return
            steps = taken + planned
        yield begun, planned
        taken += planned
        speed = planned / (time.monotonic() - begun)


def real(verifier: Verifier, root: Path) -> None:
    """All pairs of each folder of films under `root`, raw and relative to both films' other pairs."""
    print(f"\n{'real films':24}{'films':>6}{'people':>8}{'genuine':>9}{'pixels':>8}{'verifier':>10}{'relative':>10}")
    for table in sorted(root.glob("*/metadata.csv")):
        rows = pd.read_csv(table, dtype={"filename": str, "patientid": str})
        if not {"filename", "patientid"} <= set(rows.columns) or not (table.parent / "images").is_dir():
            continue
        side = (verifier.size, verifier.size)
        pictures = [Image.open(table.parent / "images" / name).convert("L").resize(side) for name in rows.filename]
        films = np.stack([np.asarray(picture) for picture in pictures])
        people = np.unique(rows.patientid, return_inverse=True)[1]
        scores = verifier.scores(films, films)
        np.fill_diagonal(scores, np.nan)
        told = [np.corrcoef(films.reshape(len(films), -1)), scores, relative(scores)]
        figures = [auc(*_pairs(people, matrix)) for matrix in told]
        genuine = int(_pairs(people, scores)[0].sum())
        line = f"{table.parent.name:24}{len(films):6}{people.max() + 1:8}{genuine:9}"
        print(line + "".join(f"{value:{width}.3f}" for value, width in zip(figures, (8, 10, 10), strict=True)))


def _pairs(
    people: npt.NDArray[np.integer], scores: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.floating]]:
    """Every pair once: whether it is genuine, and its score."""
    a, b = np.triu_indices(len(people), 1)
    return people[a] == people[b], scores[a, b]


if __name__ == "__main__":
    main()
