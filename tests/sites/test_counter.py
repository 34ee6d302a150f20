"""A second place tells how often a vault was changed, so that no older copy of it passes for the latest."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from canary import leaks
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import Refused, VaultLocked
from fedcxr.keys.identity import Identity
from fedcxr.keys.provider import Job
from sites.budget import Budget
from sites.counter import RESTORED, VARIABLE, Counter, after_restoring, counters_folder
from sites.vault import Cost, Grant, Vault

WORDS = b"correct horse battery staple"
OTHERS = b"quite another set of words"
IMAGES = ["a", "b"]


@pytest.fixture
def counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "counters"))
    return tmp_path / "counters"


@pytest.fixture
def ring(tmp_path: Path, counters: Path) -> Path:
    Vault.create(tmp_path / "ring", "mercy", WORDS, Cost(log_n=4))
    return tmp_path / "ring"


@pytest.fixture
def vault(ring: Path) -> Iterator[Vault]:
    with Vault.unlock(ring, WORDS) as vault:
        yield vault


def copied(ring: Path) -> Path:
    return Path(shutil.copytree(ring, ring.with_name("copy")))


def restore(copy: Path, ring: Path) -> None:
    shutil.rmtree(ring)
    shutil.copytree(copy, ring)


def test_an_older_copy_does_not_bring_the_budget_back(ring: Path, vault: Vault) -> None:
    copy = copied(ring)
    vault.begin(Job("release", "r1"), IMAGES)
    with pytest.raises(Refused, match="budget"):
        vault.begin(Job("release", "r2"), IMAGES)
    restore(copy, ring)
    with pytest.raises(Refused, match=r"an older copy.*change 1.*fedcxr keys accept-restored"):
        Vault.unlock(ring, WORDS)
    # Nor to a process that had unlocked it before.
    for attempt in (
        lambda: vault.begin(Job("release", "r2"), IMAGES),
        lambda: vault.identity,
        vault.rotate,
        lambda: vault.relock(OTHERS, Cost(log_n=4)),
    ):
        with pytest.raises(Refused, match="an older copy"):
            attempt()


def test_every_change_makes_all_copies_older(ring: Path, vault: Vault) -> None:
    friend = Identity.generate("charity").public
    for change in (
        lambda: vault.begin(Job("learn", "r1", "1"), IMAGES),
        lambda: vault.grant(Grant(friend)),
        lambda: vault.revoke("charity"),
        vault.rotate,
        lambda: vault.relock(OTHERS, Cost(log_n=4)),
    ):
        copy = copied(ring)
        change()
        latest = ring.rename(ring.with_name("latest"))
        copy.rename(ring)
        with pytest.raises(Refused, match="an older copy"):
            Vault.unlock(ring, WORDS)
        shutil.rmtree(ring)
        latest.rename(ring)
    Vault.unlock(ring, OTHERS)


def test_a_copy_elsewhere_is_noticed(ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other machine"))
    with pytest.raises(Refused, match=r"no counter here: it was copied or restored.*accept-restored"):
        Vault.unlock(ring, WORDS)
    Vault.accept_restored(ring, WORDS)
    Vault.unlock(ring, WORDS)


@pytest.mark.parametrize("forged", [b"", bytes(8), bytes(40), (0).to_bytes(8) + b"x" * 32])
def test_a_forged_counter_is_noticed(ring: Path, counters: Path, forged: bytes) -> None:
    (path,) = counters.iterdir()
    path.write_bytes(forged)
    with pytest.raises(VaultLocked, match=r"counter of this vault was altered.*accept-restored"):
        Vault.unlock(ring, WORDS)


def test_the_counter_of_another_vault_does_not_count(ring: Path, counters: Path, tmp_path: Path) -> None:
    (path,) = counters.iterdir()
    Vault.create(tmp_path / "other", "mercy", WORDS, Cost(log_n=4))
    (other,) = (one for one in counters.iterdir() if one != path)
    path.write_bytes(other.read_bytes())
    with pytest.raises(VaultLocked, match="altered"):
        Vault.unlock(ring, WORDS)


def test_a_restored_vault_is_accepted_on_purpose_and_uses_no_key_twice(ring: Path, vault: Vault) -> None:
    copy = copied(ring)
    lost = vault.begin(Job("release", "r1"), IMAGES).reveal()
    latest = shutil.copytree(ring, ring.with_name("latest"))
    restore(copy, ring)
    with Vault.accept_restored(ring, WORDS) as accepted:
        assert accepted.ring.epoch == 2
    with Vault.unlock(ring, WORDS) as again:
        assert again.begin(Job("release", "r1"), ["other"]).reveal() != lost
    for older in (copy, latest):
        restore(older, ring)
        with pytest.raises(Refused, match="an older copy"):
            Vault.unlock(ring, WORDS)


def test_a_kill_between_vault_and_counter_is_no_restoration(
    ring: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copied(ring)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Counter, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            vault.begin(Job("release", "r1"), IMAGES)
    with Vault.unlock(ring, WORDS) as again:
        assert [made.release for made in again.ring.releases] == ["r1"]
        assert again.tallies(IMAGES) == [(1, 0, 0)] * 2
    restore(copy, ring)  # whoever unlocked it made up for it: nobody goes behind that
    with pytest.raises(Refused, match="an older copy"):
        Vault.unlock(ring, WORDS)


def test_the_counter_is_for_its_owner_and_tells_nothing(ring: Path, counters: Path, vault: Vault) -> None:
    vault.begin(Job("release", "r1"), IMAGES)
    (path,) = counters.iterdir()
    assert stat.S_IMODE(counters.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not leaks([vault.ring.choosing, vault.ring.identity.reveal()], counters)
    assert "mercy" not in path.name
    counters.chmod(0o755)
    with pytest.raises(Refused, match="0700"):
        Vault.unlock(ring, WORDS)


def test_where_the_counters_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/somewhere")
    assert counters_folder() == Path("/somewhere")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert counters_folder() == Path("/state/fedcxr/counters")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert counters_folder() == Path("/home/someone/.local/state/fedcxr/counters")


@given(st.integers(0, 2**60), st.integers(0, 2**60))
def test_after_restoring_every_copy_is_older(change: int, known: int) -> None:
    new = after_restoring(change, known)
    assert new > max(change, known)
    assert new % RESTORED == 0  # also than one that no counter told of, if it changed fewer than 2^32 times since


def test_two_vaults_keep_counters_apart(ring: Path, tmp_path: Path, counters: Path) -> None:
    with Vault.create(tmp_path / "other", "mercy", WORDS, Cost(log_n=4)) as other:
        for _ in range(3):
            other.rotate()
    assert len(list(counters.iterdir())) == 2
    Vault.unlock(ring, WORDS, Budget())
