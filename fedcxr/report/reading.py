"""What is on file of a run or a study: every result that can be read, and in one line each what cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from fedcxr.errors import ConfigError, FedcxrError, StorageError, one_line
from fedcxr.plugins import explain
from fedcxr.report import _shape
from fedcxr.runs.identity import is_marked
from fedcxr.runs.stored import result_of, versions_of
from fedcxr.storage.disk import read_json
from fedcxr.storage.version import code_version

STUDY = ("study.json", "study.yaml")
COMPARED = 1  # schema of study.json


@dataclass(frozen=True)
class Read:
    """One run's result, and what is known of how it came about."""

    folder: Path
    result: Mapping[str, Any]
    digest: str  # SHA-256 of result.json
    code: str | None  # the version of the code that made it
    code_unknown: str | None = None  # why that cannot be told

    @property
    def of_other_code(self) -> bool:
        """Whether it is known to be."""
        return self.code is not None and self.code != code_version()

    @property
    def made_up(self) -> bool:
        """Whether all films are rendered: nobody is on them."""
        sites, cohort = (self.result["scenario"].get(part) or {} for part in ("sites", "cohort"))
        return not isinstance(sites, Mapping | list) and cohort.get("source") == "phantom"


@dataclass
class Shelf:
    """A folder of runs; what is wrong with them is noted as it is met."""

    folder: Path
    study: Mapping[str, Any] | None  # study.json
    single: bool  # whether the folder is one run
    lacking: list[str] = field(default_factory=list)  # what cannot be read, or is not there

    @classmethod
    def open(cls, folder: Path) -> Shelf:
        """A run's folder or a study's; anything else is none."""
        if is_marked(folder) or (folder / "result.json").is_file():
            return cls(folder, None, True)
        told = [folder / name for name in STUDY if (folder / name).is_file()]
        if not told and not any(is_marked(below) for below in _folders(folder)):
            within = [below.name for below in _folders(folder) if any(map(is_marked, _folders(below)))]
            raise ConfigError(
                "this folder is neither a run nor a study",
                given=folder,
                allowed="RUNS/STUDY, or RUNS/STUDY/METHOD-FINGERPRINT-SEED",
                do=f"name a folder in it, such as {one_line(within[0])}" if within else None,
            )
        shelf = cls(folder, None, False)
        shelf.study = shelf._study()
        return shelf

    def policies(self) -> Iterator[tuple[Mapping[str, Any] | None, list[Read]]]:
        """Each policy's row of study.json, if there is one, with its results; they are read as they are asked for."""
        if self.single:
            yield None, self._results([self.folder])
            return
        rows = self.study["rows"] if self.study else []
        seen: set[str] = set()
        for row in rows:
            names = [Path(one).name for one in row["folders"]]  # the study may lie elsewhere by now
            seen |= set(names)
            yield row, self._results([self.folder / name for name in names])
        others: dict[str, list[Path]] = {}
        for folder in _folders(self.folder):
            if is_marked(folder) and folder.name not in seen:
                others.setdefault(folder.name.rpartition("-")[0], []).append(folder)
        for folders in others.values():
            yield None, self._results(folders)

    def _study(self) -> Mapping[str, Any] | None:
        path = self.folder / "study.json"
        if not path.is_file():
            self.lacking.append(
                "study.json is not there, so that constraints are unknown: `fedcxr study STUDY.yaml --resume` writes it"
            )
            return None
        try:
            told = read_json(path)
            if isinstance(told, Mapping) and told.get("schema") != COMPARED:
                raise StorageError(f"study.json is of schema {one_line(told.get('schema'), 20)}, and not {COMPARED}")
            return _shape.comparison(told)
        except (StorageError, pydantic.ValidationError) as error:
            self.lacking.append(f"study.json cannot be read: {_why(error)}")
            return None

    def _results(self, folders: list[Path]) -> list[Read]:
        return [read for folder in folders if (read := self._read(folder)) is not None]

    def _read(self, folder: Path) -> Read | None:
        path = folder / "result.json"
        if not path.is_file():
            state = "is unfinished" if folder.is_dir() else "is not there"
            self.lacking.append(f"{folder.name} {state}: `--resume` goes on with it")
            return None
        try:
            result = _shape.result(result_of(folder))
            code, unknown = _code(folder)
            if unknown is not None:
                self.lacking.append(f"{folder.name} is reported, and which code made it is unknown: {unknown}")
            return Read(folder, result, hashlib.sha256(path.read_bytes()).hexdigest(), code, unknown)
        except (OSError, FedcxrError, pydantic.ValidationError) as error:
            self.lacking.append(f"{folder.name} cannot be read: {_why(error)}")
            return None


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(below for below in folder.iterdir() if below.is_dir())
    except OSError:
        return []


def _code(folder: Path) -> tuple[str | None, str | None]:
    """Which version made it, or why nobody can tell; its result is read all the same."""
    try:
        told = versions_of(folder).get("fedcxr")
    except StorageError:
        return None, f"its run.json {'cannot be read' if is_marked(folder) else 'is not there'}"
    return (told, None) if isinstance(told, str) else (None, "its run.json names no version")


def _why(error: BaseException) -> str:
    if isinstance(error, pydantic.ValidationError):
        return one_line(explain(error, "result", _shape.Result))
    return one_line(error)
