"""The hospital's own look at what would leave: how much of each film is still in what a method made of it.

The figures are no promise of privacy: a film can be changed at every pixel and recognised all the same, which is what
adversaries measure. They catch what protects nothing, whatever the scenario calls it: a method that is switched off,
weights that somebody chose so that films come out as they went in, a few films left as they were among thousands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import Cohort
from fedcxr.errors import Refused
from fedcxr.release import WEIGHTS, Release

AT_ONCE = 1 << 20  # pixels: 256 films of 64 px, 16 of 256 px
SAME = 0.6  # grey levels: what rounding can make of a pixel
SHIFTS = 8  # a film moved by up to an eighth of its side, around its edges, is looked for in every such place
THUMBNAIL = 16  # pixels of the side of a film when it is looked for among all others
LOOKED_AT = frozenset({"films", "findings", "split"})  # in a release of films, besides weights

Films = npt.NDArray[np.uint8]  # (n, h, w)
Bools = npt.NDArray[np.bool_]  # (n, h, w)
Figures = npt.NDArray[np.float64]  # (n,) one for each film


class Limits(pydantic.BaseModel):
    """How like its original a released film may be; null: no limit.

    `unchanged` and `correlation` hold for every single film and not for a quantile of them: each is somebody's, and
    any share that is let off, be it a thousandth, is ten people in a large hospital. The `mean_` limits hold for the
    release as a whole.

    The defaults let every method here through at its default strength, which takes more for single films than one
    would wish: what `prichexy_net` moves depends on where its training happened to end, and single films kept 97 % of
    their pixels and a correlation of .99999. A hospital without that method should set `unchanged` to .5 and
    `correlation` to .98, which all the others keep.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    unchanged: float | None = pydantic.Field(
        0.99, ge=0, le=1, description="share of any film's pixels that still show what they did"
    )
    correlation: float | None = pydantic.Field(
        None, ge=0, le=1, description="of any film with its original, which may be moved as a whole, or inverted"
    )
    mean_unchanged: float | None = pydantic.Field(0.8, ge=0, le=1, description="the same, over all films")
    mean_correlation: float | None = pydantic.Field(0.99, ge=0, le=1, description="the same, over all films")
    found: float | None = pydantic.Field(
        None, ge=0, le=1, description="share of films that are more like their own original than like any other film"
    )


@dataclass(frozen=True)
class Likeness:
    """What was measured of released films that are somebody's, row by row."""

    unchanged: Figures
    correlation: Figures
    found: npt.NDArray[np.bool_] | None  # None: nobody asked, and it takes a comparison of all with all

    def figures(self) -> dict[str, float]:
        """What each limit is held against."""
        figures = {
            "unchanged": self.unchanged.max(initial=0.0),
            "correlation": self.correlation.max(initial=0.0),
            "mean_unchanged": self.unchanged.mean() if len(self.unchanged) else 0.0,
            "mean_correlation": self.correlation.mean() if len(self.correlation) else 0.0,
        }
        if self.found is not None:
            figures["found"] = self.found.mean() if len(self.found) else 0.0
        return {name: float(figure) for name, figure in figures.items()}


def inspect(original: Cohort, release: Release, limits: Limits) -> None:
    """Refuse a release that is too like the films it was made of; `original` is in the order its origins count by.

    Films are measured as they leave. Of codes and updates nothing is measured, because they hold no film in the clear:
    of codes only that a part of them is sealed at all, for what that hides their method answers.
    """
    if release.kind == "codes" and len(release) and not release.arrays["sealed"].shape[1]:
        raise Refused("a release of codes seals nothing", given=release.method)
    if release.kind != "images":
        return
    others = sorted(name for name in release.arrays if name not in LOOKED_AT and not name.startswith(WEIGHTS))
    if others:
        raise Refused("a release of films holds what nobody here has looked at", given=", ".join(others))
    for name, figure in measured(original, release, search=limits.found is not None).figures().items():
        limit = getattr(limits, name)
        if limit is not None and figure > limit:
            raise Refused(
                f"what would leave is too like the films it was made of: {name}",
                given=f"{figure:.4f}",
                allowed=f"up to {limit:g}",
            )


def measured(original: Cohort, release: Release, *, search: bool = False) -> Likeness:
    """How like its original each released film is. A row of nobody is held against the film that it is most like."""
    if release.size != original.size:
        raise Refused(
            "released films of another size cannot be compared with their originals",
            given="{} x {}".format(*release.size),
            allowed="{} x {}".format(*original.size),
        )
    released, own = release.arrays["films"].astype(np.uint8, copy=False), release.origins.copy()
    nobodys = own < 0
    found = None
    if len(original) and (search or nobodys.any()):
        nearest = _nearest(original, released)
        found = (nearest == own)[~nobodys] if search else None
        own[nobodys] = nearest[nobodys]
    unchanged, correlation = np.zeros(len(own)), np.zeros(len(own))
    step = _films_at_once(original)
    for start in range(0, len(own) if len(original) else 0, step):
        some = slice(start, start + step)
        films, shown = original.films(own[some]), released[some]
        back, seen = moved_back(films, shown)
        unchanged[some] = np.maximum(unchanged_share(films, shown), unchanged_share(films, back, seen))
        correlation[some] = np.maximum(largest_correlation(films, shown), _correlation(films, back, seen))
    return Likeness(unchanged, correlation, found)


