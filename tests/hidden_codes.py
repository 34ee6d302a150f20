"""Codes of phantoms hidden under a hospital's key: some films are the adversary's own, all others are attacked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedcxr.codes import Codes
from fedcxr.codes.ambiguation import SHUFFLING, Ambiguation, Rule, ambiguate
from fedcxr.codes.support import Practice
from fedcxr.data.phantom import Phantom
from fedcxr.keys import MasterKey
from fedcxr.methods import RunContext
from fedcxr.methods._codec import Codec
from fedcxr.methods.sca import Sca
from fedcxr.metrics import auc

S, S_N = 8, 24
OWN = 40  # films of the adversary; the others are attacked


@dataclass(frozen=True)
class HiddenCodes:
    films: np.ndarray
    codes: Codes
    codec: Codec
    keys: MasterKey

    def hidden(self, ambiguation: Ambiguation, rows: np.ndarray, release: str) -> Codes:
        rule = Rule(ambiguation, Sca(s=S).shape(self.films.shape[1:]), S_N)
        key = self.keys.release_key(release)
        others = [np.roll(self.codes, -row - 1, axis=0)[:4] for row in rows]
        pairs = zip(rows, others, strict=True)
        return np.stack([ambiguate(self.codes[r], rule, key.image_key(str(r)), "v", o).public for r, o in pairs])

    def practice(self, ambiguation: Ambiguation) -> Practice:
        rows = np.arange(OWN)
        in_place = ambiguation not in SHUFFLING
        return Practice(self.hidden(ambiguation, rows, "practice"), self.codes[rows], in_place)

    @property
    def attacked(self) -> np.ndarray:
        return np.arange(OWN, len(self.films))

    @property
    def truth(self) -> Codes:
        return self.codes[OWN:]

    @classmethod
    def drawn(cls, folder: Path) -> HiddenCodes:
        """Sixty films of 128 px."""
        films = Phantom(patients=40, size=128, mean_visits=2).open(folder).films()[:60]
        codec = Sca(s=S).codec({}, RunContext("cpu", "fp32"))
        return cls(films, codec.encode(films), codec, MasterKey(b"k" * 32, "site-1", 1))


def mean_auc(scores: np.ndarray, codes: Codes) -> float:
    return float(np.mean([auc((c != 0).ravel(), s.ravel()) for c, s in zip(codes, scores, strict=True)]))
