"""Pictures for people: films beside what became of them, and contact sheets of a cohort."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import Cohort

if TYPE_CHECKING:
    from PIL.Image import Image

TILE = 192  # pixels of a shown film
GAP = 6
LINE = 14  # height of a line of text
INK, PAPER = 235, 18
GRID_LINES = 16  # in each direction, of a picture of a flow
GREYS = "difference: mid-grey is unchanged; brighter: brighter than the original; darker: darker (white, black: by 128)"


def comparison(
    originals: npt.NDArray[np.uint8],
    released: npt.NDArray[np.uint8],
    displacements: npt.NDArray[np.float32] | None = None,
    without_key: npt.NDArray[np.uint8] | None = None,
    *,
    title: str = "",
    about: Sequence[str] = (),
) -> Image:
    """A row per film (n, h, w): original, released, their difference around mid-grey, and where its pixels went.

    `title` stands above, and what each film is `about` below it.

    `displacements` (n, 2, h, w) are in pixels, x before y; a method that moves none has no such column. Where there
    are keys, `released` is what their holder sees, and `without_key` what everybody else makes of the release.
    """
    change = released.astype(np.int16) - originals.astype(np.int16)
    columns = {
        "original": list(originals),
        ("released" if without_key is None else "with the key"): list(released),
        "difference": list(np.clip(128 + change, 0, 255).astype(np.uint8)),
    }
    if without_key is not None:
        columns["without a key"] = list(without_key)
    if displacements is not None:
        columns["flow"] = [_deformed_grid(displacement) for displacement in displacements]
    tiles = [shown for row in zip(*columns.values(), strict=True) for shown in row]
    captions = [""] * len(tiles)
    for row, (film, moved) in enumerate(zip(about, change, strict=True)):
        captions[row * len(columns)] = _fit(film)
        captions[row * len(columns) + 2] = f"on average {np.abs(moved).mean():.0f} of 255 grey levels"
    return sheet(tiles, columns=len(columns), heads=tuple(columns), captions=captions, title=(title, GREYS))


def height_of_comparison(films: int) -> int:
    """Where, in pixels from the top, so many rows of a comparison end."""
    return 2 * LINE + GAP + LINE + 8 + films * (TILE + GAP + 2 * LINE + 8)


def reconstructions(
    originals: npt.NDArray[np.uint8],
    released: npt.NDArray[np.uint8] | None,
    made: Mapping[str, npt.NDArray[np.uint8]],
    method: str,
) -> Image:
    """A row per film (n, h, w): original, released (None: not to be seen), and what each attacker made of that."""
    columns = {f"{method}: original": originals}
    if released is not None:
        columns["released"] = released
    columns |= made
    tiles = [shown for row in zip(*columns.values(), strict=True) for shown in row]
    return sheet(tiles, columns=len(columns), heads=tuple(columns))


def stacked(pictures: Sequence[Image]) -> Image:
    """Pictures below each other."""
    from PIL import Image

    width, height = max(one.width for one in pictures), sum(one.height for one in pictures)
    paper, top = Image.new("L", (width, height), PAPER), 0
    for one in pictures:
        paper.paste(one, (0, top))
        top += one.height
    return paper


def png(picture: Image) -> bytes:
    """A picture as a file."""
    drawn = io.BytesIO()
    picture.save(drawn, format="PNG")
    return drawn.getvalue()


def _deformed_grid(displacement: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:  # (TILE, TILE)
    """Straight lines over the released film, drawn where on the original they lie."""
    from PIL import Image, ImageDraw

    _, height, width = displacement.shape
    paper = Image.new("L", (TILE, TILE), PAPER)
    pen = ImageDraw.Draw(paper)
    y, x = np.indices((height, width)) + 0.5
    points = np.stack([(x + displacement[0]) * TILE / width, (y + displacement[1]) * TILE / height], axis=-1)
    for every in range(GRID_LINES):
        row, column = every * height // GRID_LINES, every * width // GRID_LINES
        for line in (points[row], points[:, column]):
            pen.line([tuple(point) for point in line.tolist()], fill=INK, width=1)
    return np.asarray(paper)


def contact_sheet(cohort: Cohort, films: int, columns: int = 6, *, outlined: bool = False) -> Image:
    """The first films of a cohort with the findings they show, and the edges of the masks that somebody drew."""
    shown = cohort.take(np.arange(min(films, len(cohort))))
    captions = [
        f"{row.patient}, {row.view}\n" + _fit(", ".join(np.array(cohort.findings)[labels == 1]) or "no finding")
        for row, labels in zip(shown.index.itertuples(), shown.labels, strict=True)
    ]
    tiles = [_outlined(film, shown, row) if outlined else film for row, film in enumerate(shown.films())]
    return sheet(tiles, columns, captions=captions)


def _outlined(film: npt.NDArray[np.uint8], cohort: Cohort, row: int) -> npt.NDArray[np.uint8]:  # (TILE, TILE)
    """A film as it is shown, with the edges of whatever is drawn on it."""
    drawn, place = tile(film), np.array([row], dtype=np.intp)
    for organ, masks in cohort.annotations.masks.items():
        if masks.there[cohort.rows[row]]:
            inside = tile(cohort.mask(organ, place)[0].astype(np.uint8) * 255) > 127
            padded = np.pad(inside, 1)
            kept = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
            drawn[inside & ~kept] = INK
    return drawn


def sheet(
    films: Sequence[npt.NDArray[np.uint8]],
    columns: int,
    *,
    heads: Sequence[str] = (),
    captions: Sequence[str] = (),
    title: Sequence[str] = (),
) -> Image:
    """Films in rows of `columns`: lines of title, a head over each column, two lines of caption under each film."""
    from PIL import (
        Image,
        ImageDraw,
    )  # here: half of what a command costs to start is imports it does not need

    rows = -(-len(films) // columns)
    above = len(title) * LINE + GAP if title else 0
    top = above + (LINE + 8 if heads else GAP)
    pitch = TILE + GAP + (2 * LINE + 8 if captions else 0)
    paper = Image.new("L", (columns * (TILE + GAP) + GAP, top + rows * pitch), PAPER)
    pen = ImageDraw.Draw(paper)
    for number, line in enumerate(title):
        pen.text((GAP + 2, 5 + number * LINE), line, fill=INK)
    for column, head in enumerate(heads):
        pen.text((GAP + column * (TILE + GAP) + 2, above + 5), head, fill=INK)
    for place, film in enumerate(films):
        row, column = divmod(place, columns)
        x, y = GAP + column * (TILE + GAP), top + row * pitch
        paper.paste(Image.fromarray(tile(film)), (x, y))
        if captions:
            pen.text((x + 2, y + TILE + 4), captions[place], fill=INK)
    return paper


def tile(film: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:  # (TILE, TILE)
    """A film (h, w) at the size at which all are shown."""
    from PIL import Image

    how = Image.Resampling.NEAREST if film.shape[0] < TILE else Image.Resampling.BOX
    return np.array(Image.fromarray(film).resize((TILE, TILE), how))


def _fit(caption: str, letters: int = 34) -> str:
    return caption if len(caption) <= letters else caption[: letters - 2] + ".."
