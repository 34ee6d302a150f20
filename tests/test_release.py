"""The border: what is packed comes out again, and whatever is not exactly a release is refused, cheaply."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedcxr.errors import DataError, Refused
from fedcxr.release import AnswerKey, Release
from fedcxr.release._packed import DTYPES, FORMAT, LARGEST, MAGIC

Document = dict[str, Any]


def films(n: int = 3, **changes: Any) -> Release:
    rng = np.random.default_rng(0)
    release = Release(
        kind="images",
        site="site-1",
        method="noise",
        arrays={
            "films": rng.integers(0, 256, (n, 4, 5), dtype=np.uint8),
            "findings": rng.integers(0, 2, (n, 2)).astype(np.float32),
            "split": rng.integers(0, 3, n).astype(np.int8),
        },
        facts={"findings": ["Mass", "Hernia"], "splits": ["train", "val", "test"], "round": 1},
        envelopes={"site-2": b"sealed"},
        signature=b"signed",
    )
    return replace(release, **changes)


def codes(n: int = 3, **changes: Any) -> Release:
    rng = np.random.default_rng(0)
    release = Release(
        kind="codes",
        site="site-1",
        method="sca",
        arrays={
            "codes": rng.integers(-127, 128, (n, 32, 2, 3)).astype(np.int8),
            "sealed": rng.integers(0, 256, (n, 50), dtype=np.uint8),
            "findings": rng.integers(0, 2, (n, 2)).astype(np.float32),
            "split": rng.integers(0, 3, n).astype(np.int8),
        },
        facts={"findings": ["Mass", "Hernia"], "size": [12, 20], "version": "sca 1", "codec": {"s": 8}},
    )
    return replace(release, **changes)


def update(**arrays: np.ndarray) -> Release:
    return Release("update", "site-1", "fedavg", arrays)


START = MAGIC + bytes([FORMAT]) + b"\0\0"  # and no signature


def framed(header: bytes, blocks: bytes = b"") -> bytes:
    return START + len(header).to_bytes(4) + header + blocks


def packed(document: Document) -> bytes:
    """The bytes of a document that need not make sense: as `document_of`, with blocks and envelopes in it."""
    document, blocks = dict(document), b""
    for part in ("arrays", "envelopes"):
        if isinstance(document.get(part), list):
            rows = document[part] = [list(row) if isinstance(row, list) else row for row in document[part]]
            for row in rows:
                if isinstance(row, list) and row and isinstance(row[-1], bytes):
                    blocks += row[-1]
                    row[-1] = len(row[-1])
    return framed(bytes(msgpack.packb(document, use_bin_type=True)), blocks)


def document_of(release: Release) -> Document:
    """A release's header with the blocks in the place of their lengths."""
    body = release.packed.body
    length = int.from_bytes(body[:4])
    found: Document = msgpack.unpackb(body[4 : 4 + length])
    at = 4 + length
    for row in (*found["arrays"], *found["envelopes"]):
        row[-1], at = bytes(body[at : at + row[-1]]), at + row[-1]
    return found


GOOD = films()
GOOD_BYTES = GOOD.to_bytes()


def same(one: Release, other: Release) -> bool:
    return (
        (one.kind, one.site, one.method, dict(one.facts), dict(one.envelopes))
        == (other.kind, other.site, other.method, dict(other.facts), dict(other.envelopes))
        and one.arrays.keys() == other.arrays.keys()
        and all(
            a.dtype == other.arrays[k].dtype and np.array_equal(a, other.arrays[k], equal_nan=a.dtype.kind == "f")
            for k, a in one.arrays.items()
        )
    )


def refused_or_harmless(data: bytes) -> None:
    """Never another error; and what is accepted has the good release's digest only if it says the same."""
    try:
        read = Release.from_bytes(data)
    except Refused:
        return
    assert same(read, GOOD) or read.digest() != GOOD.digest()
    len(read)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (7,), (2, 3, 4)])
