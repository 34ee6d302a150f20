"""`fedcxr keys`: the whole life of a key ring from the command line, and no key in anything it prints or writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from canary import leaks
from nodes import card_in

from fedcxr import cli
from fedcxr.keys import Origin
from fedcxr.keys.envelopes import open_envelope
from fedcxr.keys.provider import Job
from fedcxr.learning.spending import Spending
from sites.budget import Budget
from sites.encrypted_file import HEADER, Cost
from sites.vault import Vault

WORDS = "correct horse battery staple"
OTHERS = "quite another set of words"
IMAGES = [f"i-{n:02d}" for n in range(20)]

Fedcxr = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fedcxr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fedcxr:
    """Runs a command in this process; vaults are made with a cheap scrypt."""
    create = Vault.create
    monkeypatch.setattr(Vault, "create", lambda folder, site, words: create(folder, site, words, Cost(log_n=4)))
    (tmp_path / "words").write_text(WORDS + "\n")
    (tmp_path / "words").chmod(0o600)
    monkeypatch.setenv("FEDCXR_PASSPHRASE_FILE", str(tmp_path / "words"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fedcxr", "keys", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def two(fedcxr: Fedcxr) -> Fedcxr:
    """Two hospitals, each with the other's card."""
    for name in ("mercy", "charity"):
        assert fedcxr("init", "--site", name, "--vault", name, "--card", f"{name}.card")[0] == 0
    return fedcxr


def unlocked(name: str) -> Vault:
    return Vault.unlock(Path(name), WORDS.encode())


def done(result: tuple[int, str, str]) -> Any:
    """The one JSON document of a command that ended well."""
    code, out, err = result
    assert (code, err) == (0, "")
    return json.loads(out)


def failed(result: tuple[int, str, str], code: int) -> str:
    assert result[0] == code, result
    assert result[1] == ""
    lines = result[2].splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_the_whole_life_of_a_grant(two: Fedcxr, tmp_path: Path) -> None:
    mercy, charity = unlocked("mercy"), unlocked("charity")
    sealed = mercy.begin(Job("release", "spring"), IMAGES).image_key("3").seal(b"film", "1")
    code, out, _ = two("grant", "charity.card", "--release", "spring", "--out", "post", "--vault", "mercy")
    assert code == 0
    assert "granted: all of spring, to charity" in out
    assert "Compare the fingerprint with its owner over the telephone." in out
    (envelope,) = (tmp_path / "post").iterdir()

    code, out, _ = two("open", str(envelope), "--from", "mercy.card", "--vault", "charity")
    assert code == 0
    assert out.startswith("opens all images of release spring of mercy, epoch 1\nfrom: ")
    origin = Origin("mercy", "spring", 1)
    keys = open_envelope(envelope.read_bytes(), charity.identity, mercy.identity.public, origin)
    assert keys.image_key("3").open(sealed, "1") == b"film"

    code, out, _ = two("revoke", "charity", "--vault", "mercy")
    assert code == 0
    assert "What was given cannot be taken back: charity keeps the keys of spring" in out
    code, out, _ = two("rotate", "--out", "after", "--vault", "mercy")
    assert code == 0
    assert "epoch 2 has begun" in out
    assert not list((tmp_path / "after").iterdir())

    code, out, _ = two("show", "--vault", "mercy")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "site:", "fingerprint:", "epoch", "epoch", "release", "grant",
    ]  # fmt: skip
    assert "REVOKED" in out


def test_it_shows_what_privacy_was_spent_and_of_how_much(two: Fedcxr, tmp_path: Path) -> None:
    spending = Spending(unit="patient", noise_multiplier=1.0, sample_rate=0.01, steps=500)
    assert "privacy" not in two("show", "--vault", "mercy")[1]
    with Vault.unlock(Path("mercy"), WORDS.encode(), Budget(privacy=None)) as vault:
        for number in range(2):
            vault.begin(Job("learn", "spring", str(number)), IMAGES, spending)
    assert two("show", "--vault", "mercy")[1].endswith(
        "\nprivacy spent per patient: epsilon 1.829 at delta 1e-05, 1000 steps\n"
    )
    profile = tmp_path / "profile.yaml"
    profile.touch(mode=0o600)
    budget = "{privacy: {epsilon: 8, delta: 1.0e-6}}"
    named = f"site: mercy, vault: {tmp_path / 'mercy'}, coordinator: {card_in(tmp_path)}"
    profile.write_text(f"{{{named}, cohort: phantom, budget: {budget}}}")
    _, text, _ = two("show", "--profile", str(profile))
    assert text.endswith("\nprivacy spent per patient: epsilon 2.125 of 8 at delta 1e-06, 1000 steps\n")
    (said,) = done(two("show", "--profile", str(profile), "--format", "json"))["privacy"]
    assert said["epsilon"] < said["epsilon_rdp"] < said["promised"] == 8
    assert (said["unit"], said["delta"], said["steps"]) == ("patient", 1e-6, 1000)


