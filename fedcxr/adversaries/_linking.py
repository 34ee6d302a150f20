"""Whose films are these codes? Attackers that compare what is visible of codes with films they have.

    learned   a metric learnt on films of one's own, over all that is visible: small pictures where values are in
              their places, and the curve of the sizes of values, which no shuffle hides, where they are not (of
              padded codes it is the same for all films, and `learned` says so of every pair)
    values    how often each size of value occurs, as candidates of the same film would have it
    decoded   correlation with the best picture that needs no key and no training

In the control on unprotected films nothing is hidden, and the codes are seen with their values in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries import Leak
from fedcxr.adversaries._appearance import not_granted
from fedcxr.codes import Codes, support
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import RunContext
from fedcxr.methods._keyless import Keyless
from fedcxr.methods.sca import Sca
from fedcxr.questions.linkage import Scores
from fedcxr.view import Films, Rows

if TYPE_CHECKING:
    from fedcxr.methods._codec import Codec

Comparing = Literal["values", "decoded"]
Likeness = npt.NDArray[np.float32]  # (released, films)
Numbers = npt.NDArray[np.float32]  # (n, d) of what is visible of films

TOGETHER = 32  # codes compared at once
SIDE = 32  # pixels of a small picture
MOST_CALIBRATED = 500  # films


@dataclass(frozen=True)
class Shown:
    """Films as the attacker sees them."""

    codes: Codes | None  # (n, p, h, w); None: nothing is public
    pictures: Films  # (n, h, w)
    in_place: bool  # whether the values stand where their channel and cell are


@dataclass(frozen=True)
class Version:
    """Films under attack that have one version of the codec, and what would be seen of films of one's own."""

    rows: Rows
    codec: Codec
    shown: Shown
    hide: Callable[[Films], Shown]


def versions(leak: Leak, rng: np.random.Generator, context: RunContext) -> Iterator[Version]:
    """What is seen of the films under attack, version by version of their codec."""
    if "sealed" not in leak.view.forms:
        codec = Sca().codec({}, context)

        def unprotected(films: Films) -> Shown:
            codes = codec.encode(films)
            return Shown(codes, codec.decode(codes, (films.shape[1], films.shape[2])), in_place=True)

        films = np.asarray(leak.view.forms["films"], dtype=np.uint8)
        yield Version(np.arange(len(films)), codec, unprotected(films), unprotected)
        return
    for rows, keyless in without_keys(leak, context):
        public, again = (None if codes is None else codes[rows] for codes in published(leak))

        def hidden(films: Films, keyless: Keyless = keyless, twice: bool = again is not None) -> Shown:
            codes = keyless.codec.encode(films)
            first = keyless.hidden_codes(codes, rng)
            return _shown(keyless, len(films), first, keyless.hidden_codes(codes, rng) if twice else None)

        yield Version(rows, keyless.codec, _shown(keyless, len(rows), public, again), hidden)


def published(leak: Leak) -> tuple[Codes | None, Codes | None]:  # (n, p, h, w) each
    """The codes of the films under attack as they were published, and the same in another release if there was one."""
    again = leak.holdings.get("releases")
    public = leak.view.forms.get("codes")
    return (
        None if public is None else np.asarray(public, dtype=np.int8),
        None if again is None else np.asarray(again.arrays["codes"], dtype=np.int8),
    )


def without_keys(leak: Leak, context: RunContext) -> Iterator[tuple[Rows, Keyless]]:
    """What somebody without a key sees, for each version of the codec, and the films under attack that have it."""
    method = leak.mechanism
    if method is None or not method.keyed:
        raise not_granted(
            leak,
            "these attackers run the codec, so they",
            "set knowledge.mechanism to true",
            "a method that shares codes",
        )
    for version, weights in enumerate(leak.taught):
        rows = np.flatnonzero(leak.view.versions == version)
        if len(rows):
            yield rows, cast(Keyless, method.appearance(leak.own.films, weights, context))


def _shown(keyless: Keyless, films: int, public: Codes | None, again: Codes | None) -> Shown:
    in_place = keyless.practice is not None and keyless.practice.in_place
    pictures = keyless.pictures(public, films, again)
    if public is None or again is None or in_place:
        return Shown(public, pictures, in_place)
    return Shown(np.concatenate([public, again], axis=1), pictures, in_place)


def learned(seen: Version, known: Films, own: Owned, rng: np.random.Generator) -> Scores:
    """Log-odds by a metric learnt on films of one's own, hidden as those under attack are."""
    if seen.shown.codes is None or _all_alike(seen.shown):
        return np.zeros((len(seen.rows), len(known)), dtype=np.float32)
    hidden = _numbers(seen.hide(own.films))
    judge = _judge(hidden, lambda rows: _plain_numbers(own.films[rows], seen), own, rng)
    return judge(_numbers(seen.shown), _plain_numbers(known, seen))


