"""Kits from nothing to a site's last day: what is kept, what is issued, and who is let out and in."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from copy import copy
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from canary import leaks
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from provisioned import NOW, Hospital, Kits, with_sites

from fedcxr.deployment import writing
from fedcxr.deployment.certificates import common_name, names_of, new_key, organisation
from fedcxr.deployment.kit import read_server, read_site
from fedcxr.errors import ConfigError, FedcxrError, Refused, StorageError, UnknownName
from fedcxr.keys.cards import Card
from fedcxr.storage.disk import write_atomic

CHARITE, UKB = Hospital("charite"), Hospital("ukb")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Kits:
    return with_sites(tmp_path_factory.mktemp("made") / "kits", CHARITE, UKB)


@pytest.fixture
def kits(made: Kits, tmp_path: Path) -> Kits:
    """Kits of two sites that have their certificates; a test's own copy."""
    return Kits(shutil.copytree(made.out, tmp_path / "kits"))


@pytest.fixture
def two() -> tuple[Hospital, Hospital]:
    """The two sites, whose keys a test may change."""
    return copy(CHARITE), copy(UKB)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def certificate(kits: Kits, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((kits.out / name).read_bytes())


def revoked(kits: Kits) -> set[int]:
    return {one.serial_number for one in x509.load_pem_x509_crl((kits.out / "server/crl.pem").read_bytes())}


# Making ---------------------------------------------------------------------------------------------------------------


def test_no_private_key_of_a_site_is_in_any_kit_and_ours_are_for_our_eyes(
    kits: Kits, two: tuple[Hospital, Hospital]
) -> None:
    assert not leaks([secret for one in two for secret in one.secrets], kits.out)
    private = [path for path in kits.out.rglob("*") if b"PRIVATE KEY" in (path.read_bytes() if path.is_file() else b"")]
    assert {path.relative_to(kits.out).as_posix() for path in private} == {
        "authority/ca.key",
        "server/private/server.key",
    }
    for path in (path for path in kits.out.rglob("*") if path.parent.name != "requests"):
        assert stat.S_IMODE(path.stat().st_mode) in (0o600, 0o700), path


def test_certificates_are_for_one_use_and_one_holder(kits: Kits, two: tuple[Hospital, Hospital]) -> None:
    authority, server, node = (
        certificate(kits, name) for name in ("server/ca.crt", "server/server.crt", "ukb/node.crt")
    )
    basic = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    assert names_of(server) == {"localhost", "127.0.0.1"}
    for issued, use in ((server, ExtendedKeyUsageOID.SERVER_AUTH), (node, ExtendedKeyUsageOID.CLIENT_AUTH)):
        issued.verify_directly_issued_by(authority)
        assert list(issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [use]
        assert not issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert issued.not_valid_after_utc - NOW == timedelta(days=365)
    assert (common_name(node), organisation(node)) == ("ukb", kits.issued.id)
    assert node.public_key() == two[1].tls.public_key()
    key = load_pem_private_key((kits.out / "authority/ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_finds_the_chain_good_and_a_site_no_server(kits: Kits) -> None:
    def verify(name: str, purpose: str) -> bool:
        command = ["openssl", "verify", "-CAfile", "server/ca.crt", "-CRLfile", "server/crl.pem", "-crl_check"]
        moment = ["-attime", str(int(NOW.timestamp())), "-x509_strict", "-purpose", purpose, name]
        return subprocess.run([*command, *moment], cwd=kits.out, capture_output=True, check=False).returncode == 0

    assert verify("ukb/node.crt", "sslclient")
    assert not verify("ukb/node.crt", "sslserver")
    assert verify("server/server.crt", "sslserver")
    assert not verify("server/server.crt", "sslclient")


def test_a_second_run_keeps_everything(kits: Kits) -> None:
    before = contents(kits.out)
    report = kits.provision()
    assert contents(kits.out) == before
    assert report.notes == ()
    assert [(site.site, site.state) for site in report.sites] == [("charite", "certified"), ("ukb", "certified")]


def test_a_run_that_was_cut_off_is_gone_on_with(kits: Kits, monkeypatch: pytest.MonkeyPatch) -> None:
    kits.document["sites"] = ["charite", "mercy", "ukb"]
    kits.hand_in(Hospital("mercy"))
    written: list[Path] = []

    def cut_off(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) == 4:
            raise KeyboardInterrupt
        write_atomic(path, data)

    monkeypatch.setattr(writing, "write_atomic", cut_off)
    with pytest.raises(KeyboardInterrupt):
        kits.provision()
    kits.provision()
    assert len(kits.issued.of("mercy")) == 1  # what was issued before is what the kits hold now
    assert read_server(kits.out / "server").sites == ("charite", "mercy", "ukb")
    assert read_site(kits.out / "mercy").site == "mercy"


def test_a_profile_that_somebody_began_to_adapt_is_kept(kits: Kits, root: Path) -> None:
    example = (root / "configs/sites/hospital.yaml").read_text()
    own = example.replace("site: charite", "site: ukb").replace(
        "/etc/fedcxr/coordinator", "/var/lib/fedcxr/kit/coordinator"
    )
    assert kits.text("ukb/profile.yaml") == own
    (kits.out / "ukb/profile.yaml").write_text("mine")
    kits.provision()
    assert kits.text("ukb/profile.yaml") == "mine"


def test_a_site_may_be_called_what_yaml_takes_for_a_number_or_a_truth(tmp_path: Path) -> None:
    kits = Kits(tmp_path / "kits", {"name": "1e3", "host": "hub", "sites": ["12", "on"]})
    kits.provision()
    for site in ("12", "on"):
        assert yaml.safe_load(kits.text(f"{site}/profile.yaml"))["site"] == site
        assert yaml.safe_load(kits.text(f"{site}/compose.yaml"))["services"]["node"]["hostname"] == site
        assert read_site(kits.out / site).consortium == "1e3"


def test_fingerprints_are_shown_to_compare(kits: Kits, two: tuple[Hospital, Hospital]) -> None:
    report = kits.provision()
    assert [site.fingerprint for site in report.sites] == [one.identity.public.fingerprint for one in two]
    spoken = report.coordinator[:8]
    assert spoken in kits.text("ukb/README.txt")
    assert Card.read(kits.text("ukb/coordinator.card")).public.fingerprint == report.coordinator


def test_another_host_is_in_the_next_certificate_under_the_same_key(kits: Kits) -> None:
    before = certificate(kits, "server/server.crt")
    kits.document |= {"host": "Hub.example.org", "names": ["2001:db8::7"]}
    kits.provision()
    after = certificate(kits, "server/server.crt")
    assert names_of(after) == {"hub.example.org", "2001:db8::7", "localhost", "127.0.0.1"}
    assert after.public_key() == before.public_key()
    assert read_site(kits.out / "ukb").host == "hub.example.org"
    assert "listen [::]:8443 ssl;" in kits.text("server/nginx.conf")


# Who comes and goes ---------------------------------------------------------------------------------------------------


def test_a_site_is_added_and_the_others_keep_what_they_have(kits: Kits) -> None:
    before = {name: kits.text(f"{name}/node.crt") for name in ("charite", "ukb")}
    kits.document["sites"] = ["charite", "ukb", "mercy"]
    assert [site.state for site in kits.provision().sites] == ["certified", "no request yet", "certified"]
    kits.hand_in(Hospital("mercy"))
    kits.provision()
    assert read_server(kits.out / "server").sites == ("charite", "mercy", "ukb")
    assert {name: kits.text(f"{name}/node.crt") for name in before} == before


def test_a_site_that_is_left_out_is_not_shut_out_and_that_is_said(kits: Kits) -> None:
    kits.document["sites"] = ["charite", "mercy"]
    report = kits.provision()
    assert any("ukb is left out of the consortium, and not shut out" in note for note in report.notes)
    assert revoked(kits) == set()
    assert (kits.out / "server/nodes/ukb.pub").exists()
    kits.provision(revoke="ukb")
    assert not (kits.out / "server/nodes/ukb.pub").exists()


def test_whoever_is_revoked_leaves_the_server_s_kit_and_stays_out(kits: Kits) -> None:
    serial = certificate(kits, "ukb/node.crt").serial_number
    report = kits.provision(revoke="ukb")
    assert revoked(kits) == {serial}
    assert "ukb" not in "".join(contents(kits.out / "server"))
    assert "ukb;" not in kits.text("server/nginx.conf")
    assert not (kits.out / "ukb/node.crt").exists()
    assert read_server(kits.out / "server").sites == ("charite",)
    assert (report.sites[1].state, *report.notes) == (
        "revoked",
        "ukb is revoked: leave it out of the consortium, or let it in again with --renew ukb",
    )
    kits.hand_in(Hospital("ukb"))  # a request alone does not let it in again
    kits.provision()
    assert not (kits.out / "ukb/node.crt").exists()
    kits.provision(renew="ukb")
    assert read_server(kits.out / "server").sites == ("charite", "ukb")
    assert revoked(kits) == {serial}


def test_a_renewed_certificate_of_the_same_keys_is_good_beside_the_old_one(kits: Kits) -> None:
    before = kits.issued.of("ukb")
    kits.now += timedelta(days=300)
    kits.provision(renew="ukb")
    (old, new) = kits.issued.of("ukb")
    assert (old, kits.text("ukb/node.crt")) == (before[0], new.certificate)
    assert new.ends - kits.now == timedelta(days=365)
    lines = re.findall(r'"~\^([0-9A-F]+):\S+\$" ukb;', kits.text("server/nginx.conf"))
    assert lines == [old.serial, new.serial]
    assert revoked(kits) == set()


def test_a_newer_request_is_told_of_and_taken_up_on_purpose(kits: Kits, two: tuple[Hospital, Hospital]) -> None:
    old = certificate(kits, "ukb/node.crt")
    kits.hand_in(two[1])  # of the same keys, so there is nothing to do
    assert kits.provision().notes == ()
    two[1].tls, two[1].node = new_key(), new_key()
    kits.hand_in(two[1])
    assert kits.provision().notes == ("a newer request of ukb is on file: --renew ukb takes it up",)
    assert certificate(kits, "ukb/node.crt") == old
    assert kits.provision(renew="ukb").notes == ()
    assert certificate(kits, "ukb/node.crt").public_key() == two[1].tls.public_key()
    assert revoked(kits) == {old.serial_number}  # its key may be in other hands


def test_a_card_that_does_not_follow_the_one_before_is_told_of(kits: Kits) -> None:
    kits.hand_in(Hospital("ukb"))
    (note,) = kits.provision(renew="ukb").notes
    assert note.startswith("the card of ukb is another one, which the one before did not sign: telephone")


def test_what_ends_soon_is_told_fourteen_days_ahead(kits: Kits) -> None:
    kits.now += timedelta(days=350)
    assert kits.provision().notes == ()
    kits.now += timedelta(days=2)
    report = kits.provision()
    assert report.notes == (
        "the certificate of charite ends on 2027-03-01: --renew charite",
        "the certificate of ukb ends on 2027-03-01: --renew ukb",
    )
    # The server's, which nobody need install, and the list of what was revoked were made anew unasked.
    assert kits.issued.of("server")[-1].ends - kits.now == timedelta(days=365)
    assert report.again - kits.now > timedelta(days=180)
    kits.now += timedelta(days=20)
    assert kits.provision().sites[0].state == "ended"
    assert not (kits.out / "server/nodes/charite.pub").exists()


def test_an_authority_that_ends_is_told_of_and_then_refuses(kits: Kits) -> None:
    kits.now += timedelta(days=3640)
    report = kits.provision(renew="ukb")
    assert report.notes[0].startswith("the authority itself ends on 2036-02-27")
    assert kits.issued.of("ukb")[-1].ends - kits.now == timedelta(days=10)  # nothing lasts longer
    kits.now += timedelta(days=11)
    with pytest.raises(Refused, match="the consortium's authority has ended"):
        kits.provision()


# What is refused ------------------------------------------------------------------------------------------------------


def test_a_request_that_does_not_fit_is_refused_and_changes_nothing(kits: Kits) -> None:
    kits.document["sites"] = ["charite", "ukb", "mercy"]
    before = contents(kits.out)
    place = kits.out / "requests" / "mercy.json"
    foreign = Hospital("mercy").request("0" * 32)
    for text, said in (
        ("{}", "no request of a site"),
        (foreign.text, "a request is for another consortium"),
        (kits.text("requests/ukb.json"), "of another site than its file's name says; given: ukb; allowed: mercy"),
    ):
        place.write_text(text)
        with pytest.raises(FedcxrError, match=said):
            kits.provision()
    place.unlink()
    assert contents(kits.out) == before


def test_a_bad_request_keeps_nobody_from_revoking(kits: Kits) -> None:
    (kits.out / "requests" / "charite.json").write_text("{}")
    report = kits.provision(revoke="ukb")
    assert len(revoked(kits)) == 1
    assert any(note.startswith("requests/charite.json: this is no request") for note in report.notes)


def test_two_sites_with_one_key_are_refused(kits: Kits, two: tuple[Hospital, Hospital]) -> None:
    kits.document["sites"] = ["charite", "ukb", "mercy"]
    kits.hand_in(Hospital("mercy", node=two[0].node))
    with pytest.raises(Refused, match="two sites have a key in common; given: mercy and charite"):
        kits.provision()


def test_a_request_of_nobody_s_is_told_of(kits: Kits) -> None:
    (kits.out / "requests" / "eve.json").write_text("{}")
    assert "requests/eve.json is of no site of this consortium" in kits.provision().notes[0]


def test_names_that_nobody_has_are_refused(kits: Kits) -> None:
    with pytest.raises(UnknownName, match=r"unknown site with a certificate; given: uk; .*did you mean 'ukb'"):
        kits.provision(revoke="uk")
    with pytest.raises(UnknownName, match="unknown site; given: uk"):
        kits.provision(renew="uk")
    with pytest.raises(ConfigError, match="one thing at a time"):
        kits.provision(renew="ukb", revoke="charite")
    kits.document["sites"] = ["charite", "ukb", "mercy"]
    with pytest.raises(ConfigError, match="there is no request to renew; given: mercy"):
        kits.provision(renew="mercy")


def test_kits_of_another_consortium_are_not_written_over(kits: Kits) -> None:
    kits.document["name"] = "lung"
    with pytest.raises(ConfigError, match="these kits are of another consortium; given: lung; allowed: chest"):
        kits.provision()


def test_a_folder_with_other_things_in_it_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters").chmod(0o755)
    with pytest.raises(ConfigError, match=r"other things than kits; given: .*, with letters"):
        Kits(tmp_path).provision()
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]
    assert stat.S_IMODE((tmp_path / "letters").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("authority/issued.json", "the list of what this authority issued is gone"),
        ("authority/ca.key", "the authority's key or certificate cannot be read"),
        ("server/private/coordinator", "the coordinator's identity is gone"),
    ],
)
def test_what_cannot_be_made_again_is_missed(kits: Kits, lost: str, said: str) -> None:
    (kits.out / lost).unlink()
    with pytest.raises(StorageError, match=said):
        kits.provision()


def test_a_server_key_that_was_removed_is_made_anew(kits: Kits) -> None:
    old = certificate(kits, "server/server.crt")
    (kits.out / "server/private/server.key").unlink()
    kits.provision()
    assert certificate(kits, "server/server.crt").public_key() != old.public_key()


# What others read -----------------------------------------------------------------------------------------------------


def test_pages_and_scripts_are_filled_in_and_short(kits: Kits) -> None:
    for role in ("server", "ukb"):
        for path in (kits.out / role).iterdir():
            if path.is_file() and path.name not in ("profile.yaml", "coordinator.card"):
                assert "@{" not in path.read_text()
        readme = kits.text(f"{role}/README.txt").splitlines()
        assert len(readme) <= 30
        assert max(map(len, readme)) <= 120
    assert kits.text("ukb/start").endswith('exec fedcxr site start "$(dirname "$(readlink -f "$0")")" "$@"\n')
    for script in ("ukb/start", "server/start", "server/reload"):
        subprocess.run(["sh", "-n", kits.out / script], check=True)


@pytest.mark.parametrize("role", ["server", "ukb"])
def test_containers_are_confined(kits: Kits, role: str) -> None:
    services = yaml.safe_load(kits.text(f"{role}/compose.yaml"))["services"]
    for service in services.values():
        assert (service["read_only"], service["cap_drop"], service["ulimits"]) == (True, ["ALL"], {"core": 0})
        assert "no-new-privileges:true" in service["security_opt"]
        assert service["user"] != "0:0"
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published == (["8443:8443"] if role == "server" else [])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("role", ["server", "ukb"])
def test_systemd_understands_its_units(kits: Kits, role: str, tmp_path: Path) -> None:
    units = [file.name for file in (kits.out / role).glob("fedcxr-*")]
    programs = r"/opt/fedcxr/bin/(fedcxr|python)|/usr/sbin/nginx"
    for unit in units:
        (tmp_path / unit).write_text(re.sub(programs, "/bin/true", kits.text(f"{role}/{unit}")))
    verify = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit) for unit in units)]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=300, check=False)
    assert [line for line in done.stderr.splitlines() if "fedcxr" in line] == []
    services = {unit: kits.text(f"{role}/{unit}") for unit in units if unit.endswith(".service")}
    for told in services.values():
        for line in ("UMask=0077", "LimitCORE=0", "NoNewPrivileges=yes", "ProtectHome=yes", "ProtectSystem=strict"):
            assert f"\n{line}\n" in told
    with_a_passphrase = [unit for unit, told in services.items() if "vault-passphrase" in told]
    assert with_a_passphrase == ([] if role == "server" else ["fedcxr-vault@.service"])
    with_the_kit = [unit for unit, told in services.items() if "\nReadWritePaths=/var/lib/fedcxr/kit/run\n" in told]
    assert with_the_kit == (["fedcxr-server.service"] if role == "server" else ["fedcxr-node.service"])


def test_the_list_of_what_was_issued_says_nothing_secret(kits: Kits) -> None:
    told = json.loads(kits.text("authority/issued.json"))
    assert [one["to"] for one in told["certificates"]] == ["server", "charite", "ukb"]
    keys = load_pem_private_key((kits.out / "authority/ca.key").read_bytes(), None)
    assert isinstance(keys, ec.EllipticCurvePrivateKey)
    assert not leaks([keys.private_numbers().private_value.to_bytes(48)], kits.text("authority/issued.json"))
