"""The weights that find lungs on films: trained on randomised phantoms, written as half-precision safetensors.

    scripts/make lungs                                    # trains, writes, prints the SHA-256 and Dice on phantoms
    scripts/make lungs --real DIR                         # and Dice on real films, which it never learns from
    scripts/make lungs --score --real DIR                 # of the shipped weights, without training
    scripts/make lungs --score --real DIR --picture FILE  # and a sheet of them, worst first

DIR holds `metadata.csv` (filename, patientid), `images/` and masks of the same names in `masks_v7/` (whole lungs)
and `masks/` (without heart and opacities). Whoever changes the randomisation goes by the patients `chosen on`, 3 of
10; the figures that count are those of the `others`. A machine writes the same bytes every time; another rounds
differently.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import safetensors.torch
import torch
from _randomised import Randomiser, phantoms
from PIL import Image
from scipy import ndimage
from torch import Tensor

from fedcxr.cli.console import counted, stderr
from fedcxr.models.lungs import DESIGN, SHIPPED, SIZE, LungFinder, implausible, ship, shipped, standardised
from fedcxr.models.unet import UNet, unet
from fedcxr.rng import stream
from fedcxr.training import Plan, fit, to_device
from fedcxr.training.compute import Compute
from fedcxr.training.segmentation import outline_loss

SEED = 0
PATIENTS, BATCH = 3000, 32
PLAN = Plan(steps=1000, learning_rate=3e-3, weight_decay=0.01, average=0.995)
UNSEEN_SEED, UNSEEN_PATIENTS = 1, 200
REPLICATES = 2000


def main() -> None:
    """Train unless told otherwise, then score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a file of your own instead of the shipped weights; also with --score")
    parser.add_argument("--steps", type=int, default=PLAN.steps)
    parser.add_argument("--score", action="store_true", help="do not train")
    parser.add_argument("--real", type=Path, help="a folder of real films with masks")
    parser.add_argument("--picture", type=Path, help="a sheet of real films with outlines, for you alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.score:
        start = time.process_time()
        network = trained(options.steps)
        write(network, options.out)
        print(f"trained in {(time.process_time() - start) / 60:.0f} CPU-minutes")
    content = options.out.read_bytes() if options.out else shipped()
    print(f"{(options.out or SHIPPED).name}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}\n")
    finder = LungFinder.load(options.out)
    print(
        f"{'':24}{'masks':12}{'films':>6}{'people':>8}{'Dice':>7}{'95 % interval':>17}{'median':>8}{'p5':>6}{'bad':>5}"
    )
    score_phantoms(finder)
    if options.real:
        scored = [score_real(finder, options.real, convention) for convention in ("masks_v7", "masks")]
        if options.picture:
            sheet(scored[0]).save(options.picture)


def trained(steps: int) -> UNet:
    """A network that has learnt from randomised phantoms."""
    compute = Compute.choose("cpu")
    examples = Randomiser(phantoms(PATIENTS, SIZE, SEED), stream(SEED, "lungs", "examples"))
    network = to_device(unet(DESIGN, stream(SEED, "lungs", "weights")), compute)

    def loss(step: int) -> Tensor:
        films, lungs = examples.draw(BATCH)
        logits = network(standardised(films).to(memory_format=torch.channels_last))
        return outline_loss(logits, lungs)

    with counted("steps", stderr()) as told:
        fit(network, loss, Plan(steps, PLAN.learning_rate, PLAN.weight_decay, average=PLAN.average), compute, told)
    return network


def write(network: UNet, path: Path | None) -> None:
    """Weights as halves, which moves the outline by a fraction of a pixel and the file to half its size.

    Without a path they become those that come with the package.
    """
    weights = {k: (t.half() if t.is_floating_point() else t).contiguous() for k, t in network.state_dict().items()}
    if path is None:
        ship(safetensors.torch.save(weights))
    else:
        path.write_bytes(safetensors.torch.save(weights))


@dataclass(frozen=True)
class Scored:
    """What was found on some films, and how well."""

    films: npt.NDArray[np.uint8]  # (n, h, w)
    truth: npt.NDArray[np.bool_]
    found: npt.NDArray[np.bool_]
    patients: npt.NDArray[np.str_]

    @property
    def dice(self) -> npt.NDArray[np.float64]:
        """2 |A and B| / (|A| + |B|), film by film."""
        both = (self.truth & self.found).sum((1, 2))
        dice: npt.NDArray[np.float64] = 2 * both / np.maximum(1, self.truth.sum((1, 2)) + self.found.sum((1, 2)))
        return dice

    def line(self, who: str, masks: str, chosen: npt.NDArray[np.bool_]) -> str:
        """One row of the table, of some films; the interval draws patients."""
        dice, (people, owner) = self.dice[chosen], np.unique(self.patients[chosen], return_inverse=True)
        rng = stream(SEED, "lungs", "interval")
        times = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=REPLICATES)[:, owner]
        low, high = np.percentile((times * dice).sum(1) / times.sum(1), (2.5, 97.5))
        bad = sum(implausible(mask) is not None for mask in self.found[chosen])
        spread = f"{low:.3f} to {high:.3f}"
        figures = f"{dice.mean():7.3f}{spread:>17}{np.median(dice):8.3f}{np.percentile(dice, 5):6.2f}{bad:5}"
        return f"{who:24}{masks:12}{len(dice):6}{len(people):8}{figures}"


