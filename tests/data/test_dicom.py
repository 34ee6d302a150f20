"""DICOM: every photometric, depth and window by hand; what is no film is refused; nothing of a header gets out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.data import _dicom_pixels
from fedcxr.data._decode import Unusable, decode_image
from fedcxr.data._dicom_pixels import film
from fedcxr.data._film_file import decode
from fedcxr.data.dicom import Dicom, decode_dicom
from fedcxr.errors import ConfigError, DataError
from fedcxr.plugins import build

pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
from dicoms import Pixels, dicom  # noqa: E402
from pydicom.dataset import Dataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402
from pydicom.uid import (  # noqa: E402
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

pytestmark = pytest.mark.usefixtures("secret_file")

SIDE = 16

Real = Callable[[str], Path]


def ramp(*values: float, dtype: Any = np.uint16) -> Pixels:
    """A film whose rows begin with these values and go on with the last."""
    row = np.array([*values, *[values[-1]] * (SIDE - len(values))]).astype(dtype)
    return np.tile(row, (SIDE, 1))


def first(path: Path, count: int) -> list[int]:
    read = film(path)
    assert read.shape == (SIDE, SIDE)
    assert read.dtype == np.uint8
    assert (read == read[0]).all()
    return [int(grey) for grey in read[0, :count]]


# Pixels ---------------------------------------------------------------------------------------------------------------

TWELVE = {"BitsStored": 12}
WINDOW = {"WindowCenter": 1000, "WindowWidth": 101}


@pytest.mark.parametrize(
    ("pixels", "elements", "expected"),
    [
        pytest.param(ramp(0, 7, 255, dtype=np.uint8), {}, [0, 7, 255], id="8 bit without a window: as it is"),
        pytest.param(
            ramp(0, 7, 255, dtype=np.uint8), {"PhotometricInterpretation": "MONOCHROME1"}, [255, 248, 0], id="inverted"
        ),
        # LINEAR: (x - 999.5) / 100 + .5, so black up to 949.5 and white from 1049.5
        pytest.param(ramp(900, 975, 1000, 1049, 1050), {**TWELVE, **WINDOW}, [0, 65, 129, 254, 255], id="linear"),
        pytest.param(
            ramp(900, 975, 1000, 1050),
            {**TWELVE, **WINDOW, "PhotometricInterpretation": "MONOCHROME1"},
            [255, 190, 126, 0],
            id="window before inversion",
        ),
        # LINEAR_EXACT: (x - 1000) / 101 + .5
        pytest.param(
            ramp(949, 1000, 1025, 1051),
            {**TWELVE, **WINDOW, "VOILUTFunction": "LINEAR_EXACT"},
            [0, 128, 191, 255],
            id="linear exact",
        ),
        # SIGMOID: 1 / (1 + exp(-4 (x - 1000) / 100)): .5 at the centre, .8808 a half width above
        pytest.param(
            ramp(0, 950, 1000, 1050, 4095),
            {**TWELVE, "WindowCenter": 1000, "WindowWidth": 100, "VOILUTFunction": "SIGMOID"},
            [0, 30, 128, 225, 255],
            id="sigmoid",
        ),
        pytest.param(
            ramp(900, 975, 1050),
            {**TWELVE, "WindowCenter": [1000, 0], "WindowWidth": [101, 1]},
            [0, 65, 255],
            id="the first of several windows",
        ),
        pytest.param(
            ramp(0, 99, 100, 101), {**TWELVE, "WindowCenter": 100.5, "WindowWidth": 1}, [0, 0, 0, 255], id="threshold"
        ),
        # 2 x - 1000 of 900 and 1050: 800 and 1100
        pytest.param(
            ramp(0, 900, 1000, 1050),
            {**TWELVE, **WINDOW, "RescaleSlope": "2", "RescaleIntercept": "-1000"},
            [0, 0, 129, 255],
            id="rescaled before the window",
        ),
        pytest.param(
            ramp(-1000, -10, 0, 1000, dtype=np.int16),
            {"BitsStored": 16, "WindowCenter": 0.5, "WindowWidth": 41},
            [0, 64, 128, 255],
            id="signed",
        ),
        pytest.param(
            ramp(0x0FFF, 0x0000, 0x07FF, dtype=np.uint16),
            {**TWELVE, "PixelRepresentation": 1, "WindowCenter": 0, "WindowWidth": 4096},
            [127, 128, 255],
            id="signed in 12 of 16 bits",
        ),
        pytest.param(
            ramp(0xF000, 0xF800, 0x0FFF),
            {**TWELVE, "WindowCenter": 2048, "WindowWidth": 4096},
            [0, 128, 255],
            id="an overlay in the unused bits",
        ),
        # No window: between the percentiles, here the least and the most (each in more than .5 % of the pixels)
        pytest.param(ramp(500, 1000, 1500), TWELVE, [0, 128, 255], id="no window"),
        pytest.param(ramp(0, 65535, dtype=np.uint16), {}, [0, 255], id="16 bit"),
        pytest.param(
            ramp(500, 1000, 1500), {**TWELVE, "WindowCenter": 9, "WindowWidth": 0}, [0, 128, 255], id="width 0"
        ),
        pytest.param(
            ramp(0, 100, 255, dtype=np.uint8),
            {"RescaleSlope": "-1", "RescaleIntercept": "0"},
            [255, 155, 0],
            id="8 bit, rescaled: stretched",
        ),
    ],
)
def test_pixels_by_hand(tmp_path: Path, pixels: Pixels, elements: dict[str, Any], expected: list[int]) -> None:
    assert first(dicom(tmp_path / "a.dcm", pixels, **elements), len(expected)) == expected


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_lookup_table_is_followed(tmp_path: Path, syntax: str, bits: int) -> None:
    """From 12 bits to fewer or more: entry k, beginning at 1000, is k scaled to the entries' bits."""
    most = 2**bits - 1
    table = Dataset()
    table.LUTDescriptor = [501, 1000, bits]
    table.LUTData = [round(k * most / 500) for k in range(501)]
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    path = dicom(
        tmp_path / "a.dcm",
        ramp(0, 1000, 1250, 1500, 4095),
        syntax=syntax,
        BitsStored=12,
        VOILUTSequence=Sequence([table]),
    )
    assert first(path, 5) == [0, 0, 128, 255, 255]


