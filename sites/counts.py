"""How often each film was in an answer: what a coordinator who asks again and again would average is counted here.

Releases of one film under independent noise, sixty-four of them, average to the film. So every job counts for the films
in it before anything is drawn, over all runs and methods; and a job whose films have had their budget is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgpack

from fedcxr.errors import Refused
from sites.budget import Budget

Tally = tuple[int, int, int]  # in releases, turns of learning, tests

KINDS = {"release": 0, "learn": 1, "test": 2}
NEVER: Tally = (0, 0, 0)
ALLOWED = {"release": "releases", "learn": "turns", "test": "tests"}  # as the budget calls them


class Counts:
    """The counts of all films that were in any answer, by the digest of their name."""

    def __init__(self, films: Mapping[bytes, Tally]) -> None:
        self._films = films

    def __len__(self) -> int:
        return len(self._films)

    def of(self, film: bytes) -> Tally:
        return self._films.get(film, NEVER)

    def counting(self, kind: str, films: Sequence[bytes]) -> Counts:
        """The counts with one job more; a film that is in it twice is in two answers."""
        place, counted = KINDS[kind], dict(self._films)
        for film, times in Counter(films).items():
            tally = list(counted.get(film, NEVER))
            tally[place] += times
            counted[film] = (tally[0], tally[1], tally[2])
        return Counts(counted)

    def within(self, kind: str, films: Sequence[bytes], budget: Budget) -> Counts:
        """The counts with one job more, if the budget of every film in it allows that."""
        place, called = KINDS[kind], ALLOWED[kind]
        allowed, new = int(getattr(budget, called)), self.counting(kind, films)
        if over := sum(new.of(film)[place] > allowed for film in dict.fromkeys(films)):
            raise Refused(
                "the budget of these films is spent",
                given=f"{over} of {len(films)} films would be in more",
                allowed=f"{allowed} {called} of each film",
                do="whether it is raised is the hospital's to decide",
            )
        return new

    def pack(self) -> bytes:
        packed: bytes = msgpack.packb(self._films, use_bin_type=True)
        return packed

    @classmethod
    def unpack(cls, data: bytes) -> Counts:
        """What `pack` wrote, as a vault has authenticated it."""
        return cls(msgpack.unpackb(data, use_list=False, strict_map_key=False))
