"""What lies beside the ring: no file of another release or time stands in for one, and a kill leaves all or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedcxr.errors import Refused, VaultLocked
from fedcxr.keys.identity import Identity
from fedcxr.keys.provider import Job
from sites import encrypted_file, records
from sites.budget import Budget
from sites.vault import Cost, Grant, Vault

WORDS = b"correct horse battery staple"
IMAGES = [f"i-{number}" for number in range(50)]
FRIEND = Identity.generate("charity").public


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Vault.create(tmp_path / "ring", "mercy", WORDS, Cost(log_n=4)) as vault:
        vault.grant(Grant(FRIEND, share=0.5))
    return tmp_path / "ring"


@pytest.fixture
def vault(folder: Path) -> Iterator[Vault]:
    with Vault.unlock(folder, WORDS, Budget(releases=100)) as vault:
        yield vault


def job(name: str) -> Job:
    return Job("release", name)


def beside(folder: Path, sort: str) -> dict[str, Path]:
    return {path.name: path for path in (folder / sort).iterdir()}


@pytest.mark.parametrize("sort", ["releases", "counts"])
@pytest.mark.parametrize(
    "alter",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes(byte ^ (place == 20) for place, byte in enumerate(path.read_bytes()))),
        Path.unlink,
        lambda path: shutil.rmtree(path.parent),
    ],
    ids=["short", "empty", "flipped", "gone", "all gone"],
)
def test_an_altered_file_is_refused(folder: Path, vault: Vault, sort: str, alter: Callable[[Path], object]) -> None:
    vault.begin(job("r1"), IMAGES)
    for path in beside(folder, sort).values():
        alter(path)
    with pytest.raises(
        VaultLocked, match=r"a file of the vault (was altered|is gone); given: .*restore it from a copy"
    ):
        vault.envelopes(job("r1")) if sort == "releases" else vault.begin(job("r2"), IMAGES)
    assert [made.release for made in vault.ring.releases] == ["r1"]


def test_an_older_file_of_counts_does_not_bring_the_budget_back(folder: Path, vault: Vault) -> None:
    vault.begin(job("r1"), IMAGES)
    (before,) = beside(folder, "counts").values()
    older = before.read_bytes()
    vault.begin(job("r2"), IMAGES)
    (now,) = beside(folder, "counts").values()
    now.write_bytes(older)
    with pytest.raises(VaultLocked, match="altered"):
        vault.begin(job("r3"), IMAGES)


def test_one_releases_images_are_not_anothers(folder: Path, vault: Vault) -> None:
    vault.begin(job("r1"), IMAGES)
    vault.begin(job("r2"), IMAGES[::-1])
    one, two = (path for _, path in sorted(beside(folder, "releases").items()))
    two.write_bytes(one.read_bytes())
    with pytest.raises(VaultLocked, match="altered"):
        vault.envelopes(job("r2"))


def test_too_many_images_are_refused_before_anything_is_written(
    folder: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "LARGEST", 100 * len(IMAGES))
    before = vault._box.read()
    with pytest.raises(Refused, match=r"too large for the vault's releases; given: \d+ bytes"):
        vault.begin(job("r1"), [*IMAGES, *map(str, range(300))])
    assert vault._box.read() == before
    assert vault.tallies(IMAGES[:1]) == [(0, 0, 0)]
    vault.begin(job("r2"), IMAGES)


def test_a_full_vault_begins_nothing_and_opens_still(
    folder: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before this it was written at any size, and above a gigabyte not read again."""
    monkeypatch.setattr(encrypted_file, "LARGEST", 4000)
    begun = 0

    def fill() -> None:
        nonlocal begun
        while begun < 99:
            vault.begin(job(f"run-{begun}"), ["a"])
            begun += 1

    with pytest.raises(Refused, match="the vault is full"):
        fill()
    assert begun > 5
    with Vault.unlock(folder, WORDS) as again:
        assert len(again.ring.releases) == begun
        assert again.tallies(["a"]) == [(begun, 0, 0)]


class Killed(BaseException):
    """The process is gone: nothing after this runs, also no tidying up."""


@pytest.mark.parametrize("call", ["open", "fsync", "replace", "unlink"])
def test_a_kill_at_any_step_leaves_all_of_a_job_or_nothing(
    folder: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)
    outcomes = set()
    vault.begin(job("before"), IMAGES)
    for moment in range(100):
        steps = iter(range(100))

        def stepped(*arguments: object, moment: int = moment, steps: Iterator[int] = steps, **more: object) -> object:
            if next(steps) >= moment:  # and whatever is tried after it
                raise Killed
            return real(*arguments, **more)

        name, finished = f"run-{moment}", True
        with monkeypatch.context() as patched:
            patched.setattr(os, call, stepped)
            try:
                vault.begin(job(name), IMAGES)
            except Killed:
                finished = False
        with Vault.unlock(folder, WORDS, Budget(releases=200)) as again:
            names = [made.release for made in again.ring.releases]
            known = name in names
            assert again.tallies(IMAGES) == [(len(names), 0, 0)] * len(IMAGES)
            if known:
                assert again.envelopes(job(name)).keys() == {FRIEND.fingerprint}
            again.begin(job(name), IMAGES)  # to go on with it
            assert again.tallies(IMAGES) == [(len(names) + (not known), 0, 0)] * len(IMAGES)
        assert known or not finished
        outcomes.add((known, finished))
        jobs = {str(made.serial) for made in vault.ring.jobs}
        assert beside(folder, "releases").keys() == jobs, "what a kill left behind is cleared"
        assert len(beside(folder, "counts")) == 1
        if finished:
            break
    assert {(False, False), (True, True)} <= outcomes