def test_json_of_every_command(two: Fedcxr) -> None:
    json_ = ("--format", "json")
    made = done(two("init", "--site", "grace", "--vault", "grace", *json_))
    assert made["site"] == "grace"
    assert (made["epoch"], len(made["fingerprint"])) == (1, 64)
    unlocked("mercy").begin(Job("release", "spring"), IMAGES)
    Path("list").write_text("i-01\ni-03\n\ni-03\n")
    given = done(
        two(
            "grant",
            "charity.card",
            "--images",
            "list",
            "--release",
            "spring",
            "--out",
            "post",
            "--vault",
            "mercy",
            *json_,
        )
    )
    assert (given["what"], given["releases"], len(given["envelopes"])) == ("list of 2", ["spring"], 1)
    found = done(two("open", given["envelopes"][0], "--from", "mercy.card", "--vault", "charity", *json_))
    assert (found["site"], found["release"], found["epoch"], found["opens"]) == ("mercy", "spring", 1, ["1", "3"])
    share = done(two("grant", "charity.card", "--share", "0.25", "--vault", "mercy", *json_))
    assert share["what"] == "share 0.25"
    rotated = done(two("rotate", "--out", "again", "--vault", "mercy", *json_))
    assert (rotated["epoch"], rotated["recipients"], len(rotated["envelopes"])) == (2, ["charity"], 1)
    gone = done(two("revoke", "charity", "--vault", "mercy", *json_))
    assert gone["keeps"] == ["spring"]
    shown = done(two("show", "--vault", "mercy", *json_))
    assert [epoch["epoch"] for epoch in shown["epochs"]] == [1, 2]
    assert [(one["what"], bool(one["revoked"])) for one in shown["grants"]] == [
        ("list of 2", True),
        ("share 0.25", True),
    ]
    assert shown["releases"][0]["images"] == 20


def test_the_whole_life_of_a_renewed_card(two: Fedcxr, tmp_path: Path) -> None:
    json_ = ("--format", "json")
    unlocked("mercy").begin(Job("release", "spring"), IMAGES)
    given = done(
        two("grant", "charity.card", "--release", "spring", "--share", "0.5", "--out", "a", "--vault", "mercy", *json_)
    )
    before = done(two("show", "--vault", "charity", *json_))

    code, out, _ = two("rotate", "--identity", "--card", "next.card", "--vault", "charity")
    assert code == 0
    assert "Hand the new card (--card FILE) to all who have the old one" in out
    shown = done(two("show", "--vault", "charity", "--card", "again.card", *json_))
    assert shown["earlier"] == [before["fingerprint"]] != [shown["fingerprint"]]
    assert shown["epochs"] == before["epochs"]
    assert Path("again.card").read_text() == Path("next.card").read_text()

    # What was sealed to the old keys opens; what was granted to the old card moves to the new one, once it is accepted.
    found = done(two("open", given["envelopes"][0], "--from", "mercy.card", "--vault", "charity", *json_))
    assert "fedcxr keys accept" in failed(two("grant", "next.card", "--vault", "mercy"), 5)
    moved = done(two("accept", "next.card", "--out", "b", "--vault", "mercy", *json_))
    assert (moved["fingerprint"], moved["grants"], len(moved["envelopes"])) == (shown["fingerprint"], 1, 1)
    again = done(two("open", moved["envelopes"][0], "--from", "mercy.card", "--vault", "charity", *json_))
    assert again["opens"] == found["opens"]

    # A new identity of the sender: its envelopes are signed by the new keys, and its earlier ones by the old.
    done(two("rotate", "--identity", "--card", "mercy-2.card", "--out", "c", "--vault", "mercy", *json_))
    (envelope,) = map(str, (tmp_path / "c").iterdir())
    failed(two("open", envelope, "--from", "mercy.card", "--vault", "charity"), 5)
    assert (
        done(two("open", envelope, "--from", "mercy-2.card", "--vault", "charity", *json_))["opens"] == found["opens"]
    )


