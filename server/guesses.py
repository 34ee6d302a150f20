"""What an adversary recovered, on its way from its own process to the scorer: arrays of fixed shape, nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries import Guess, Scores
from fedcxr.errors import AttackFailed

NAME = re.compile(r"[a-z][a-z_]{0,31}")
SUPPORT, PICTURES, ALIKE = "recovered-{}-support", "recovered-{}-pictures", "same-film-{}"

Shape = tuple[int, ...]


def save(guesses: Mapping[str, Guess], alike: Mapping[str, Scores], outcome: Path) -> None:
    """Write what was recovered, and which film was taken for which."""
    for attacker, guess in guesses.items():
        np.save(outcome / f"{SUPPORT.format(attacker)}.npy", guess.support, allow_pickle=False)
        np.save(outcome / f"{PICTURES.format(attacker)}.npy", guess.pictures, allow_pickle=False)
    for attacker, scores in alike.items():
        np.save(outcome / f"{ALIKE.format(attacker)}.npy", scores, allow_pickle=False)


def load_guess(outcome: Path, attacker: str, codes: Shape, films: Shape) -> Guess:
    """One attacker's, if it is what it should be: for every film of `films` a code and a picture."""
    support = _load(outcome, SUPPORT.format(_named(attacker)), codes, np.float16)
    return Guess(support, _load(outcome, PICTURES.format(attacker), films, np.uint8))


def load_alike(outcome: Path, attacker: str, pairs: int) -> Scores:
    """One attacker's opinion of each pair's code about each pair's film."""
    return _load(outcome, ALIKE.format(_named(attacker)), (pairs, pairs), np.float32)


def _named(attacker: object) -> str:
    if not isinstance(attacker, str) or not NAME.fullmatch(attacker):
        raise AttackFailed("an adversary left a strange name", given=repr(attacker)[:80])
    return attacker


def _load(outcome: Path, name: str, shape: Shape, kind: type[np.generic]) -> npt.NDArray[Any]:
    """Mapped first, so that a header that promises too much costs nothing."""
    try:
        array = np.load(outcome / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise AttackFailed(f"an adversary left `{name}` unreadable", given=str(error)[:200]) from None
    told = f"{getattr(array, 'shape', None)} of {getattr(array, 'dtype', None)}"
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != kind:
        raise AttackFailed(f"an adversary left the wrong `{name}`", given=told, allowed=f"{shape} of {kind.__name__}")
    read = np.array(array)
    if not np.isfinite(read).all():
        raise AttackFailed(f"an adversary left `{name}` with numbers that are not finite")
    return read
