"""A consortium's own certificate authority: it says which machine is the coordinator's, and which are the sites'.

Nobody outside the consortium trusts it, and it trusts nobody outside: no public authority can let a stranger in. Its
key stays in the folder `authority`, with whoever provisions, and is on no machine that others reach.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from fedcxr.deployment.certificates import (
    LONGEST_COMMON_NAME,
    SKEW,
    UNREADABLE,
    alternative,
    blank,
    new_key,
    private_text,
    subject,
    usage,
)
from fedcxr.deployment.consortium import WARNED, Consortium
from fedcxr.deployment.issued import Issued, IssuedList, serial_text
from fedcxr.errors import ConfigError, Refused, StorageError
from fedcxr.storage.disk import write_atomic
from fedcxr.storage.private import private_folder

KEY, CERTIFICATE, ISSUED, REVOKED = "ca.key", "ca.crt", "issued.json", "crl.pem"
SERVER = "server"


@dataclass(frozen=True)
class Authority:
    """Who certifies, what was certified so far, and when it is now."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    issued: IssuedList
    now: datetime

    @classmethod
    def open(cls, folder: Path, consortium: Consortium, now: datetime) -> Self:
        """The authority that is in this folder, or a new one."""
        private_folder(folder)
        if not (folder / ISSUED).exists():
            if (folder / KEY).exists():
                raise StorageError(
                    "the list of what this authority issued is gone",
                    given=folder / ISSUED,
                    do="restore it from a backup, for without it nobody can be revoked; if nothing was issued yet, "
                    "remove the folder",
                )
            return cls._made(folder, consortium, now)
        listed = IssuedList.read(folder / ISSUED)
        if listed.consortium != consortium.name:
            raise ConfigError(
                "these kits are of another consortium",
                given=consortium.name,
                allowed=listed.consortium,
                do="choose another --out",
            )
        try:
            key = load_pem_private_key((folder / KEY).read_bytes(), None)
            certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        except (OSError, *UNREADABLE):
            raise StorageError(
                "the authority's key or certificate cannot be read", given=folder, do="restore it from a backup"
            ) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise StorageError("the authority's key is not its certificate's", given=folder, do="restore both")
        if certificate.not_valid_after_utc <= now:
            raise Refused(
                "the consortium's authority has ended",
                given=f"{certificate.not_valid_after_utc:%Y-%m-%d}",
                do="make new kits with another --out: every site needs the new ca.crt, and makes a new request",
            )
        return cls(folder, key, certificate, listed, now)

    @classmethod
    def _made(cls, folder: Path, consortium: Consortium, now: datetime) -> Self:
        key, drawn = new_key(), os.urandom(16).hex()
        name = subject(f"{consortium.name[: LONGEST_COMMON_NAME - 10]} authority", drawn)
        builder = blank(name, name, key.public_key(), now, now + timedelta(days=consortium.authority_days))
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, SHA384())
        )
        write_atomic(folder / KEY, private_text(key))
        write_atomic(folder / CERTIFICATE, certificate.public_bytes(Encoding.PEM))
        listed = IssuedList(consortium=consortium.name, id=drawn)
        listed.write(folder / ISSUED)  # last: with it the authority is there
        return cls(folder, key, certificate, listed, now)

    def certify_server(self, key: ec.EllipticCurvePublicKey, names: Sequence[str], days: int) -> Self:
        """With a certificate for the coordinator's machine, under all names by which it is reached."""
        common = names[0] if len(names[0]) <= LONGEST_COMMON_NAME else SERVER
        alternatives = x509.SubjectAlternativeName([alternative(name) for name in names])
        return self._certify(SERVER, common, key, days, ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def certify_site(self, site: str, key: ec.EllipticCurvePublicKey, days: int, request: str) -> Self:
        """With a certificate by which the gate knows this site's machine."""
        return self._certify(site, site, key, days, ExtendedKeyUsageOID.CLIENT_AUTH, request=request)

    def _certify(
        self,
        to: str,
        common: str,
        key: ec.EllipticCurvePublicKey,
        days: int,
        use: ObjectIdentifier,
        names: x509.SubjectAlternativeName | None = None,
        request: str = "",
    ) -> Self:
        ends = min(self.now + timedelta(days=days), self.certificate.not_valid_after_utc)
        builder = (
            blank(subject(common, self.issued.id), self.certificate.subject, key, self.now, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        made = builder.sign(self.key, SHA384())
        issued = Issued(
            to=to,
            serial=serial_text(made),
            ends=made.not_valid_after_utc,
            request=request,
            certificate=made.public_bytes(Encoding.PEM).decode(),
        )
        return self._noting(self.issued.adding(issued))

    def revoke(self, name: str) -> Self:
        """With nothing left that opens the gate to a holder."""
        return self._noting(self.issued.revoking(name, self.now))

    def ends_with(self, issued: Issued) -> bool:
        """Whether nothing that this authority issues can last longer than this."""
        return issued.ends >= self.certificate.not_valid_after_utc

    def ending(self) -> list[str]:
        """A line for everything that ends soon."""
        own = self.certificate.not_valid_after_utc
        soon = own - self.now < timedelta(days=WARNED)
        lines = [f"the authority itself ends on {own:%Y-%m-%d}: make new kits with another --out"] if soon else []
        return [*lines, *self.issued.ending(self.now)]

    @property
    def list_ends(self) -> datetime:
        """Until when the gate goes by the list of what was revoked; then it lets nobody in."""
        ends = x509.load_pem_x509_crl((self.folder / REVOKED).read_bytes()).next_update_utc
        assert ends is not None  # we wrote it
        return ends

    def _noting(self, listed: IssuedList) -> Self:
        listed.write(self.folder / ISSUED)
        return replace(self, issued=listed)

    def revocations(self, days: int) -> bytes:
        """The list of what was revoked (CRL); nginx lets nobody in once it is over, so it is made anew at half time."""
        path = self.folder / REVOKED
        if not path.exists() or not self._current(path.read_bytes(), days):
            write_atomic(path, self._new_list(days))
        return path.read_bytes()

    def _current(self, data: bytes, days: int) -> bool:
        try:
            listed = x509.load_pem_x509_crl(data)
        except ValueError:
            return False
        gone = {one.x509.serial_number for one in self.issued.certificates if one.revoked}
        ends = listed.next_update_utc
        fresh = ends is not None and ends - self.now > timedelta(days=days) / 2
        return (
            fresh and {one.serial_number for one in listed} == gone and listed.is_signature_valid(self.key.public_key())
        )

    def _new_list(self, days: int) -> bytes:
        ends = min(self.now + timedelta(days=days), self.certificate.not_valid_after_utc)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(self.now - SKEW)
            .next_update(ends)
            .add_extension(x509.CRLNumber(int(self.now.timestamp())), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for one in self.issued.certificates:
            if one.revoked is not None:
                entry = x509.RevokedCertificateBuilder(one.x509.serial_number, one.revoked)
                builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, SHA384()).public_bytes(Encoding.PEM)
