"""At a site: the keys of its machine, made where they stay, and the request for a certificate of the one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from fedcxr.deployment import kit
from fedcxr.deployment.certificates import UNREADABLE, new_key, private_text
from fedcxr.deployment.request import Request
from fedcxr.errors import Refused, StorageError
from fedcxr.keys.cards import Card
from fedcxr.keys.signatures import Signer
from fedcxr.storage.disk import explained, write_atomic
from fedcxr.storage.private import private_folder

Load = Callable[[bytes, None], object]
Dump = Callable[[ec.EllipticCurvePrivateKey], bytes]


def make_request(folder: Path, card: Card, vault: Signer) -> Request:
    """Write the kit's request.json, with new keys where the kit has none yet."""
    own = kit.read_site(folder)
    if card.public.name != own.site:
        raise Refused(
            "the vault is another site's than the kit",
            given=card.public.name,
            allowed=own.site,
            do="name this site's vault with --vault",
        )
    with explained(folder):
        private_folder(folder / kit.PRIVATE)
        tls = _kept(folder / kit.TLS_KEY, load_pem_private_key, private_text)
        node = _kept(folder / kit.NODE_KEY, load_ssh_private_key, _openssh_text)
        request = Request.make(own.id, card, tls, node, vault)
        write_atomic(folder / kit.REQUEST, request.text.encode())
    return request


def _openssh_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    """As Flower's SuperNode reads its key."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _kept(path: Path, load: Load, dump: Dump) -> ec.EllipticCurvePrivateKey:
    """The key in this file; a new one where there is no file."""
    if not path.exists():
        made = new_key()
        write_atomic(path, dump(made))
        return made
    try:
        key = load(path.read_bytes(), None)
    except UNREADABLE:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != ec.SECP384R1.name:
        raise StorageError(
            "a key of this machine cannot be read",
            given=path,
            do="restore it, or remove it and ask for a certificate anew",
        )
    return key