def score_phantoms(finder: LungFinder) -> None:
    """On phantoms nobody trained on, as they are."""
    unseen = phantoms(UNSEEN_PATIENTS, SIZE, UNSEEN_SEED)
    scored = Scored(unseen.pixels, unseen.lungs, finder.masks(unseen.pixels), unseen.patients)
    print(scored.line("phantoms", "whole", np.ones(len(unseen), dtype=bool)))


def score_real(finder: LungFinder, folder: Path, convention: str) -> Scored:
    """On real films of one convention of masks: patients that settings were chosen on, and all others."""
    table = pd.read_csv(folder / "metadata.csv", dtype={"filename": str, "patientid": str})
    table = table[[(folder / convention / name).is_file() for name in table.filename]]
    films = np.stack([np.asarray(Image.open(folder / "images" / name).convert("L")) for name in table.filename])
    truth = np.stack([np.asarray(Image.open(folder / convention / name).convert("L")) > 0 for name in table.filename])
    scored = Scored(films, truth, finder.masks(films), table.patientid.to_numpy(dtype=str))
    seen = np.array([chosen_on(patient) for patient in scored.patients])
    print(scored.line("real, chosen on", convention, seen))
    print(scored.line("real, others", convention, ~seen))
    return scored


def chosen_on(patient: str) -> bool:
    """Whether settings may be chosen by looking at this patient: 3 of 10, always the same."""
    return int(hashlib.blake2b(patient.encode()).hexdigest(), 16) % 10 < 3


def sheet(scored: Scored, columns: int = 12, rows: int = 8) -> Image.Image:
    """The films found worst, outlines of the truth in green and of what was found in red."""
    pictures = []
    for film in np.argsort(scored.dice)[: columns * rows]:
        picture = np.repeat(scored.films[film][..., None], 3, axis=2)
        for mask, colour in ((scored.truth[film], (0, 255, 0)), (scored.found[film], (255, 0, 0))):
            picture[mask & ~ndimage.binary_erosion(mask)] = colour
        pictures.append(picture)
    pictures += [np.zeros_like(pictures[0])] * (-len(pictures) % columns)
    lines = [np.concatenate(pictures[i : i + columns], axis=1) for i in range(0, len(pictures), columns)]
    return Image.fromarray(np.concatenate(lines))


if __name__ == "__main__":
    main()
