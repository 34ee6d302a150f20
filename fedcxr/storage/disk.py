"""Files that are whole or absent, and what a disk refuses in words a user can act on."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from fedcxr.errors import ConfigError, DiskFull, FedcxrError, StorageError
from fedcxr.storage.private import draft_of, new_file

if TYPE_CHECKING:
    import numpy.typing as npt

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)


def write_atomic(path: Path, data: bytes) -> None:
    """The whole file or none of it, even if the machine stops in the middle; for its owner's eyes alone."""
    _write(path, lambda file: file.write(data))


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """The same for an array, as `np.load` reads it.

    NumPy's own `save` tells of a full disk how many bytes it wrote, and not that the disk is full.
    """
    from numpy.lib.format import write_array as write_plainly

    _write(path, lambda file: write_plainly(cast(IO[bytes], _Plain(file)), array, allow_pickle=False))


class _Plain:
    """A file of which NumPy does not know that it is one of the system's, so that Python writes to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write


def _write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    draft = draft_of(path)
    with explained(path):
        try:
            with new_file(draft) as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def write_json(path: Path, document: object) -> None:
    """NaN is not JSON: a figure that does not apply must be None before it gets here."""
    write_atomic(path, json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")


def read_json(path: Path) -> Any:
    """What `write_json` wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError("cannot read a stored file", given=path, do=str(error)) from None


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals about `path` into errors a user can act on."""
    try:
        yield
    except FedcxrError:
        raise
    except OSError as error:
        if is_full(error):
            raise full(path) from None
        if error.errno in UNWRITABLE:
            raise ConfigError("cannot write there", given=path, do=f"{error.strerror}: choose another --out") from None
        raise StorageError("the disk refused", given=path, do=str(error)) from None


def is_full(error: BaseException) -> bool:
    """Whether it is for want of room that something was not written."""
    return isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in FULL)


def full(path: Path) -> DiskFull:
    """What to say where there is no room."""
    return DiskFull(
        "the disk is full", given=path, do="free some space; then it can be done again, a run with --resume"
    )
