"""A kit is read whole or refused: another consortium's, a cut, mixed or edited one, or one with another key in it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from provisioned import Hospital, Kits, with_sites

from fedcxr.deployment import kit
from fedcxr.deployment.certificates import private_text
from fedcxr.deployment.kit import ServerKit, SiteKit, parse, read_server, read_site
from fedcxr.errors import BadSignature, FedcxrError, Refused
from fedcxr.keys.coordinator import read_identity
from fedcxr.storage.disk import write_atomic

CHARITE = Hospital("charite")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Kits:
    return with_sites(tmp_path_factory.mktemp("kits"), CHARITE, Hospital("ukb"))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Kits:
    """Of another consortium whose names are all the same."""
    return with_sites(tmp_path_factory.mktemp("others"), CHARITE, Hospital("ukb"))


@pytest.fixture
def copied(made: Kits, tmp_path: Path) -> Path:
    return shutil.copytree(made.out, tmp_path / "kits")


def test_what_was_made_is_read(made: Kits) -> None:
    server, site = read_server(made.out / "server"), read_site(made.out / "charite")
    assert (server.consortium, server.sites, server.superlink_port) == ("chest", ("charite", "ukb"), 9092)
    assert (site.site, site.runtime_port, site.address, site.id) == ("charite", 9094, "localhost:8443", server.id)
    identity = read_identity(made.out / "server" / kit.IDENTITY)
    assert identity.public == kit.card(made.out / "charite" / "coordinator.card").public


def test_the_system_s_own_program_agrees_with_the_sums(made: Kits) -> None:
    for name in ("server", "charite"):
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=made.out / name, check=True)


def test_what_a_machine_adds_or_adapts_is_its_own(copied: Path) -> None:
    site = copied / "charite"
    (site / "profile.yaml").write_text("site: charite\n")
    (site / "compose.override.yaml").write_text("services: {}\n")
    (site / "private").mkdir(mode=0o700)
    (site / "private" / "tls.key").touch(mode=0o600)
    (site / "node.crt").unlink()
    read_site(site)


def renamed(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


EDITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "edited": (lambda kits: (kits / "server/nginx.conf").write_text("events {}\n"), "was altered; given: nginx.conf"),
    "lost": (lambda kits: (kits / "server/crl.pem").unlink(), "server/crl.pem; copy the whole kit again"),
    "a stranger's node": (
        lambda kits: (kits / "server/nodes/eve.pub").write_text("x"),
        "is not of it; given: nodes/eve.pub",
    ),
    "a stranger's card": (lambda kits: (kits / "server/cards/eve.card").write_text("x"), "given: cards/eve.card"),
    "another path in it": (lambda kits: renamed(kits / "server/kit.yaml", "ukb", "../ukb"), "sites"),
    "no sums": (lambda kits: (kits / "server/SHA256SUMS").unlink(), "missing; given: "),
    "empty sums": (lambda kits: (kits / "server/SHA256SUMS").write_text(""), "SHA256SUMS leaves a file out"),
    "sums elsewhere": (
        lambda kits: (kits / "server/SHA256SUMS").write_text(f"{'0' * 64}  ../charite/node.crt\n"),
        "not what sha256sum writes",
    ),
    "other text": (lambda kits: (kits / "server/SHA256SUMS").write_text("hello\n"), "not what sha256sum writes"),
    "no kit": (lambda kits: (kits / "server/kit.yaml").unlink(), "there is no kit here"),
    "a site's": (lambda kits: shutil.copytree(kits / "ukb", kits / "server", dirs_exist_ok=True), "given: role: site"),
    "not text": (lambda kits: (kits / "server/kit.yaml").write_bytes(b"\xff"), "not text"),
    "open keys": (lambda kits: (kits / "server/private/server.key").chmod(0o640), "server.key, mode 0640"),
    "an open folder of keys": (lambda kits: (kits / "server/private").chmod(0o755), "private, mode 0755"),
    "huge": (lambda kits: (kits / "server/kit.yaml").write_bytes(b" " * (kit.LARGEST + 1)), "too large"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_kit_that_is_not_whole_is_refused(copied: Path, edit: str) -> None:
    change, said = EDITS[edit]
    change(copied)
    with pytest.raises(FedcxrError) as refused:
        read_server(copied / "server")
    assert said in str(refused.value)


def summed(folder: Path) -> None:
    """Sums that fit what is there, as whoever mixes kits up on purpose would write them."""
    names = [line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()]
    (folder / "SHA256SUMS").write_text(kit.sums(folder, names))


@pytest.mark.parametrize("name", ["kit.yaml", "ca.crt", "server.crt", "nodes/ukb.crt"])
def test_a_part_of_another_consortium_s_kit_is_refused(copied: Path, others: Kits, name: str) -> None:
    shutil.copy(others.out / "server" / name, copied / "server" / name)
    summed(copied / "server")
    with pytest.raises(FedcxrError, match=r"two consortia|not of this consortium's authority"):
        read_server(copied / "server")


def test_a_certificate_of_another_site_or_consortium_is_refused(copied: Path, others: Kits) -> None:
    shutil.copy(copied / "ukb" / "node.crt", copied / "charite" / "node.crt")
    with pytest.raises(FedcxrError, match=r"somebody else's; given: ukb .*; allowed: charite"):
        read_site(copied / "charite")
    shutil.copy(others.out / "charite" / "node.crt", copied / "charite" / "node.crt")
    with pytest.raises(BadSignature, match="not of this consortium's authority; given: charite of"):
        read_site(copied / "charite")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 0.999), letter=st.sampled_from("AQgwz09+/=\n-"))
def test_a_certificate_with_a_letter_changed_is_refused_or_the_same(made: Kits, place: float, letter: str) -> None:
    told = made.text("charite/node.crt")
    at = int(place * len(told))
    (made.out / "charite" / "node.crt").write_text(told[:at] + letter + told[at + 1 :])
    try:
        read_site(made.out / "charite")
    except FedcxrError:
        return
    else:
        found = kit.certificate(made.out / "charite" / "node.crt")
        assert found == x509.load_pem_x509_certificate(told.encode())
    finally:
        (made.out / "charite" / "node.crt").write_text(told)


def test_a_certificate_for_another_key_than_the_machine_has_is_refused(copied: Path) -> None:
    (copied / "charite" / "private").mkdir(mode=0o700)
    key = copied / "charite" / "private" / "tls.key"
    write_atomic(key, private_text(CHARITE.tls))
    read_site(copied / "charite")
    write_atomic(key, private_text(CHARITE.node))
    with pytest.raises(Refused, match=r"node\.crt is for another key than private/tls\.key"):
        read_site(copied / "charite")
    write_atomic(copied / "server" / "private" / "server.key", private_text(CHARITE.node))
    with pytest.raises(Refused, match=r"server\.crt is for another key than private/server\.key"):
        read_server(copied / "server")


SITE = SiteKit(consortium="chest", id="0" * 32, host="2001:db8::7", port=443, site="ukb", runtime_port=9094)
SERVER = ServerKit(consortium="chest", id="0" * 32, host="hub", port=443, superlink_port=9092, sites=("ukb", "charite"))


@pytest.mark.parametrize("whole", [SITE, SERVER])
def test_what_a_kit_says_is_read_again(whole: SiteKit | ServerKit) -> None:
    assert parse(whole.text) == whole
    assert SITE.address == "[2001:db8::7]:443"


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.lists(st.integers(), max_size=2)


@given(
    whole=st.sampled_from([SITE, SERVER]),
    key=st.text(max_size=12) | st.sampled_from([*SiteKit.model_fields]),
    value=VALUES,
)
def test_a_kit_with_anything_else_in_it_is_refused(whole: SiteKit | ServerKit, key: str, value: Any) -> None:
    document = {**whole.model_dump(mode="json"), key: value}
    try:
        found = parse(yaml.safe_dump(document))
    except FedcxrError:
        return
    assert found.model_dump(mode="json") == document


@given(text=st.text(max_size=60))
def test_any_text_is_no_kit(text: str) -> None:
    with pytest.raises(FedcxrError):
        parse(text)
    with pytest.raises(FedcxrError):
        parse(f"fedcxr: kit\nrole: site\n{text}")
