"""A look at what was released: the first films of a run's own pictures, small enough for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcxr.runs.pictures import height_of_comparison

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
    sheets = sorted(path for path in (folder / "pictures").glob("*.png") if path.name.count(".") == 1)
    drawn = _small(sheets[0]) if sheets else None
    return [] if drawn is None else [drawn]


def _small(path: Path) -> Picture | None:
    from PIL import Image, UnidentifiedImageError  # here: most of what a command costs to start is imports

    try:
        with Image.open(path, formats=["PNG"]) as sheet:
            if sheet.width * sheet.height > MOST_PIXELS:
                return None
            small = sheet.convert("L")
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
        return None
    small = small.crop((0, 0, small.width, min(small.height, height_of_comparison(FILMS))))
    height = max(round(small.height * WIDTH / small.width), 1)
    small = small.resize((WIDTH, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=QUALITY, method=1)
    source = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Picture(path.stem, source, small.width, small.height)