@settings(max_examples=40)
@given(
    center=st.floats(-500, 4500),
    width=st.floats(1, 5000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    slope=st.sampled_from([1, 0.5, 3]),
    intercept=st.sampled_from([0, -1024]),
)
def test_windows_are_those_of_pydicom(
    tmp_path_factory: pytest.TempPathFactory, center: float, width: float, function: str, slope: float, intercept: int
) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (SIDE, SIDE), dtype=np.uint16)
    center, width = round(center, 2), max(round(width, 2), 1.01)
    path = dicom(
        tmp_path_factory.getbasetemp() / "oracle.dcm",
        values,
        BitsStored=12,
        WindowCenter=center,
        WindowWidth=width,
        VOILUTFunction=function,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
    )
    dataset = pydicom.dcmread(path)
    with np.errstate(over="ignore"):
        theirs = pydicom.pixels.apply_windowing(
            pydicom.pixels.apply_modality_lut(dataset.pixel_array, dataset), dataset
        )
    low, high = intercept, 4095 * slope + intercept  # what they scale to
    assert np.abs(film(path) - (theirs - low) / (high - low) * 255).max() <= 0.51


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_lossless_compression_is_undone(tmp_path: Path, syntax: str) -> None:
    if syntax == JPEGLSLossless:
        pytest.importorskip("jpeg_ls", reason="the extra `dicom` is not installed")
    values = np.random.default_rng(0).integers(0, 4096, (SIDE, SIDE), dtype=np.uint16)
    plain = dicom(tmp_path / "a.dcm", values, BitsStored=12, WindowCenter=2048, WindowWidth=4096)
    packed = pydicom.dcmread(plain)
    packed.compress(syntax)
    packed.save_as(tmp_path / "b.dcm")
    assert (film(plain) == film(tmp_path / "b.dcm")).all()


