"""The film in a file of either kind that films are kept in: a picture, or DICOM."""

from __future__ import annotations

from pathlib import Path

from fedcxr.data._decode import Film, decode_image, read
from fedcxr.data._dicom_pixels import decode_dicom
from fedcxr.data._listing import Decoder


def decode(path: Path, size: int, decoder: Decoder = "image") -> Film:
    """The film in a file, size x size; `Unusable`, with the reason, if it holds none."""
    return decode_dicom(path, size) if decoder == "dicom" else decode_image(read(path), size)