def unchanged_share(films: Films, released: Films, seen: Bools | None = None) -> Figures:
    """Of the pixels that differ from one beside them, for others show nothing, the share that shows what it did.

    Exactly, or after brightness and contrast of the whole film are undone, as far as rounding lets them. Only pixels
    that are `seen` count.
    """
    seen = np.ones(films.shape, dtype=np.bool_) if seen is None else seen
    shows = _shows(films) & seen
    a, b = films.astype(np.float32), released.astype(np.float32)
    same = np.abs(a - b) <= SAME
    level_a, level_b = (x.mean((1, 2), keepdims=True, where=seen) for x in (a, b))
    spread = ((b - level_b) ** 2).mean((1, 2), keepdims=True, where=seen)
    slope = ((a - level_a) * (b - level_b)).mean((1, 2), keepdims=True, where=seen) / np.maximum(spread, 1e-6)
    undone = np.abs(a - level_a - slope * (b - level_b)) <= SAME * np.maximum(np.abs(slope), 1)
    many = np.maximum(shows.sum((1, 2)), 1)
    shares: Figures = np.maximum((same & shows).sum((1, 2)), (undone & shows).sum((1, 2))) / many
    return shares


def largest_correlation(films: Films, released: Films) -> Figures:
    """Pearson's, without its sign, at the best of all small shifts of the released film."""
    height, width = films.shape[1:]
    spectra = [np.fft.rfft2(_standard(x)) for x in (films, released)]
    by_shift = np.abs(np.fft.irfft2(spectra[0] * spectra[1].conj(), s=(height, width)))
    down, across = (np.r_[0 : side // SHIFTS + 1, side - side // SHIFTS : side] for side in (height, width))
    largest: Figures = by_shift[:, down][:, :, across].max((1, 2)).astype(np.float64).clip(0, 1)
    return largest


def moved_back(films: Films, released: Films) -> tuple[Films, Bools]:
    """The released films where their originals are, and which of their pixels are there, if each was moved as a whole.

    By up to half a side: a film moved further than it is looked for is the film all the same, but for its edge.
    """
    sides = films.shape[1:]
    crossed = np.fft.rfft2(_standard(films)) * np.fft.rfft2(_standard(released)).conj()
    crossed /= np.maximum(np.abs(crossed), 1e-9)  # phases alone: a place is a peak, and no slope towards it
    peak = np.abs(np.fft.irfft2(crossed, s=sides)).reshape(len(films), -1).argmax(1)
    back, seen = released, np.ones(films.shape, dtype=np.bool_)
    for axis, (side, by) in enumerate(zip(sides, np.unravel_index(peak, sides), strict=True), start=1):
        signed = np.where(by > side // 2, by - side, by)
        came_from = np.arange(side) - signed[:, None]  # (n, side)
        shape = (len(films), side, 1) if axis == 1 else (len(films), 1, side)
        back = np.take_along_axis(back, (came_from % side).reshape(shape), axis)
        seen &= ((came_from >= 0) & (came_from < side)).reshape(shape)
    return back, seen


def _correlation(films: Films, released: Films, seen: Bools) -> Figures:
    """Pearson's, without its sign, of the pixels that are seen."""
    a, b = (np.where(seen, x, x.mean((1, 2), keepdims=True, where=seen)) for x in (films, released))
    correlation: Figures = np.abs((_standard(a) * _standard(b)).sum((1, 2))).astype(np.float64).clip(0, 1)
    return correlation


def _shows(films: Films) -> Bools:
    shows = np.zeros(films.shape, dtype=np.bool_)
    down, across = films[:, 1:] != films[:, :-1], films[:, :, 1:] != films[:, :, :-1]
    shows[:, 1:] |= down
    shows[:, :-1] |= down
    shows[:, :, 1:] |= across
    shows[:, :, :-1] |= across
    return shows


def _standard(films: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Of mean 0 and length 1; a film of one grey is nothing but zeros."""
    centred = films.astype(np.float32)
    centred -= centred.mean((1, 2), keepdims=True)
    length = np.sqrt((centred**2).sum((1, 2), keepdims=True))
    centred /= np.maximum(length, 1e-6)
    return centred


def _nearest(original: Cohort, released: Films) -> npt.NDArray[np.intp]:
    """Which film of the site each released one is most like, seen from afar."""
    step = _films_at_once(original)
    own = np.concatenate([_thumbnails(films) for films in original.chunks(step)])
    nearest = [
        (_thumbnails(released[start : start + step]) @ own.T).argmax(1) for start in range(0, len(released), step)
    ]
    return np.concatenate(nearest).astype(np.intp) if nearest else np.zeros(0, dtype=np.intp)


def _thumbnails(films: Films) -> npt.NDArray[np.float32]:  # (n, pixels)
    rows, columns = (np.arange(min(side, THUMBNAIL)) * side // min(side, THUMBNAIL) for side in films.shape[1:])
    sums = np.add.reduceat(np.add.reduceat(films, rows, axis=1, dtype=np.float32), columns, axis=2)
    return _standard(sums).reshape(len(films), -1)


def _films_at_once(original: Cohort) -> int:
    return max(1, AT_ONCE // (original.size[0] * original.size[1]))