def test_a_compression_without_a_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dicom_pixels, "CODECS", ("pydicom",))
    packed = pydicom.dcmread(dicom(tmp_path / "a.dcm", ramp(1, 2)))
    packed.PixelData = encapsulate([b"no JPEG "])
    packed.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    packed["PixelData"].is_undefined_length = True
    packed.save_as(tmp_path / "b.dcm")
    with pytest.raises(Unusable, match=r"no decoder: JPEG Lossless.*dcmdjpeg"):
        film(tmp_path / "b.dcm")


def test_a_truncated_real_film_is_no_film(real: Real, tmp_path: Path) -> None:
    """Some codecs fill up what is missing with grey."""
    whole = min(real("dicom").glob("*.dcm")).read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[:-60_000])
    with pytest.raises(Unusable):
        film(tmp_path / "a.dcm")


def test_a_film_is_the_same_as_dicom_and_as_png(tmp_path: Path) -> None:
    """One resize for all: the source of a film must not show."""
    import io

    from PIL import Image

    values = np.random.default_rng(0).integers(0, 256, (50, 40), dtype=np.uint8)
    png = io.BytesIO()
    Image.fromarray(values).save(png, "png")
    path = dicom(tmp_path / "a.dcm", values)
    assert (decode_dicom(path, 24) == decode_image(png.getvalue(), 24)).all()
    assert (decode(path, 24, "dicom") == decode_dicom(path, 24)).all()


def test_the_same_real_film_marked_both_ways_is_inverted(real: Real) -> None:
    one, two = (film(path) for path in sorted(real("dicom").glob("*.dcm")))
    assert one.shape == two.shape == (1024, 1024)
    assert (one == 255 - two).all()
    assert one.std() > 20


# What is no film ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"NumberOfFrames": 2}, "several frames: 2"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0}, "not grey"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "not grey"),
        ({"PhotometricInterpretation": None}, "not grey"),
        ({"Rows": 30_000, "Columns": 30_000}, "too large: 30000 x 30000"),
        ({"Rows": 1}, "too small"),
        ({"Rows": 17}, "pixels that cannot be decoded"),
        ({"BitsStored": 12, "HighBit": 15}, "highest bit"),
        ({"BitsStored": 4}, "16 bits"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "blank"),
        ({"BitsAllocated": None}, "16 bits"),
        ({"PixelRepresentation": None}, "cannot be decoded"),
    ],
)
def test_other_objects_are_refused_with_the_reason(tmp_path: Path, elements: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        film(dicom(tmp_path / "a.dcm", ramp(1, 2, 3), **elements))


def test_a_blank_film_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="blank"):
        film(dicom(tmp_path / "a.dcm", ramp(7)))


def test_a_deflated_file_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", ramp(1, 2), syntax="1.2.840.10008.1.2.1.99")
    with pytest.raises(Unusable, match="deflated"):
        film(path)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty"), (b"\x89PNG\r\n", "no readable DICOM"), (b"\0" * 128 + b"DICM", "DICOM|pixels")]
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.dcm").write_bytes(data)
    with pytest.raises(Unusable, match=reason):
        film(tmp_path / "a.dcm")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [2, 0, 16], [0, 65535]
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    folder = tmp_path_factory.mktemp("sample")
    return dicom(folder / "a.dcm", ramp(1, 2), VOILUTSequence=Sequence([table]), RescaleSlope=2).read_bytes()