def test_round_trip_of_every_type(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.random.default_rng(1).random(shape) * 100).astype(dtype)
    release = update(a=array)
    arrived = Release.from_bytes(release.to_bytes())
    assert arrived.arrays["a"].dtype == np.dtype(dtype)
    assert arrived.arrays["a"].shape == shape
    np.testing.assert_array_equal(arrived.arrays["a"], array)
    assert arrived.digest() == release.digest()


@pytest.mark.parametrize("limits", [np.iinfo(t) for t in ("uint8", "int8", "uint16", "int16", "int32", "int64")])
def test_round_trip_of_extreme_values(limits: np.iinfo) -> None:
    array = np.array([limits.min, 0, limits.max], dtype=limits.dtype)
    np.testing.assert_array_equal(Release.from_bytes(update(a=array).to_bytes()).arrays["a"], array)


@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_order_in_memory_does_not_matter(order: str) -> None:
    release = update(a=np.array([1.5, -2.0, 0.0], dtype=f"{order}f4"))
    assert Release.from_bytes(release.to_bytes()).arrays["a"].tolist() == [1.5, -2.0, 0.0]
    assert release.digest() == update(a=np.array([1.5, -2.0, 0.0], dtype=np.float32)).digest()


def test_layout_in_memory_does_not_matter() -> None:
    array = np.arange(24, dtype=np.int16).reshape(4, 6)
    for view in (np.asfortranarray(array), array[::-1][::-1], np.repeat(array, 2, axis=0)[::2]):
        assert update(a=view).digest() == update(a=array).digest()
        np.testing.assert_array_equal(Release.from_bytes(update(a=view).to_bytes()).arrays["a"], array)


facts = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), facts, max_size=3),
    st.dictionaries(st.text("abäß ", max_size=6), st.binary(max_size=9), max_size=3),
    st.binary(max_size=9),
)
def test_round_trip_of_facts_and_envelopes(facts: Document, envelopes: dict[str, bytes], signature: bytes) -> None:
    release = films(facts={**facts, "findings": ["Mass", "Hernia"]}, envelopes=envelopes, signature=signature)
    arrived = Release.from_bytes(release.to_bytes())
    assert same(arrived, release)
    assert arrived.signature == signature
    assert arrived.digest() == release.digest()
    assert arrived.to_bytes() == release.to_bytes()


def test_unknown_findings_travel() -> None:
    findings = np.array([[0, 1], [np.nan, 1], [1, np.nan]], dtype=np.float32)
    release = films(arrays={**GOOD.arrays, "findings": findings})
    np.testing.assert_array_equal(Release.from_bytes(release.to_bytes()).arrays["findings"], findings)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_not_finite_is_refused_on_both_sides(value: float, dtype: str) -> None:
    with pytest.raises(DataError, match="'a' holds values that are not finite"):
        update(a=np.array([1.0, value], dtype=dtype))
    document = document_of(update(a=np.zeros(2, dtype=dtype)))
    raw = np.array([1.0, value], dtype=dtype).tobytes()
    document["arrays"][0][-1] = zstandard.compress(raw)
    with pytest.raises(Refused, match="not finite"):
        Release.from_bytes(packed(document))


