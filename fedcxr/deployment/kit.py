"""A kit: the folder with which one machine starts, the coordinator's or a site's. Read whole, or refused.

SHA256SUMS finds a file that was lost, mixed up or edited on the way. It is no protection against whoever can write the
folder: such a person can write the sums as well.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fedcxr import plugins
from fedcxr.deployment.certificates import UNREADABLE, check_issued, common_name, organisation
from fedcxr.deployment.consortium import LABEL, Port
from fedcxr.errors import ConfigError, DataError, Refused, StorageError
from fedcxr.keys.cards import Card
from fedcxr.keys.provider import SERVER
from fedcxr.scenario.document import read_yaml
from fedcxr.scenario.sections import Section
from fedcxr.storage.private import OTHERS

# In every kit:
KIT, AUTHORITY, COORDINATOR_CARD = "kit.yaml", "ca.crt", "coordinator.card"
SUMS, PRIVATE, RUN = "SHA256SUMS", "private", "run"
# In the server's:
SERVER_CERTIFICATE, SERVER_KEY, IDENTITY = "server.crt", "private/server.key", "private/coordinator"
REVOKED, NODES, CARDS = "crl.pem", "nodes", "cards"
# In a site's:
PROFILE, REQUEST, NODE_CERTIFICATE = "profile.yaml", "request.json", "node.crt"
TLS_KEY, NODE_KEY = "private/tls.key", "private/node.key"

# What a machine makes, adapts or gets later: no sum is kept of it.
UNSUMMED = (SUMS, PROFILE, REQUEST, NODE_CERTIFICATE)
SUMMED = (KIT, AUTHORITY, COORDINATOR_CARD)  # of every kit
LARGEST = 1 << 20  # bytes of any file in a kit

Id = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{32}$")]
Name = Annotated[str, pydantic.Field(pattern=f"^{LABEL.pattern}$")]
Host = Annotated[str, pydantic.Field(pattern="^[A-Za-z0-9.:-]{1,253}$")]


class _Kit(Section):
    fedcxr: Literal["kit"] = "kit"
    format: Literal[1] = 1
    consortium: Name
    id: Id = pydantic.Field(description="of the consortium: drawn once, in every certificate")
    host: Host = pydantic.Field(description="the coordinator's machine")
    port: Port = pydantic.Field(description="the gate's")

    @property
    def address(self) -> str:
        """Host and port of the gate, as a URL has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def text(self) -> str:
        """The kit's kit.yaml."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class ServerKit(_Kit):
    """What the coordinator's machine is told."""

    role: Literal["server"] = "server"
    superlink_port: Port = pydantic.Field(description="on loopback, behind the gate")
    sites: tuple[Name, ...]


class SiteKit(_Kit):
    """What a site's machine is told."""

    role: Literal["site"] = "site"
    site: Name
    runtime_port: Port = pydantic.Field(description="on loopback, where the node's app asks")


K = TypeVar("K", ServerKit, SiteKit)


def read_server(folder: Path) -> ServerKit:
    """The coordinator's kit, once all in it fits together."""
    kit = _read(ServerKit, folder)
    authority = certificate(folder / AUTHORITY)
    check_issued(certificate(folder / SERVER_CERTIFICATE), authority, None, kit.id)
    _check_key(folder, SERVER_CERTIFICATE, SERVER_KEY)
    for path in sorted((folder / NODES).glob("*.crt")):
        check_issued(certificate(path), authority, path.stem, kit.id)
    return kit


def read_site(folder: Path) -> SiteKit:
    """A site's kit, once all in it fits together; its certificate may not be there yet."""
    kit = _read(SiteKit, folder)
    if (folder / NODE_CERTIFICATE).exists():
        authority = certificate(folder / AUTHORITY)
        check_issued(certificate(folder / NODE_CERTIFICATE), authority, kit.site, kit.id)
        _check_key(folder, NODE_CERTIFICATE, TLS_KEY)
    return kit


def card(path: Path) -> Card:
    """The card in one of a kit's files."""
    return Card.read(_text(path))


def certificate(path: Path) -> x509.Certificate:
    """The certificate in one of a kit's files."""
    data = _bytes(path)
    try:
        read = x509.load_pem_x509_certificate(data)
        read.subject, read.extensions, read.public_key()  # which are parsed only now
    except UNREADABLE:
        raise ConfigError("this is no certificate", given=path, allowed="PEM", do="copy the kit again") from None
    return read


