"""A mask somebody drew on a film, from a PNG file of the film's own size: whatever is not black is inside."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from fedcxr.data._decode import FORMATS, Unusable, read, refuse_extent, square
from fedcxr.data._masks import Mask

FORMAT = ("PNG",)  # a JPEG of a mask has grey seams
MODES = {"1", "L", "I;16", "I"}
HALF = 128  # a pixel of a packed film belongs to the mask if half of it does


def decode_mask(path: Path, film: Path, size: int) -> Mask:  # (size, size)
    """The mask in a file, resized as its film is; `Unusable`, with the reason, if it is no mask of this film."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is refused here anyway
        try:
            with Image.open(io.BytesIO(read(path)), formats=FORMAT) as image:
                refuse_extent(image.width, image.height)
                with Image.open(film, formats=FORMATS) as filmed:
                    if image.size != filmed.size:
                        raise Unusable("of another size than its film")
                if image.mode not in MODES:
                    raise Unusable(f"not grey: mode {image.mode}")
                inside = np.asarray(image) != 0
        except Unusable:
            raise
        # Decoders of foreign bytes fail in every way there is.
        except Exception as error:
            raise Unusable(f"no PNG that can be read: {type(error).__name__}") from None
    return square(inside * np.uint8(255), size) >= HALF