@pytest.mark.parametrize("dtype", ["float64", "bool", "complex64", "object", "<U3", "datetime64[s]", "uint64", "V4"])
def test_types_that_cannot_be_shared(dtype: str) -> None:
    with pytest.raises(DataError, match="cannot be shared"):
        update(a=np.zeros(2, dtype=dtype))
    document = document_of(update(a=np.zeros(2, dtype=np.int8)))
    document["arrays"][0][1] = dtype
    with pytest.raises(Refused):
        Release.from_bytes(packed(document))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"films": None}, "as many films"),
        ({"findings": None}, "as many films"),
        ({"split": None}, "as many films"),
        ({"split": np.zeros(2, dtype=np.int8)}, "as many films"),
        ({"split": np.int8(0)}, "as many films"),
        ({"films": np.zeros((3, 4, 5), dtype=np.int8)}, "uint8"),
        ({"films": np.zeros((3, 20), dtype=np.uint8)}, "uint8"),
        ({"findings": np.zeros(3, dtype=np.float32)}, "findings are"),
        ({"findings": np.zeros((3, 2), dtype=np.int8)}, "findings are"),
        ({"split": np.zeros((3, 1), dtype=np.int8)}, "splits are"),
        ({"split": np.zeros(3, dtype=np.float32)}, "splits are"),
        ({"split": np.array([0, 1, 3], dtype=np.int8)}, "splits are"),
        ({"split": np.array([0, 1, -1], dtype=np.int8)}, "splits are"),
    ],
)
def test_a_release_of_films_is_checked(changes: dict[str, Any], said: str) -> None:
    arrays = {k: np.asarray(v) for k, v in {**GOOD.arrays, **changes}.items() if v is not None}
    with pytest.raises(DataError, match=said):
        films(arrays=arrays)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (None, "names its findings"),
        ("MH", "names its findings"),
        (["Mass", 1], "names its findings"),
        (["Mass"], "each of its findings once"),
        (["Mass", "Mass"], "each of its findings once"),
        (["Mass", "Hernia", "Edema"], "each of its findings once"),
    ],
)
def test_a_release_of_films_names_its_findings(names: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        films(facts={"findings": names})


def test_codes_travel_with_or_without_a_public_part() -> None:
    whole = codes()
    sealed = replace(whole, arrays={name: array for name, array in whole.arrays.items() if name != "codes"})
    for release in (whole, sealed):
        arrived = Release.from_bytes(release.to_bytes())
        assert same(arrived, release)
        assert arrived.digest() == release.digest()
        assert (len(arrived), arrived.size) == (3, (12, 20))
    assert films().size == (4, 5)
    with pytest.raises(DataError, match="an update has no films"):
        update(a=np.zeros(1, dtype=np.int8)).size  # noqa: B018


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sealed": None}, "as many sealed"),
        ({"findings": None}, "as many sealed"),
        ({"split": None}, "as many sealed"),
        ({"codes": np.zeros((2, 32, 2, 3), dtype=np.int8)}, "as many sealed"),
        ({"sealed": np.zeros((3, 50), dtype=np.int8)}, r"\(n, bytes\) uint8"),
        ({"sealed": np.zeros((3, 5, 5), dtype=np.uint8)}, r"\(n, bytes\) uint8"),
        ({"codes": np.zeros((3, 32, 2, 3), dtype=np.float32)}, "int8"),
        ({"codes": np.zeros((3, 32, 6), dtype=np.int8)}, "int8"),
        ({"findings": np.zeros((3, 2), dtype=np.int8)}, "findings are"),
        ({"findings": np.zeros((3, 3), dtype=np.float32)}, "each of its findings once"),
        ({"split": np.array([0, 1, 3], dtype=np.int8)}, "splits are"),
    ],
)
def test_a_release_of_codes_is_checked(changes: dict[str, Any], said: str) -> None:
    arrays = {k: np.asarray(v) for k, v in {**codes().arrays, **changes}.items() if v is not None}
    with pytest.raises(DataError, match=said):
        codes(arrays=arrays)


not_a_size = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=3),
    st.lists(st.integers(1, 9), max_size=1),
    st.lists(st.integers(1, 9), min_size=3, max_size=4),
    st.tuples(st.integers(1, 9), st.integers(max_value=0) | st.integers(min_value=(1 << 16) + 1)).map(list),
    st.tuples(st.integers(1, 9), st.booleans() | st.floats(1, 9) | st.text(max_size=2)).map(list),
)


@given(not_a_size)
def test_a_release_of_codes_tells_a_size_that_films_can_have(size: object) -> None:
    with pytest.raises(DataError, match="height and width"):
        codes(facts={**codes().facts, "size": size})


@given(st.none() | st.just("") | st.integers() | st.lists(st.text(max_size=3), max_size=2))
def test_a_release_of_codes_tells_its_version(version: object) -> None:
    with pytest.raises(DataError, match="version of its codec"):
        codes(facts={**codes().facts, "version": version})


CODES_BYTES = codes().to_bytes()


