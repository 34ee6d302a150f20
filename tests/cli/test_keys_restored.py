"""`fedcxr keys convert` and `accept-restored`: what a person runs when a vault is refused for its age says so."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest
from canary import leaks
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedcxr import cli
from fedcxr.keys.provider import Job
from sites.encrypted_file import HEADER, Cost
from sites.vault import Vault

WORDS = b"correct horse battery staple"
SECRETS = [bytes(range(60, 124)), b"c" * 32, b"m" * 32]  # identity, choosing, master key

Said = tuple[int, str, str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs a command in this process, beside the vault `ring`."""
    words = tmp_path / "words"
    words.touch(mode=0o600)
    words.write_bytes(WORDS)
    monkeypatch.setenv("FEDCXR_PASSPHRASE_FILE", str(words))
    monkeypatch.setenv("FEDCXR_COUNTERS", str(tmp_path / "counters"))
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["fedcxr", "keys", *arguments, "--vault", "ring"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return command


def test_a_restored_vault_is_used_again_once_a_person_says_so(run: Callable[..., Said], tmp_path: Path) -> None:
    with Vault.create(tmp_path / "ring", "mercy", WORDS, Cost(log_n=4)) as vault:
        shutil.copytree("ring", "copy")
        vault.begin(Job("release", "spring"), ["a"])
    shutil.rmtree("ring")
    shutil.copytree("copy", "ring")
    for command in ("show", "rotate"):
        code, _, told = run(command)
        assert code == 5
        assert "fedcxr keys accept-restored" in told
    code, said, _ = run("accept-restored")
    assert code == 0
    assert "epoch 2 has begun" in said
    assert "not in it" in said
    assert run("show")[0] == 0
    assert json.loads(run("accept-restored", "--format", "json")[1]) == {"vault": "ring", "site": "mercy", "epoch": 3}


def test_an_old_vault_is_converted_and_whom_to_grant_anew_is_told(run: Callable[..., Said], tmp_path: Path) -> None:
    header = HEADER.pack(b"FCXV", 1, 4, 8, 1, bytes(16))
    grants: list[object] = [["charity", bytes(32), bytes(32), None, 1.0, [], 0, "2026-01-01", ""]]
    ring = {"format": 1, "site": "mercy", "identity": SECRETS[0], "choosing": SECRETS[1], "serial": 1}
    ring |= {"epochs": [[1, SECRETS[2], "2026-01-01"]], "releases": [], "grants": grants}
    key = Cost(log_n=4).key(WORDS, bytes(16))
    (tmp_path / "ring").mkdir(mode=0o700)
    (tmp_path / "ring" / "vault").touch(mode=0o600)
    sealed = AESGCM(key).encrypt(bytes(12), msgpack.packb(ring), header)
    (tmp_path / "ring" / "vault").write_bytes(header + bytes(12) + sealed)
    code, _, told = run("show")
    assert code == 5
    assert "fedcxr keys convert" in told
    code, said, _ = run("convert")
    assert code == 0
    assert "To be granted anew, by their new cards: charity." in said
    assert run("show")[0] == 0
    code, _, again = run("convert")
    assert code == 5
    assert "format 2" in again
    assert not leaks(SECRETS, tmp_path, told, said, again)
