"""What belongs to a kit and to the machine it is on: each check finds what it is for."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
import yaml
from checked import Machines, machines, running

from fedcxr import __version__
from fedcxr.deployment import kit
from fedcxr.deployment.checks import coordinator, credentials, machine, ports, software
from fedcxr.deployment.checks.check import Outcome, Verdict
from fedcxr.deployment.checks.hospital import Hospital as Site
from fedcxr.errors import ConfigError, FedcxrError, Refused
from fedcxr.keys.cards import Card
from fedcxr.keys.identity import Identity
from sites.encrypted_file import Cost
from sites.vault import Vault

WORDS = "correct horse battery staple"
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Machines:
    return machines(tmp_path_factory.mktemp("ours") / "kits", now=NOW)


@pytest.fixture
def copied(made: Machines, tmp_path: Path) -> Machines:
    return made.copied(tmp_path / "kits")


def problem(outcome: Outcome, said: str, code: int = 3) -> None:
    assert outcome.verdict is Verdict.problem, outcome
    assert said in outcome.found
    assert outcome.exit_code == code
    assert outcome.fix


def warned(outcome: Outcome, said: str) -> None:
    assert outcome.verdict is Verdict.warning, outcome
    assert said in outcome.found
    assert outcome.fix


def well(outcome: Outcome) -> None:
    assert outcome.verdict is Verdict.ok, outcome


# Keys and certificates ------------------------------------------------------------------------------------------------


def test_private_files_are_this_user_s_alone(copied: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> Outcome:
        return credentials.private_files(copied.site, (kit.TLS_KEY, kit.NODE_KEY), "make them")

    well(look())
    (copied.site / kit.NODE_KEY).chmod(0o640)
    problem(look(), "others may use private/node.key, mode 0640", 5)
    (copied.site / kit.NODE_KEY).chmod(0o600)
    with monkeypatch.context() as other:
        other.setattr(os, "geteuid", lambda: 4242)
        problem(look(), "and this is user 4242")
    shutil.rmtree(copied.site / "private")
    problem(look(), "private/tls.key, private/node.key missing")


def test_a_site_s_certificate(copied: Machines) -> None:
    ends = kit.certificate(copied.site / kit.NODE_CERTIFICATE).not_valid_after_utc
    well(credentials.site_certificate(copied.site, NOW))
    warned(credentials.site_certificate(copied.site, ends - timedelta(days=13)), "in 13 days")
    problem(credentials.site_certificate(copied.site, ends), "ended on")
    problem(credentials.site_certificate(copied.site, NOW - timedelta(days=1)), "which is to come")
    (copied.site / kit.NODE_KEY).write_text("garbage")
    with pytest.raises(Refused, match="no node's key"):
        credentials.site_certificate(copied.site, NOW)
    (copied.site / kit.NODE_CERTIFICATE).unlink()
    problem(credentials.site_certificate(copied.site, NOW), "there is no node.crt yet")


def test_a_server_s_certificate(copied: Machines) -> None:
    told = kit.read_server(copied.server)
    well(credentials.server_certificate(copied.server, told, NOW))
    elsewhere = told.model_copy(update={"host": "hub.example.org"})
    problem(credentials.server_certificate(copied.server, elsewhere, NOW), "and not for hub.example.org")


def test_the_coordinator_is_who_its_card_says(copied: Machines) -> None:
    well(credentials.identity(copied.server))
    (copied.server / kit.COORDINATOR_CARD).write_text((copied.server / "cards" / "charite.card").read_text())
    problem(credentials.identity(copied.server), "not whose card the sites hold", 5)


def test_the_list_of_what_was_revoked(copied: Machines, tmp_path: Path) -> None:
    file = copied.server / kit.REVOKED
    well(credentials.revocations(copied.server, NOW))
    warned(credentials.revocations(copied.server, NOW + timedelta(days=360)), "listed until")
    problem(credentials.revocations(copied.server, NOW + timedelta(days=366)), "lets nobody in")
    shutil.copy(machines(tmp_path / "other").server / kit.REVOKED, file)
    problem(credentials.revocations(copied.server, NOW), "not of this consortium's authority", 5)
    file.write_text("garbage")
    problem(credentials.revocations(copied.server, NOW), "no list")
    file.unlink()
    problem(credentials.revocations(copied.server, NOW), "there is no crl.pem")


# The coordinator's ----------------------------------------------------------------------------------------------------


def test_who_is_missing_is_named(copied: Machines) -> None:
    told = kit.read_server(copied.server)
    warned(coordinator.sites(copied.server, told, NOW), "1 of 2 can come; ukb without card, node key, certificate")
    one = told.model_copy(update={"sites": ("charite",)})
    well(coordinator.sites(copied.server, one, NOW))
    warned(coordinator.sites(copied.server, one, NOW + timedelta(days=360)), "charite's ends on")
    (copied.server / "cards" / "charite.card").unlink()
    problem(coordinator.sites(copied.server, told, NOW), "nobody can come: charite without card")


@pytest.mark.skipif(software.nginx() is None, reason="nginx is not installed")
def test_the_real_nginx_takes_the_configuration_or_says_why(copied: Machines) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.server.rglob("*")}
    well(coordinator.gate(copied.server))
    assert {path: path.stat().st_mtime_ns for path in copied.server.rglob("*")} == before
    (copied.server / "nginx.conf").write_text((copied.server / "nginx.conf").read_text().replace("merge_", "murge_"))
    problem(coordinator.gate(copied.server), 'unknown directive "murge_slashes"')


def test_without_nginx_there_is_no_gate(copied: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "nginx", lambda: None)
    problem(coordinator.gate(copied.server), "there is no nginx")


# Ports ----------------------------------------------------------------------------------------------------------------


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one.getsockname()[1]


def test_a_runtime_port_that_is_somebody_else_s(copied: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as port:
        outcome = ports.runtime_port(copied.site, port)
        problem(outcome, f"127.0.0.1:{port} is taken")
        assert f"PID {os.getpid()}" in outcome.found
        own = ports.Holder(7, f"python -m sites.supernode {copied.site}/node.crt")
        monkeypatch.setattr(ports, "_named", lambda pid: own)
        well(ports.runtime_port(copied.site, port))
    well(ports.runtime_port(copied.site, port))


def test_a_server_s_port_is_free_ours_or_a_stranger_s(made: Machines, tmp_path: Path) -> None:
    def look(port: int) -> Outcome:
        return ports.served(made.server, ports.HERE, port, "superlink_port")

    with running(made.server / kit.SERVER_CERTIFICATE, made.server / kit.SERVER_KEY) as own:
        well(look(own.port))
    well(look(own.port))
    other = machines(tmp_path / "other").server
    with running(other / kit.SERVER_CERTIFICATE, other / kit.SERVER_KEY) as foreign:
        problem(look(foreign.port), f"other people's: {psutil.Process().cmdline()[0].rpartition('/')[2]}", 5)


def test_something_that_hangs_up_on_a_server_s_port(made: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "SECONDS", 0.1)
    with listening() as port:
        problem(ports.served(made.server, ports.HERE, port, "port"), "held by something else")


# The hospital's -------------------------------------------------------------------------------------------------------


def site(file: Path, name: str = "charite", **more: Any) -> Site:
    """A site whose profile this is, and whose coordinator's card lies beside it."""
    return Site(name, file, file.parent / "server.card", **more)


