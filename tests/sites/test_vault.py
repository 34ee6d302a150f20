"""The key ring: who gets which keys of which release, through grants, revocations, rotations, kills and rivals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
from canary import leaks
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import BrokenSeal, ConfigError, NotGranted, Refused, UnknownName, VaultLocked, WrongEnvelope
from fedcxr.keys import Origin, ReleaseKey, SomeKeys
from fedcxr.keys.envelopes import open_envelope, read_label
from fedcxr.keys.identity import Identity
from fedcxr.keys.keyring import Grant, Keyring
from fedcxr.keys.provider import Job
from sites.budget import Budget
from sites.vault import Cost, Vault, own_folder

WORDS = b"correct horse battery staple"
CHEAP = Cost(log_n=4)
AMPLE = Budget(releases=100)
IMAGES = [f"i-{n:04d}" for n in range(400)]

CHARITY = Identity.generate("charity")
GRACE = Identity.generate("grace")


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with Vault.create(tmp_path / "ring", "mercy", WORDS, CHEAP), unlocked(tmp_path) as vault:
        yield vault


def unlocked(tmp_path: Path, budget: Budget = AMPLE) -> Vault:
    return Vault.unlock(tmp_path / "ring", WORDS, budget)


def opened(vault: Vault, envelope: bytes, reader: Identity, release: str, epoch: int = 1) -> ReleaseKey | SomeKeys:
    return open_envelope(envelope, reader, vault.identity.public, Origin("mercy", release, epoch))


def rows(vault: Vault, reader: Identity, release: str, epoch: int | None = None) -> set[int]:
    """Which rows of a release a recipient may open."""
    envelope = vault.envelopes(Job("release", release), epoch).get(reader.public.fingerprint)
    if envelope is None:
        return set()
    made = vault.ring.made(release, epoch)
    keys = opened(vault, envelope, reader, release, made.epoch)
    if isinstance(keys, ReleaseKey):
        return set(range(made.films))
    whole = vault.release_key(release, epoch)
    assert all(keys.image_key(image).reveal() == whole.image_key(image).reveal() for image in keys.images)
    return set(map(int, keys.images))


# On disk --------------------------------------------------------------------------------------------------------------


def test_everything_is_there_after_unlocking_again(vault: Vault, tmp_path: Path) -> None:
    vault.begin(Job("release", "spring"), IMAGES)
    vault.grant(Grant(CHARITY.public, share=0.25, releases=("spring",)))
    vault.grant(Grant(GRACE.public, images=("i-0001", "i-0002")))
    vault.rotate()
    vault.revoke("grace")
    again = Vault.unlock(tmp_path / "ring", WORDS).ring
    assert again.pack() == vault.ring.pack()
    assert (again.site, again.epoch, len(again.releases), len(again.grants)) == ("mercy", 2, 1, 2)


def test_two_key_rings_share_nothing(tmp_path: Path) -> None:
    one, other = (Vault.create(tmp_path / n, "mercy", WORDS, CHEAP) for n in "ab")
    keys = [{r.identity.reveal(), r.choosing, r.epochs[0].key.reveal()} for r in (one.ring, other.ring)]
    assert not keys[0] & keys[1]
    assert len(keys[0]) == 3


def secrets_of(vault: Vault) -> list[bytes]:
    ring = vault.ring
    found = [ring.identity.reveal(), ring.choosing, *(epoch.key.reveal() for epoch in ring.epochs)]
    for made in ring.releases:
        key = ring.release_key(made)
        found += [key.reveal(), key.image_key("0").reveal(), key.image_key("1").reveal()]
    return found


def test_no_key_shows_anywhere(vault: Vault, tmp_path: Path) -> None:
    vault.begin(Job("release", "spring"), IMAGES)
    vault.grant(Grant(CHARITY.public, releases=("spring",)))
    vault.grant(Grant(GRACE.public, images=("i-0000", "i-0001"), releases=("spring",)))
    vault.rotate()
    vault.begin(Job("release", "spring"), IMAGES)
    shown = [repr(vault), repr(vault.ring), str(vault.ring), repr(vault.begin(Job("release", "autumn"), IMAGES))]
    shown += [envelope.decode("latin-1") for _, _, envelope in vault.rewrapped()]
    assert len(secrets_of(vault)) == 13
    assert not leaks(secrets_of(vault), tmp_path, *shown, *(e for _, _, e in vault.rewrapped()))


def test_the_names_of_images_are_not_on_disk_in_the_clear(vault: Vault, tmp_path: Path) -> None:
    vault.begin(Job("release", "spring"), ["patient-7-image-3"] * 2)
    vault.grant(Grant(CHARITY.public, images=("patient-7-image-3",), releases=("spring",)))
    files = [path for path in (tmp_path / "ring").rglob("*") if path.is_file()]
    assert len(files) == 5
    assert all(b"patient-7" not in path.read_bytes() for path in files)
    assert b"patient-7" not in vault._box.read()
    assert rows(vault, CHARITY, "spring") == {0, 1}
    assert "patient-7" not in repr(vault.ring)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xc1", msgpack.packb({"format": 3}), msgpack.packb({"format": 2}), msgpack.packb([]), msgpack.packb(None)],
)
def test_what_is_no_key_ring_is_refused(content: bytes) -> None:
    with pytest.raises(VaultLocked, match="no key ring that this version"):
        Keyring.unpack(content)


@given(st.data())
def test_a_damaged_ring_is_refused_without_showing_it(data: st.DataObject) -> None:
    """A vault authenticates what it holds; should it ever not, nothing of it shows."""
    packed = RING.pack()
    end = data.draw(st.integers(0, len(packed) - 1))
    for damaged in (packed[:end], packed + data.draw(st.binary(min_size=1, max_size=9)), packed[:end] + b"\xc1"):
        with pytest.raises(VaultLocked) as refused:
            Keyring.unpack(damaged)
        assert not leaks([RING.identity.reveal(), RING.epochs[0].key.reveal()], refused.value)


RING = Keyring.new("mercy").begun(Job("release", "spring"), IMAGES[:3]).granted(Grant(CHARITY.public))


def test_where_the_vault_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCXR_VAULT", "/somewhere")
    assert own_folder() == Path("/somewhere")
    monkeypatch.delenv("FEDCXR_VAULT")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/config")
    assert own_folder() == Path("/config/fedcxr/vault")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert own_folder() == Path("/home/someone/.config/fedcxr/vault")


# Releases -------------------------------------------------------------------------------------------------------------


def test_a_release_gone_on_with_has_the_same_key(vault: Vault) -> None:
    key = vault.begin(Job("release", "spring"), IMAGES)
    assert (
        vault.begin(Job("release", "spring"), IMAGES).reveal() == key.reveal() == vault.release_key("spring").reveal()
    )
    assert vault.begin(Job("release", "autumn"), IMAGES).reveal() != key.reveal()
    assert [made.release for made in vault.ring.releases] == ["spring", "autumn"]


def test_other_images_under_the_same_name_are_refused(vault: Vault) -> None:
    vault.begin(Job("release", "spring"), IMAGES)
    for images in (IMAGES[::-1], IMAGES[:-1], [*IMAGES, "new"]):
        with pytest.raises(Refused, match="begun with other images"):
            vault.begin(Job("release", "spring"), images)


def test_an_unknown_release_is_told(vault: Vault) -> None:
    vault.begin(Job("release", "spring"), IMAGES)
    with pytest.raises(UnknownName, match="did you mean 'spring'"):
        vault.release_key("sprng")
    with pytest.raises(UnknownName):
        vault.envelopes(Job("release", "spring"), 2)


# Grants ---------------------------------------------------------------------------------------------------------------


def test_all_a_list_and_a_share(vault: Vault) -> None:
    vault.grant(Grant(CHARITY.public))
    vault.grant(Grant(GRACE.public, images=("i-0003", "i-0001", "elsewhere")))
    vault.begin(Job("release", "spring"), IMAGES)
    assert rows(vault, CHARITY, "spring") == set(range(400))
    assert rows(vault, GRACE, "spring") == {1, 3}


def test_without_a_grant_there_is_no_envelope(vault: Vault) -> None:
    vault.begin(Job("release", "spring"), IMAGES)
    assert vault.envelopes(Job("release", "spring")) == {}
    vault.grant(Grant(GRACE.public, images=("elsewhere",)))
    vault.begin(Job("release", "autumn"), IMAGES)
    assert vault.envelopes(Job("release", "autumn")) == {}


def test_a_share_is_that_large_the_same_each_time_and_grows(vault: Vault) -> None:
    vault.grant(Grant(CHARITY.public, share=0.25))
    vault.grant(Grant(GRACE.public, share=0.25))
    vault.begin(Job("release", "spring"), IMAGES)
    spring = rows(vault, CHARITY, "spring")
    assert abs(len(spring) - 100) < 45  # five standard deviations
    assert spring != rows(vault, GRACE, "spring")
    vault.rotate()
    vault.begin(Job("release", "autumn"), IMAGES[::-1])
    assert {IMAGES[::-1][row] for row in rows(vault, CHARITY, "autumn")} == {IMAGES[row] for row in spring}
    vault.grant(Grant(CHARITY.public, share=0.5))
    vault.begin(Job("release", "winter"), IMAGES)
    assert spring < rows(vault, CHARITY, "winter")


def test_a_grant_is_for_what_comes_unless_it_names_what_is_there(vault: Vault) -> None:
    for release in ("spring", "summer"):
        vault.begin(Job("release", release), IMAGES)
    vault.grant(Grant(CHARITY.public))
    vault.grant(Grant(GRACE.public, releases=("spring", "winter")))
    for release in ("autumn", "winter"):
        vault.begin(Job("release", release), IMAGES)
    found = {
        release: [bool(rows(vault, reader, release)) for reader in (CHARITY, GRACE)]
        for release in ("spring", "summer", "autumn", "winter")
    }
    assert found == {
        "spring": [False, True],
        "summer": [False, False],
        "autumn": [True, False],
        "winter": [True, True],
    }


def test_several_grants_add_up(vault: Vault) -> None:
    vault.begin(Job("release", "spring"), IMAGES)
    vault.grant(Grant(GRACE.public, images=("i-0001",), releases=("spring",)))
    vault.grant(Grant(GRACE.public, images=("i-0007",), releases=("spring",)))
    assert rows(vault, GRACE, "spring") == {1, 7}
    vault.grant(Grant(GRACE.public, releases=("spring",)))
    assert len(rows(vault, GRACE, "spring")) == 400


@pytest.mark.parametrize(
    "wrong", [{"share": 0.0}, {"share": 1.1}, {"share": float("nan")}, {"images": ()}, {"images": ("a",), "share": 0.5}]
)
def test_a_grant_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Grant(CHARITY.public, **wrong)  # type: ignore[arg-type]


def test_a_known_name_with_another_fingerprint_is_refused(vault: Vault) -> None:
    vault.grant(Grant(CHARITY.public))
    impostor = Identity.generate("charity").public
    with pytest.raises(Refused, match="this site is known by another fingerprint"):
        vault.grant(Grant(impostor))
    vault.revoke("charity")
    vault.grant(Grant(impostor))  # once the old one is gone, a site may have a new key
    assert vault.ring.recipient("charity") == impostor


def test_two_sites_keys_never_open_each_others_envelopes(vault: Vault, tmp_path: Path) -> None:
    with Vault.create(tmp_path / "other", "mercy", WORDS, CHEAP) as other:  # even under the same name
        for one in (vault, other):
            one.begin(Job("release", "spring"), IMAGES)
            one.grant(Grant(CHARITY.public, releases=("spring",)))
            one.grant(Grant(GRACE.public, releases=("spring",)))
        for one, rival in ((vault, other), (other, vault)):
            for reader, stranger in ((CHARITY, GRACE), (GRACE, CHARITY)):
                envelope = one.envelopes(Job("release", "spring"))[reader.public.fingerprint]
                opened(one, envelope, reader, "spring")
                with pytest.raises(WrongEnvelope):
                    opened(one, envelope, stranger, "spring")
                with pytest.raises(Refused, match="not signed by mercy"):
                    opened(rival, envelope, reader, "spring")
        sealed = vault.release_key("spring").image_key("0").seal(b"film", "1")
        with pytest.raises(BrokenSeal):
            other.release_key("spring").image_key("0").open(sealed, "1")


# Revocation and rotation ----------------------------------------------------------------------------------------------


def test_who_is_revoked_gets_nothing_more_and_keeps_what_was_given(vault: Vault) -> None:
    vault.grant(Grant(CHARITY.public))
    vault.grant(Grant(GRACE.public))
    sealed = vault.begin(Job("release", "spring"), IMAGES).image_key("5").seal(b"film", "1")
    kept = vault.envelopes(Job("release", "spring"))[CHARITY.public.fingerprint]
    vault.revoke(CHARITY.public.fingerprint[:12])
    assert opened(vault, kept, CHARITY, "spring").image_key("5").open(sealed, "1") == b"film"
    vault.begin(Job("release", "autumn"), IMAGES)
    for release in ("spring", "autumn"):
        assert list(vault.envelopes(Job("release", release))) == [GRACE.public.fingerprint]
    with pytest.raises(WrongEnvelope):
        opened(vault, kept, CHARITY, "autumn")


def test_after_a_revocation_the_same_release_needs_a_new_key(vault: Vault) -> None:
    vault.grant(Grant(CHARITY.public))
    old = vault.begin(Job("release", "spring"), IMAGES)
    vault.revoke("charity")
    with pytest.raises(Refused, match=r"revoked since.*fedcxr keys rotate"):
        vault.begin(Job("release", "spring"), IMAGES)
    vault.begin(Job("release", "autumn"), IMAGES)  # which they were never given
    vault.rotate()
    assert vault.begin(Job("release", "spring"), IMAGES).reveal() != old.reveal()


def test_a_rotation_with_old_releases(vault: Vault) -> None:
    vault.grant(Grant(CHARITY.public))
    vault.grant(Grant(GRACE.public, share=0.5))
    old = vault.begin(Job("release", "spring"), IMAGES)
    sealed = {str(row): old.image_key(str(row)).seal(b"old film", "1") for row in range(40)}
    before = dict(vault.envelopes(Job("release", "spring")))
    vault.rotate()
    new = vault.begin(Job("release", "spring"), IMAGES)
    # Old films open with old envelopes, and with new ones for the old epoch.
    for envelope in (
        before[CHARITY.public.fingerprint],
        vault.envelopes(Job("release", "spring"), 1)[CHARITY.public.fingerprint],
    ):
        assert opened(vault, envelope, CHARITY, "spring", 1).image_key("3").open(sealed["3"], "1") == b"old film"
    # The new release shares no key and no order with the old one, and each envelope opens its own only.
    assert new.origin == Origin("mercy", "spring", 2)
    after = vault.envelopes(Job("release", "spring"))[CHARITY.public.fingerprint]
    for envelope, epoch in ((before[CHARITY.public.fingerprint], 2), (after, 1)):
        with pytest.raises(WrongEnvelope):
            opened(vault, envelope, CHARITY, "spring", epoch)
    with pytest.raises(BrokenSeal):
        opened(vault, after, CHARITY, "spring", 2).image_key("3").open(sealed["3"], "1")
    orders = [key.image_key("3").stream("shuffle", "1").permutation(1000) for key in (old, new)]
    assert np.mean(orders[0] == orders[1]) < 0.02
    # The share is the same share.
    assert rows(vault, GRACE, "spring", 1) == rows(vault, GRACE, "spring", 2)


def test_wrapping_again_leaves_out_who_was_revoked(vault: Vault) -> None:
    vault.grant(Grant(CHARITY.public))
    vault.grant(Grant(GRACE.public, images=("i-0001",)))
    for release in ("spring", "summer"):
        vault.begin(Job("release", release), IMAGES)
    vault.revoke("charity")
    vault.rotate()
    made = vault.rewrapped()
    assert [(m.release, m.epoch, f) for m, f, _ in made] == [
        ("spring", 1, GRACE.public.fingerprint),
        ("summer", 1, GRACE.public.fingerprint),
    ]
    for again, _, envelope in made:
        keys = opened(vault, envelope, GRACE, again.release)
        assert read_label(envelope).origin == keys.origin
        with pytest.raises(NotGranted):
            keys.image_key("0")
    assert vault.rewrapped(only=CHARITY.public.fingerprint) == []


def test_who_is_meant(vault: Vault) -> None:
    vault.grant(Grant(CHARITY.public))
    for unknown in ("charty", CHARITY.public.fingerprint[:7], ""):
        with pytest.raises(UnknownName):
            vault.revoke(unknown)
    double = replace(vault.ring, grants=(Grant(CHARITY.public), Grant(Identity.generate("charity").public)))
    with pytest.raises(ConfigError, match="several recipients are meant"):
        double.revoked("charity")
    vault.revoke("charity")
    at = vault.ring.grants[0].revoked
    vault.revoke("charity")  # again changes nothing
    assert [g.revoked for g in vault.ring.grants] == [at]


# Other processes ------------------------------------------------------------------------------------------------------


def python(root: Path, *command: str, timeout: float = 120) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])}
    return subprocess.Popen(
        [sys.executable, *command], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


BEGINS = """
import sys
from pathlib import Path
from fedcxr.keys.provider import Job
from sites.budget import Budget
from sites.vault import Vault
vault = Vault.unlock(Path(sys.argv[1]), sys.argv[2].encode(), Budget(releases=1000))
for number in range(25):
    vault.begin(Job("release", f"{sys.argv[3]}-{number}"), ["a"])
    vault.rotate()
"""


def test_two_processes_at_one_ring_lose_nothing(vault: Vault, tmp_path: Path, root: Path) -> None:
    running = [python(root, "-c", BEGINS, str(tmp_path / "ring"), WORDS.decode(), name) for name in "ab"]
    for process in running:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    ring = vault.ring
    assert {made.release for made in ring.releases} == {f"{name}-{n}" for name in "ab" for n in range(25)}
    assert [epoch.key.epoch for epoch in ring.epochs] == list(range(1, 52))
    assert [made.serial for made in ring.releases] == list(range(1, 51))


@pytest.mark.slow
def test_a_thousand_kills_during_a_write_lose_nothing(tmp_path: Path, root: Path) -> None:
    process = python(root, str(Path(__file__).with_name("killed.py")), str(tmp_path / "ring"), "1000")
    said, wrong = process.communicate(timeout=360)
    assert process.returncode == 0, wrong
    told = json.loads(said)
    assert told["in_the_middle"] >= 20, "the kills must fall into writes"
    assert told["acknowledged"] >= 250, "and between them"
    assert told["left"] == [
        *("counts", "counts/N", "journal", "releases"),
        *["releases/N"] * told["jobs"],
        *("vault", "vault.lock"),
    ]
