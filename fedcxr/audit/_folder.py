"""The films in a folder that somebody hands over, and how to find one by what a table or another folder calls it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fedcxr.data._decode import Unusable
from fedcxr.data._inside import Inside
from fedcxr.data._listing import Decoder, Problem
from fedcxr.errors import DataError, StorageError

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
DICOMS = (".dcm", ".dicom")


@dataclass(frozen=True)
class FilmFile:
    """A film that nobody has looked at yet."""

    name: str  # below its folder
    path: Path
    decoder: Decoder


@dataclass(frozen=True)
class FilmFolder:
    """The films below a folder, by their names, and by what is left of these without ending or folder."""

    folder: Path
    films: Mapping[str, FilmFile]
    keys: Mapping[str, tuple[str, ...]]  # of a name without its ending, its folder or both: whose it may be
    problems: tuple[Problem, ...]  # what lies there as a film and is none, such as a link out of the folder

    @classmethod
    def listed(cls, folder: Path, flag: str) -> FilmFolder:
        """What is there; an error if it is no folder, or one without films."""
        folder = folder.expanduser()
        if not folder.is_dir():
            raise DataError("there is no such folder", given=folder, do=f"set {flag} to a folder of films")
        inside, films, problems = Inside(folder), dict[str, FilmFile](), list[Problem]()
        for name in _names(folder):
            try:
                path = inside.file(name)
            except Unusable as why:
                problems.append(Problem(name, str(why)))
                continue
            films[name] = FilmFile(name, path, "image" if name.lower().endswith(IMAGES) else "dicom")
        if not films:
            raise DataError(
                "there is no film in this folder",
                given=f"{folder}{_refused(problems)}",
                allowed=", ".join((*IMAGES, *DICOMS)),
                do=f"set {flag} to a folder of films",
            )
        keys: dict[str, list[str]] = {}
        for name in films:
            for key in _keys(name):
                keys.setdefault(key, []).append(name)
        return cls(folder, films, {key: tuple(names) for key, names in keys.items()}, tuple(problems))

    def called(self, name: str) -> FilmFile | None:
        """The film of this name, if need be without regard to its ending and its folder, where only one fits."""
        name = str(PurePosixPath(name.replace("\\", "/")))
        if name in self.films:
            return self.films[name]
        for key in _keys(name):
            if len(self.keys.get(key, ())) == 1:
                return self.films[self.keys[key][0]]
        return None


def _keys(name: str) -> tuple[str, ...]:
    """From the most to the least telling. A number behind a point may be part of a name, and not its ending."""
    path = PurePosixPath(name)
    known = path.suffix.lower() in (*IMAGES, *DICOMS)
    whole = str(path.with_suffix("")) if known else str(path)
    return tuple(dict.fromkeys((whole, PurePosixPath(whole).name)))


def _names(folder: Path) -> Iterator[str]:
    """Every file that looks like a film by its name or its first bytes; links to folders are not followed."""

    def refuse(error: OSError) -> None:
        raise StorageError("cannot read a folder", given=error.filename, do=error.strerror or "") from None

    for where, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if not name.startswith(".") and (name.lower().endswith((*IMAGES, *DICOMS)) or _begins_as_dicom(path)):
                yield path.relative_to(folder).as_posix()


def _begins_as_dicom(path: Path) -> bool:
    if "." in path.name.strip(".")[-6:] or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False  # it has another ending
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return True  # it cannot be read: let the report say so


def _refused(problems: list[Problem]) -> str:
    return f", where {problems[0].file} is {problems[0].reason}" if problems else ""
