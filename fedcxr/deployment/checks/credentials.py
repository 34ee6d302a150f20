"""Keys and certificates of a kit: there, for nobody else's eyes, belonging together, and not about to end."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from fedcxr.deployment import kit
from fedcxr.deployment.certificates import UNREADABLE, names_of
from fedcxr.deployment.checks.check import Outcome, fine, insecure, odd, wrong
from fedcxr.deployment.consortium import WARNED, plain
from fedcxr.errors import Refused
from fedcxr.keys.coordinator import read_identity
from fedcxr.storage.private import OTHERS


def private_files(folder: Path, names: Iterable[str], again: str) -> Outcome:
    """The files that never leave this machine; `again` says where missing ones come from."""
    names = tuple(names)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        return wrong(f"{', '.join(missing)} missing: a kit without its {kit.PRIVATE}/", again)
    for path in (folder / kit.PRIVATE, *(folder / name for name in names)):
        held = path.stat()
        if held.st_mode & OTHERS:
            mode = f"{stat.S_IMODE(held.st_mode):04o}"
            return insecure(f"others may use {path.relative_to(folder)}, mode {mode}", f"run chmod go= {path}")
        if held.st_uid != os.geteuid():
            return wrong(
                f"{path.relative_to(folder)} belongs to user {held.st_uid}, and this is user {os.geteuid()}",
                "run this as the user who starts the kit, or give it to this one with chown",
            )
    return fine(f"{len(names)} in {kit.PRIVATE}/, for this user alone")


def site_certificate(folder: Path, now: datetime) -> Outcome:
    """The site's own, by which the gate knows its machine."""
    if not (folder / kit.NODE_CERTIFICATE).is_file():
        return wrong(
            f"there is no {kit.NODE_CERTIFICATE} yet",
            f"run fedcxr site request, send {kit.REQUEST}, and put what comes back into the kit",
        )
    certificate = kit.certificate(folder / kit.NODE_CERTIFICATE)
    node_key(folder)
    return lasting(certificate, now, f"ask the coordinator to provision with --renew, and copy {kit.NODE_CERTIFICATE}")


def server_certificate(folder: Path, told: kit.ServerKit, now: datetime) -> Outcome:
    """The coordinator's, under every name by which it is reached."""
    certificate = kit.certificate(folder / kit.SERVER_CERTIFICATE)
    names = names_of(certificate)
    missing = sorted({plain(told.host), "localhost", "127.0.0.1"} - names)
    if missing:
        return wrong(
            f"it is for {', '.join(sorted(names))}, and not for {', '.join(missing)}, where it is reached",
            "name it in the consortium's document and provision with --renew server",
        )
    return lasting(certificate, now, "provision with --renew server, copy the kit, and reload the gate")


def identity(folder: Path) -> Outcome:
    """The coordinator's own, whose card every site holds."""
    own = read_identity(folder / kit.IDENTITY).public.fingerprint
    if own != kit.card(folder / kit.COORDINATOR_CARD).public.fingerprint:
        return insecure(
            f"{kit.IDENTITY} is not whose card the sites hold", f"copy the whole kit again, with its {kit.PRIVATE}/"
        )
    return fine(f"coordinator {own[:8]}...")


def revocations(folder: Path, now: datetime) -> Outcome:
    """The list of what was revoked, without which, or after whose end, the gate lets nobody in."""
    fix = "run fedcxr provision again, copy its crl.pem, and reload the gate"
    try:
        listed = x509.load_pem_x509_crl((folder / kit.REVOKED).read_bytes())
    except FileNotFoundError:
        return wrong(f"there is no {kit.REVOKED}", fix)
    except ValueError:
        return wrong(f"{kit.REVOKED} is no list of revoked certificates", fix)
    authority = kit.certificate(folder / kit.AUTHORITY).public_key()
    if not isinstance(authority, ec.EllipticCurvePublicKey) or not listed.is_signature_valid(authority):
        return insecure(f"{kit.REVOKED} is not of this consortium's authority", fix)
    ends = listed.next_update_utc
    if ends is None or ends <= now:
        return wrong(f"it ended on {ends:%Y-%m-%d}: the gate lets nobody in" if ends else "it has no end", fix)
    told = f"{len(listed)} revoked, listed until {ends:%Y-%m-%d}"
    return odd(told, fix) if ends - now < timedelta(days=WARNED) else fine(told)


def lasting(certificate: x509.Certificate, now: datetime, renew: str) -> Outcome:
    """How long a certificate is good."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        return wrong(f"valid from {begins:%Y-%m-%d %H:%M} UTC, which is to come", "set this machine's clock")
    if ends <= now:
        return wrong(f"ended on {ends:%Y-%m-%d}", renew)
    left = (ends - now).days
    if ends - now < timedelta(days=WARNED):
        return odd(f"ends on {ends:%Y-%m-%d}, in {left} day{'s' * (left != 1)}", renew)
    return fine(f"until {ends:%Y-%m-%d}")


def node_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    """By which Flower knows the site's node."""
    path = folder / kit.NODE_KEY
    try:
        key = load_ssh_private_key(path.read_bytes(), None)
    except UNREADABLE:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Refused("this is no node's key", given=path, do="remove it, and run fedcxr site request once more")
    return key


def today() -> datetime:
    """As this machine's clock has it."""
    return datetime.now(UTC)
