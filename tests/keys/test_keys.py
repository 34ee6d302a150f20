"""Keys: every name leads to another key, seals open for exactly what they were made for, and no key shows."""

from __future__ import annotations

import ast
import copy
import hmac
import json
import pickle
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from canary import leaks
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import BrokenSeal, ConfigError, NotGranted, Refused
from fedcxr.keys import Hidden, ImageKey, MasterKey, Origin, ReleaseKey, context
from fedcxr.keys.identity import Identity

MASTER = MasterKey(bytes(range(32)), "mercy", 1)
RELEASE = MASTER.release_key("spring")
IMAGE = RELEASE.image_key("0")
DATA = b"a film that nobody else may see" * 3

names = st.text(max_size=12)


# Derivation -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.one_of(names, st.binary(max_size=12), st.integers(0, 1 << 40)), max_size=4), max_size=4))
def test_no_two_contexts_are_alike(lists: list[list[str | bytes | int]]) -> None:
    distinct = {repr(parts) for parts in lists}
    assert len({context("key", *parts) for parts in lists}) == len(distinct)
    assert not {context("key", *parts) for parts in lists} & {context("seal", *parts) for parts in lists}


def test_contexts_tell_where_a_part_ends() -> None:
    assert len({context("a", "b", "c"), context("a", "bc"), context("ab", "c"), context("a", "b", "c", "")}) == 4
    assert context("a", "1") != context("a", 1) != context("a", b"1")
    assert context("a", "\ud800") != context("a", "?")


def test_every_name_leads_to_another_key() -> None:
    found = [
        MasterKey(key, site, epoch).release_key(release).image_key(image).reveal()
        for key, site, epoch, release, image in product(
            [bytes(32), bytes(31) + b"\1"], ["a", "ab"], [1, 2, 11], ["r", "br"], ["0", "00", "1", ""]
        )
    ]
    assert len(set(found)) == len(found) == 96


def test_every_release_has_its_own_seed_and_it_is_no_key() -> None:
    seeds = [
        MasterKey(key, site, epoch).stream_key(release)
        for key, site, epoch, release in product([bytes(32), bytes(31) + b"\1"], ["a", "ab"], [1, 2], ["r", "br"])
    ]
    assert len(set(seeds)) == len(seeds) == 16
    assert MASTER.stream_key("spring") not in {MASTER.reveal(), RELEASE.reveal()}


def test_what_a_key_leads_to_never_changes() -> None:
    """A change here would make every release sealed so far impossible to open."""
    assert IMAGE.reveal().hex() == "3e2837c12895b0f23ddaf244f451f457b7712c9bdee70551160c378bdeb73098"
    assert IMAGE.seal(b"film", "dct-1").hex() == "20bef34e67724b766ca353f6e9f7d15c47b7476ad46c185a36ed9432c6872391"
    assert IMAGE.stream("shuffle", "dct-1").draw(8).hex() == "e0504e96647fccd5"


def test_a_key_is_hkdf_sha256_of_the_key_above_it() -> None:
    """RFC 5869 by hand, with no salt and one block."""
    extracted = hmac.digest(bytes(32), MASTER.reveal(), "sha256")
    assert RELEASE.reveal() == hmac.digest(extracted, context("release", "mercy", "spring", 1) + b"\1", "sha256")


def test_streams_differ_by_image_purpose_and_version_and_begin_anew() -> None:
    drawn = {
        RELEASE.image_key(image).stream(purpose, version).draw(16)
        for image, purpose, version in product(["0", "1"], ["shuffle", "signs"], ["1", "2"])
    }
    assert len(drawn) == 8
    assert IMAGE.stream("shuffle", "1").draw(16) == IMAGE.stream("shuffle", "1").draw(16)


def test_a_release_made_again_after_a_rotation_is_shuffled_afresh() -> None:
    old, new = (
        MasterKey(key, "mercy", epoch).release_key("spring").image_key("7").stream("shuffle", "1").permutation(4096)
        for key, epoch in [(bytes(32), 1), (bytes(31) + b"\1", 2)]
    )
    assert np.mean(old == new) < 0.01


def test_new_master_keys_come_from_the_operating_system() -> None:
    assert len({MasterKey.generate("mercy", 1).reveal() for _ in range(50)}) == 50


# Seals ----------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200), names)
def test_what_is_sealed_opens(data: bytes, version: str) -> None:
    assert IMAGE.open(IMAGE.seal(data, version), version) == data


def test_a_seal_is_aes_256_gcm_bound_to_what_it_is_about() -> None:
    sealed = IMAGE.seal(DATA, "dct-1")
    key = IMAGE._derive("seal")
    about = context("sealed", "mercy", "spring", 1, "0", "dct-1")
    assert AESGCM(key).decrypt(sealed[:12], sealed[12:], about) == DATA
    assert len(sealed) == len(DATA) + 28


def test_the_same_bytes_give_the_same_seal_and_others_another_nonce() -> None:
    assert IMAGE.seal(DATA, "1") == IMAGE.seal(DATA, "1")
    nonces = {IMAGE.seal(data, version)[:12] for data, version in product([b"", b"a", b"b", DATA], ["1", "2"])}
    assert len(nonces) == 8


def test_every_flipped_bit_is_refused() -> None:
    sealed = IMAGE.seal(DATA, "dct-1")
    said = set()
    for bit in range(8 * len(sealed)):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BrokenSeal) as refused:
            IMAGE.open(bytes(altered), "dct-1")
        said.add(str(refused.value))
    assert not leaks([IMAGE.reveal(), IMAGE._derive("seal"), MASTER.reveal()], *said)