def joined(seen: Sequence[Version], sites: npt.NDArray[np.int64], own: Owned, rng: np.random.Generator) -> Scores:
    """Log-odds of every pair of films under attack, by a metric learnt on films of one's own that are hidden alike.

    Each of one's own is hidden as some film under attack is: in its version of the codec, and together with those that
    stand for its site, whose key is no other site's.
    """
    films = sum(len(one.rows) for one in seen)
    if any(one.shown.codes is None for one in seen):
        return np.zeros((films, films), dtype=np.float32)
    shown = np.concatenate([_numbers(one.shown) for one in seen])[
        np.argsort(np.concatenate([one.rows for one in seen]))
    ]
    hidden = np.empty((len(own.people), shown.shape[1]), dtype=np.float32)
    version = np.empty(films, dtype=np.intp)
    for number, one in enumerate(seen):
        version[one.rows] = number
    like = rng.integers(films, size=len(own.people))
    for number, site in np.unique(np.stack([version[like], sites[like]], axis=1), axis=0):
        here = (version[like] == number) & (sites[like] == site)
        hidden[here] = _numbers(seen[number].hide(own.films[here]))
    return _judge(hidden, lambda rows: hidden[rows], own, rng)(shown, shown)


def _judge(
    hidden: Numbers, compared_with: Callable[[Rows], Numbers], own: Owned, rng: np.random.Generator
) -> Callable[[Numbers, Numbers], Scores]:
    """Log-odds by a metric learnt on films of one's own, calibrated on people held out, if there are pairs of them.

    Where nothing that is visible tells films apart, as of padded codes, it says so of every pair.
    """
    from fedcxr.adversaries import _metric  # imports scipy

    if _same(hidden):
        return lambda some, others: np.zeros((len(some), len(others)), dtype=np.float32)
    metric = _metric.learn(hidden, own.people, own.held_out, rng)
    judged = own.held_out if _metric.pairs_of(own.people[own.held_out]).any() else np.ones_like(own.held_out)
    rows = np.flatnonzero(judged)[:MOST_CALIBRATED]
    calibrated = _metric.calibrated(metric(hidden[rows], compared_with(rows)), own.people[rows])
    return lambda some, others: calibrated(metric(some, others))


def compared(attacker: Comparing, seen: Version, known: Films, own: Owned) -> Scores:
    """Log-odds by a likeness that needs no learning, calibrated on pairs of one's own films."""
    from fedcxr.adversaries import _metric  # imports scipy

    judge = _metric.calibrated(_likeness(attacker, seen.hide(own.films), own.films, seen.codec), own.people)
    return judge(_likeness(attacker, seen.shown, known, seen.codec))


def _likeness(attacker: Comparing, shown: Shown, films: Films, codec: Codec) -> Likeness:
    """How like each film that is shown is to each of these."""
    if attacker == "decoded":
        return support.correlation(shown.pictures, films)
    if shown.codes is None:
        return np.zeros((len(shown.pictures), len(films)), dtype=np.float32)
    candidates = codec.encode(films)
    parts = [
        support.candidates_by_values(shown.codes[start : start + TOGETHER], candidates)
        for start in range(0, len(shown.codes), TOGETHER)
    ]
    return -np.log1p(-np.concatenate(parts))


def _all_alike(shown: Shown) -> bool:
    """Whether nothing that is visible tells these films apart, as of padded codes: hiding others would be in vain."""
    return len(shown.pictures) > 1 and _same(_numbers(shown))


def _same(numbers: Numbers) -> bool:
    return not np.ptp(numbers, axis=0).any()


def _numbers(shown: Shown) -> Numbers:
    assert shown.codes is not None
    return _small(shown.pictures) if shown.in_place else support.size_curve(shown.codes)


def _plain_numbers(films: Films, seen: Version) -> Numbers:
    """The same numbers of films that nothing hides."""
    return _small(films) if seen.shown.in_place else support.size_curve(seen.codec.encode(films))


def _small(pictures: Films) -> npt.NDArray[np.float32]:  # (n, SIDE * SIDE)
    """Mean grey levels of small pictures."""
    import torch
    from torch.nn import functional as F

    sides = min(SIDE, pictures.shape[1]), min(SIDE, pictures.shape[2])
    stack = torch.from_numpy(np.ascontiguousarray(pictures))[:, None].float()
    small: npt.NDArray[np.float32] = F.adaptive_avg_pool2d(stack, sides).flatten(1).numpy()
    return small
