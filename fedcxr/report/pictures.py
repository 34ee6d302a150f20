"""A look at what was released: the first films of a run's own pictures, small enough for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcxr.runs.pictures import height_of_comparison

if TYPE_CHECKING:
    from PIL import Image

WIDTH, FILMS = 480, 2  # pixels, and films from the top
MOST_PIXELS = 60_000_000  # a file that claims more is none of ours
QUALITY = 62


@dataclass(frozen=True)
class Picture:
    """As a page holds it, and whose it is."""

    site: str
    source: str  # data:...
    width: int
    height: int


def of(folder: Path) -> Sequence[Picture]:
    """The first site's sheet; nothing where there is none that can be read."""
    found = _sheets(folder)
    drawn = _small(found[0]) if found else None
    return [] if drawn is None else [drawn]


def sheets(folder: Path) -> Iterator[tuple[Path, Image.Image]]:
    """Every site's sheet that can be read."""
    for path in _sheets(folder):
        sheet = _read(path)
        if sheet is not None:
            yield path, sheet


def _sheets(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "pictures").glob("*.png") if path.name.count(".") == 1)


def _read(path: Path) -> Image.Image | None:
    from PIL import Image  # here: most of what a command costs to start is imports

    try:
        with Image.open(path, formats=["PNG"]) as sheet:
            if sheet.width * sheet.height > MOST_PIXELS:
                return None
            sheet.load()
            return sheet
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def _small(path: Path) -> Picture | None:
    from PIL import Image

    sheet = _read(path)
    if sheet is None:
        return None
    small = sheet.convert("L")
    small = small.crop((0, 0, small.width, min(small.height, height_of_comparison(FILMS))))
    height = max(round(small.height * WIDTH / small.width), 1)
    small = small.resize((WIDTH, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=QUALITY, method=1)
    source = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Picture(path.stem, source, small.width, small.height)