@given(st.integers(0, len(CODES_BYTES) - 1), st.integers(1, 255))
def test_damaged_codes_are_refused_or_say_something_else(place: int, flip: int) -> None:
    damaged = bytearray(CODES_BYTES)
    damaged[place] ^= flip
    try:
        read = Release.from_bytes(bytes(damaged))
    except Refused:
        return
    assert same(read, codes()) or read.digest() != codes().digest()
    if read.kind == "codes":
        assert (len(read), len(read.size)) == (3, 2)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 0.5, -1.0, 3e38])
@pytest.mark.parametrize("make", [films, codes])
def test_a_finding_is_there_or_not_or_unknown(make: Callable[..., Release], value: float) -> None:
    release = make()
    findings = release.arrays["findings"].copy()
    findings[1, 1] = value
    with pytest.raises(DataError, match="a released finding is there, not there or unknown"):
        replace(release, arrays={**release.arrays, "findings": findings})


@pytest.mark.parametrize(
    "names",
    [[f"finding {i}" for i in range(257)], ["Mass", "H" * 201], ["Mass", ""], ["Mass", "\x1b[2J"], ["Mass", "a\nb"]],
    ids=["many", "long", "nothing", "an escape", "two lines"],
)
def test_names_of_findings_are_few_and_short(names: list[str]) -> None:
    findings = np.zeros((3, len(names)), dtype=np.float32)
    with pytest.raises(DataError, match="a release of films names its findings") as caught:
        films(arrays={**GOOD.arrays, "findings": findings}, facts={"findings": names})
    assert str(caught.value).isprintable()


not_complaints = st.one_of(
    st.none() | st.integers() | st.text() | st.dictionaries(st.text(), st.integers(), max_size=2),
    st.lists(st.none() | st.integers() | st.text(max_size=3), min_size=1, max_size=3),
    st.lists(st.lists(st.integers(), max_size=3), min_size=1, max_size=3),
    st.just([[0, "r" * 201]]),
    st.just([[0, "\x1b]0;"]]),
    st.just([[-1, "dark"]]),
    st.just([[True, "dark"]]),
    st.just([["0", "dark"]]),
    st.just([[0, "dark", "more"]]),
)


@given(not_complaints)
def test_complaints_are_films_and_reasons(told: object) -> None:
    with pytest.raises(DataError, match="a release tells films by their places, and reasons"):
        with_facts(films(), complaints=told)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(DataError, match="unknown kind of release; given: gossip; allowed: images, codes, update"):
        films(kind="gossip")


# The digest ---------------------------------------------------------------------------------------------------------


def test_digest_covers_every_byte_but_the_signature() -> None:
    document = document_of(GOOD)
    for row in document["arrays"]:
        row[-1] = zstandard.ZstdCompressor(level=19, write_checksum=True).compress(zstandard.decompress(row[-1]))
    other = Release.from_bytes(packed(document))
    assert same(other, GOOD)
    assert other.digest() != GOOD.digest()
    assert other.to_bytes() == packed(document)  # it goes on as it came
    assert films(signature=b"another").digest() == GOOD.digest()
    assert films(arrays=dict(reversed(list(GOOD.arrays.items())))).digest() == GOOD.digest()


def test_digest_changes_with_every_byte_of_every_array() -> None:
    digests = {GOOD.digest()}
    changes = 0
    for name, array in GOOD.arrays.items():
        for place in range(array.nbytes):
            raw = bytearray(array.tobytes())
            raw[place] ^= 1
            changed = np.frombuffer(bytes(raw), dtype=array.dtype).reshape(array.shape)
            if (name == "split" and changed.max() > 2) or name == "findings":
                continue
            digests.add(films(arrays={**GOOD.arrays, name: changed}).digest())
            changes += 1
    assert changes > 60
    assert len(digests) == changes + 1


@pytest.mark.parametrize(
    "changes",
    [
        {"site": "site-2"},
        {"method": "none"},
        {"facts": {"findings": ["Hernia", "Mass"]}},
        {"facts": {**GOOD.facts, "round": 2}},
        {"facts": {**GOOD.facts, "round": "1"}},
        {"facts": {**GOOD.facts, "more": None}},
        {"envelopes": {}},
        {"envelopes": {"site-3": b"sealed"}},
        {"envelopes": {"site-2": b"sealee"}},
        {"envelopes": {"site-2": b"sealed", "site-3": b""}},
    ],
)
def test_digest_changes_with_everything_else(changes: dict[str, Any]) -> None:
    assert films(**changes).digest() != GOOD.digest()


