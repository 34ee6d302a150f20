"""A finished run as its folder tells it, whichever version of the code made it: read, and nothing gone on from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fedcxr.errors import ConfigError, DataError, OtherVersion, UnknownName
from fedcxr.runs import SCHEMA
from fedcxr.runs.identity import is_marked
from fedcxr.scenario.document import read_file
from fedcxr.storage.disk import explained, read_json

PARTS = ("run", "scenario", "environment", "sites", "utility", "privacy", "cost")  # of a result
SHORT = 8  # digits of a fingerprint by which people tell runs apart
FEW = 12  # names that an error lists


@dataclass(frozen=True)
class Stored:
    """What is on file of a run that is done."""

    folder: Path
    scenario: Mapping[str, Any]  # as it was run, in full
    result: Mapping[str, Any]
    versions: Mapping[str, str]  # of the code that made it
    digests: Mapping[str, str]  # of each site's release

    @classmethod
    def read(cls, folder: Path) -> Self:
        if not is_marked(folder):
            raise ConfigError("this folder is not a run", given=folder, do="fedcxr runs list")
        result = result_of(folder)
        missing = [part for part in PARTS if not isinstance(result.get(part), dict | list)]
        if missing:
            raise DataError("this result is damaged", given=f"no {', '.join(missing)} in {folder / 'result.json'}")
        with explained(folder):
            notes = sorted((folder / "releases").glob("*.json"))
        with as_promised(folder):
            digests = {note.stem: str(read_json(note).get("digest")) for note in notes}
        scenario = read_file(folder / "scenario.yaml")
        return cls(folder, scenario, result, versions_of(folder), digests)

    @property
    def name(self) -> str:
        return short_name(self.folder)


@contextmanager
def as_promised(folder: Path) -> Iterator[None]:
    """Say that a run is damaged, where something in it is of another shape than whoever reads it was promised."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}; --debug shows where"
        raise DataError("what is stored of this run is damaged", given=folder, do=why) from error


def result_of(folder: Path) -> Mapping[str, Any]:
    """What a run found out, whatever its parts are: a document of our schema."""
    if not (folder / "result.json").is_file():
        raise DataError("this run has no result", given=folder, do="it is unfinished: run it again with --resume")
    result = read_json(folder / "result.json")
    schema = result.get("schema") if isinstance(result, dict) else f"a {type(result).__name__}"
    if schema != SCHEMA:
        raise OtherVersion("this result is of another schema", given=f"{schema} in {folder.name}", allowed=str(SCHEMA))
    found: Mapping[str, Any] = result
    return found


def versions_of(folder: Path) -> Mapping[str, str]:
    """Of the code that made a run; nothing where its marker says none."""
    marker = read_json(folder / "run.json")
    versions = marker.get("versions") if isinstance(marker, dict) else None
    return versions if isinstance(versions, dict) else {}


def short_name(folder: Path) -> str:
    """A run as people call it: its method, the first digits of its fingerprint, and its seed."""
    head, _, seed = folder.name.rpartition("-")
    method, _, fingerprint = head.rpartition("-")
    return f"{method}-{fingerprint[:SHORT]}-{seed}" if method else folder.name


def found(named: str, out: Path) -> Path:
    """A run's folder, by its path, or by how it is called below `out`, of which the beginning is enough."""
    if is_marked(Path(named)):
        return Path(named)
    with explained(out):
        there = [folder for folder in sorted(out.glob("*/*")) if is_marked(folder)]
    fits = [folder for folder in there if folder.name == named or short_name(folder) == named]
    fits = fits or [folder for folder in there if folder.name.startswith(named) or short_name(folder).startswith(named)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        names = ", ".join(f"{folder.parent.name}/{short_name(folder)}" for folder in fits[:FEW])
        raise ConfigError("several runs are called so", given=named, allowed=names, do="name one's folder")
    if Path(named).exists() or len(there) > FEW:
        raise ConfigError("this is no run", given=named, do=f"fedcxr runs list {out} names those that are there")
    raise UnknownName("run", named, map(short_name, there))
