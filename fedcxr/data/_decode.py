"""One film from the bytes of a picture, the same way for every source: grey, square, 8 bit, or why not.

Every source goes through the same resize, because decoders differ from each other by up to 24 grey levels. A film is
resized to a square without regard to its aspect ratio, as the papers do, by Pillow's bilinear filter, which is wide
enough to leave no aliasing. Deviation: a JPEG may first be shrunk by its own decoder, to no less than REDUCING_GAP
times the size asked for. Deeper films (16 bit, 32 bit, float) are stretched from the darkest to the brightest pixel.
"""

from __future__ import annotations

import io
import stat
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

VERSION = 1  # a change of any pixel is a new version: shards of the old one are not resumed

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
SIGNATURES = (b"\x89PNG", b"\xff\xd8", b"II*\0", b"MM\0*", b"BM")
SMALLEST = 16  # pixels of the shorter side
MOST_PIXELS = 80_000_000  # the largest radiographs have 20 million; below Pillow's own limit
MOST_DEEP = 40_000_000  # pixels of a film of 32 bit, which takes four times the memory
ROWS_AT_ONCE = 256
MOST_BYTES = 1 << 28
REDUCING_GAP = 3

GREYS = {"1", "L", "LA"}
DEEP_GREYS = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}
COLOURED_LEVELS = 24  # channels of one pixel that differ by more are a colour, not a JPEG's rounding
COLOURED_SHARE = 0.01  # a marker may be coloured, a film may not
OPAQUE = 250

Film = npt.NDArray[np.uint8]  # (size, size)


class Unusable(Exception):
    """Why a file is no film. Never says which file: a path names a patient, and an exception may travel."""


def read(path: Path) -> bytes:
    """The bytes of a file that is there, is a file, and is not empty."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise Unusable("a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file")
        if found.st_size == 0:
            raise Unusable("empty")
        if found.st_size > MOST_BYTES:
            raise Unusable(f"too large: {found.st_size >> 20} MiB, at most {MOST_BYTES >> 20}")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise Unusable("missing") from None
    except OSError as error:
        raise Unusable(f"unreadable: {error.strerror}") from None


def decode_image(data: bytes, size: int) -> Film:
    """The film in the bytes of a PNG, JPEG, TIFF or BMP file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is refused here anyway
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                refuse_extent(image.width, image.height, MOST_DEEP if image.mode in ("I", "F") else MOST_PIXELS)
                if getattr(image, "n_frames", 1) > 1:
                    raise Unusable("several pictures in one file")
                image.draft(image.mode, (REDUCING_GAP * size, REDUCING_GAP * size))
                image.load()
                return _grey(image, size)
        except Unusable:
            raise
        except UnidentifiedImageError:
            known = data.startswith(SIGNATURES)
            raise Unusable("truncated or damaged header" if known else f"not a {', '.join(FORMATS)}") from None
        except Image.DecompressionBombError:
            raise Unusable(f"too large: more than {MOST_PIXELS // 10**6} million pixels") from None
        # Decoders of foreign bytes fail in every way there is: struct.error, zlib.error, SyntaxError, OverflowError ...
        except Exception as error:
            cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
            raise Unusable("truncated" if cut else f"damaged: {type(error).__name__}") from None


def refuse_extent(width: int, height: int, most: int = MOST_PIXELS) -> None:
    """Refuse what is no film by its size, before a pixel of it is decoded."""
    if width * height > most:
        raise Unusable(f"too large: {width} x {height}, at most {most // 10**6} million pixels")
    if min(width, height) < SMALLEST:
        raise Unusable(f"too small: {width} x {height}, at least {SMALLEST} x {SMALLEST}")


def square(values: npt.NDArray[np.number], size: int) -> Film:
    """Grey values (h, w) from 0 to 255 at the size of a shard; the one resize there is."""
    exact = values.astype(np.uint8 if values.dtype == np.uint8 else np.float32, copy=False)
    return _rounded(np.asarray(_resized(Image.fromarray(exact), size)))


def stretched(values: npt.NDArray[np.number]) -> npt.NDArray[np.float32]:
    """Deep grey values (h, w) from 0 at the darkest pixel to 255 at the brightest."""
    low, high = float(values.min()), float(values.max())  # NaN if any pixel is
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Unusable("pixels that are not numbers")
    if low == high:
        raise Unusable("blank: one grey level throughout")
    grey = np.empty(values.shape, dtype=np.float32)
    for start in range(0, len(values), ROWS_AT_ONCE):  # all at once would be several times the film
        rows = slice(start, start + ROWS_AT_ONCE)
        grey[rows] = (values[rows].astype(np.float64) - low) * (255 / (high - low))
    return grey


def _grey(image: Image.Image, size: int) -> Film:
    if image.mode in DEEP_GREYS:
        return square(stretched(np.asarray(image)), size)
    if image.mode == "L":
        return np.asarray(_resized(image, size))
    if image.mode not in GREYS and image.mode not in ("P", "PA", "RGB", "RGBA", "YCbCr"):
        raise Unusable(f"not grey: mode {image.mode}")
    # Channel by channel after the resize: where all channels are the same, so is the result.
    channels = image.convert("RGBA")
    red, green, blue, alpha = (np.asarray(_resized(channel, size)) for channel in channels.split())
    if alpha.min() < OPAQUE:
        raise Unusable("transparent pixels")
    colours = np.stack([red, green, blue]).astype(np.int16)
    if (np.ptp(colours, axis=0) > COLOURED_LEVELS).mean() > COLOURED_SHARE:
        raise Unusable("not grey: a coloured picture")
    return _rounded(np.tensordot(np.array([0.299, 0.587, 0.114]), colours, 1))


def _resized(image: Image.Image, size: int) -> Image.Image:
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)


def _rounded(values: npt.NDArray[np.number]) -> Film:
    film: Film = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return film