def test_digest_knows_names_shapes_and_types() -> None:
    array = np.arange(8, dtype=np.int16)
    variants = [
        update(a=array),
        update(b=array),
        update(a=array.reshape(2, 4)),
        update(a=array.reshape(4, 2)),
        update(a=array.view(np.uint16)),
        update(a=array.view(np.int8)),
        update(a=array, b=array),
        update(),
    ]
    assert len({v.digest() for v in variants}) == len(variants)


def test_digest_knows_the_kind() -> None:
    both = {**codes().arrays, "films": GOOD.arrays["films"]}
    one, other = Release("images", "site-1", "sca", both, codes().facts), codes(arrays=both)
    assert one.digest() != other.digest()


def test_what_is_on_file_stays_readable() -> None:
    """Signatures on file become worthless if this changes."""
    kept = Release.from_bytes(bytes.fromhex(ON_FILE))
    plain = {"films": np.zeros((3, 4, 5), np.uint8), "findings": np.zeros((3, 2), np.float32)}
    assert same(kept, films(arrays={**plain, "split": np.zeros(3, np.int8)}))
    assert kept.signature == b"signed"
    assert kept.digest() == "36af00b85687eb56a8c1a7c60dc1ecacf143d88648ba388790136f38b3db717e"


ON_FILE = (
    "464358520200067369676e6564000000b486a46b696e64a6696d61676573a473697465a6736974652d31a66d6574686f64a5"
    "6e6f697365a5666163747383a866696e64696e677392a44d617373a64865726e6961a673706c69747393a5747261696ea376"
    "616ca474657374a5726f756e6401a66172726179739394a566696c6d73a575696e7438930304051194a866696e64696e6773"
    "a7666c6f617433329203021194a573706c6974a4696e743891030ca9656e76656c6f7065739192a6736974652d320628b52f"
    "fd203c45000010000001003f011628b52ffd201845000010000001000ac00228b52ffd20031900000000007365616c6564"
)

# Hostile bytes ------------------------------------------------------------------------------------------------------


@settings(max_examples=500)
@given(st.integers(0, len(GOOD_BYTES) - 1), st.integers(1, 255))
def test_changed_bytes(place: int, change: int) -> None:
    data = bytearray(GOOD_BYTES)
    data[place] ^= change
    refused_or_harmless(bytes(data))


def test_every_single_flipped_bit() -> None:
    for place in range(len(GOOD_BYTES)):
        for bit in range(8):
            data = bytearray(GOOD_BYTES)
            data[place] ^= 1 << bit
            refused_or_harmless(bytes(data))


def test_every_truncation_is_refused() -> None:
    for end in range(len(GOOD_BYTES)):
        with pytest.raises(Refused):
            Release.from_bytes(GOOD_BYTES[:end])


@settings(max_examples=300)
@given(st.integers(0, len(GOOD_BYTES)), st.binary(min_size=1, max_size=40))
def test_inserted_bytes(place: int, more: bytes) -> None:
    refused_or_harmless(GOOD_BYTES[:place] + more + GOOD_BYTES[place:])


@settings(max_examples=300)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\xc1")
@example(b"\x81\xc4\x01a\xc0")
@example(b"\x91" * 5000)
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xc7\x04\xff" + b"\0" * 4)
def test_random_bytes(data: bytes) -> None:
    for start in (b"", MAGIC, MAGIC + bytes([FORMAT])):
        with pytest.raises(Refused):
            Release.from_bytes(start + data)


