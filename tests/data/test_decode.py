"""Films from files: every kind of unusable file has a name, and one picture is one film in whatever format it comes."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peak import peak_mb
from PIL import Image

from fedcxr.data._decode import Unusable, decode_image, square, stretched
from fedcxr.data._film_file import decode

RAMP = (np.add.outer(np.arange(80), np.arange(96)) * 255 / 174).astype(np.uint8)  # (80, 96)


def encoded(picture: Image.Image | np.ndarray, format: str = "PNG", **options: object) -> bytes:
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is this large, and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")


def colour() -> np.ndarray:
    return np.stack([RAMP, 255 - RAMP, RAMP], axis=2)


def with_alpha(alpha: int) -> np.ndarray:
    return np.dstack([RAMP, RAMP, RAMP, np.full_like(RAMP, alpha)])


PNG = encoded(RAMP)
BAD = {
    "empty": b"",
    "not a PNG": b"filename,patient\n1.png,7\n",
    "truncated   ": PNG[:20],
    "truncated": PNG[: len(PNG) // 2],
    "truncated ": encoded(np.random.default_rng(0).integers(0, 256, (80, 96), np.uint8), "JPEG")[:2000],
    "damaged": PNG[:60] + bytes(40) + PNG[100:],
    "too small: 1 x 1": encoded(np.zeros((1, 1), np.uint8)),
    "too large: more than 80 million": png_header(30_000, 30_000),
    "too large: 9500 x 9000": png_header(9_500, 9_000),
    "coloured": encoded(colour()),
    "coloured ": encoded(colour(), "JPEG"),
    "transparent": encoded(with_alpha(100)),
    "several pictures": encoded(
        Image.fromarray(RAMP), "TIFF", save_all=True, append_images=[Image.fromarray(255 - RAMP)]
    ),
    "blank": encoded(np.full((80, 96), 700, np.uint16)),
    "not numbers": encoded(np.full((80, 96), np.nan, np.float32), "TIFF"),
    "not grey: mode CMYK": encoded(Image.fromarray(RAMP).convert("CMYK"), "TIFF"),
}


@pytest.mark.parametrize("reason", BAD)
def test_each_kind_of_bad_file_is_named(tmp_path: Path, reason: str) -> None:
    (tmp_path / "patient-7.png").write_bytes(BAD[reason])
    with pytest.raises(Unusable, match=reason.strip()) as why:
        decode(tmp_path / "patient-7.png", 64)
    assert "patient-7" not in str(why.value)
    assert why.value.__suppress_context__ or why.value.__context__ is None


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(PNG)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 30)
    for name, reason in {
        "nowhere.png": "missing",
        "file/below.png": "missing",
        "": "a folder",
        "pipe": "not a regular file",  # and nobody waits for it
        "huge": "too large: 1024 MiB",
        "x" * 300: "unreadable: File name too long",
    }.items():
        with pytest.raises(Unusable, match=f"^{reason}"):
            decode(tmp_path / name, 64)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "film.png").write_bytes(PNG)
    (tmp_path / "film.png").chmod(0)
    with pytest.raises(Unusable, match="unreadable: Permission denied"):
        decode(tmp_path / "film.png", 64)


@pytest.mark.parametrize("size", [16, 64, 128])
def test_one_picture_is_one_film_in_every_lossless_format(size: int) -> None:
    film = decode_image(PNG, size)
    assert film.shape == (size, size)
    assert film.dtype == np.uint8
    rgb = np.dstack([RAMP] * 3)
    for same in (
        encoded(RAMP, "TIFF"),
        encoded(RAMP, "BMP"),
        encoded(rgb),
        encoded(with_alpha(255)),
        encoded(Image.fromarray(RAMP).convert("LA")),
        encoded(Image.fromarray(RAMP).convert("P")),
    ):
        np.testing.assert_array_equal(decode_image(same, size), film)


def test_deep_films_are_stretched_over_their_range() -> None:
    deep = RAMP.astype(np.uint16) * 13 + 500  # 12 of 16 bits, dark
    film = decode_image(encoded(deep), 64)
    assert abs(film.astype(int) - decode_image(PNG, 64)).max() <= 1
    np.testing.assert_array_equal(decode_image(encoded(deep, "TIFF"), 64), film)
    np.testing.assert_array_equal(stretched(np.array([[-5, 0], [5, 15]])), [[0, 63.75], [127.5, 255]])


def test_a_deep_film_is_refused_before_it_takes_gigabytes(tmp_path: Path) -> None:
    """Half a megabyte of file; it took 2.1 GB to look at."""
    for side, refused in ((8900, "Unusable too large: 8900 x 8900, at most 40 million pixels"), (5000, "")):
        deep = tmp_path / f"{side}.tif"
        picture = np.zeros((side, side), dtype=np.float32)
        picture[0, 0] = 1
        Image.fromarray(picture).save(deep, compression="tiff_adobe_deflate")
        assert deep.stat().st_size < 1 << 20
        imports = "from fedcxr.data._decode import Path, decode_image, read"
        taken, said = peak_mb(imports, "decode_image(read(Path(sys.argv[1])), 64)", deep)
        assert said == refused
        assert taken < (50 if refused else 600)


def test_the_resize_is_that_of_pytorch() -> None:
    """An antialiased bilinear filter, as an implementation of somebody else has it."""
    rng = np.random.default_rng(0)
    film = rng.integers(0, 256, (300, 260), dtype=np.uint8)
    exact = torch.from_numpy(film.astype(np.float32))[None, None]
    theirs = torch.nn.functional.interpolate(exact, (64, 64), mode="bilinear", antialias=True)[0, 0].numpy()
    assert abs(square(film, 64) - theirs).max() < 1.1
    assert abs(square(film.astype(np.float32), 64) - theirs).max() < 0.51


def test_a_large_jpeg_shrunk_by_its_decoder_stays_the_same_film() -> None:
    smooth = np.asarray(Image.fromarray(RAMP).resize((1024, 1024), Image.Resampling.BICUBIC))
    film = decode_image(encoded(smooth, "JPEG", quality=92), 64)
    assert abs(film.astype(int) - square(smooth, 64)).max() <= 4


def test_a_coloured_mark_does_not_make_a_film_coloured() -> None:
    marked = np.dstack([RAMP] * 3)
    marked[2:8, 2:8] = (255, 0, 0)
    assert decode_image(encoded(marked), 64).shape == (64, 64)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM"])
)
@settings(max_examples=300)
def test_random_bytes_are_unusable_and_nothing_else(data: bytes, start: bytes) -> None:
    with pytest.raises(Unusable):
        decode_image(start + data, 32)


FILES = [PNG, encoded(RAMP, "JPEG"), encoded(RAMP, "TIFF"), encoded(RAMP, "BMP"), encoded(colour())]


@given(st.sampled_from(FILES), st.integers(0, 10_000), st.binary(min_size=1, max_size=12))
@settings(max_examples=300)
def test_damaged_files_are_a_film_or_unusable(whole: bytes, place: int, noise: bytes) -> None:
    place %= len(whole)
    damaged = whole[:place] + noise + whole[place + len(noise) :]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is shown to the user either
        try:
            film = decode_image(damaged, 32)
        except Unusable:
            return
        assert film.shape == (32, 32)
