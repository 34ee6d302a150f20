"""Where an audit's results go: not among the films, and not among what somebody else has left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fedcxr.errors import ConfigError
from fedcxr.storage.disk import explained
from fedcxr.storage.private import private_folder

DATA = "audit.json"


@contextlib.contextmanager
def place(out: Path, films: tuple[Path, ...]) -> Iterator[None]:
    """The folder for the results, there before the work begins and gone if nothing came of it."""
    there = out.resolve()
    if any(there.is_relative_to(folder.resolve()) for folder in films):
        raise ConfigError("the results must not lie among the films", given=out, do="choose another --out")
    with explained(out):
        if out.is_dir() and any(out.iterdir()) and not (out / DATA).is_file():
            raise ConfigError(
                "this folder holds other things, and what an audit leaves is for nobody else's eyes",
                given=out,
                allowed="a new folder, an empty one, or that of an earlier audit",
                do="choose another --out",
            )
        private_folder(out)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # it holds an earlier audit
            out.rmdir()
        raise
