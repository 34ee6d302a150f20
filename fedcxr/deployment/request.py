"""What a site asks for a certificate with: made at the site, so that no private key of its leaves it.

Three keys sign it. The certificate signing request (CSR) shows that its sender holds the key of the certificate, the
node's signature that it holds the key by which Flower knows the node, and the vault's that the hospital whose card is
in it wants exactly these two: so it is enough to compare the card's fingerprint over the telephone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import pydantic
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from fedcxr import plugins
from fedcxr.deployment.certificates import UNREADABLE, common_name, organisation, public_text, subject
from fedcxr.errors import BadSignature, ConfigError, Refused, StorageError
from fedcxr.keys import context
from fedcxr.keys.cards import Card
from fedcxr.keys.signatures import Signer
from fedcxr.scenario.sections import Section

PURPOSE = "request for a certificate"
LARGEST = 1 << 16  # bytes
HEX = "^([0-9a-f]{2})+$"


class Request(Section):
    """A site's request as its file holds it; `read` checks all of it."""

    fedcxr: Literal["request"] = "request"
    format: Literal[1] = 1
    consortium: str = pydantic.Field(pattern="^[0-9a-f]{32}$", description="the id of whose certificate is asked for")
    site: str
    csr: str = pydantic.Field(description="certificate signing request, PEM")
    node: str = pydantic.Field(description="the public key of its Flower node, OpenSSH")
    card: str = pydantic.Field(description="as `fedcxr keys show --card` writes it")
    signed_by_node: str = pydantic.Field(pattern=HEX)
    signed_by_vault: str = pydantic.Field(pattern=HEX)

    @classmethod
    def make(
        cls,
        consortium: str,
        card: Card,
        tls: ec.EllipticCurvePrivateKey,
        node: ec.EllipticCurvePrivateKey,
        vault: Signer,
    ) -> Self:
        """A site's request, from the keys that stay there."""
        site = card.public.name
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject(site, consortium)).sign(tls, SHA384())
        parts = {
            "consortium": consortium,
            "site": site,
            "csr": csr.public_bytes(Encoding.PEM).decode(),
            "node": openssh(node.public_key()),
            "card": card.text,
        }
        whole = context(PURPOSE, *parts.values())
        return cls(
            **parts,
            signed_by_node=node.sign(whole, ec.ECDSA(SHA384())).hex(),
            signed_by_vault=vault.sign(PURPOSE, whole).hex(),
        )

    @property
    def text(self) -> str:
        """What the site hands in."""
        return self.model_dump_json(indent=1) + "\n"

    @property
    def _whole(self) -> bytes:
        return context(PURPOSE, self.consortium, self.site, self.csr, self.node, self.card)

    @classmethod
    def parse(cls, text: str) -> Checked:
        """A request that anybody may have sent, with everything that it proves."""
        document = _document(text)
        request = plugins.validate(cls, document, "request")
        return request.checked()

    def checked(self) -> Checked:
        """The keys and the card in it, once all signatures fit."""
        card = Card.read(self.card)
        if card.public.name != self.site:
            raise Refused(
                "the request's card is another site's",
                given=card.public.name,
                allowed=self.site,
                do="make it anew with the vault of this site",
            )
        tls, node = self._certified(), node_key(self.node)
        if node.public_numbers() == tls.public_numbers():
            raise Refused("one key is both the node's and the certificate's", do="run fedcxr site request once more")
        try:
            node.verify(bytes.fromhex(self.signed_by_node), self._whole, ec.ECDSA(SHA384()))
        except InvalidSignature:
            raise BadSignature(
                "the request is not signed with its node's key", do="it was altered: ask the site for it again"
            ) from None
        card.public.verify(PURPOSE, self._whole, bytes.fromhex(self.signed_by_vault))
        return Checked(request=self, card=card, tls=tls, node=node)

    def _certified(self) -> ec.EllipticCurvePublicKey:
        """The key that the certificate is to be for."""
        try:
            csr = x509.load_pem_x509_csr(self.csr.encode())
            signed = csr.is_signature_valid
            named = common_name(csr), organisation(csr)
            key = csr.public_key()
        except UNREADABLE:
            raise ConfigError(
                "the request holds no certificate signing request (CSR)", do="run fedcxr site request once more"
            ) from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != ec.SECP384R1.name:
            raise Refused("a request's certificate has another kind of key", allowed="elliptic curve P-384")
        if not signed:
            raise BadSignature("the request is not signed with its certificate's key", do="ask the site for it again")
        if named != (self.site, self.consortium):
            raise Refused(
                "the certificate signing request (CSR) names somebody else",
                given=f"{named[0]} of {named[1][:8]}",
                allowed=f"{self.site} of {self.consortium[:8]}",
            )
        return key


@dataclass(frozen=True)
class Checked:
    """A request whose signatures all fit, and what they vouch for. Whose card it is, a person must still ask."""

    request: Request
    card: Card
    tls: ec.EllipticCurvePublicKey
    node: ec.EllipticCurvePublicKey

    @property
    def site(self) -> str:
        return self.request.site

    def same_as(self, other: Checked) -> bool:
        """Whether both are of the same keys and the same card; signatures are never the same twice."""
        return (self.tls, self.node, self.card.public) == (other.tls, other.node, other.card.public)

    @property
    def keys(self) -> tuple[str, str, str]:
        """What no other site may have."""
        return public_text(self.tls), public_text(self.node), self.card.public.verifying.hex()


def read_request(path: Path) -> Checked:
    """The request in a file that somebody put there."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1).decode()
    except UnicodeDecodeError:
        raise ConfigError("a request is not text", given=path) from None
    except OSError as error:
        raise StorageError("cannot read a request", given=path, do=error.strerror or "") from None
    return Request.parse(text)


def openssh(key: ec.EllipticCurvePublicKey) -> str:
    """A node's public key as Flower's SuperLink reads it from a file."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def node_key(text: str) -> ec.EllipticCurvePublicKey:
    """The public key of a Flower node, from exactly what `openssh` writes."""
    try:
        key = load_ssh_public_key(text.encode())
    except UNREADABLE:
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != ec.SECP384R1.name or openssh(key) != text:
        raise ConfigError(
            "this is no public key of a node", allowed="ecdsa-sha2-nistp384 ..., as fedcxr site request writes it"
        )
    return key


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text) if len(text) <= LARGEST else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("fedcxr") != "request":
        raise ConfigError("this is no request of a site", allowed="what `fedcxr site request` wrote")
    return document
