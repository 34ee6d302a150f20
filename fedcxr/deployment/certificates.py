"""Keys and certificates (X.509) of a consortium: P-384, the holder's name, the consortium's id, one use each."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from fedcxr.deployment.consortium import is_address
from fedcxr.errors import BadSignature, Refused

SKEW = timedelta(minutes=5)  # clocks that go behind ours find a fresh certificate valid
LONGEST_COMMON_NAME = 64
# What `cryptography` raises at bytes that are no key and no certificate, or none that it knows.
UNREADABLE = (
    *(ValueError, TypeError, NotImplementedError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key on the curve that Flower's nodes sign with too."""
    return ec.generate_private_key(ec.SECP384R1())


def private_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key for a file that its owner alone may read: machines that start by themselves type no passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_text(key: ec.EllipticCurvePublicKey) -> str:
    """A public key as Flower's nodes send it: PEM, whose every byte counts."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def names_of(certificate: x509.Certificate) -> set[str]:
    """For which machine's names (SAN) a certificate is good."""
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {*named.get_values_for_type(x509.DNSName), *map(str, named.get_values_for_type(x509.IPAddress))}


def check_issued(certificate: x509.Certificate, authority: x509.Certificate, to: str | None, id: str) -> None:
    """Refuse a certificate that this consortium's authority did not issue to this holder."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (*UNREADABLE, InvalidSignature):
        raise BadSignature(
            "this certificate is not of this consortium's authority",
            given=_told(certificate),
            do="it belongs to another kit: take the one that was made with this kit's ca.crt",
        ) from None
    if organisation(certificate) != id or (to is not None and common_name(certificate) != to):
        raise Refused(
            "this certificate is somebody else's", given=_told(certificate), allowed=f"{to} of consortium {id[:8]}"
        )


def common_name(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """Whom a certificate is for."""
    return _attribute(certificate, NameOID.COMMON_NAME)


def organisation(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """Of which consortium it is: its id."""
    return _attribute(certificate, NameOID.ORGANIZATION_NAME)


def _attribute(certificate: x509.Certificate | x509.CertificateSigningRequest, oid: ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(oid)
    return str(found[0].value) if len(found) == 1 else ""


def _told(certificate: x509.Certificate) -> str:
    return f"{common_name(certificate)} of consortium {organisation(certificate)[:8]}"


def subject(common: str, consortium: str) -> x509.Name:
    """Whom a certificate names."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, consortium),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def blank(
    holder: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    """A certificate that says nothing yet of what it is for."""
    return (
        x509.CertificateBuilder()
        .subject_name(holder)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(ends)
    )


def usage(*, signs_certificates: bool = False) -> x509.KeyUsage:
    """What the certified key signs: certificates and lists of revoked ones, or else handshakes."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def alternative(name: str) -> x509.GeneralName:
    """One of the names (SAN) under which a machine is reached."""
    return x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name)
