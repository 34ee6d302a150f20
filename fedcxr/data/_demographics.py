"""Age, sex, view and order of visits as hospitals write them; what cannot be understood is unknown, never kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.errors import DataError

Meaning = TypeVar("Meaning", float, str)

OLDEST = 120  # years; a typing error beyond
PER_YEAR = {"y": 1.0, "m": 12.0, "w": 52.18, "d": 365.25, "": 1.0}
SEXES = {"m": "M", "male": "M", "man": "M", "f": "F", "female": "F", "woman": "F"}
LATERAL = {"LL", "RL", "LLAT", "RLAT", "LAT", "LATERAL"}


def ages(written: pd.Series) -> npt.NDArray[np.float32]:
    """Years, from `62`, `62.0` or DICOM's `062Y`, `018M`; NaN where there is none between 0 and 120."""
    return _each(written, _age).astype(np.float32)


def sexes(written: pd.Series) -> npt.NDArray[np.object_]:
    """`M`, `F` or `U` (unknown), from letters or words."""
    return _each(written, lambda text: SEXES.get(text.lower(), "U"))


def views(written: pd.Series) -> npt.NDArray[np.object_]:
    """`PA`, `AP`, `LATERAL` or unknown (blank); `AP Supine` is an `AP`."""
    return _each(written, _view)


def visits(patients: npt.ArrayLike, order: pd.Series | None) -> npt.NDArray[np.intp]:
    """Each film's visit, 0, 1, ... within its patient, by date, by number or, without either, by row.

    Films of one date are of one visit. A film without a date comes after those with one, as a visit of its own.
    """
    owner, _ = pd.factorize(np.asarray(patients, dtype=object))
    owners = pd.Series(owner)
    if order is None:
        return np.asarray(owners.groupby(owners).cumcount(), dtype=np.intp)
    moment, _ = pd.factorize(_moments(order), sort=True)
    undated = np.arange(len(moment)) + moment.max(initial=0) + 1
    ranked = pd.Series(np.where(moment < 0, undated, moment)).groupby(owners).rank("dense")
    return np.asarray(ranked, dtype=np.intp) - 1


def _moments(order: pd.Series) -> npt.NDArray[np.float64]:  # NaN: unknown
    text = order.str.strip()
    known = text != ""
    numbers = pd.to_numeric(text.where(known), errors="coerce")
    if numbers.isna().sum() == (~known).sum():  # days since the first film, numbered visits, or 20200131
        return numbers.to_numpy(dtype=np.float64)
    dates = pd.to_datetime(text.where(known), errors="coerce", format="ISO8601", utc=True)
    strange = int((dates.isna() & known).sum())
    if strange:
        raise DataError(
            "the order of visits cannot be understood",
            given=f"{strange} of {len(order)} rows of the `visit` column",
            allowed="numbers, or dates such as 2020-01-31",
        )
    moments = dates.astype("int64").to_numpy(dtype=np.float64)
    return np.where(known, moments, np.nan)


def _age(text: str) -> float:
    found = re.fullmatch(r"(\d{1,5}(?:[.,]\d*)?)\s*([ymwd]?)[a-z]*", text.lower(), flags=re.ASCII)
    years = float(found[1].replace(",", ".")) / PER_YEAR[found[2]] if found else np.nan
    return years if years <= OLDEST else np.nan


def _view(text: str) -> str:
    words: set[str] = set(re.findall(r"[A-Z]+", text.upper()))
    frontal = words & {"PA", "AP"}
    if len(frontal) == 1:
        return frontal.pop()
    return "LATERAL" if words & LATERAL and not frontal else ""


def _each(written: pd.Series, meaning: Callable[[str], Meaning]) -> npt.NDArray[np.object_]:
    """The meaning of each text, found once per text."""
    codes, texts = pd.factorize(written.astype(str).str.strip())
    meanings = np.empty(len(texts), dtype=object)
    meanings[:] = [meaning(text) for text in texts]
    return meanings[codes]
