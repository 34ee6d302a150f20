"""From a DICOM file to the film a radiologist sees: 8 bit, brighter where more was absorbed (PS3.3 C.7.6.3 and C.11).

The order is the standard's: stored values, modality (rescale or table), window (table, function or, where there is
none, percentiles), then inversion of MONOCHROME1. What is no single grey film is refused with the reason.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedcxr.data import _decode
from fedcxr.data._decode import Unusable
from fedcxr.errors import ConfigError

if TYPE_CHECKING:
    from pydicom import Dataset

Values = npt.NDArray[np.float32]

PERCENTILES = (0.5, 99.5)  # of a film without a window: a marker or a dead pixel must not decide the contrast
# pydicom's names. gdcm is left out: it ends the whole process on some damaged films, and fills up truncated ones.
CODECS = ("pydicom", "pillow", "pyjpegls", "pylibjpeg")
DEFLATED = "1.2.840.10008.1.2.1.99"  # a few kilobytes of it can fill the memory before anything can be checked


def decode_dicom(path: Path, size: int) -> npt.NDArray[np.uint8]:  # (size, size)
    """One film as the cohort wants it; `Unusable`, with the reason, if the file holds no film."""
    return _decode.square(film(path), size)


def film(path: Path) -> npt.NDArray[np.uint8]:  # (h, w)
    """One film at its own size, 0 black and 255 white."""
    dataset = read(path)
    with _explained("pixels that cannot be decoded"):
        values = _stored(dataset)
        unit = _windowed(dataset, _modality(dataset, values))
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            unit = 1 - unit
        return np.asarray(np.rint(unit * 255), dtype=np.uint8)


def read(path: Path) -> Dataset:
    """All elements of a file."""
    data = _decode.read(path)
    pydicom = library()
    with _explained("no readable DICOM file"):
        _refuse_deflated(path)
        dataset: Dataset = pydicom.dcmread(io.BytesIO(data))
        return dataset


def read_header(path: Path, keywords: list[str]) -> Dataset:
    """These elements of a file, without reading its pixels."""
    pydicom = library()
    with _explained("no readable DICOM file"):
        _refuse_deflated(path)
        dataset: Dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=keywords)
        for element in dataset:  # pydicom converts on first use: what is malformed shall come up here
            _ = element.value
        return dataset


def library() -> Any:
    """pydicom, which only the readers of DICOM files need."""
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise ConfigError(
            "DICOM files need pydicom, which is not installed",
            do="run .venv/bin/python -m pip install 'pydicom>=3.0' 'pyjpegls>=1.4' (or with the Python of your own)",
        ) from None
    return pydicom


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Whatever a malformed file does to pydicom and its codecs becomes a reason, and they keep silent about it."""
    pydicom = library()
    log = logging.getLogger("pydicom")
    disabled, log.disabled = log.disabled, True  # it quotes what it complains about
    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    except Unusable:
        raise
    # The parser meets arbitrary bytes, and each codec has its own way to fail. Its message may quote the header.
    except Exception as error:
        raise Unusable(f"{what}: {type(error).__name__}") from None
    finally:
        log.disabled = disabled


def _refuse_deflated(path: Path) -> None:
    from pydicom.filereader import read_file_meta_info

    if read_file_meta_info(path).get("TransferSyntaxUID") == DEFLATED:
        raise Unusable("deflated; convert it to another transfer syntax")


def _stored(dataset: Dataset) -> Values:  # (h, w)
    """The stored values, once it is sure that they are one grey film of a size that fits into memory."""
    _refuse_other_than_one_grey_film(dataset)
    values = library().pixels.pixel_array(dataset, decoding_plugin=_codec(dataset))
    if values.shape != (dataset.Rows, dataset.Columns):
        raise Unusable("pixels of another size than the header says")
    return np.asarray(values, dtype=np.float32)  # exact: at most 16 bits


