"""Who trains, who validates, who tests: dealt by patient, so that nobody stands on two sides.

Splits are released. Chance therefore deals patients by their pseudonyms, which belong to the site's secret: dealt by
their numbers, anybody could deal all numbers there are and see which ones fit a few releases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr.cohort import SPLITS, Split
from fedcxr.data._pseudonyms import Secret, people
from fedcxr.errors import DataError, StorageError
from fedcxr.rng import derive

Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Names = npt.NDArray[np.object_]  # (n,) names of patients or images, or splits; one per film


@dataclass(frozen=True)
class Named:
    """What splits are dealt by: lists go by original names, chance by what nobody outside can work out."""

    images: Names
    patients: Names
    people: Names  # pseudonyms of the patients

    @classmethod
    def of(cls, films: pd.DataFrame, source: str, secret: Secret) -> Named:
        """The films of a table under original names, whose patients will be called as `source` calls them."""
        images, patients = (films[column].to_numpy(dtype=object) for column in ("image", "patient"))
        return cls(images, patients, people(films, source, secret))


class Splits(pydantic.BaseModel):
    """The keys under `splits:` of a source."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    by: Literal["official", "random", "lists"] = pydantic.Field(
        "official", description="As published; by chance; or by the files named below."
    )
    shares: tuple[Share, Share, Share] = pydantic.Field(
        (0.7, 0.1, 0.2), description="Shares of patients in train, val and test, where chance decides."
    )
    seed: int = 0
    train: str | None = pydantic.Field(None, description="lists: a file with an image or a patient per line")
    val: str | None = pydantic.Field(None, description="lists: if not given, taken from train")
    test: str | None = None

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(f"shares must sum to 1, not {sum(self.shares):g}")
        if self.by == "lists" and (self.train is None or self.test is None):
            raise ValueError("splits by lists need the files `train` and `test`")
        if self.by != "lists" and (self.train, self.val, self.test) != (None, None, None):
            raise ValueError(f"files are given, but splits are by {self.by}; set by to lists")
        return self

    def files(self, root: Path = Path()) -> dict[Split, Path]:
        """The user's lists, found from the source's folder."""
        named = {split: getattr(self, split) for split in SPLITS}
        return {split: root / Path(file).expanduser() for split, file in named.items() if file is not None}


def by_chance(people: Names, splits: Splits) -> Names:
    """A split per film, from its patient's pseudonym and the seed alone: who is added later moves nobody."""
    edges = np.cumsum(splits.shares)[:2]
    return _per_patient(people, splits.seed, "all", np.array(SPLITS, dtype=object), edges)


def carve(split: Names, people: Names, part: Split, splits: Splits) -> Names:
    """Move patients out of train into a part that has no list of its own, in the proportion of the shares."""
    theirs, ours = splits.shares[SPLITS.index(part)], splits.shares[0]
    share = theirs / (theirs + ours) if theirs else 0.0
    moved = _per_patient(people, splits.seed, part, np.array([part, "train"], dtype=object), np.array([share]))
    return np.where(split == "train", moved, split)


def by_lists(lists: Mapping[Split, Sequence[str]], films: Named, splits: Splits) -> Names:
    """A split per film from lists of images or patients, line by line; val is carved out of train without a list."""
    images, patients = films.images, films.patients
    chosen = np.full(len(images), None, dtype=object)
    for split, names in lists.items():
        wanted = list(filter(None, names))
        here = pd.Series(images).isin(wanted).to_numpy() | pd.Series(patients).isin(wanted).to_numpy()
        if not here.any():
            raise DataError(f"the {split} list names no film of this table", given=f"{len(wanted)} names")
        taken = here & ~pd.isna(chosen)
        if taken.any():
            twice = {*images[taken], *patients[taken]}
            lines = [line for line, name in enumerate(names, start=1) if name in twice]
            told = ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
            raise DataError(
                f"the {split} list and another one name the same films",
                given=f"{taken.sum()} films, in lines {told} of the {split} list",
                do="keep each in one list",
            )
        chosen[here] = split
    free = pd.isna(chosen)
    if free.any():
        raise DataError(
            "films stand in no split list",
            given=f"{free.sum()} of {len(chosen)}",
            do="complete the lists, or set splits.by=random",
        )
    return chosen if "val" in lists else carve(chosen, films.people, "val", splits)


def read_list(path: Path) -> list[str]:
    """The names in a file, one per line; blank lines count, as in an editor."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError("there is no such split list", given=path, do="download it, or set splits.by=random") from None
    except OSError as error:
        raise StorageError("cannot read the split list", given=path, do=error.strerror or "") from None
    except ValueError:  # not UTF-8, or no possible path
        raise DataError("this split list is not text", given=path) from None
    return [line.strip() for line in text.splitlines()]


def refuse_shared_patients(index: pd.DataFrame) -> None:
    """A patient in two splits makes every figure wrong: an error that names them, by pseudonym."""
    splits = index.groupby("patient", sort=True)["split"].nunique()
    shared = splits.index[splits > 1]
    if len(shared):
        named = ", ".join(shared[:5]) + (", ..." if len(shared) > 5 else "")
        raise DataError(
            "patients stand in more than one split",
            given=f"{len(shared)}: {named}",
            do="repair the lists, or set splits.by=random",
        )


def _per_patient(people: Names, seed: int, purpose: str, names: Names, edges: npt.NDArray[np.float64]) -> Names:
    codes, each = pd.factorize(people)
    # One hash per patient; a generator for each would take a second for the patients of NIH.
    draws = np.array([derive(seed, "split", purpose, person) for person in each], dtype=np.float64) / 2**63
    return names[np.searchsorted(edges, draws, side="right")][codes]
