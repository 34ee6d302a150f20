"""The border: a Release is all that leaves a hospital, and an AnswerKey is what only the scorer may read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.errors import DataError
from fedcxr.release._packed import DTYPES, LONGEST_NAME, WRONG, Header, Packed, Stated, damaged, memory

Kind = Literal["images", "codes", "update"]
KINDS: tuple[Kind, ...] = get_args(Kind)

LONGEST_SIDE = 1 << 16  # pixels of a film
SPLITS = 3  # train, val, test
NOBODY = "nobody"  # whom the rows of a release belong to that were made of no film in particular
LABELS = "labels"  # findings and splits of films, sealed: in place of the arrays of those names
WEIGHTS = "weights/"  # how the names of arrays begin that hold what a method learnt
MOST_FINDINGS = 256

__all__ = [
    "KINDS",
    "LABELS",
    "NOBODY",
    "WEIGHTS",
    "AnswerKey",
    "Header",
    "Kind",
    "Packed",
    "Release",
    "Stated",
    "memory",
]


@dataclass(frozen=True)
class Release:
    """Arrays and public facts from one hospital, with sealed envelopes and a signature where the method has them."""

    kind: Kind
    site: str
    method: str
    arrays: Mapping[str, npt.NDArray[np.generic]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    envelopes: Mapping[str, bytes] = field(default_factory=dict)
    signature: bytes = b""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError("unknown kind of release", given=self.kind, allowed=", ".join(KINDS))
        for name, array in self.arrays.items():
            if array.dtype.name not in DTYPES:
                raise DataError(f"release array {name!r} has a type that cannot be shared", given=array.dtype)
            # An unknown finding is NaN by design; a film or an update that is not finite is a broken method.
            if name != "findings" and array.dtype.kind == "f" and not np.isfinite(array).all():
                raise DataError(f"release array {name!r} holds values that are not finite", given=self.method)
        if self.kind == "images":
            self._check_rows("films")
            self._check_films()
        if self.kind == "codes":
            self._check_rows("sealed")
            self._check_codes()

    def _check_rows(self, *shared: str) -> None:
        """What releases of films and of their codes have in common: row i of every array is of film i."""
        lengths = {
            name: array.shape[0] if array.ndim else 0
            for name, array in self.arrays.items()
            if not name.startswith(WEIGHTS)
        }
        sealed = self.kind == "codes" and LABELS in lengths
        told = {LABELS} if sealed else {"findings", "split"}
        if not {*shared, *told} <= lengths.keys() or len(set(lengths.values())) != 1:
            what = ", ".join((*shared, "findings and splits"))
            raise DataError(f"a release of films needs as many {what}", given=lengths)
        if sealed and {"findings", "split"} & lengths.keys():
            raise DataError("a release has its findings sealed or in the clear", given=", ".join(lengths))
        names = self.facts.get("findings")
        if not isinstance(names, list) or not all(map(_is_name, names)) or len(names) > MOST_FINDINGS:
            raise DataError(
                "a release of films names its findings",
                given=names,
                allowed=f"up to {MOST_FINDINGS} names of up to {LONGEST_NAME} printable characters",
            )
        if len(set(names)) != len(names):
            raise DataError("a release names each of its findings once", given=names)
        self.left_out, self.origins, self.complaints  # noqa: B018  raise if they make no sense
        if sealed:
            self._check_sealed(LABELS)
        else:
            self._check_told(names)

    def _check_told(self, names: Sequence[str]) -> None:
        findings, split = (self.arrays[name] for name in ("findings", "split"))
        if findings.dtype != np.float32 or findings.ndim != 2:
            raise DataError("released findings are (n, k) float32", given=f"{findings.shape} {findings.dtype}")
        if not (np.isnan(findings) | (findings == 0) | (findings == 1)).all():
            raise DataError("a released finding is there, not there or unknown", allowed="1, 0 or NaN")
        if len(names) != findings.shape[1]:
            raise DataError("a release names each of its findings once", given=f"{names} for {findings.shape[1]}")
        if split.dtype != np.int8 or split.ndim != 1 or not np.isin(split, range(SPLITS)).all():
            raise DataError("released splits are (n,) int8, each 0, 1 or 2", given=f"{split.shape} {split.dtype}")

    def _check_films(self) -> None:
        films = self.arrays["films"]
        if films.dtype != np.uint8 or films.ndim != 3:
            raise DataError("released films are (n, h, w) uint8", given=f"{films.shape} {films.dtype}")

    def _check_codes(self) -> None:
        self._check_sealed("sealed")
        codes = self.arrays.get("codes")
        if codes is not None and (codes.dtype != np.int8 or codes.ndim != 4):
            raise DataError("public codes are (n, p, h, w) int8", given=f"{codes.shape} {codes.dtype}")
        version, size = self.facts.get("version"), self.facts.get("size")
        if not isinstance(version, str) or not version or not version.isprintable():
            raise DataError("a release of codes tells the version of its codec", given=version)
        if (
            not isinstance(size, list)
            or len(size) != 2
            or not all(type(n) is int and 0 < n <= LONGEST_SIDE for n in size)
        ):
            raise DataError("a release of codes tells its films' height and width", given=size)

    def _check_sealed(self, name: str) -> None:
        sealed = self.arrays[name]
        if sealed.dtype != np.uint8 or sealed.ndim != 2:
            raise DataError(f"what is {name} is (n, bytes) uint8", given=f"{sealed.shape} {sealed.dtype}")

    def __len__(self) -> int:
        """How many films were released; 0 for an update."""
        per_film = (array for name, array in sorted(self.arrays.items()) if not name.startswith(WEIGHTS))
        first = None if self.kind == "update" else next(per_film, None)
        return 0 if first is None or first.ndim == 0 else len(first)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its films, in pixels."""
        if self.kind == "update":
            raise DataError("an update has no films", given=f"{self.method} of {self.site}")
        height, width = self.arrays["films"].shape[1:] if self.kind == "images" else self.facts["size"]
        return int(height), int(width)

    @property
    def weights(self) -> dict[str, npt.NDArray[np.generic]]:
        """What the method learnt, where it travels: as an update, or published with the films it protects."""
        return {name.removeprefix(WEIGHTS): a for name, a in self.arrays.items() if name.startswith(WEIGHTS)}

    def publishing(self, weights: Mapping[str, npt.NDArray[np.generic]]) -> Release:
        """The same release with what the method learnt."""
        return replace(self, arrays={**self.arrays, **{WEIGHTS + name: array for name, array in weights.items()}})

    @property
    def left_out(self) -> npt.NDArray[np.intp]:
        """Which of the site's films, in the order of its release, it did not release."""
        rows = self.facts.get("left_out", [])
        if not _are_places(rows) or len(set(rows)) < len(rows) or max(rows, default=-1) >= len(self) + len(rows):
            raise DataError("a release tells by their places which films it left out", given=rows)
        return np.array(sorted(rows), dtype=np.intp)

    @property
    def of_films(self) -> bool:
        """Whether its rows show something, in clear or in code; an update is of weights alone."""
        return self.kind != "update"

    @property
    def origins(self) -> npt.NDArray[np.intp]:  # (n,)
        """Which of its site's films, in the order of its release, each row was made of; -1: it belongs to nobody."""
        told = self.facts.get("origins")
        if told is None:
            return np.delete(np.arange(len(self) + len(self.left_out)), self.left_out)
        if told == NOBODY:
            return np.full(len(self), -1, dtype=np.intp)
        if not _are_places(told, least=-1) or len(told) != len(self):
            raise DataError("a release tells by their places which films its rows were made of", given=told)
        return np.array(told, dtype=np.intp)

    def accounts_for(self, films: int) -> bool:
        """Whether a site that holds so many films could have made it: each is released, or told to be left out."""
        if self.kind == "update":
            return True
        if "origins" in self.facts:
            return bool(self.origins.max(initial=-1) < films)
        return len(self) + len(self.left_out) == films

    @property
    def complaints(self) -> Sequence[str]:
        """What the method had against some of the site's films, a reason for each of them."""
        told = self.facts.get("complaints", [])
        if not isinstance(told, list) or not all(
            isinstance(one, list) and len(one) == 2 and _are_places(one[:1]) and _is_name(one[1]) for one in told
        ):
            raise DataError("a release tells films by their places, and reasons", given=told)
        return [reason for _, reason in told]

    @property
    def complained(self) -> npt.NDArray[np.bool_]:  # (n,)
        """Which rows the method had something against."""
        places = [place for place, _ in self.facts.get("complaints", [])]
        return np.isin(self.origins, places) & (self.origins >= 0)

    @cached_property
    def packed(self) -> Packed:
        """As it travels; kept, for it is signed before it is sent."""
        told = {"kind": self.kind, "site": self.site, "method": self.method, "facts": dict(self.facts)}
        return replace(Packed.of(told, self.arrays, self.envelopes), signature=self.signature)

    def with_signature(self, signature: bytes) -> Release:
        """The same, signed."""
        signed = copy(self)  # and not made anew, for then all of it would be looked through again
        object.__setattr__(signed, "signature", signature)
        signed.__dict__["packed"] = replace(self.packed, signature=signature)  # the signature covers these very bytes
        return signed

    def to_bytes(self) -> bytes:
        """The form in which a release travels and is stored: a header and one compressed block per array."""
        return self.packed.to_bytes()

    def digest(self) -> str:
        """What a signature covers: all bytes but its own, as they travelled."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return self.packed.digest

    @classmethod
    def from_bytes(cls, data: bytes) -> Release:
        """Read a release that may come from anyone: whatever is not exactly one is refused."""
        packed = Packed.from_bytes(data)
        release = cls.of(packed)
        release.__dict__["packed"] = packed  # it may be sent on as it came, whatever compressed it
        return release

    @classmethod
    def of(cls, packed: Packed) -> Release:
        """The release in what has arrived; refused if it is none."""
        header = packed.header
        try:
            release = cls(
                kind=cast(Kind, header.kind),
                site=header.site,
                method=header.method,
                arrays=packed.arrays(),
                facts=header.facts,
                envelopes=packed.envelopes(),
                signature=packed.signature,
            )
        except (DataError, *WRONG) as error:
            raise damaged(error) from None
        release.__dict__["_digest"] = packed.digest  # the films are too many to be kept in both forms
        return release


def _is_name(told: object) -> bool:
    """Whether this is short, and shown as it is."""
    return isinstance(told, str) and 0 < len(told) <= LONGEST_NAME and told.isprintable()


def _are_places(told: object, least: int = 0) -> bool:
    """Whether this is a list of places in an array."""
    return isinstance(told, list) and all(type(place) is int and least <= place <= sys.maxsize for place in told)


@dataclass(frozen=True)
class AnswerKey:
    """Who is who: one row per released film. Exists in simulations and audits only."""

    table: pd.DataFrame  # site, row (in the site's release), film (in the whole cohort), patient, source, attacked

    def save(self, folder: Path) -> None:
        """Write the key where only its owner may read it."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        path = folder / "answers.csv"
        path.touch(mode=0o600)
        self.table.to_csv(path, index=False)

    @classmethod
    def load(cls, folder: Path) -> AnswerKey:
        try:
            names = {"site": str, "patient": str, "source": str}  # somebody may be called NA, and nobody has no name
            return cls(pd.read_csv(folder / "answers.csv", dtype=names, keep_default_na=False))
        except (OSError, ValueError) as error:
            raise DataError("the answers are missing or damaged", given=folder, do=str(error)) from None
