"""`fedcxr provision` and `fedcxr site request`: two people, each with a terminal of their own, until a kit is whole."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from canary import leaks

from fedcxr import cli
from fedcxr.deployment.kit import read_site
from sites.encrypted_file import Cost
from sites.vault import Vault

WORDS = "correct horse battery staple"
DOCUMENT = "name: chest\nhost: hub.example.org\nsites: [charite, ukb]\n"

Fedcxr = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fedcxr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fedcxr:
    """Runs a command in this process, in a folder with a consortium, a kit at charite's, and charite's vault."""
    with Vault.create(tmp_path / "vault", "charite", WORDS.encode(), Cost(log_n=4)):
        pass
    (tmp_path / "words").write_text(WORDS)
    (tmp_path / "words").chmod(0o600)
    (tmp_path / "chest.yaml").write_text(DOCUMENT)
    monkeypatch.setenv("FEDCXR_PASSPHRASE_FILE", str(tmp_path / "words"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fedcxr", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    assert run("provision", "chest.yaml", "--out", "kits")[0] == 0
    shutil.copytree("kits/charite", "at-charite")
    profile = Path("at-charite/profile.yaml")
    profile.write_text(profile.read_text().replace("/var/lib/fedcxr-vault/vault", str(tmp_path / "vault")))
    return run


def test_a_site_asks_and_gets_its_certificate(fedcxr: Fedcxr) -> None:
    code, out, err = fedcxr("site", "request", "at-charite", "--format", "json")
    assert (code, err) == (0, "")
    asked = json.loads(out)
    shutil.copy(asked["request"], "kits/requests/charite.json")
    code, out, err = fedcxr("provision", "chest.yaml", "--out", "kits", "--format", "json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert [(site["site"], site["state"], site["fingerprint"]) for site in report["sites"]] == [
        ("charite", "certified", asked["fingerprint"]),
        ("ukb", "no request yet", None),
    ]
    assert asked["coordinator"] == report["coordinator"]
    shutil.copy("kits/charite/node.crt", "at-charite")
    assert read_site(Path("at-charite")).site == "charite"
    with Vault.unlock(Path("vault"), WORDS.encode()) as vault:
        assert not leaks([vault.ring.identity.reveal()], Path("kits"), Path("at-charite"))


def test_both_are_told_what_to_compare_over_the_telephone(fedcxr: Fedcxr) -> None:
    asked = fedcxr("site", "request", "at-charite", "--vault", "vault")[1]
    shutil.copy("at-charite/request.json", "kits/requests/charite.json")
    code, said, err = fedcxr("provision", "chest.yaml", "--out", "kits")
    assert (code, err) == (0, "")
    lines = dict(line.split(":", 1) for line in asked.splitlines() if ":" in line)
    assert lines["fingerprint"].strip() in said
    assert lines["coordinator"].strip() in said
    assert "Compare each fingerprint with its site over the telephone" in said
    assert len(said.splitlines()) < 24


def test_a_site_is_revoked_by_name(fedcxr: Fedcxr) -> None:
    fedcxr("site", "request", "at-charite")
    shutil.copy("at-charite/request.json", "kits/requests/charite.json")
    fedcxr("provision", "chest.yaml", "--out", "kits")
    code, said, _ = fedcxr("provision", "chest.yaml", "--out", "kits", "--revoke", "charite")
    assert code == 0
    assert "charite  revoked" in said
    code, said, err = fedcxr("provision", "chest.yaml", "--out", "kits", "--revoke", "charity")
    assert (code, said) == (2, "")
    assert err.startswith("error: unknown site with a certificate; given: charity; allowed: charite; did you mean")


@pytest.mark.parametrize(
    ("edit", "code", "said"),
    [
        (lambda: Path("at-charite/kit.yaml").write_text("fedcxr: kit\nrole: site\n"), 2, "kit.yaml"),
        (lambda: Path("at-charite/ca.crt").write_text("no"), 5, "a file of the kit was altered; given: ca.crt"),
        (lambda: Path("at-charite/profile.yaml").write_text("site: charite"), 2, "the profile names no vault"),
        (lambda: shutil.rmtree("vault"), 3, "vault"),
        (lambda: shutil.rmtree("at-charite"), 3, "there is no kit here"),
    ],
)
def test_a_kit_that_is_not_whole_ends_in_one_line(
    fedcxr: Fedcxr, edit: Callable[[], object], code: int, said: str
) -> None:
    edit()
    ended, out, err = fedcxr("site", "request", "at-charite")
    assert (ended, out, len(err.splitlines())) == (code, "", 1)
    assert said in err
    assert WORDS not in err
