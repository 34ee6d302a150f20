"""Answers on their way from an adversary's own process to the scorer: arrays of fixed shape, nothing else."""

from __future__ import annotations

import io
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import dtype_to_descr, write_array_header_1_0

from fedcxr.errors import AttackFailed
from fedcxr.questions import Answer, Answers, Part
from fedcxr.storage.disk import write_array, write_json

NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
LONGEST_TOLD = 200  # bytes of a file that is refused
LONGEST_NOTE = 1 << 12  # bytes
MOST_ATTACKERS = 32
ATTACKERS = "attackers.json"


def check(answers: Answers, parts: Mapping[str, Part]) -> None:
    """Raise, to whoever wrote the adversary, unless these are answers to what was asked."""
    for attacker, answer in answers.items():
        _named(attacker)
        for name, part in parts.items():
            array = answer.get(name)
            if array is None and part.optional:
                continue
            if not isinstance(array, np.ndarray) or array.shape != part.shape or not _numbers(array, part):
                raise ValueError(
                    f"attacker {attacker} must answer `{name}` with finite numbers of shape {part.shape}, "
                    f"not {getattr(array, 'shape', type(array).__name__)}"
                )


def save(answers: Answers, parts: Mapping[str, Part], outcome: Path) -> None:
    """Write every part of every answer, as the question wants it, and last whose they are."""
    for attacker, answer in answers.items():
        for name, part in parts.items():
            if name in answer:
                array = answer[name].astype(part.dtype, order="C")
                write_array(outcome / _file(attacker, name), array)
    write_json(outcome / ATTACKERS, list(answers))


def load(outcome: Path, parts: Mapping[str, Part]) -> Answers:
    """The answers that were left, if they are what they should be."""
    return {attacker: _answer(outcome, attacker, parts) for attacker in _attackers(outcome / ATTACKERS)}


def _attackers(path: Path) -> list[str]:
    """Who answered: a few names, each once."""
    try:
        with open(path, "rb", opener=plainly) as file:
            told = json.loads(file.read(LONGEST_NOTE))
        if not isinstance(told, list) or len(told) > MOST_ATTACKERS:
            raise ValueError(f"a list of {MOST_ATTACKERS} names at most is allowed")
    except (OSError, ValueError, RecursionError) as error:
        raise AttackFailed("an adversary left no list of its attackers", given=error) from None
    names = [_named(attacker) for attacker in told]
    if len(set(names)) != len(names):
        raise AttackFailed("an adversary left an attacker twice", given=", ".join(names))
    return names


def _answer(outcome: Path, attacker: str, parts: Mapping[str, Part]) -> Answer:
    return {
        name: _load(outcome / _file(attacker, name), name, part)
        for name, part in parts.items()
        if not part.optional or (outcome / _file(attacker, name)).is_file()
    }


def _named(attacker: object) -> str:
    if not isinstance(attacker, str) or not NAME.fullmatch(attacker):
        raise AttackFailed("an adversary left a strange name", given=repr(attacker)[:80])
    return attacker


def _file(attacker: str, part: str) -> str:
    return f"{attacker}-{part.replace('/', ' of ')}.npy"


def _numbers(array: npt.NDArray[Any], part: Part) -> bool:
    """Whether all are finite, but for gaps where there may be some."""
    return bool((np.isfinite(array) | (np.isnan(array) if part.gaps else False)).all())


def _load(path: Path, name: str, part: Part) -> npt.NDArray[Any]:  # read-only
    """Nothing of a file is parsed: it begins as that of such an array does and is as long, or it is refused."""
    kind, begins = np.dtype(part.dtype), _header(part)
    length = len(begins) + math.prod(part.shape) * kind.itemsize
    try:
        with open(path, "rb", opener=plainly) as file:
            raw = file.read(length + 1)
    except OSError as error:
        raise AttackFailed(f"an adversary left `{name}` unreadable", given=error) from None
    if not raw.startswith(begins) or len(raw) != length:
        told = repr(raw[:LONGEST_TOLD])
        raise AttackFailed(f"an adversary left the wrong `{name}`", given=told, allowed=f"{part.shape} of {kind}")
    read = np.frombuffer(raw, kind, offset=len(begins)).reshape(part.shape)
    if not _numbers(read, part):
        raise AttackFailed(f"an adversary left `{name}` with numbers that are not finite")
    return read


def _header(part: Part) -> bytes:
    """How numpy begins the file of such an array."""
    begins = io.BytesIO()
    told = {"descr": dtype_to_descr(np.dtype(part.dtype)), "fortran_order": False, "shape": part.shape}
    write_array_header_1_0(begins, told)
    return begins.getvalue()


def plainly(path: str, flags: int) -> int:
    """Open a plain file: a pipe could be read for ever, and a link points out of the fence."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a plain file")
    return descriptor
