"""Arrays in files that somebody else may have made: mapped if they are what they should be."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

LONGEST_HEADER = 4096  # bytes; NumPy writes 118


def mapped(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The array of exactly this shape and type in a file, read-only; otherwise a ValueError."""
    refuse_irregular(path)
    try:
        array = np.lib.format.open_memmap(path, mode="r", max_header_size=LONGEST_HEADER)
    # NumPy reads a header by Python's own parser, which fails in every way there is: SyntaxError, TokenError ...
    except Exception as error:
        raise ValueError(f"{path.name} is no array: {type(error).__name__}") from None
    if array.shape != shape or array.dtype != np.dtype(dtype) or not array.flags.c_contiguous:
        raise ValueError(f"{path.name} holds {array.shape} {array.dtype}, and not {shape}")
    return array


def refuse_irregular(path: Path) -> None:
    """Whoever opens a pipe waits for somebody to write to it."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  pathlib is no shorter
        raise ValueError(f"{path.name} is not a regular file")