@settings(max_examples=150)
@given(
    cut=st.none() | st.integers(0, 1400),
    changes=st.lists(st.tuples(st.integers(0, 1399), st.integers(0, 255)), max_size=6),
    junk=st.none() | st.binary(max_size=80),
)
def test_whatever_the_bytes_are_the_only_way_to_fail_is_a_reason(
    tmp_path_factory: pytest.TempPathFactory,
    sample: bytes,
    cut: int | None,
    changes: list[tuple[int, int]],
    junk: bytes | None,
) -> None:
    data = bytearray(sample[:cut])
    for place, value in changes:
        if place < len(data):
            data[place] = value
    if junk is not None:
        data = bytearray(sample[:132] + junk)
    path = tmp_path_factory.getbasetemp() / "any.dcm"
    path.write_bytes(data)
    with contextlib.suppress(Unusable):
        assert decode_dicom(path, 16).shape == (16, 16)
    path.with_name("any").mkdir(exist_ok=True)
    (path.with_name("any") / "any.dcm").write_bytes(data)
    listing = source(path.with_name("any")).listing()
    assert len(listing.index) + len(listing.problems) <= 1


# Who ------------------------------------------------------------------------------------------------------------------


def source(root: Path, **parameters: Any) -> Dicom:
    built = build("source", {"name": "dicom", "root": str(root), **parameters})
    assert isinstance(built, Dicom)
    return built


def test_headers_become_an_index(tmp_path: Path) -> None:
    pixels = ramp(0, 4095)
    dicom(tmp_path / "x/late", pixels, PatientID="A", StudyDate="20200301", PatientAge="058Y", ViewPosition="PA")
    dicom(tmp_path / "x/early.dcm", pixels, PatientID="A", StudyDate="2019.12.01", PatientAge="62", ViewPosition="AP")
    dicom(tmp_path / "x/same.dcm", pixels, PatientID="A", StudyDate="20191201", PatientSex="F", PatientAge="018M")
    dicom(tmp_path / "y.dcm", pixels, PatientID="B", StudyDate="20200615", PatientBirthDate="19800616", PatientSex="O")
    dicom(tmp_path / "z.dcm", pixels, PatientID="B", ViewPosition="LL", PatientAge="999Y")
    (tmp_path / "README.txt").write_text("no film")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    listing = source(tmp_path, views="all").listing()
    assert listing.decoder == "dicom"
    assert not listing.problems
    assert not listing.notes
    films = listing.index.assign(file=[str(file.relative_to(tmp_path)) for file in listing.files]).set_index("file")
    assert films["visit"].to_dict() == {"x/early.dcm": 0, "x/same.dcm": 0, "x/late": 1, "y.dcm": 0, "z.dcm": 1}
    assert films["view"].to_dict() == {
        "x/early.dcm": "AP",
        "x/same.dcm": "",
        "x/late": "PA",
        "y.dcm": "",
        "z.dcm": "LATERAL",
    }
    ages = {"x/early.dcm": 62, "x/same.dcm": 1.5, "x/late": 58, "y.dcm": 39, "z.dcm": None}
    assert {k: None if np.isnan(v) else v for k, v in films["age"].items()} == ages
    assert films.loc[["x/same.dcm", "y.dcm"], "sex"].tolist() == ["F", "U"]
    assert films["patient"].nunique() == 2
    assert films["split"].groupby(films["patient"]).nunique().max() == 1
    assert films[list(listing.findings)].isna().all().all()
    assert len(source(tmp_path).listing().index) == 4  # frontal films