def profile(folder: Path, vault: Path, **changes: Any) -> Path:
    document = {"site": "charite", "vault": str(vault), "cohort": {"source": "phantom", "patients": 10, "size": 16}}
    document |= {"coordinator": str(folder / "server.card")}
    if not (folder / "server.card").exists():
        (folder / "server.card").write_text(Card.issue(Identity.generate("server")).text)
    file = folder / "own.yaml"
    file.write_text(yaml.safe_dump({**document, **changes}))
    file.chmod(0o600)
    return file


def test_a_profile_is_this_site_s_and_can_be_read(tmp_path: Path) -> None:
    well(site(profile(tmp_path, tmp_path / "vault", methods={"noise": {}})).policy())
    problem(site(profile(tmp_path, tmp_path / "vault"), "ukb").policy(), "it is charite's, and the kit ukb's")
    with pytest.raises(ConfigError, match="unknown key"):
        site(profile(tmp_path, tmp_path / "vault", methodes={})).policy()
    problem(site(tmp_path / "none.yaml").policy(), "there is none at")


def test_a_profile_answers_the_kit_s_coordinator(tmp_path: Path) -> None:
    file = profile(tmp_path, tmp_path / "vault")
    (tmp_path / "other.card").write_text(Card.issue(Identity.generate("server")).text)
    problem(Site("charite", file, tmp_path / "other.card").policy(), "it answers another coordinator", 5)