@given(st.data())
def test_whatever_else_is_refused(data: st.DataObject) -> None:
    sealed = IMAGE.seal(DATA, "dct-1")
    start = data.draw(st.integers(0, len(sealed)))
    end = data.draw(st.integers(start, len(sealed)))
    other = sealed[:start] + data.draw(st.binary(max_size=40)) + sealed[end:]
    if other != sealed:
        with pytest.raises(BrokenSeal, match="does not open"):
            IMAGE.open(other, "dct-1")


@pytest.mark.parametrize(
    ("key", "version"),
    [
        (MASTER.release_key("spring").image_key("1"), "dct-1"),
        (MASTER.release_key("autumn").image_key("0"), "dct-1"),
        (MasterKey(MASTER.reveal(), "charity", 1).release_key("spring").image_key("0"), "dct-1"),
        (MasterKey(MASTER.reveal(), "mercy", 2).release_key("spring").image_key("0"), "dct-1"),
        (MasterKey(bytes(32), "mercy", 1).release_key("spring").image_key("0"), "dct-1"),
        (ImageKey(IMAGE.reveal(), RELEASE.origin, "1"), "dct-1"),
        (ImageKey(IMAGE.reveal(), Origin("mercy", "autumn", 1), "0"), "dct-1"),
        (ImageKey(IMAGE.reveal(), Origin("charity", "spring", 1), "0"), "dct-1"),
        (ImageKey(IMAGE.reveal(), Origin("mercy", "spring", 2), "0"), "dct-1"),
        (IMAGE, "dct-2"),
    ],
    ids=str,
)
def test_swapped_for_anything_else_it_stays_shut(key: ImageKey, version: str) -> None:
    """Even where the key itself is right, site, release, epoch, image and version must be."""
    with pytest.raises(BrokenSeal, match="altered, or it is another image or version"):
        key.open(IMAGE.seal(DATA, "dct-1"), version)


def test_a_seal_commits_to_its_key() -> None:
    """Plain GCM under a nonce of another's choice opens; this does not."""
    nonce = bytes(12)
    forged = nonce + AESGCM(IMAGE._derive("seal")).encrypt(nonce, DATA, IMAGE._about("1"))
    with pytest.raises(BrokenSeal):
        IMAGE.open(forged, "1")


# Some of the keys -----------------------------------------------------------------------------------------------------


def test_some_keys_are_those_and_no_other() -> None:
    some = RELEASE.only(["1", "3"])
    assert some.images == ("1", "3")
    assert some.image_key("3").reveal() == RELEASE.image_key("3").reveal()
    with pytest.raises(NotGranted, match="not granted; given: image 2, release spring of mercy, epoch 1"):
        some.image_key("2")
    assert issubclass(NotGranted, Refused)


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\0", "\u202eycrem", "\ud800", 7, None, b"mercy"])
def test_a_name_that_could_hide_something_is_refused(name: object) -> None:
    for parts in ((name, "r", 1), ("s", name, 1)):
        with pytest.raises(ConfigError, match="this is no name for a"):
            Origin(*parts)


@pytest.mark.parametrize("epoch", [0, -1, 1 << 31, True, 1.0, "1"])
def test_an_epoch_is_a_number_from_1(epoch: object) -> None:
    with pytest.raises(ConfigError, match="epoch"):
        Origin("s", "r", epoch)  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_key_of_the_wrong_length_is_refused_without_showing_it(length: int) -> None:
    key = bytes(range(100, 100 + length))
    with pytest.raises(ConfigError, match=f"given: {length} bytes") as refused:
        MasterKey(key, "mercy", 1)
    assert not leaks([key], refused.value)


# Hiding ---------------------------------------------------------------------------------------------------------------

HIDDEN: list[Hidden] = [MASTER, RELEASE, IMAGE, Identity.generate("mercy")]


@pytest.mark.parametrize("key", HIDDEN, ids=lambda key: type(key).__name__)
def test_a_key_does_not_show_itself(key: Hidden) -> None:
    shown = [repr(key), str(key), f"{key}", f"{[key]} {(key,)} { {'key': key} }", format(key), repr(vars(type(key)))]
    assert "redacted" in shown[0]
    assert not leaks([key.reveal()], *shown)
    assert not hasattr(key, "__dict__")
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps, lambda key: key.__reduce_ex__(2)):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            attempt(key)
    with pytest.raises(TypeError, match="JSON"):
        json.dumps(key)


def test_some_keys_do_not_show_themselves() -> None:
    some = RELEASE.only(["1"])
    assert repr(some) == "SomeKeys(1 images, redacted)"
    with pytest.raises(TypeError):
        pickle.dumps(some)
    assert isinstance(RELEASE, ReleaseKey)


def test_only_envelopes_and_vaults_ask_a_key_to_reveal_itself(root: Path) -> None:
    found = set()
    for tree in ("fedcxr", "sites", "server"):
        for path in (root / tree).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in ("reveal", "_key"):
                    found.add((path.relative_to(root).as_posix(), node.attr))
    assert found == {
        ("fedcxr/keys/__init__.py", "_key"),
        ("fedcxr/keys/identity.py", "_key"),
        ("fedcxr/keys/envelopes.py", "reveal"),
        ("fedcxr/keys/keyring.py", "reveal"),
        ("fedcxr/keys/coordinator.py", "reveal"),
        ("sites/encrypted_file.py", "_key"),
        ("sites/records.py", "_key"),
        ("sites/counter.py", "_key"),
        ("sites/journal.py", "_key"),
        ("sites/agent.py", "reveal"),
        ("fedcxr/data/_pseudonyms.py", "_key"),
    }
