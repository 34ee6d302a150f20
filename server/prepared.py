"""What an adversary has prepared, on its way to those that use it: arrays of finite numbers, or refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from fedcxr.errors import AttackFailed, one_line
from fedcxr.view import Weights
from server.answers import plainly

LONGEST_HEADER = 1 << 22  # bytes


def read(path: Path, most: int) -> Weights:
    """A plain file of so many bytes at most, whose header is one of safetensors'."""
    try:
        with open(path, "rb", opener=plainly) as file:
            size = os.fstat(file.fileno()).st_size
            header = int.from_bytes(file.read(8), "little")
            if size > most or not 0 < header <= min(LONGEST_HEADER, size - 8):
                raise ValueError(f"{size} bytes with a header of {header}")
            file.seek(0)
            arrays = load(file.read(size))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise AttackFailed("an adversary left `prepared` unreadable", given=one_line(error)) from None
    for name, array in arrays.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            raise AttackFailed("an adversary left `prepared` with numbers that are not finite", given=name)
    return arrays