def test_a_kernel_that_cannot_fence_the_app_in_is_a_problem_unless_the_profile_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, weaker = (tmp_path / name for name in ("whole", "weaker"))
    whole.mkdir()
    weaker.mkdir()
    told = [site(profile(whole, tmp_path / "v")), site(profile(weaker, tmp_path / "v", fence={"weaker": True}))]
    for name, less in {"fedcxr.fence.landlock.version": lambda: 2, "fedcxr.fence.seccomp.supported": bool}.items():
        with monkeypatch.context() as kernel:
            kernel.setattr("fedcxr.fence.landlock.version", lambda: 3)
            kernel.setattr("fedcxr.fence.seccomp.supported", lambda: True)
            well(told[0].fence())
            well(machine.fence())
            kernel.setattr(name, less)
            problem(told[0].fence(), "a hospital's node refuses every request", 5)
            assert "fence: {weaker: true}" in told[0].fence().fix
            warned(told[1].fence(), "the profile takes a weaker fence")
            problem(machine.fence(), "a hospital's node refuses every request", 5)


def test_a_profile_by_which_the_app_could_read_its_vault_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="lies where it may read"):
        site(profile(tmp_path, tmp_path / "vault", fence={"reads": [str(tmp_path)]})).fence()


def test_films_are_read_and_enough(tmp_path: Path) -> None:
    file = profile(tmp_path, tmp_path / "vault")
    assert "of 10 patients can be used" in site(file).films().found
    assert site(file, whole=False).films().verdict is Verdict.unchecked
    problem(site(profile(tmp_path, tmp_path / "v", smallest=1000)).films(), "fewer than smallest, 1000")
    absent = profile(tmp_path, tmp_path / "v", cohort={"source": "folder", "root": str(tmp_path / "films")})
    with pytest.raises(FedcxrError, match="films"):
        site(absent).films()


def test_a_vault_is_found_and_opened_only_with_a_passphrase_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = profile(tmp_path, tmp_path / "vault")
    monkeypatch.delenv("FEDCXR_PASSPHRASE_FILE", raising=False)
    problem(site(file).vault(), "there is no vault at")
    with Vault.create(tmp_path / "vault", "charite", WORDS.encode(), Cost(log_n=4)):
        pass
    assert "will be asked for" in site(file).vault().found
    words = tmp_path / "words"
    words.write_text(WORDS)
    words.chmod(0o644)
    monkeypatch.setenv("FEDCXR_PASSPHRASE_FILE", str(words))
    with pytest.raises(Refused, match="others may read the passphrase"):
        site(file).vault()
    words.chmod(0o600)
    assert "opens" in site(file).vault().found
    problem(site(file, "ukb").vault(), "is charite's, and the kit ukb's", 5)
    words.write_text("another five words here")
    with pytest.raises(Refused):
        site(file).vault()


# The machine ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("free", "verdict"), [(0.5, "problem"), (5, "warning"), (50, "ok")])
def test_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, verdict: str) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=int(free * 1e6), f_frsize=1000))
    outcome = machine.disk(tmp_path / "not" / "there")
    assert (outcome.verdict, outcome.found) == (Verdict(verdict), f"{free:.1f} GB free for {tmp_path}/not/there")


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, how: False)
    problem(machine.disk(tmp_path / "run"), f"this user cannot write {tmp_path}")


