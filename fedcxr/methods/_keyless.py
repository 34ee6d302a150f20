"""What somebody without a key makes of codes: the best picture of each film that needs no training.

    published                     the decoded code, with the exact order of values telling which are true
    other values in their places  the same with likelihood ratios from films of one's own
    shuffled values (`keyed`)     the usual film, as strong as this film's sizes of value say
    nothing public (`sealed`),    the mean of one's own films
    or all alike (`padded`)

Whoever reads films is given these pictures, and makes them of films of their own in the same way.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedcxr.codes import Codes, support
from fedcxr.codes.support import Practice
from fedcxr.keys import MasterKey, ReleaseKey
from fedcxr.methods import Films, RunContext, Weights
from fedcxr.methods._coded import CodeMethod, release_key
from fedcxr.view import Masks, View

MOST = 256  # films of its own that an outsider studies
TOGETHER = 64  # films hidden at once


class Keyless:
    """One version of a codec in the hands of somebody without keys, who has films of their own."""

    def __init__(self, method: CodeMethod, own: Films, weights: Weights, context: RunContext) -> None:
        self.method = method
        self.codec = method.codec(weights, context)
        self._version = method.version(weights)
        studied = own[np.linspace(0, len(own) - 1, min(MOST, len(own))).astype(np.intp)]
        self.size = (int(own.shape[1]), int(own.shape[2]))
        self.mean: Films = np.round(studied.mean(axis=0)).astype(np.uint8)
        # Hidden among films of one's own, however few are asked about at once: decoys are other films' values.
        self._lent = self.codec.encode(studied[:TOGETHER]) if method.hides_among_others else None
        # Any key will do: films hidden under it tell what the mechanism does, and nothing about others' keys.
        codes = self.codec.encode(studied)
        public = self._hidden(codes, MasterKey(bytes(MasterKey.length), "outsider", 1).release_key("practice"))
        self.usual = Practice(codes, codes, in_place=True)  # what films have in common, whatever is public of them
        self.practice = None if public is None else Practice(public, codes, method.in_place)
        if self.practice is not None and not self.practice.in_place and method.sizes_tell:
            self._study_strengths(self.practice)

    @property
    def shows(self) -> bool:
        """Whether what is public makes one film look unlike another."""
        return self.practice is not None and (self.practice.in_place or self.method.sizes_tell)

    def released(self, rows: View) -> Films:
        return self.pictures(rows.forms.get("codes"), len(rows))

    def marks(self, films: Films) -> None:
        """Coding looks for nothing that moves with a film: cells stay where they are."""

    def protected(self, films: Films, rng: np.random.Generator, marks: Masks | None = None) -> Films:
        return self.pictures(self.hidden(films, rng) if self.shows else None, len(films))

    def hidden(self, films: Films, rng: np.random.Generator) -> Codes | None:
        """What would be public of these films, under a key of one's own; None: nothing."""
        return self.hidden_codes(self.codec.encode(films), rng)

    def hidden_codes(self, codes: Codes, rng: np.random.Generator) -> Codes | None:
        """The same of films that are coded already."""
        return self._hidden(codes, release_key("outsider", rng))

    def pictures(self, public: npt.NDArray[np.generic] | None, films: int, again: Codes | None = None) -> Films:
        """What so many films look like, of whose codes this much is public, `again` in another release."""
        if public is None or self.practice is None or not self.shows:
            return np.repeat(self.mean[None], films, axis=0)
        codes = np.asarray(public, dtype=np.int8)
        if not self.practice.in_place and again is not None:
            codes = np.concatenate([codes, again], axis=1)  # the sizes of true values twice, and fakes of both
        if not self.practice.in_place:
            return self.codec.picture(self._expected(codes), self.size)
        scores = self.method.by_order(codes) if self.method.order_tells else None
        if scores is None:
            scores = support.likelihood_ratio(codes, self.practice)
        if again is not None:
            scores = support.CERTAIN * support.intersection(codes, again) + scores
        return self.decoded(codes, scores)

    def decoded(self, public: Codes, scores: support.Scores) -> Films:
        """The film with the numbers that are most likely kept."""
        true = np.where(support.chosen(scores, self.method.s, self.method.together), public, np.int8(0))
        return self.codec.decode(true, self.size)

    def _hidden(self, codes: Codes, key: ReleaseKey) -> Codes | None:
        public: list[npt.NDArray[np.generic]] = []
        parts = np.array_split(codes, max(len(codes) // TOGETHER, 1))
        for first, part in zip(np.cumsum([0, *map(len, parts)]), parts, strict=False):
            among = part if self._lent is None else np.concatenate([part, self._lent])
            arrays = self.method.hide(among, int(first), key, self._version, self.size)
            if "codes" not in arrays:
                return None
            public.append(arrays["codes"][: len(part)])
        return np.concatenate(public).astype(np.int8, copy=False)

    def _study_strengths(self, practice: Practice) -> None:
        """Where films usually keep numbers, how large these are, and how far their signs agree."""
        numbers = np.concatenate([self.codec.expand(part) for part in np.array_split(practice.codes, 16) if len(part)])
        size = np.abs(numbers).mean(axis=0)
        self._usual = support.chosen(support.prior(practice, 1), self.method.s, self.method.together)[0]
        self._by_size = size[self._usual].argsort(kind="stable")
        self._mean_numbers = numbers.mean(axis=0)
        self._agreement = self._mean_numbers / np.maximum(size, 1e-9)

    def _expected(self, public: Codes) -> npt.NDArray[np.float32]:  # (n, c, h, w)
        """Each film's own sizes of value, the largest where films usually have the largest, as far as signs agree.

        Fakes have the sizes of true values, so of the values in order of size, evenly spaced ones stand for true ones.
        """
        sizes = np.sort(np.abs(public.reshape(len(public), -1).astype(np.int16)), axis=1)
        kept = len(self._by_size)
        every = ((np.arange(kept) + 0.5) * sizes.shape[1] / kept).astype(np.intp)
        values = np.empty((len(public), kept), dtype=np.int8)
        values[:, self._by_size] = np.minimum(sizes[:, every], 127)
        drawn = np.zeros((len(public), *self._usual.shape), dtype=np.int8)
        drawn[:, self._usual] = values
        expected = np.where(self._usual, self.codec.expand(drawn) * self._agreement, self._mean_numbers)
        return np.asarray(expected, dtype=np.float32)