def test_other_formats_are_refused() -> None:
    for number in (0, 1, FORMAT + 1, 255):
        with pytest.raises(Refused, match="this is not a release; allowed: format 2"):
            Release.from_bytes(MAGIC + bytes([number]) + GOOD_BYTES[len(MAGIC) + 1 :])


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=6)
    | st.binary(max_size=6)
    | st.sampled_from(["images", "codes", "update", "uint8", "float32", *GOOD.arrays]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.binary(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=500)
@given(data=st.data())
def test_junk_in_the_place_of_any_part(data: st.DataObject) -> None:
    document = document_of(GOOD)
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(junk)
    refused_or_harmless(packed(document))


@pytest.mark.parametrize("part", ["kind", "site", "method", "facts", "arrays", "envelopes"])
def test_a_missing_part_is_refused(part: str) -> None:
    document = document_of(GOOD)
    del document[part]
    with pytest.raises(Refused, match=part):
        Release.from_bytes(packed(document))


def test_what_is_added_is_refused() -> None:
    """Bytes that no signature covers must not travel along."""
    document = document_of(GOOD)
    with pytest.raises(Refused):
        Release.from_bytes(packed({**document, "more": b"secret"}))
    with pytest.raises(Refused):
        Release.from_bytes(GOOD_BYTES + b"secret")
    for row in document["arrays"]:
        for changed in ([*row, b"secret"], [*row[:-1], row[-1] + b"secret"],
                        [*row[:-1], row[-1] + zstandard.compress(b"secret")]):  # fmt: skip
            arrays = [changed if other is row else other for other in document["arrays"]]
            with pytest.raises(Refused):
                Release.from_bytes(packed({**document, "arrays": arrays}))


@pytest.mark.parametrize("key", [1, None, True, 1.5])
def test_facts_are_keyed_by_text(key: object) -> None:
    with pytest.raises(Refused):
        Release.from_bytes(packed({**document_of(GOOD), "facts": {key: 1}}))


def test_an_update_has_no_films() -> None:
    """The coordinator counts what it is sent before it looks closer."""
    for arrays in ({}, {"a": np.zeros((), dtype=np.int8)}):
        release = Release("update", "site-1", "sca", arrays)
        assert len(Release.from_bytes(release.to_bytes())) == 0
        with pytest.raises(DataError, match="as many sealed"):
            Release("codes", "site-1", "sca", arrays)


# Which films its rows were made of ------------------------------------------------------------------------------------


def with_facts(release: Release, **facts: object) -> Release:
    return replace(release, facts={**release.facts, **facts})


KINDS = pytest.mark.parametrize("make", [films, codes])
JUNK = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.binary(max_size=3) | st.floats(allow_nan=False)
)


@KINDS
@given(data=st.data())
def test_unless_it_says_otherwise_rows_are_the_films_that_were_not_left_out(
    make: Callable[..., Release], data: st.DataObject
) -> None:
    rows, out = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 4))
    left_out = data.draw(st.permutations(range(rows + out)))[:out]
    release = with_facts(make(rows), left_out=left_out)
    assert release.left_out.tolist() == sorted(left_out)
    assert release.origins.tolist() == [place for place in range(rows + out) if place not in left_out]
    assert [held for held in range(20) if release.accounts_for(held)] == [rows + out]
    assert make(rows).origins.tolist() == list(range(rows))


@KINDS
@given(data=st.data())
def test_rows_may_be_of_any_film_in_any_order_or_of_nobody(make: Callable[..., Release], data: st.DataObject) -> None:
    origins = data.draw(st.lists(st.integers(-1, 9), max_size=6))
    release = with_facts(make(len(origins)), origins=origins)
    assert release.origins.tolist() == origins
    assert Release.from_bytes(release.to_bytes()).origins.tolist() == origins
    largest = max(origins, default=-1)
    assert [held for held in range(12) if release.accounts_for(held)] == list(range(largest + 1, 12))


@KINDS
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_films_of_nobody_are_as_many_as_their_maker_likes(make: Callable[..., Release], rows: int) -> None:
    release = with_facts(make(rows), origins="nobody")
    assert release.origins.tolist() == [-1] * rows
    assert all(release.accounts_for(held) for held in (0, 1, 4, 100))


def test_an_update_may_come_of_any_films() -> None:
    assert all(Release("update", "site-1", "sca", {}).accounts_for(held) for held in (0, 1, 100))


