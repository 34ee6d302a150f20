"""Vaults of the first format: named, converted on purpose, by a kill left old or new, and never taken for today's."""

from __future__ import annotations

import os
from pathlib import Path

import msgpack
import pytest
from canary import leaks
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedcxr.errors import Refused, VaultLocked
from fedcxr.keys.provider import Job
from sites.budget import Budget
from sites.conversion import convert
from sites.encrypted_file import FILE, HEADER, MAGIC, Cost
from sites.vault import Vault

WORDS = b"correct horse battery staple"
CHEAP = Cost(log_n=4)
KEYS = [bytes([number]) * 32 for number in range(40, 44)]
IDENTITY = bytes(range(60, 124))
IMAGES = ["patient-7-a", "patient-7-b", "patient-8-a"]


def written(folder: Path, **ring: object) -> bytes:
    """A vault as the first version wrote it."""
    salt, nonce = bytes(range(16)), bytes(12)
    header = HEADER.pack(MAGIC, 1, CHEAP.log_n, CHEAP.r, CHEAP.p, salt)
    document = {
        "format": 1,
        "site": "mercy",
        "identity": IDENTITY,
        "choosing": KEYS[0],
        "serial": 4,
        "epochs": [[1, KEYS[1], "2026-01-01"], [2, KEYS[2], "2026-02-01"]],
        "releases": [["spring", 1, 1, "2026-01-02", IMAGES], ["summer", 2, 4, "2026-02-02", IMAGES[:2]]],
        "grants": [
            ["charity", bytes(32), bytes(32), None, 0.25, [], 1, "2026-01-03", ""],
            ["grace", bytes(32), bytes(32), ["patient-7-a"], 1.0, [], 2, "2026-01-04", "2026-01-05"],
        ],
        **ring,
    }
    sealed = AESGCM(CHEAP.key(WORDS, salt)).encrypt(nonce, msgpack.packb(document), header)
    folder.mkdir(mode=0o700)
    (folder / FILE).touch(mode=0o600)
    (folder / FILE).write_bytes(header + nonce + sealed)
    return header + nonce + sealed


def test_an_old_vault_is_named_with_the_command_that_converts_it(tmp_path: Path) -> None:
    written(tmp_path / "ring")
    with pytest.raises(VaultLocked, match=r"another version of fedcxr.*format 1 in .*run `fedcxr keys convert`"):
        Vault.unlock(tmp_path / "ring", WORDS)


def test_a_converted_vault_keeps_its_keys_and_counts_what_it_released(tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    written(folder)
    done = convert(folder, WORDS)
    assert (done.site, done.releases, done.recipients) == ("mercy", 2, ("charity",))
    with Vault.unlock(folder, WORDS, Budget(releases=2)) as vault:
        ring = vault.ring
        assert ring.identity.public.name == "mercy"
        assert not ring.identity.reveal().startswith(IDENTITY[:32])
        assert IDENTITY[32:] not in ring.identity.reveal()
        assert [epoch.key.reveal() for epoch in ring.epochs[:2]] == KEYS[1:3]
        assert ring.choosing == KEYS[0]
        assert [(made.release, made.epoch, made.films) for made in ring.releases] == [
            ("spring", 1, 3),
            ("summer", 2, 2),
        ]
        assert not ring.grants
        assert ring.epoch == 3
        assert vault.tallies([*IMAGES, "new"]) == [(2, 0, 0), (2, 0, 0), (1, 0, 0), (0, 0, 0)]
        with pytest.raises(Refused, match="budget"):
            vault.begin(Job("release", "autumn"), IMAGES)
        vault.begin(Job("release", "spring"), IMAGES[2:])  # under a key of the new epoch
        assert vault.ring.serial == 5
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not any(b"patient-7" in path.read_bytes() for path in files)
    assert not leaks([*KEYS[:3], IDENTITY], folder)


def test_a_kill_leaves_the_old_vault_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    replace, outcomes = os.replace, list[str]()
    for moment in range(6):
        folder, steps = tmp_path / str(moment), iter(range(100))
        old = written(folder, choosing=bytes([moment]) * 32)

        def stepped(*names: object, steps: object = steps, moment: int = moment, **places: object) -> None:
            if next(steps) >= moment:  # type: ignore[call-overload]
                raise Killed
            replace(*names, **places)  # type: ignore[arg-type]

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", stepped)
            try:
                convert(folder, WORDS)
                outcomes.append("done")
            except Killed:
                outcomes.append("old" if (folder / FILE).read_bytes() == old else "new")
        if outcomes[-1] == "old":
            convert(folder, WORDS)
        opened = Vault.accept_restored(folder, WORDS) if outcomes[-1] == "new" else Vault.unlock(folder, WORDS)
        with opened as vault:
            assert vault.tallies(IMAGES) == [(2, 0, 0), (2, 0, 0), (1, 0, 0)]
    assert outcomes == ["old", "old", "old", "old", "new", "done"]


def test_an_old_copy_is_not_converted_a_second_time(tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    old = written(folder, choosing=b"c" * 32)
    convert(folder, WORDS)
    (folder / FILE).write_bytes(old)
    with pytest.raises(Refused, match="an older copy"):
        convert(folder, WORDS)


@pytest.mark.parametrize("ring", [{"format": 2}, {"epochs": [1]}, {"releases": 7}], ids=str)
def test_what_is_no_old_ring_is_refused_without_showing_it(tmp_path: Path, ring: dict[str, object]) -> None:
    old = written(tmp_path / "ring", **{"choosing": b"d" * 32, **ring})
    with pytest.raises(VaultLocked, match="no key ring of format 1") as refused:
        convert(tmp_path / "ring", WORDS)
    assert not leaks([*KEYS[1:3], IDENTITY], refused.value)
    assert (tmp_path / "ring" / FILE).read_bytes() == old