def _codec(dataset: Dataset) -> str:
    """The codec for these pixels, so that a damaged film is never offered to one that is not in CODECS."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return ""
    available = library().pixels.get_decoder(syntax).available_plugins
    codec = next((name for name in CODECS if name in available), None)
    if codec is None:
        raise Unusable(f"no decoder: {syntax.name}; decompress it first, say with DCMTK's dcmdjpeg")
    return codec


def _refuse_other_than_one_grey_film(dataset: Dataset) -> None:
    if "PixelData" not in dataset:
        raise Unusable("no pixels")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise Unusable(f"several frames: {int(dataset.NumberOfFrames)}")
    photometric = dataset.get("PhotometricInterpretation")
    if dataset.get("SamplesPerPixel", 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise Unusable("not grey: neither MONOCHROME1 nor MONOCHROME2")
    allocated, stored = dataset.get("BitsAllocated"), dataset.get("BitsStored")
    if allocated not in (8, 16) or stored is None or not 8 <= stored <= allocated:
        raise Unusable("neither 8 nor up to 16 bits per pixel")
    if dataset.get("HighBit", stored - 1) != stored - 1:
        raise Unusable("the highest bit is not where the bits end")
    _decode.refuse_extent(int(dataset.Columns), int(dataset.Rows))


def _modality(dataset: Dataset, values: Values) -> Values:
    """Stored values in the units of the modality (C.11.1)."""
    if dataset.get("ModalityLUTSequence"):
        return _looked_up(dataset, dataset.ModalityLUTSequence[0], values)[0]
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    if slope == 0:
        raise Unusable("blank: a rescale slope of 0")
    return values * np.float32(1 if slope is None else slope) + np.float32(intercept or 0)


def _windowed(dataset: Dataset, values: Values) -> Values:  # in [0, 1]
    """The part of the values that is meant to be seen (C.11.2); of alternatives the first, the default."""
    if dataset.get("VOILUTSequence"):
        seen, most = _looked_up(dataset, dataset.VOILUTSequence[0], values)
        return np.asarray(np.clip(seen / most, 0, 1))
    center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    function = dataset.get("VOILUTFunction") or "LINEAR"
    if center is None or width is None or width < (1 if function == "LINEAR" else 1e-6):
        return _by_percentiles(dataset, values)
    if function == "SIGMOID":
        with np.errstate(over="ignore"):  # exp(-t) far below the window: 1 / infinity is 0, as it should be
            return np.asarray(1 / (1 + np.exp(-4 * (values - center) / width)))
    if function == "LINEAR_EXACT":
        return np.asarray(np.clip((values - center) / width + 0.5, 0, 1))
    if width == 1:  # a threshold: the formula below divides by zero
        return np.asarray(values > center - 0.5, dtype=np.float32)
    return np.asarray(np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1))


def _by_percentiles(dataset: Dataset, values: Values) -> Values:
    """Without a window: 8-bit values are meant to be seen as they are, others between percentiles."""
    if dataset.BitsStored == 8 and dataset.PixelRepresentation == 0 and values.min() >= 0 and values.max() <= 255:
        return np.asarray(values / 255)
    low, high = np.percentile(values, PERCENTILES)
    if low == high:
        low, high = values.min(), values.max()
    if low == high:
        raise Unusable("blank: one grey level throughout")
    return np.asarray(np.clip((values - low) / (high - low), 0, 1), dtype=np.float32)


def _looked_up(dataset: Dataset, table: Dataset, values: Values) -> tuple[Values, float]:
    """Values through a lookup table, and the largest its entries can be.

    By hand, because pydicom 3's `apply_voi` counts places in the type of the entries: a table from 12 to 8 bits wraps.
    """
    entries, first, bits = (int(number) for number in table.LUTDescriptor)
    entries = entries or 65536
    if not 8 <= bits <= 16:
        raise Unusable("a lookup table of neither 8 nor up to 16 bits")
    if dataset.PixelRepresentation == 1 and first > 32767:
        first -= 65536  # the descriptor is signed where the pixels are
    data = table.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
        data = np.frombuffer(data, dtype=f"{order}u2")
    content = np.asarray(data, dtype=np.float32)
    if len(content) < entries:
        raise Unusable("a lookup table shorter than it says")
    places = np.clip(values - first, 0, entries - 1).astype(np.intp)
    return content[places], float(2**bits - 1)


def _number(dataset: Dataset, keyword: str) -> float | None:
    """A finite number, the first where there are several; None where there is none."""
    value = dataset.get(keyword)
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if len(value) else None
    if value in (None, ""):
        return None
    number = float(value)
    return number if np.isfinite(number) else None