def sums(folder: Path, names: Iterable[str]) -> str:
    """The kit's SHA256SUMS, as `sha256sum --check` reads it, of those of these files that stay what they are."""
    return "".join(f"{_sum(folder / name)}  {name}\n" for name in sorted(names) if name not in UNSUMMED)


def parse(text: str) -> ServerKit | SiteKit:
    """A kit.yaml, of either role."""
    document = read_yaml(text)
    role = document.get("role")
    kinds: Mapping[Any, type[ServerKit] | type[SiteKit]] = {"server": ServerKit, "site": SiteKit}
    if document.get("fedcxr") != "kit" or not isinstance(role, str) or role not in kinds:
        raise ConfigError(
            "this is no kit", given=f"role: {role}", allowed="what `fedcxr provision` wrote, role server or site"
        )
    return plugins.validate(kinds[role], document, KIT)


def _read(kind: type[K], folder: Path) -> K:
    if not (folder / KIT).is_file():
        raise DataError("there is no kit here", given=folder, do="name a folder that `fedcxr provision` made")
    kit = parse(_text(folder / KIT))
    if not isinstance(kit, kind):
        raise ConfigError(
            "this kit is for another machine",
            given=f"role: {kit.role}",
            allowed=f"role: {kind.model_fields['role'].default}",
        )
    _check_sums(folder)
    _check_private(folder / PRIVATE)
    authority = certificate(folder / AUTHORITY)
    if organisation(authority) != kit.id:
        raise Refused(
            "kit.yaml and ca.crt are of two consortia",
            given=f"{kit.id[:8]} and {organisation(authority)[:8]} ({common_name(authority)})",
            do="copy the whole kit again",
        )
    if card(folder / COORDINATOR_CARD).public.name != SERVER:
        raise Refused("the coordinator's card is somebody else's", given=folder / COORDINATOR_CARD)
    return kit


def _check_sums(folder: Path) -> None:
    """Refuse a file that was lost or altered, and a stranger's key beside those of the sites."""
    listed = dict(_listed(_text(folder / SUMS)))
    beside = {path.relative_to(folder).as_posix() for inner in (NODES, CARDS) for path in (folder / inner).rglob("*")}
    for what, names in (
        (f"{SUMS} leaves a file out", {name for name in SUMMED if name not in listed}),
        ("a file in the kit is not of it", beside - listed.keys()),
        ("a file of the kit was altered", {name for name in listed if _sum(folder / name) != listed[name]}),
    ):
        if names:
            raise Refused(what, given=min(names), allowed=f"what {SUMS} lists", do="copy the whole kit again")


def _check_key(folder: Path, name: str, key_name: str) -> None:
    """Refuse a certificate that is not for the key beside it."""
    if not (folder / key_name).exists():
        return
    try:
        key = load_pem_private_key(_bytes(folder / key_name), None)
    except UNREADABLE:
        raise StorageError("a key of this machine cannot be read", given=folder / key_name) from None
    if key.public_key() != certificate(folder / name).public_key():
        raise Refused(
            f"{name} is for another key than {key_name}",
            given=folder,
            do="take the certificate that answers this machine's own request",
        )


def _check_private(folder: Path) -> None:
    """Refuse keys that other users of the machine can read: they may have."""
    for path in (folder, *folder.rglob("*")):
        if path.exists() and path.stat().st_mode & OTHERS:
            raise Refused(
                "others may read this machine's keys",
                given=f"{path}, mode {stat.S_IMODE(path.stat().st_mode):04o}",
                allowed="what its owner alone may read",
                do=f"run chmod -R go= {folder}; if strangers share this machine, make new keys",
            )


def _listed(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64 or ".." in name.split("/") or name.startswith("/"):
            raise ConfigError(f"{SUMS} is not what sha256sum writes", given=line, do="copy the whole kit again")
        yield name, digest


def _sum(path: Path) -> str:
    return hashlib.sha256(_bytes(path)).hexdigest()


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode()
    except UnicodeDecodeError:
        raise ConfigError("a file of the kit is not text", given=path, do="copy the kit again") from None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise DataError("a file of the kit is missing", given=path, do="copy the whole kit again") from None
    except OSError as error:
        raise StorageError("cannot read a file of the kit", given=path, do=error.strerror or "") from None
    if len(data) > LARGEST:
        raise ConfigError("a file of the kit is too large", given=path, allowed=f"{LARGEST} bytes")
    return data
