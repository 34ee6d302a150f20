"""Does the anatomy survive: are organs still found on released films, and by networks that learnt from those?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import SPLITS, Annotation, Cohort, Organ, Split
from fedcxr.errors import DataError
from fedcxr.metrics.bootstrap import group_mean_intervals
from fedcxr.metrics.paired import of_means
from fedcxr.metrics.surfaces import AREAS, DISTANCES, agreement
from fedcxr.rng import stream
from fedcxr.storage.artefacts import digest_of
from fedcxr.table import Row, Table, figure, span
from fedcxr.tasks import Bench, Bools, Evidence, Main, Task
from fedcxr.verdict.utility import segmentation as in_words
from fedcxr.view import Films, Masks

if TYPE_CHECKING:
    from fedcxr.models.unet import UNet

# Torch and the network are imported where they are used, as in `findings`.

Patients = npt.NDArray[np.object_]  # (n,)
Finder = Callable[[Films], Masks]

KINDS = {  # of films: what is trained on, and what is tested on
    "clean": "clean films",
    "released": "released films",
    "unauthorised": "what shows without a key",
}
GUESS = "the average outline, whatever film is shown"
STAGES = {
    "clean": "segmentation clean",
    "released": "segmentation released",
    "unauthorised": "segmentation without a key",
}
USED: tuple[Split, ...] = ("train", "test")
TITLE = "outlines found, beside those somebody drew"
HEADS = (
    *("Dice", "95 % interval", "Jaccard", "missed", "wrong"),
    *("distance", "SD", "Hausdorff", "95th percentile"),
)
FIGURES = (*AREAS, *DISTANCES)
COMPARED = ("dice", "surface_mean", "hausdorff")  # of which replicates are kept


@dataclass(frozen=True)
class Outlines:
    """Where an organ is on each film of a cohort, as somebody drew it."""

    masks: Masks  # (m, h, w), nothing where nobody drew
    there: Bools  # (m,) whether there is a mask
    drawn: Bools  # (m,) whether there is anything inside it

    @classmethod
    def of(cls, cohort: Cohort, organ: Organ) -> Outlines:
        there, masks = cohort.masked(organ), np.zeros((len(cohort), *cohort.size), dtype=np.bool_)
        masks[there] = cohort.mask(organ, there)
        return cls(masks, there, np.asarray(masks.any(axis=(1, 2))))

    def left_out(self, films: Bools) -> dict[str, int]:
        """How many of these films cannot be used, by why."""
        without, empty = ~self.there & films, self.there & ~self.drawn & films
        return {"without_mask": int(without.sum()), "empty_mask": int(empty.sum())}


@dataclass(frozen=True)
class Outlined:
    """Films, and where the organ is on the films that they were made of."""

    films: Films  # (n, h, w)
    masks: Masks  # (n, h, w)
    patients: Patients  # for intervals by patient, never for training

    def same_as(self, other: Outlined) -> bool:
        """Whether there is the very same to learn from both."""
        return np.array_equal(self.films, other.films) and np.array_equal(self.masks, other.masks)

    def average(self, films: Films) -> Masks:
        """The same outline on all of some films: what lies inside on half of these or more."""
        return np.broadcast_to(self.masks.mean(axis=0) >= 0.5, films.shape)


class Segmentation(Task):
    """U-Nets that learn to outline lungs on clean films, on released ones, and on what shows without a key.

    Each is tested on all three, on films of the test split that have a mask. The outline to be found is always the one
    drawn on the film itself, as a clinician would measure it: where a method deforms films, as prichexy_net does, that
    outline does not lie on the released film, and what the network that learnt from clean films loses there is what a
    reader would misjudge; the one that learnt from released films shows how much of it can be learnt to be undone. All
    networks start from the same weights and see the same films in the same order. Masks are lent: no method shares any.

    An organ lies at nearly the same place on every film, so a Dice far above 0 proves nothing: `guess` has the figures
    of the average outline of the training films, shown no film at all; pictures that are all the same teach nothing
    else. Films without a mask, or with an empty one, are left out and counted (`left_out`). A film on which nothing is
    found (`nothing_found`) has Dice 0 and counts in no distance. Distances are in pixels, and `of_side` is their share
    of the film's longer side.
    """

    paper: ClassVar[str | None] = "Shiri et al., JBI 2024 (segmentation of lungs on authorised reconstructions)"
    deviations: ClassVar[str | None] = (
        "a small U-Net, whose first layer reads cells of 2 x 2 pixels, learns for a few hundred steps; each film is "
        "read without its brightness and contrast. Figures are defined as MONAI defines them: false positives are a "
        "share of all that is not lung. One run has one S; a study has all that the paper compares."
    )
    bounds: ClassVar[tuple[str, ...]] = (
        *(f"{trained}.{tested}.{name}" for trained in KINDS for tested in KINDS for name in FIGURES),
        *(f"guess.{name}" for name in FIGURES),
    )

    main: ClassVar[Main | None] = Main(
        "released.released.dice",
        "Dice",
        "how well a network that learnt from released films outlines organs on released films",
    )

    organ: Organ = "lungs"
    width: int = pydantic.Field(default=16, ge=1, description="channels of the U-Net's first level")
    levels: int = pydantic.Field(default=4, ge=1, le=6, description="of the U-Net, each half as large as the one above")
    stride: int = pydantic.Field(
        default=2, ge=1, le=4, description="pixels along a cell that enters as channels: 1 costs four times as much"
    )
    steps: int = pydantic.Field(default=300, ge=1)
    batch: int = pydantic.Field(default=16, ge=1)
    learning_rate: float = pydantic.Field(default=8e-3, gt=0)
    weight_decay: float = pydantic.Field(default=0.01, ge=0)
    shift: int = pydantic.Field(
        default=2, ge=0, le=256, description="augmentation: films are moved, with their masks, by up to so many pixels"
    )
    bootstraps: int = pydantic.Field(default=1000, ge=1)

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        return (self.organ,)

    def applies(self, evidence: Evidence) -> bool:
        seen = evidence.view.opened & (evidence.origin >= 0)
        return bool(seen.any()) and bool(evidence.cohort.masked(self.organ)[evidence.origin[seen]].any())

    def demand(self, cohort: Cohort) -> None:
        outlines = Outlines.of(cohort, self.organ)
        self._refuse_too_few(outlines, {split: cohort.splits == SPLITS.index(split) for split in USED})

    def foresee(self, cohort: Cohort, bench: Bench) -> None:
        """The U-Net of clean films needs no release."""
        outlines, train = Outlines.of(cohort, self.organ), cohort.splits == SPLITS.index("train")
        rows = np.flatnonzero(train & outlines.drawn)
        if len(rows):
            with bench.compute.session():
                self._ceiling(Outlined(cohort.films(rows), outlines.masks[rows], cohort.patients[rows]), bench)

    def measure(self, evidence: Evidence, bench: Bench) -> dict[str, Any]:
        outlines = Outlines.of(evidence.cohort, self.organ)
        films = {split: evidence.films(split) for split in USED}
        self._refuse_too_few(outlines, films)
        train, test = (_shown(evidence, outlines, split) for split in USED)
        with bench.compute.session():
            finders = self._finders(train, bench)
            found = {(a, b): finders[a](test[b].films) for a in finders for b in test}
        told: dict[str, Any] = {
            a: {b: self._figures(f"{a}.{b}", found[a, b], test[b], bench) if b in test else None for b in KINDS}
            if a in finders
            else None
            for a in KINDS
        }
        guessed = train["clean"].average(test["clean"].films)
        return {
            **told,
            "guess": self._figures("guess", guessed, test["clean"], bench),
            "learnt_from": {kind: len(train[kind].films) if kind in train else None for kind in KINDS},
            "left_out": {split: outlines.left_out(films[split]) for split in USED},
            "side": max(evidence.cohort.size),
        }

    def _refuse_too_few(self, outlines: Outlines, films: Mapping[Split, Bools]) -> None:
        counts = {split: int((outlines.drawn & own).sum()) for split, own in films.items()}
        if not all(counts.values()):
            left_out = [outlines.left_out(own) for own in films.values()]
            without, empty = (sum(one[why] for one in left_out) for why in ("without_mask", "empty_mask"))
            raise DataError(
                f"segmentation learns from films on which the {self.organ} are outlined, and is tested on others",
                given=f"{' and '.join(f'{count} in {split}' for split, count in counts.items())}; "
                f"{without} without a mask, {empty} with an empty one",
                allowed="1 or more of each",
                do="draw more masks, use more films, or leave segmentation out of `tasks`",
            )

    def _finders(self, train: Mapping[str, Outlined], bench: Bench) -> dict[str, Finder]:
        """Who finds outlines on films, for each kind of films that there are to learn from."""
        finders: dict[str, Finder] = {}
        for kind, films in train.items():
            if kind == "clean":
                finders[kind] = self._finder(self._ceiling(films, bench), bench)
            elif films.same_as(train["clean"]):  # the same bytes would train the same network again
                finders[kind] = finders["clean"]
            elif (films.films == films.films[:1]).all():  # all that one can learn from films that are all the same
                finders[kind] = films.average
            else:
                finders[kind] = self._finder(self._train(films, bench, STAGES[kind]), bench)
        return finders

    def _finder(self, network: UNet, bench: Bench) -> Finder:
        from fedcxr.training.segmentation import found

        return lambda films: found(network, films, bench.compute)

    def _ceiling(self, clean: Outlined, bench: Bench) -> UNet:
        """The U-Net of clean films, which other runs may have trained before."""
        from fedcxr.training import arrays_of, loaded

        if bench.artefacts is None:
            return self._train(clean, bench, STAGES["clean"])
        key = bench.artefacts.key(
            "segmenter",
            task={name: value for name, value in self.spec().items() if name != "bootstraps"},
            films=digest_of(clean.films),
            masks=digest_of(clean.masks),
            seed=bench.seed,
            compute=bench.compute.settings,
        )
        made = bench.artefacts.made(key, lambda: arrays_of(self._train(clean, bench, STAGES["clean"])))
        return loaded(self._network(bench), made)

    def _train(self, films: Outlined, bench: Bench, stage: str) -> UNet:
        from fedcxr.training.segmentation import Recipe, teach

        network = self._network(bench)
        how = Recipe(**self.model_dump(include={field.name for field in dataclasses.fields(Recipe)}))
        rng = stream(bench.seed, "segmentation", "batches")
        teach(network, films.films, films.masks, how, rng, bench.compute, partial(bench.progress, stage))
        return network

    def _network(self, bench: Bench) -> UNet:
        """Not yet trained."""
        from fedcxr.models.unet import UNetDesign, unet
        from fedcxr.training import to_device

        widths = tuple(self.width * level for level in range(1, self.levels + 1))
        rng = stream(bench.seed, "segmentation", "weights")
        return to_device(unet(UNetDesign(widths=widths, stride=self.stride), rng), bench.compute)

    def _figures(self, path: str, found: Masks, films: Outlined, bench: Bench) -> dict[str, Any]:
        """The mean of each figure over films, with an interval; every arm has the same draws of patients."""
        per_film = agreement(found, films.masks)
        for name in COMPARED:
            bench.keep(f"{path}.{name}", of_means(per_film[name], films.patients))
        told: dict[str, Any] = {}
        for name, values in per_film.items():
            known, rng = ~np.isnan(values), stream(bench.seed, "segmentation", "bootstrap")
            [ends] = group_mean_intervals(values, known[:, None], films.patients, rng, self.bootstraps)
            mean = float(values[known].mean()) if known.any() else None
            told[name] = {"value": mean, "ci95": None if ends is None else list(ends)}
            if name in DISTANCES:
                told[name]["of_side"] = None if mean is None else mean / max(films.masks.shape[1:])
        nothing = np.asarray(~found.any(axis=(1, 2)))
        return {**told, "films": len(nothing), "nothing_found": int(nothing.sum())}

    def table(self, figures: Mapping[str, Any]) -> Table:
        arms = {
            f"trained on {KINDS[trained]}, tested on {KINDS[tested]}": arm
            for trained in KINDS
            for tested, arm in (figures[trained] or {}).items()
            if arm is not None
        }
        rows = [_row(about, arm) for about, arm in {**arms, GUESS: figures["guess"]}.items()]
        missing, empty = (
            sum(one[why] for one in figures["left_out"].values()) for why in ("without_mask", "empty_mask")
        )
        notes = [
            f"means over films; distances between outlines in pixels of {figures['side']}",
            *([f"left out: {missing} films without a mask, {empty} with an empty one"] if missing or empty else []),
        ]
        return Table(f"Does the anatomy survive: {TITLE}", HEADS, tuple(rows), tuple(notes), in_words(figures))


def _shown(evidence: Evidence, outlines: Outlines, split: Split) -> dict[str, Outlined]:
    """The films of each kind that one may learn from or be tested on; a kind without any is not there."""
    somebodys, opened = evidence.origin >= 0, evidence.rows(split) & evidence.view.opened
    kinds = {"released": (opened, evidence.view.forms.get("films"))}
    if evidence.unauthorised is not None:
        kinds["unauthorised"] = evidence.lent(split)[0], evidence.unauthorised
    clean = np.flatnonzero(evidence.films(split) & outlines.drawn)
    found = {"clean": Outlined(evidence.clean[clean], outlines.masks[clean], evidence.cohort.patients[clean])}
    for kind, (rows, films) in kinds.items():
        chosen = np.flatnonzero(rows & somebodys)
        chosen = chosen[outlines.drawn[evidence.origin[chosen]]]
        if len(chosen):
            origin = evidence.origin[chosen]
            shown = np.asarray(films, dtype=np.uint8)[chosen]
            found[kind] = Outlined(shown, outlines.masks[origin], evidence.cohort.patients[origin])
    return found


def _row(about: str, arm: Mapping[str, Any]) -> Row:
    dice, nothing = arm["dice"], arm["nothing_found"]
    shares = [figure(arm[name]["value"]) for name in ("jaccard", "false_negatives", "false_positives")]
    pixels = [_pixels(arm[name]["value"]) for name in DISTANCES]
    doubt = f"nothing found on {nothing} of {arm['films']}" if nothing else ""
    return Row(about, (figure(dice["value"]), span(dice["ci95"]), *shares, *pixels), doubt)


def _pixels(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
