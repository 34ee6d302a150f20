"""Published lists of verification pairs (`a<TAB>b<TAB>label`, also gzipped), and what a table says about them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.errors import DataError
from fedcxr.pairs import Pairs

Names = npt.NDArray[np.object_]


@dataclass(frozen=True)
class PairList:
    """Pairs of films by name, as somebody published them."""

    a: Names  # (n,)
    b: Names  # (n,)
    genuine: npt.NDArray[np.bool_]  # (n,)

    def __len__(self) -> int:
        return len(self.genuine)


@dataclass(frozen=True)
class Consistency:
    """Where a list and a table disagree, and how few patients its genuine pairs come from."""

    pairs: int
    genuine: int
    unknown_images: int  # names in the list that the table lacks
    unknown_pairs: int  # pairs with such a name
    genuine_of_two_patients: int  # labelled as of one patient; the table says two
    impostors_of_one_patient: int
    with_itself: int  # a film paired with itself
    repeated: int  # pairs that stand earlier in the list, in either order
    repeated_otherwise: int  # pairs that stand in the list with both labels
    patients: int  # patients with genuine pairs, by the table
    top_50_share: float | None  # of the genuine pairs, how much the 50 patients with most of them own

    @property
    def sound(self) -> bool:
        """Nothing contradicts the table or itself (images that are not there are no contradiction)."""
        return not (
            self.genuine_of_two_patients
            or self.impostors_of_one_patient
            or self.with_itself
            or self.repeated
            or self.repeated_otherwise
        )

    def __str__(self) -> str:
        lines = [f"{self.pairs} pairs, {self.genuine} genuine, of {self.patients} patients"]
        if self.top_50_share is not None:
            lines.append(f"the 50 patients with most genuine pairs own {self.top_50_share:.0%} of them")
        found = {
            f"pairs with one of {self.unknown_images} images that the table lacks": self.unknown_pairs,
            "genuine pairs of two patients": self.genuine_of_two_patients,
            "impostor pairs of one patient": self.impostors_of_one_patient,
            "films paired with themselves": self.with_itself,
            "pairs listed before": self.repeated,
            "pairs listed as genuine and as impostors": self.repeated_otherwise,
        }
        return "\n".join([*lines, *(f"{count} {what}" for what, count in found.items() if count)])


def read_pair_list(path: Path) -> PairList:
    """The list in a file; the label is 1 or 0, also written 1.0 or 0.0."""
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            header=None,
            names=["a", "b", "label", "more"],
            dtype=str,
            quoting=3,  # a quotation mark is part of a name
            na_filter=False,
            encoding="utf-8-sig",
            compression="gzip" if path.suffix == ".gz" else None,
        )
    except (OSError, EOFError, ValueError, zlib.error) as error:  # pandas' complaints are ValueErrors
        raise DataError("cannot read the pair list", given=path.name, do=str(error)) from None
    wrong = ~table["label"].isin(["0", "1", "0.0", "1.0"]) | (table["a"] == "") | (table["b"] == "")
    wrong |= table["more"].notna() & (table["more"] != "")
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            "a pair list holds two names and a label, separated by tabs",
            given=f"{path.name}, pair {row + 1}: {' '.join(table.iloc[row].dropna())}",
            allowed="labels 1 (one patient) and 0",
        )
    a, b = (table[column].to_numpy(dtype=object) for column in ("a", "b"))
    return PairList(a, b, table["label"].isin(["1", "1.0"]).to_numpy(dtype=bool))


def compare(pairs: PairList, images: Sequence[str], patients: Sequence[str]) -> Consistency:
    """What a table of images and their patients says about a list."""
    film, owner = _places(pairs, images), _codes(patients)
    known = (film >= 0).all(axis=1)
    names = np.concatenate([pairs.a, pairs.b])[film.T.ravel() < 0]
    same = np.zeros(len(pairs), dtype=bool)
    same[known] = owner[film[known, 0]] == owner[film[known, 1]]

    by_name, _ = pd.factorize(np.concatenate([pairs.a, pairs.b]))
    ends = pd.DataFrame(np.sort(by_name.reshape(2, -1), axis=0).T, columns=["low", "high"])
    itself = (ends["low"] == ends["high"]).to_numpy()
    repeated = ends.duplicated().to_numpy()
    with_label = ends.assign(genuine=pairs.genuine)
    otherwise = repeated & ~with_label.duplicated().to_numpy()

    _, owned = np.unique(owner[film[known & same & pairs.genuine, 0]], return_counts=True)
    return Consistency(
        pairs=len(pairs),
        genuine=int(pairs.genuine.sum()),
        unknown_images=len(pd.unique(names)),
        unknown_pairs=int((~known).sum()),
        genuine_of_two_patients=int((known & pairs.genuine & ~same).sum()),
        impostors_of_one_patient=int((known & ~pairs.genuine & same & ~itself).sum()),
        with_itself=int(itself.sum()),
        repeated=int((repeated & ~otherwise).sum()),
        repeated_otherwise=int(otherwise.sum()),
        patients=len(owned),
        top_50_share=float(np.sort(owned)[-50:].sum() / owned.sum()) if len(owned) else None,
    )


def located(pairs: PairList, images: Sequence[str]) -> Pairs:
    """The pairs whose films are both there, by their place among `images`; the genuine ones first.

    A cohort's images are pseudonyms: give the names the site's table has, in the cohort's order.
    """
    film = _places(pairs, images)
    known = np.flatnonzero((film >= 0).all(axis=1))
    order = known[np.argsort(~pairs.genuine[known], kind="stable")]
    return Pairs(film[order, 0], film[order, 1], pairs.genuine[order])


def _places(pairs: PairList, images: Sequence[str]) -> npt.NDArray[np.intp]:  # (n, 2), -1: not there
    names = pd.Index(np.asarray(images, dtype=object))
    if not names.is_unique:
        raise DataError("an image stands twice in the table", given=f"{int(names.duplicated().sum())} repetitions")
    return np.stack([names.get_indexer(pd.Index(side)) for side in (pairs.a, pairs.b)], axis=1)


def _codes(patients: Sequence[str]) -> npt.NDArray[np.intp]:
    return np.asarray(pd.factorize(np.asarray(patients, dtype=object))[0], dtype=np.intp)