@pytest.mark.parametrize(("free", "verdict"), [(0.5, "problem"), (2, "warning"), (8, "ok")])
def test_memory(monkeypatch: pytest.MonkeyPatch, free: float, verdict: str) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free * 1e9))
    assert machine.memory().verdict is Verdict(verdict)


def test_a_card_that_is_asked_for_and_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "DRIVERS", (str(tmp_path / "nvidiactl"),))
    well(machine.card("auto"))
    problem(machine.card("cuda"), "there is no driver")
    (tmp_path / "nvidiactl").touch()
    warned(machine.card("auto"), "a card is here and cannot be used")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    problem(machine.card("cuda"), "CUDA_VISIBLE_DEVICES is ''")
    well(machine.card("cpu"))


def test_proxies_and_what_else_flower_would_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if "proxy" in name.lower() or name.startswith("FLWR_")]:
        monkeypatch.delenv(name)
    well(machine.environment("hub.example.org"))
    monkeypatch.setenv("FLWR_LOG_LEVEL", "DEBUG")
    warned(machine.environment("hub.example.org"), "FLWR_LOG_LEVEL")
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy:3128")
    warned(machine.environment("hub.example.org"), "would call hub.example.org through it")
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy:3128")
    outcome = machine.environment("hub.example.org")
    problem(outcome, "calls of this machine to itself")
    assert "secret" not in outcome.found + outcome.fix
    monkeypatch.setenv("no_proxy", "127.0.0.1,hub.example.org")
    monkeypatch.delenv("FLWR_LOG_LEVEL")
    well(machine.environment("hub.example.org"))


def test_shared_memory_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=64, f_frsize=1_000_000))
    warned(machine.shared_memory(), "0.1 GB free in /dev/shm")


def test_a_loopback_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    well(machine.loopback())

    def down(*arguments: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", down)
    problem(machine.loopback(), "Network is unreachable")


# What is installed ----------------------------------------------------------------------------------------------------


def test_another_fedcxr_than_the_kit_s_and_another_flower(copied: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (copied.site, copied.server):
        well(software.versions(folder))
    readme = copied.site / "README.txt"
    readme.write_text(readme.read_text().replace(f"fedcxr {__version__}", "fedcxr 9.9.9"))
    warned(software.versions(copied.site), f"fedcxr 9.9.9 made this kit, and here is {__version__}")
    monkeypatch.setattr(software, "version", lambda name: "1.30.0")
    problem(software.versions(copied.site), "flwr 1.30.0, and fedcxr")
    assert "606" in software.versions(copied.site).fix


def test_a_library_that_is_missing_or_another(monkeypatch: pytest.MonkeyPatch) -> None:
    real = software.version
    well(software.libraries())
    changed = {"opacus": None, "numpy": "1.26.0"}
    monkeypatch.setattr(software, "version", lambda name: changed.get(name, real(name)))
    problem(software.libraries(), "numpy 1.26.0 (asked for: >=2.0), opacus is missing")


def test_what_is_missing_and_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    real = software.version
    monkeypatch.setattr(software, "version", lambda name: None if name == "pyarrow" else real(name))
    assert "pyarrow (tables in Parquet: pip install 'fedcxr[parquet]')" in software.extras().found


@pytest.mark.parametrize(
    ("launcher", "runtime"),
    [
        ("sites.launcher", "flwr.supernode.runtime.run_clientapp"),
        ("server.launcher", "flwr.superlink.runtime.run_serverapp"),
    ],
)
def test_a_flower_without_a_name_that_ours_replace(
    launcher: str, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    well(software.replaced(launcher, runtime, {}, ("flower-superexec",)))
    monkeypatch.delattr(importlib.import_module(runtime), "install_from_fab")  # a function has its name, too
    problem(software.replaced(launcher, runtime, {}, ()), f"has no {runtime}.install_from_fab", 5)
    problem(software.replaced(launcher, runtime, {}, ("flower-none",)), "flower-none is not beside")


def test_setpriv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    warned(software.setpriv(), "would live on")