def test_nothing_of_a_header_or_a_path_enters_the_index_or_a_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = {
        "PatientID": "Mueller4711",
        "PatientName": "Mueller^Eva",
        "PatientBirthDate": "19570203",
        "AccessionNumber": "ACC99",
        "InstitutionName": "Klinik Nord",
        "StudyInstanceUID": "1.2.840.77",
        "StudyDate": "20190911",
        "ViewPosition": "PA Mueller",
        "PatientSex": "Eva",
        "PatientAge": "Mueller",
    }
    film_of_hers = dicom(tmp_path / "Mueller_Eva/4711.dcm", ramp(0, 4095), BitsStored=12, **texts)
    listing = source(tmp_path).listing()
    film(film_of_hers)
    told = (listing.index.to_csv() + repr(listing.index.attrs) + caplog.text).lower()
    for text in (*texts.values(), "mueller", "eva", "4711", "nord", "2019", "1957", str(tmp_path)):
        assert text.lower() not in told
    assert listing.index["view"].tolist() == ["PA"]
    assert listing.index["age"].tolist() == [62]


def test_problems_and_notes_name_the_file_and_the_reason(tmp_path: Path) -> None:
    pixels = ramp(0, 4095)
    dicom(tmp_path / "a.dcm", pixels, SOPInstanceUID="1.2.3", BurnedInAnnotation="YES")
    dicom(tmp_path / "b.dcm", pixels, SOPInstanceUID="1.2.3")
    dicom(tmp_path / "c.dcm", pixels, PatientID=None)
    dicom(tmp_path / "c2.dcm", pixels, PatientID="ANONYMOUS")
    dicom(tmp_path / "d.dcm", pixels, BurnedInAnnotation=None)
    (tmp_path / "e.dcm").write_bytes(b"no film")
    listing = source(tmp_path).listing()
    assert {p.file: p.reason.partition(":")[0] for p in listing.problems} == {
        "b.dcm": "a copy",
        "c.dcm": "no patient",
        "c2.dcm": "no patient",
        "e.dcm": "no readable DICOM file",
    }
    assert [(note.file, "does not rule" in note.reason) for note in listing.notes] == [
        ("a.dcm", False),
        ("d.dcm", True),
    ]
    refused = source(tmp_path, burned_in="refuse").listing()
    assert {p.file for p in refused.problems} == {
        "a.dcm",
        "c.dcm",
        "c2.dcm",
        "e.dcm",
    }  # b is no copy of what was not taken


def test_a_table_tells_findings_and_splits(tmp_path: Path) -> None:
    for name, patient in (("a", "A"), ("b", "B"), ("c", "C")):
        dicom(tmp_path / f"films/{name}.dcm", ramp(0, 4095), PatientID=patient)
    table = pd.DataFrame(
        {"file": ["films/b.dcm", "films/a.dcm"], "Pleural Effusion": [1, None], "part": ["test", "Training"]}
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    listing = source(
        tmp_path, table="t.csv", columns={"image": "file", "split": "part"}, findings={"columns": ["Pleural Effusion"]}
    ).listing()
    found = {file.stem: row for file, (_, row) in zip(listing.files, listing.index.iterrows(), strict=True)}
    assert found.keys() == {"a", "b"}
    assert listing.spellings == {"Pleural Effusion": "Effusion"}
    assert found["b"]["Effusion"] == 1
    assert np.isnan(found["a"]["Effusion"])
    assert (found["a"]["split"], found["b"]["split"]) == ("train", "test")
    with pytest.raises(ConfigError, match="table"):
        source(tmp_path, findings={"columns": ["Pneumonia"]})


def test_the_real_film_has_an_index(real: Real) -> None:
    listing = source(real("dicom")).listing()
    assert len(listing.index) == 1
    assert listing.index[["view", "age", "sex"]].iloc[0].tolist() == ["PA", 62, "M"]
    assert [problem.reason for problem in listing.problems] == ["a copy: another file holds the same film"]
    assert len(listing.notes) == 1


def test_without_pydicom_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicom(tmp_path / "a.dcm", ramp(1, 2))
    films = source(tmp_path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for act in (films.required_files, films.listing, lambda: decode_dicom(tmp_path / "a.dcm", 16)):
        with pytest.raises(ConfigError, match=r"pydicom>=3.0"):
            act()


def test_a_folder_without_films_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no film"):
        source(tmp_path).listing()
