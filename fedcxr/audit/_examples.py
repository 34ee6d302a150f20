"""The films that were matched with the highest scores, as small pictures side by side."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np

from fedcxr.audit.pairing import Paired
from fedcxr.audit.scoring import Asked, Question, Scores
from fedcxr.data._film_file import decode

SHOWN = 6  # of each question
SIDE = 144  # pixels
QUALITY = 80  # of a JPEG


@dataclass(frozen=True)
class Example:
    """A released film, the film that it was matched with, and the original it was made of: rows of the pairs."""

    released: int
    found: int
    score: float
    right: bool


def examples(scores: Scores, asked: Asked, question: Question, shown: int = SHOWN) -> list[Example]:
    """The best matches, one of each patient at most."""
    own = np.eye(len(scores), dtype=bool)
    excluded = ~asked.compared | (asked.one_person & ~own if question == "film" else own)
    alike = np.where(excluded, -np.inf, scores)
    found, best = alike.argmax(axis=1), alike.max(axis=1)
    chosen, patients = list[Example](), set[int]()
    genuine = asked.genuine(question)
    for row in np.argsort(-best, kind="stable").tolist():
        patient = int(asked.patients[row])
        if patient in patients or not np.isfinite(best[row]):
            continue
        patients.add(patient)
        chosen.append(Example(row, int(found[row]), float(best[row]), bool(genuine[row, found[row]])))
        if len(chosen) == shown:
            break
    return chosen


def picture(paired: Paired, row: int, side: str) -> str:
    """A film as the address of a picture within a page."""
    from PIL import Image

    file = paired.pairs[row].released if side == "released" else paired.pairs[row].original
    packed = io.BytesIO()
    Image.fromarray(decode(file.path, SIDE, file.decoder)).save(packed, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(packed.getvalue()).decode()}"
