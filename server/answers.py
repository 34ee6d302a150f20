"""Answers on their way from an adversary's own process to the scorer: arrays of fixed shape, nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.errors import AttackFailed
from fedcxr.questions import Answer, Answers, Part

NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def check(answers: Answers, parts: Mapping[str, Part]) -> None:
    """Raise, to whoever wrote the adversary, unless these are answers to what was asked."""
    for attacker, answer in answers.items():
        _named(attacker)
        for name, part in parts.items():
            array = answer.get(name)
            if array is None and part.optional:
                continue
            if not isinstance(array, np.ndarray) or array.shape != part.shape or not np.isfinite(array).all():
                raise ValueError(
                    f"attacker {attacker} must answer `{name}` with finite numbers of shape {part.shape}, "
                    f"not {getattr(array, 'shape', type(array).__name__)}"
                )


def save(answers: Answers, parts: Mapping[str, Part], outcome: Path) -> None:
    """Write every part of every answer, as the question wants it."""
    for attacker, answer in answers.items():
        for name, part in parts.items():
            if name in answer:
                np.save(outcome / _file(attacker, name), answer[name].astype(part.dtype), allow_pickle=False)


def load(outcome: Path, attackers: object, parts: Mapping[str, Part]) -> Answers:
    """The answers that these attackers left, if they are what they should be."""
    if not isinstance(attackers, list):
        raise AttackFailed("an adversary left no list of its attackers", given=type(attackers).__name__)
    return {_named(attacker): _answer(outcome, attacker, parts) for attacker in attackers}


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
    return f"{attacker}-{part}.npy"


def _load(path: Path, name: str, part: Part) -> npt.NDArray[Any]:
    """Mapped first, so that a header that promises too much costs nothing."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise AttackFailed(f"an adversary left `{name}` unreadable", given=str(error)[:200]) from None
    told = f"{getattr(array, 'shape', None)} of {getattr(array, 'dtype', None)}"
    if not isinstance(array, np.ndarray) or array.shape != part.shape or array.dtype != part.dtype:
        allowed = f"{part.shape} of {np.dtype(part.dtype)}"
        raise AttackFailed(f"an adversary left the wrong `{name}`", given=told, allowed=allowed)
    read = np.array(array)
    if not np.isfinite(read).all():
        raise AttackFailed(f"an adversary left `{name}` with numbers that are not finite")
    return read