@KINDS
@pytest.mark.parametrize("fact", ["origins", "left_out"])
@given(data=st.data())
@settings(max_examples=60)
def test_places_that_are_none_are_refused(make: Callable[..., Release], fact: str, data: st.DataObject) -> None:
    """Three rows: any other number of places, one too low or too high, twice the same left out, or no number at all."""
    least, most = (-1, 2**63 - 1) if fact == "origins" else (0, 3)
    wrong = data.draw(
        st.one_of(
            JUNK.filter(lambda junk: junk is not None and junk != "nobody"),
            st.lists(st.just(0), min_size=2, max_size=5).filter(lambda places: fact == "left_out" or len(places) != 3),
            st.lists(JUNK, min_size=3, max_size=3).filter(
                lambda places: not all(type(place) is int and least <= place <= most for place in places)
            ),
            st.lists(st.lists(st.integers()), min_size=3, max_size=3),
            st.just([0, least - 1, 1]),
            st.just([2**63, 2**64 - 1, 2**64 - 2]),
        )
    )
    with pytest.raises(DataError, match="by their places"):
        with_facts(make(), **{fact: wrong})
    document = document_of(make())
    document["facts"][fact] = wrong
    with contextlib.suppress(OverflowError), pytest.raises(Refused):  # msgpack has no larger numbers
        Release.from_bytes(packed(document))


# Bombs: decoded in a process that may hold 1 GiB above what it starts with --------------------------------------------

MEMORY = 1 << 30


def _frame(size: int) -> bytes:
    """A real zstd frame of so many zeros, made without holding them."""
    made = zstandard.ZstdCompressor(level=1).compressobj(size=size)
    block = bytes(1 << 20)
    return b"".join(made.compress(block) for _ in range(size >> 20)) + made.flush()


def _lying_frame(size: int) -> bytes:
    """A frame whose header claims `size` bytes: magic, single segment with an 8-byte size, one empty last block."""
    return b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + b"\x01\x00\x00"


