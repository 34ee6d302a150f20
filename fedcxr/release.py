"""The border: a Release is all that leaves a hospital, and an AnswerKey is what only the scorer may read."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import msgpack
import numpy as np
import numpy.typing as npt
import pandas as pd
import zstandard

from fedcxr.errors import DataError, Refused

Kind = Literal["images", "codes", "update"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MAGIC = b"FCXR"
FORMAT = 1
DTYPES = frozenset({"uint8", "int8", "uint16", "int16", "int32", "int64", "float16", "float32"})
LARGEST = 1 << 34  # bytes of all arrays after decompression: twice NIH ChestX-ray14 at 256 px
LONGEST_SIDE = 1 << 16  # pixels of a film
SPLITS = 3  # train, val, test
NOBODY = "nobody"  # whom the rows of a release belong to that were made of no film in particular
WEIGHTS = "weights/"  # how the names of arrays begin that hold what a method learnt
PARTS = frozenset({"kind", "site", "method", "facts", "arrays", "envelopes", "signature"})
BLOCK = frozenset({"dtype", "shape", "data"})


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
            # A missing finding is NaN by design; a film or an update that is not finite is a broken method.
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
        if not {*shared, "findings", "split"} <= lengths.keys() or len(set(lengths.values())) != 1:
            what = ", ".join((*shared, "findings and splits"))
            raise DataError(f"a release of films needs as many {what}", given=lengths)
        findings, split = (self.arrays[name] for name in ("findings", "split"))
        if findings.dtype != np.float32 or findings.ndim != 2:
            raise DataError("released findings are (n, k) float32", given=f"{findings.shape} {findings.dtype}")
        names = self.facts.get("findings")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError("a release of films names its findings", given=names)
        if len(set(names)) != len(names) or len(names) != findings.shape[1]:
            raise DataError("a release names each of its findings once", given=f"{names} for {findings.shape[1]}")
        self.left_out, self.origins  # noqa: B018  raise if they make no sense
        if split.dtype != np.int8 or split.ndim != 1 or not np.isin(split, range(SPLITS)).all():
            raise DataError("released splits are (n,) int8, each 0, 1 or 2", given=f"{split.shape} {split.dtype}")

    def _check_films(self) -> None:
        films = self.arrays["films"]
        if films.dtype != np.uint8 or films.ndim != 3:
            raise DataError("released films are (n, h, w) uint8", given=f"{films.shape} {films.dtype}")

    def _check_codes(self) -> None:
        sealed, codes = self.arrays["sealed"], self.arrays.get("codes")
        if sealed.dtype != np.uint8 or sealed.ndim != 2:
            raise DataError("sealed codes are (n, bytes) uint8", given=f"{sealed.shape} {sealed.dtype}")
        if codes is not None and (codes.dtype != np.int8 or codes.ndim != 4):
            raise DataError("public codes are (n, p, h, w) int8", given=f"{codes.shape} {codes.dtype}")
        version, size = self.facts.get("version"), self.facts.get("size")
        if not isinstance(version, str) or not version:
            raise DataError("a release of codes tells the version of its codec", given=version)
        if (
            not isinstance(size, list)
            or len(size) != 2
            or not all(type(n) is int and 0 < n <= LONGEST_SIDE for n in size)
        ):
            raise DataError("a release of codes tells its films' height and width", given=size)

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

    def to_bytes(self) -> bytes:
        """The form in which a release travels and is stored: a header and one compressed block per array."""
        packed: bytes = msgpack.packb(self._document(), use_bin_type=True)
        return MAGIC + bytes([FORMAT]) + packed

    def digest(self) -> str:
        """What a signature covers: everything but the signature, before compression (whose bytes may vary)."""
        arrays = {
            name: [array.dtype.name, list(array.shape), hashlib.sha256(_plain(array).data).digest()]
            for name, array in sorted(self.arrays.items())
        }
        covered = [
            self.kind,
            self.site,
            self.method,
            dict(self.facts),
            arrays,
            dict(sorted(self.envelopes.items())),
        ]
        return hashlib.sha256(msgpack.packb(covered, use_bin_type=True)).hexdigest()

    def _document(self) -> dict[str, Any]:
        compress = zstandard.ZstdCompressor(level=1).compress
        return {
            "kind": self.kind,
            "site": self.site,
            "method": self.method,
            "facts": dict(self.facts),
            "arrays": {
                name: {
                    "dtype": array.dtype.name,
                    "shape": list(array.shape),
                    "data": compress(_plain(array).data),
                }
                for name, array in sorted(self.arrays.items())
            },
            "envelopes": dict(sorted(self.envelopes.items())),
            "signature": self.signature,
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> Release:
        """Read a release that may come from anyone: whatever is not exactly one is refused."""
        if data[: len(MAGIC)] != MAGIC or data[len(MAGIC) : len(MAGIC) + 1] != bytes([FORMAT]):
            raise Refused("this is not a release", allowed=f"format {FORMAT}")
        try:
            document = _exactly(msgpack.unpackb(data[len(MAGIC) + 1 :], raw=False, strict_map_key=True), PARTS)
            blocks = {_text(name): _exactly(block, BLOCK) for name, block in _mapping(document["arrays"]).items()}
            if sum(map(_stated_size, blocks.values())) > LARGEST:
                raise ValueError("its arrays are too large")
            arrays = {name: _read_array(block) for name, block in blocks.items()}
            return cls(
                kind=document["kind"],
                site=_text(document["site"]),
                method=_text(document["method"]),
                arrays=arrays,
                facts=_mapping(document["facts"]),
                envelopes={_text(k): _blob(v) for k, v in _mapping(document["envelopes"]).items()},
                signature=_blob(document["signature"]),
            )
        except (
            msgpack.exceptions.UnpackException,
            zstandard.ZstdError,
            DataError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            OverflowError,
            MemoryError,
            RecursionError,
        ) as error:
            raise Refused("a release is damaged", do=f"{type(error).__name__}: {error}") from None


def _are_places(told: object, least: int = 0) -> bool:
    """Whether this is a list of places in an array."""
    return isinstance(told, list) and all(type(place) is int and least <= place <= sys.maxsize for place in told)


def _plain(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """As bytes lie in a release: row after row, little-endian."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _stated_size(block: Mapping[str, Any]) -> int:
    """The size of an array as its shape and its frame state it, known before a byte is decompressed."""
    dtype, shape = block["dtype"], block["shape"]
    if dtype not in DTYPES or not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("an array of a forbidden type or shape")
    size: int = math.prod(shape) * np.dtype(dtype).itemsize
    if size != zstandard.frame_content_size(block["data"]):
        raise ValueError("an array's data does not fit its shape")
    return size


def _read_array(block: Mapping[str, Any]) -> npt.NDArray[np.generic]:
    size = _stated_size(block)
    raw = zstandard.ZstdDecompressor().decompress(block["data"], max_output_size=max(size, 1), allow_extra_data=False)
    if len(raw) != size:
        raise ValueError("an array's data does not fit its shape")
    dtype = np.dtype(block["dtype"])
    return np.frombuffer(raw, dtype=dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(block["shape"])


def _exactly(value: object, keys: frozenset[str]) -> dict[str, Any]:
    """A mapping of these keys and no other: what no signature covers must not travel along."""
    found = _mapping(value)
    if found.keys() != keys:
        raise ValueError(f"expected {', '.join(sorted(keys))}")
    return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _blob(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("expected bytes")
    return value


def _mapping(value: object) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise TypeError("expected a mapping")
    return value


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
