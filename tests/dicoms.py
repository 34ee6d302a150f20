"""DICOM files for tests, of any header one likes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian  # noqa: E402

Pixels = npt.NDArray[np.generic]


def dicom(path: Path, pixels: Pixels, *, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> Path:
    """A film as a file; elements of value None are left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1")
    meta.MediaStorageSOPInstanceUID = elements.get("SOPInstanceUID", UID(f"1.2.3.{abs(hash(str(path)))}"))
    meta.TransferSyntaxUID = UID(syntax)
    dataset = Dataset()
    dataset.file_meta = meta
    depth = 8 * pixels.dtype.itemsize
    standard = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "PatientID": "MRN-1",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": depth,
        "BitsStored": depth,
        "HighBit": elements.get("BitsStored", depth) - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "BurnedInAnnotation": "NO",
    }
    with pydicom.config.disable_value_validation():
        for keyword, value in {**standard, **elements}.items():
            if value is not None:
                setattr(dataset, keyword, value)
    order: Literal["<", ">"] = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    with pydicom.config.disable_value_validation():
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path
