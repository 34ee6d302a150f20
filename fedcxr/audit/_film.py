"""One film of an audit as it is looked at: its pixels at the size of all others, and facts about its file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from fedcxr.audit._folder import FilmFile
from fedcxr.audit._own_form import numbers
from fedcxr.data._decode import FORMATS, Unusable
from fedcxr.data._dicom_pixels import read_header
from fedcxr.data._film_file import decode


@dataclass(frozen=True)
class Seen:
    """What is kept of a film."""

    film: npt.NDArray[np.uint8]  # (size, size)
    width: int  # of the file's own picture, in pixels
    height: int
    form: npt.NDArray[np.float32]  # (k,)


def look_at(file: FilmFile, size: int) -> Seen:
    """The film in a file, through the reader's limits; `Unusable`, with the reason, if it holds none."""
    film = decode(file.path, size, file.decoder)
    width, height = _extent(file)
    return Seen(film, width, height, numbers(file.path, film, width, height))


def _extent(file: FilmFile) -> tuple[int, int]:
    if file.decoder == "dicom":
        header = read_header(file.path, ["Rows", "Columns"])
        return int(header.Columns), int(header.Rows)
    try:
        with warnings.catch_warnings(), Image.open(file.path, formats=FORMATS) as image:
            warnings.simplefilter("ignore")
            return image.size
    except (OSError, ValueError):  # it was decoded a moment ago
        raise Unusable("changed while it was read") from None
