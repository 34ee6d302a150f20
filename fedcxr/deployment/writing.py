"""The folders of a server's kit and of a site's, written from what the authority has issued."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from fedcxr.deployment import kit
from fedcxr.deployment.authority import SERVER, Authority
from fedcxr.deployment.certificates import UNREADABLE, names_of, new_key, private_text
from fedcxr.deployment.consortium import WARNED, Consortium, SiteTerms, plain
from fedcxr.deployment.forms import SCRIPTS, Bound, bindings, filled, listening, spaced
from fedcxr.deployment.request import Request, openssh
from fedcxr.errors import StorageError
from fedcxr.keys.cards import Card
from fedcxr.keys.coordinator import make_identity, read_identity
from fedcxr.keys.identity import Identity
from fedcxr.storage.disk import write_atomic
from fedcxr.storage.private import private_folder

LOOPBACK = ("localhost", "127.0.0.1")  # behind the gate, the server speaks TLS to itself


def coordinator_identity(folder: Path, *, new: bool) -> Identity:
    """The coordinator's identity in the server's kit. A second one would be a stranger to every site."""
    path = folder / kit.IDENTITY
    if not path.exists():
        if not new:
            raise StorageError(
                "the coordinator's identity is gone",
                given=path,
                do="restore the folder private from a backup, or from the coordinator's machine",
            )
        private_folder(folder)
        private_folder(folder / kit.PRIVATE)
        return make_identity(path)
    return read_identity(path)


def write_server(
    folder: Path, consortium: Consortium, authority: Authority, identity: Identity, *, renew: bool
) -> Authority:
    """The coordinator's kit; with a new certificate where its last is not for these names, or ends soon."""
    key = _server_key(folder / kit.SERVER_KEY)
    authority = _server_certified(authority, consortium, key.public_key(), renew=renew)
    listed = authority.issued
    sites = tuple(site for site in consortium.sites if not listed.out(site))
    document = kit.ServerKit(
        consortium=consortium.name,
        id=listed.id,
        host=plain(consortium.host),
        port=consortium.port,
        superlink_port=consortium.superlink_port,
        sites=sites,
    )
    admitted = {
        site: [(one, Request.parse(one.request)) for one in listed.good_of(site, authority.now)]
        for site in listed.holders()
        if site != SERVER
    }
    bound = [Bound(site, one.serial, asked.node) for site, some in admitted.items() for one, asked in some]
    values = {
        **_values(document),
        "superlink_port": consortium.superlink_port,
        "sites": bindings(bound),
        "listen": listening(consortium.port, consortium.every_name),
    }
    files = {
        **_common(document, authority, identity),
        kit.SERVER_CERTIFICATE: listed.of(SERVER)[-1].certificate,
        kit.REVOKED: authority.revocations(consortium.days).decode(),
        **dict(filled("server", values)),
    }
    for site, some in admitted.items():
        if some:
            issued, asked = some[-1]
            files |= {
                f"{kit.NODES}/{site}.pub": openssh(asked.node) + "\n",
                f"{kit.NODES}/{site}.crt": issued.certificate,
                f"{kit.CARDS}/{site}.card": asked.card.text,
            }
    _write(folder, files, only=(kit.NODES, kit.CARDS))
    return authority


def write_site(
    folder: Path, site: str, terms: SiteTerms, consortium: Consortium, authority: Authority, identity: Identity
) -> None:
    """A site's kit, with its certificate once it has asked for one."""
    document = kit.SiteKit(
        consortium=consortium.name,
        id=authority.issued.id,
        host=plain(consortium.host),
        port=consortium.port,
        site=site,
        runtime_port=terms.runtime_port,
    )
    values = {
        **_values(document),
        "site": site,
        "site_lower": site.lower(),
        "site_quoted": yaml.safe_dump(site).splitlines()[0],  # there are words that YAML takes for numbers or truths
        "fingerprint": _two_lines(identity.public.fingerprint),
    }
    files = {**_common(document, authority, identity), **dict(filled("site", values))}
    profile = files.pop(kit.PROFILE)
    good = authority.issued.good_of(site, authority.now)
    if good:
        files[kit.NODE_CERTIFICATE] = good[-1].certificate
    private_folder(folder)
    if not good:
        (folder / kit.NODE_CERTIFICATE).unlink(missing_ok=True)
    if not (folder / kit.PROFILE).exists():  # somebody may have begun to adapt it
        write_atomic(folder / kit.PROFILE, profile.encode())
    _write(folder, files)


def _common(document: kit.ServerKit | kit.SiteKit, authority: Authority, identity: Identity) -> dict[str, str]:
    return {
        kit.KIT: document.text,
        kit.AUTHORITY: authority.certificate.public_bytes(Encoding.PEM).decode(),
        kit.COORDINATOR_CARD: Card.issue(identity).text,
    }


def _values(document: kit.ServerKit | kit.SiteKit) -> dict[str, object]:
    name = document.consortium
    return {"consortium": name, "consortium_lower": name.lower(), "host": document.host, "port": document.port}


def _two_lines(fingerprint: str) -> str:
    words = spaced(fingerprint).split()
    return "\n".join("     " + " ".join(half) for half in (words[:4], words[4:]))


def _server_key(path: Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        write_atomic(path, private_text(new_key()))
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except UNREADABLE:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StorageError("the server's key cannot be read", given=path, do="remove it: the next run makes another")
    return key


def _server_certified(
    authority: Authority, consortium: Consortium, key: ec.EllipticCurvePublicKey, *, renew: bool
) -> Authority:
    names = tuple(dict.fromkeys((*consortium.every_name, *LOOPBACK)))
    good = authority.issued.good_of(SERVER, authority.now)
    if good and not renew:
        last = good[-1].x509
        lasting = good[-1].ends - authority.now > timedelta(days=WARNED) or authority.ends_with(good[-1])
        if names_of(last) == {*names} and last.public_key() == key and lasting:
            return authority
    return authority.certify_server(key, names, consortium.days)


def _write(folder: Path, files: Mapping[str, str], only: Iterable[str] = ()) -> None:
    """These files and their sums; in the folders of `only`, no others."""
    private_folder(folder / kit.RUN)  # all that a started machine writes in its kit
    for inner in only:
        private_folder(folder / inner)
        for path in (folder / inner).iterdir():
            if path.relative_to(folder).as_posix() not in files:
                path.unlink()
    for name, text in files.items():
        _put(folder / name, text.encode(), 0o700 if name in SCRIPTS else 0o600)
    _put(folder / kit.SUMS, kit.sums(folder, files).encode(), 0o600)


def _put(path: Path, data: bytes, mode: int) -> None:
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data)
    path.chmod(mode)
