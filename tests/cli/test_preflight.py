"""`fedcxr preflight` and `fedcxr doctor`: all on one screen, problems with their fixes, and nothing that is secret."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from checked import Machines, machines, running
from ports import free_port

from fedcxr import cli
from fedcxr.deployment import kit
from sites.encrypted_file import Cost
from sites.vault import Vault

Fedcxr = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fedcxr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fedcxr:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fedcxr", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    monkeypatch.delenv("FEDCXR_PASSPHRASE_FILE", raising=False)
    return run


@pytest.fixture
def made(tmp_path: Path) -> Machines:
    """Kits on free ports, and charite's profile and vault."""
    of = machines(
        tmp_path / "kits",
        port=free_port(),
        superlink_port=free_port(),
        sites={"charite": {"runtime_port": free_port()}, "ukb": {}},
    )
    with Vault.create(tmp_path / "vault", "charite", b"correct horse battery staple", Cost(log_n=4)):
        pass
    films = {"source": "phantom", "patients": 20, "size": 16}
    profile = {"site": "charite", "vault": str(tmp_path / "vault"), "cohort": films, "methods": {"noise": {}}}
    profile |= {"coordinator": str(of.site / kit.COORDINATOR_CARD)}
    (of.site / kit.PROFILE).write_text(yaml.safe_dump(profile))
    (of.site / kit.PROFILE).chmod(0o600)
    return of


def verdicts(out: str) -> dict[str, str]:
    return {check["check"]: check["verdict"] for check in json.loads(out)["checks"]}


def fits_a_screen(out: str) -> bool:
    lines = out.splitlines()
    return len(lines) <= 40 and max(map(len, lines)) <= 80


def test_a_site_that_is_ready(fedcxr: Fedcxr, made: Machines) -> None:
    port = kit.read_site(made.site).port
    with running(made.server / kit.SERVER_CERTIFICATE, made.server / kit.SERVER_KEY, made.server / kit.AUTHORITY, port):
        code, out, err = fedcxr("preflight", str(made.site), "--device", "cpu")
        told = fedcxr("preflight", str(made.site), "--device", "cpu", "--format", "json")[1]
    assert (code, err) == (0, "")
    assert out.startswith(f"chest: site at localhost:{port}\nok        kit         charite's of chest, whole\n")
    assert fits_a_screen(out)
    assert not {"problem", "unchecked"} & set(verdicts(told).values())


def test_a_site_with_problems_is_told_all_of_them(fedcxr: Fedcxr, made: Machines) -> None:
    (made.site / kit.TLS_KEY).chmod(0o644)
    (made.site / kit.PROFILE).unlink()
    code, out, err = fedcxr("preflight", str(made.site), "--device", "cpu")
    assert code == 5
    assert err == (
        "error: this machine is not ready; given: 4 problems: kit, private, port, profile; "
        "mend them and run this again\n"
    )
    assert fits_a_screen(out)
    assert out.count("fix: ") == 4
    assert "unchecked server      needs port first" in out
    told = json.loads(fedcxr("preflight", str(made.site), "--device", "cpu", "--format", "json")[1])
    assert told["problem"] == 4
    assert told["checks"][1] == {
        "check": "private",
        "verdict": "problem",
        "found": "others may use private/tls.key, mode 0644",
        "fix": f"run chmod go= {made.site}/private/tls.key",
    }


def test_a_kit_that_was_copied_without_its_private_folder(fedcxr: Fedcxr, made: Machines) -> None:
    for folder, names in ((made.site, "tls.key, private/node.key"), (made.server, "server.key, private/coordinator")):
        shutil.rmtree(folder / "private")
        code, out, _ = fedcxr("preflight", str(folder), "--device", "cpu", "--quick")
        assert code == 3
        assert f"private/{names}" in " ".join(out.split())
        assert "unchecked certificate needs " in out


def test_a_server_whose_kit_was_altered(fedcxr: Fedcxr, made: Machines) -> None:
    code, out, _ = fedcxr("preflight", str(made.server), "--device", "cpu", "--format", "json")
    before = verdicts(out)
    assert (code, before["kit"], before["sites"]) == (0, "ok", "warning")
    (made.server / "nodes" / "ukb.pub").write_text("a stranger's")
    code, out, err = fedcxr("preflight", str(made.server), "--device", "cpu", "--format", "json")
    assert (code, "problem: kit" in err) == (5, True)
    assert verdicts(out) == {**before, "kit": "problem", "certificate": "unchecked"}


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (None, 3, "there is no kit here"),
        ("role: server", 2, "this is no kit"),
        ("fedcxr: kit\nrole: judge\n", 2, "given: role: judge"),
        ("fedcxr: kit\nformat: 1\nrole: site\nport: 70000\n", 2, "kit.yaml"),
    ],
)
def test_what_is_no_kit(fedcxr: Fedcxr, tmp_path: Path, text: str | None, code: int, said: str) -> None:
    if text is not None:
        (tmp_path / kit.KIT).write_text(text)
    ended, out, err = fedcxr("preflight", str(tmp_path))
    assert (ended, out, said in err, err.count("\n")) == (code, "", True, 1)


def test_nothing_secret_is_said(
    fedcxr: Fedcxr, made: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tmp_path / "words"
    words.write_text("another five words here")  # which do not open the vault
    words.chmod(0o600)
    monkeypatch.setenv("FEDCXR_PASSPHRASE_FILE", str(words))
    said = fedcxr("preflight", str(made.site), "--format", "json") + fedcxr("preflight", str(made.server))
    everything = "".join(map(str, said))
    assert verdicts(said[1])["vault"] == "problem"
    assert "another five words" not in everything
    for file in (*(made.site / "private").iterdir(), *(made.server / "private").iterdir()):
        assert not any(line and line in everything for line in file.read_bytes().hex().split("0a"))
        assert file.read_bytes().decode(errors="replace")[30:60] not in everything


def test_a_machine_without_a_kit(fedcxr: Fedcxr) -> None:
    code, out, err = fedcxr("doctor", "--device", "cpu")
    assert (code, err) == (0, "")
    assert "fedcxr 0." in out
    assert fits_a_screen(out)
    assert {"libraries", "device", "disk", "artefacts"} <= verdicts(fedcxr("doctor", "--format", "json")[1]).keys()