def _bombs() -> dict[str, bytes]:
    def arrays(*blocks: list[Any]) -> bytes:
        rows = [[f"a{i:04}", *block] for i, block in enumerate(blocks)]
        return packed({**document_of(update()), "arrays": rows})

    def facts(packed_facts: bytes) -> bytes:
        document = {**document_of(update()), "facts": {"it": 12345}}
        header = bytes(msgpack.packb(document, use_bin_type=True))
        return framed(header.replace(msgpack.packb(12345), packed_facts))

    def zeros(shape: list[int], data: bytes) -> list[Any]:
        return ["uint8", shape, data]

    def listed(n: int, part: bytes) -> bytes:
        return b"\xdd" + n.to_bytes(4) + part * n

    quarter = zeros([LARGEST // 4], _lying_frame(LARGEST // 4))
    small = _frame(1 << 26)
    return {
        "huge shape": arrays(zeros([1 << 62], zstandard.compress(b""))),
        "overflowing shape": arrays(zeros([1 << 40, 1 << 40, 1 << 40], zstandard.compress(b""))),
        "many dimensions": arrays(zeros([1] * 10_000, zstandard.compress(b"1"))),
        "empty and huge": arrays(zeros([0, 1 << 63, 1 << 63], zstandard.compress(b""))),
        "frame lies": arrays(zeros([LARGEST], _lying_frame(LARGEST))),
        "frame too large": arrays(zeros([LARGEST + 1], _lying_frame(LARGEST + 1))),
        "frame without a size": arrays(
            zeros([1 << 26], zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 26)))
        ),
        "shape smaller than frame": arrays(zeros([1], small)),
        "each allowed, all too much": arrays(*[quarter] * 5),
        "many small": arrays(*[zeros([1 << 26], small)] * (LARGEST // (1 << 26) + 1)),
        "three gigabytes of nothing": arrays(zeros([3 << 30], _frame(3 << 30))),
        "nested lists": framed((b"\xdd\x00\x4c\x4b\x40" * 900).ljust(5_000_000, b"\x01")),
        "nested maps": framed((b"\xdf\x00\x26\x25\xa0\xa1a" * 900).ljust(5_000_000, b"\x01")),
        "empty mappings": facts(listed(8_000_000, b"\x80")),
        "empty lists": facts(listed(2_000_000, b"\x90")),
        "deep facts": facts(b"\x91" * 400 + b"\x01"),
        "a long text": facts(b"\xdb" + (7_000_000).to_bytes(4) + b"a" * 7_000_000),
        "a long name": packed({**document_of(update()), "site": "s" * 1_000_000}),
        "a header of half a gigabyte": START + (1 << 29).to_bytes(4) + b"\x90" * 1000,
        "a long signature": MAGIC + bytes([FORMAT]) + b"\xff\xff" + bytes(1 << 17),
    }


def test_bombs_are_refused_before_they_fill_the_memory(tmp_path: Path, root: Path) -> None:
    bombs = _bombs()
    assert max(map(len, bombs.values())) < 1 << 24
    for name, data in bombs.items():
        (tmp_path / name).write_bytes(data)
    code = (
        "import resource, sys, time\n"
        "from pathlib import Path\n"
        "from fedcxr.errors import Refused\n"
        "from fedcxr.release import Release\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    try:\n"
        "        Release.from_bytes(path.read_bytes())\n"
        "        said = 'accepted'\n"
        "    except Refused:\n"
        "        said = 'refused'\n"
        "    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "    print(path.name, said, grown // 1024, round(time.process_time() - start, 1), sep='|')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=root, check=False, capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (4 * MEMORY, 4 * MEMORY)),
    )  # fmt: skip
    said = {name: rest for name, *rest in (line.split("|") for line in ran.stdout.splitlines())}
    assert said.keys() == bombs.keys(), ran.stderr
    for name, (outcome, megabytes, seconds) in said.items():
        assert outcome == "refused", name
        assert int(megabytes) < MEMORY >> 20, name
        assert float(seconds) < 3, name


# The answers --------------------------------------------------------------------------------------------------------


def test_answers_are_for_their_owner_only(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"site": ["site-1"], "row": [0], "film": [3], "patient": ["007"], "source": ["1"], "attacked": [True]}
    )
    folder = tmp_path / "answers"
    folder.mkdir(mode=0o755)
    AnswerKey(table).save(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "answers.csv").stat().st_mode & 0o777 == 0o600
    pd.testing.assert_frame_equal(AnswerKey.load(folder).table, table)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\xff"])
def test_missing_or_damaged_answers(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "answers.csv").write_bytes(content)
    with pytest.raises(DataError, match="the answers are missing or damaged"):
        AnswerKey.load(tmp_path)


def test_names_in_answers_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Somebody may be called NA, and rows of nobody have no name at all."""
    names = ["NA", "nan", "", "None", "007", "1e3", 'Müller, "J"', " x "]
    table = pd.DataFrame(
        {
            "site": "site-1",
            "row": np.arange(len(names)),
            "film": np.arange(len(names)) - 1,
            "patient": names,
            "source": names[::-1],
            "attacked": [True, False] * (len(names) // 2),
        }
    )
    AnswerKey(table).save(tmp_path)
    pd.testing.assert_frame_equal(AnswerKey.load(tmp_path).table, table)


def test_who_is_who_is_left_to_the_experimenters_side(root: Path) -> None:
    """Made by the simulation, kept by what measures: no method, adversary, question, task or hospital can name it."""
    files = [path for part in ("fedcxr", "sites", "server") for path in (root / part).rglob("*.py")]
    texts = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in files}
    assert {name for name, text in texts.items() if "AnswerKey" in text} == {
        "fedcxr/release/__init__.py",
        "fedcxr/simulation/threat.py",
    }
    assert {name for name, text in texts.items() if "threat.answers(" in text} == {"server/measure.py"}
    # What an adversary's process imports does not reach what knows.
    assert not [name for name in ("server/adversary.py", "server/leak.py", "server/sandbox.py", "server/answers.py")
                if "fedcxr.simulation" in texts[name]]  # fmt: skip