def test_a_card_that_nobody_known_signed_is_not_accepted(two: Fedcxr) -> None:
    assert "no grant is waiting" in failed(two("accept", "charity.card", "--vault", "mercy"), 5)
    two("grant", "charity.card", "--vault", "mercy")
    two("init", "--site", "charity", "--vault", "thief", "--card", "thief.card")
    two("rotate", "--identity", "--card", "thief.card", "--vault", "thief")
    assert "does not follow the one that is known" in failed(two("accept", "thief.card", "--vault", "mercy"), 5)
    two("rotate", "--identity", "--card", "next.card", "--vault", "charity")
    two("revoke", "charity", "--vault", "mercy")
    assert "it was revoked" in failed(two("accept", "next.card", "--vault", "mercy"), 5)


def test_another_passphrase(two: Fedcxr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = unlocked("mercy").ring
    (tmp_path / "new").write_text(OTHERS + "\n")
    (tmp_path / "new").chmod(0o600)
    failed(two("passphrase", "--vault", "mercy"), 2)  # nowhere to type the new one
    monkeypatch.setenv("FEDCXR_NEW_PASSPHRASE_FILE", str(tmp_path / "new"))
    said = two("passphrase", "--vault", "mercy", "--format", "json")
    assert done(said) == {"vault": "mercy", "site": "mercy", "passphrase": "changed"}
    failed(two("show", "--vault", "mercy"), 5)
    monkeypatch.setenv("FEDCXR_PASSPHRASE_FILE", str(tmp_path / "new"))
    assert two("show", "--vault", "mercy")[0] == 0
    with Vault.unlock(Path("mercy"), OTHERS.encode()) as opened:
        secrets = [ring.identity.reveal(), ring.epochs[0].key.reveal()]
        assert [opened.identity.reveal(), opened.ring.epochs[0].key.reveal()] == secrets
    (tmp_path / "words").unlink()
    (tmp_path / "new").unlink()
    assert not leaks([*secrets, WORDS.encode(), OTHERS.encode()], tmp_path, *map(str, said))


def test_nothing_printed_or_written_holds_a_key(two: Fedcxr, tmp_path: Path) -> None:
    unlocked("mercy").begin(Job("release", "spring"), IMAGES)
    said = [
        two("grant", "charity.card", "--release", "spring", "--out", "post", "--vault", "mercy"),
        two("rotate", "--out", "post", "--vault", "mercy", "--format", "json"),
        two("show", "--card", "again.card", "--vault", "mercy", "--format", "json"),
        two("show", "--vault", "charity"),
        *(
            two("open", str(path), "--from", "mercy.card", "--vault", "charity", "--debug")
            for path in (tmp_path / "post").iterdir()
        ),
        two("revoke", "charity", "--vault", "mercy"),
    ]
    assert [code for code, _, _ in said] == [0] * len(said)
    secrets = [WORDS.encode()]
    for name in ("mercy", "charity"):
        ring = unlocked(name).ring
        secrets += [ring.identity.reveal(), ring.choosing, *(epoch.key.reveal() for epoch in ring.epochs)]
        secrets += [ring.release_key(made).reveal() for made in ring.releases]
    (tmp_path / "words").unlink()
    assert len(secrets) == 9
    assert not leaks(secrets, tmp_path, *(text for _, out, err in said for text in (out, err)))
    assert "correct horse" not in "".join(out + err for _, out, err in said)


def test_the_default_vault(fedcxr: Fedcxr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FEDCXR_VAULT", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert done(fedcxr("init", "--site", "mercy", "--format", "json"))["vault"] == str(tmp_path / "config/fedcxr/vault")
    assert fedcxr("show")[0] == 0
    monkeypatch.setenv("FEDCXR_VAULT", str(tmp_path / "nowhere"))
    assert "nowhere" in failed(fedcxr("show"), 3)


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_a_wrong_passphrase_is_refused(two: Fedcxr, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("something else entirely")
    for command in (["show"], ["grant", "charity.card"], ["revoke", "charity"], ["rotate"]):
        line = failed(two(*command, "--vault", "mercy"), 5)
        assert "the passphrase is wrong, or the file was altered" in line
        assert "something" not in line


def test_refusals_exit_5(two: Fedcxr, tmp_path: Path) -> None:
    unlocked("mercy").begin(Job("release", "spring"), IMAGES)
    two("grant", "charity.card", "--release", "spring", "--out", "post", "--vault", "mercy")
    (envelope,) = (tmp_path / "post").iterdir()
    good = envelope.read_bytes()
    opening = ("open", str(envelope), "--from", "mercy.card", "--vault")
    failed(two(*opening, "mercy"), 5)  # not its recipient
    failed(two("open", str(envelope), "--from", "charity.card", "--vault", "charity"), 5)  # not its sender
    for altered in (good[:-1], good[:40], b"", good[:60] + bytes([good[60] ^ 1]) + good[61:], b"junk" * 100):
        envelope.write_bytes(altered)
        failed(two(*opening, "charity"), 5)
    for card in ("{}", "junk", Path("mercy.card").read_text().replace("mercy", "grace")):
        Path("false.card").write_text(card)
        failed(two("grant", "false.card", "--vault", "mercy"), 5)
    Path("mercy").chmod(0o755)
    assert "chmod 0700" in failed(two("show", "--vault", "mercy"), 5)
    Path("mercy").chmod(0o700)
    (tmp_path / "words").chmod(0o644)
    failed(two("show", "--vault", "mercy"), 5)


def test_wrong_usage_exits_2(two: Fedcxr, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "a vault already" in failed(two("init", "--site", "mercy", "--vault", "mercy"), 2)
    assert "no name for a site" in failed(two("init", "--site", "", "--vault", "new"), 2)
    assert not Path("new").exists()
    failed(two("init"), 2)
    failed(two("grant", "charity.card", "--share", "0", "--vault", "mercy"), 2)
    failed(two("grant", "charity.card", "--share", "much", "--vault", "mercy"), 2)
    failed(two("grant", "charity.card", "--release", "", "--vault", "mercy"), 2)
    Path("empty").write_text("\n\n")
    failed(two("grant", "charity.card", "--images", "empty", "--vault", "mercy"), 2)
    Path("list").write_bytes(b"\xff\xfe")
    failed(two("grant", "charity.card", "--images", "list", "--vault", "mercy"), 2)
    for endless in ("/dev/zero", "sent.card"):
        Path("sent.card").write_text("x" * 17_000)
        assert "too large" in failed(two("accept", endless, "--vault", "mercy"), 2)
    assert "unknown recipient" in failed(two("revoke", "nobody", "--vault", "mercy"), 2)
    assert "no such" in failed(two("shew"), 2).lower()
    failed(two("show", "--passphrase", "x", "--vault", "mercy"), 2)
    failed(two("show", "--card", "/proc/nowhere/card", "--vault", "mercy"), 2)


def test_what_is_missing_exits_3(two: Fedcxr, monkeypatch: pytest.MonkeyPatch) -> None:
    failed(two("show", "--vault", "nowhere"), 3)
    failed(two("grant", "nowhere.card", "--vault", "mercy"), 3)
    failed(two("grant", "charity.card", "--images", "nowhere", "--vault", "mercy"), 3)
    failed(two("open", "nowhere", "--from", "mercy.card", "--vault", "charity"), 3)
    failed(two("open", "mercy", "--from", "mercy.card", "--vault", "charity"), 3)  # a folder
    monkeypatch.setenv("FEDCXR_PASSPHRASE_FILE", "nowhere")
    failed(two("show", "--vault", "mercy"), 3)


# In a process of its own ----------------------------------------------------------------------------------------------


def test_from_a_shell_without_a_terminal(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment.pop("FEDCXR_PASSPHRASE_FILE", None)
    command = [sys.executable, "-m", "fedcxr.cli", "keys", "init", "--site", "mercy", "--vault", str(tmp_path / "ring")]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
            check=False, start_new_session=True,
        )  # fmt: skip

    ended = run()
    assert ended.returncode == 2
    assert "FEDCXR_PASSPHRASE_FILE" in ended.stderr
    assert "Traceback" not in ended.stderr
    (tmp_path / "words").write_text(WORDS)
    (tmp_path / "words").chmod(0o600)
    environment["FEDCXR_PASSPHRASE_FILE"] = str(tmp_path / "words")
    ended = run()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "fingerprint: " in ended.stdout
    assert HEADER.unpack((tmp_path / "ring" / "vault").read_bytes()[: HEADER.size])[2] >= 17


@pytest.mark.parametrize("command", ["init", "show", "grant", "accept", "revoke", "rotate", "passphrase", "open"])
def test_help_shows_an_example(fedcxr: Fedcxr, command: str) -> None:
    code, out, _ = fedcxr(command, "--help")
    assert code == 0
    assert f"Example: fedcxr keys {command}" in out
    assert "passphrase" not in out.lower() or command in {"init", "passphrase"}


def test_help_imports_no_cryptography() -> None:
    look = (
        "import sys, fedcxr.cli\n"
        "try: fedcxr.cli.app(['keys', 'grant', '--help'], standalone_mode=False)\n"
        "finally: print(sorted({'cryptography', 'numpy', 'torch', 'sites'} & set(sys.modules)), file=sys.stderr)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ended = subprocess.run(
        [sys.executable, "-c", look], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    assert ended.stderr.strip() == "[]"
