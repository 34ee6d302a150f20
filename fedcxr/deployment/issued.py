"""What an authority has issued, to whom, until when, and what it has taken back: one file, never shortened."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Self

import pydantic
from cryptography import x509

from fedcxr import plugins
from fedcxr.deployment.consortium import WARNED
from fedcxr.errors import StorageError
from fedcxr.scenario.sections import Section
from fedcxr.storage.disk import read_json, write_json


class Issued(Section):
    """One certificate."""

    to: str = pydantic.Field(description="a site, or `server`")
    serial: str = pydantic.Field(pattern="^([0-9A-F]{2}){1,20}$", description="as nginx writes it")
    ends: pydantic.AwareDatetime
    request: str = pydantic.Field("", description="the site's request that it answers, whole")
    certificate: str = pydantic.Field(description="PEM")
    revoked: pydantic.AwareDatetime | None = None

    def good(self, now: datetime) -> bool:
        """Whether it still opens the gate."""
        return self.revoked is None and now < self.ends

    def word(self, now: datetime) -> str:
        """For `on such a day`."""
        return "ended" if self.ends <= now else "ends"

    @property
    def x509(self) -> x509.Certificate:
        """The certificate itself."""
        return x509.load_pem_x509_certificate(self.certificate.encode())


class IssuedList(Section):
    """All certificates of one consortium, the oldest first."""

    fedcxr: Literal["issued"] = "issued"
    format: Literal[1] = 1
    consortium: str
    id: str = pydantic.Field(pattern="^[0-9a-f]{32}$", description="drawn once; in every certificate")
    certificates: tuple[Issued, ...] = ()

    @classmethod
    def read(cls, path: Path) -> IssuedList:
        """The file, whole; what is lost here is a certificate that nobody can revoke any more."""
        document = read_json(path)
        if not isinstance(document, dict):
            raise StorageError("this is no list of issued certificates", given=path)
        return plugins.validate(cls, document, path.name)

    def write(self, path: Path) -> None:
        """Replace the file."""
        write_json(path, self.model_dump(mode="json"))

    def of(self, name: str) -> tuple[Issued, ...]:
        """Everything issued to somebody, the newest last."""
        return tuple(one for one in self.certificates if one.to == name)

    def good_of(self, name: str, now: datetime) -> tuple[Issued, ...]:
        """What is neither revoked nor over, the newest last."""
        return tuple(one for one in self.of(name) if one.good(now))

    def out(self, name: str) -> bool:
        """Whether somebody was let in once, and was revoked since."""
        issued = self.of(name)
        return bool(issued) and issued[-1].revoked is not None

    def holders(self) -> tuple[str, ...]:
        """Everybody who was ever issued one, in the order in which they came."""
        return tuple(dict.fromkeys(one.to for one in self.certificates))

    def adding(self, issued: Issued) -> Self:
        """With one certificate more."""
        return self.model_copy(update={"certificates": (*self.certificates, issued)})

    def revoking(self, name: str, now: datetime) -> Self:
        """With all certificates of one holder revoked that are not yet."""
        gone = tuple(
            one.model_copy(update={"revoked": now}) if one.to == name and one.revoked is None else one
            for one in self.certificates
        )
        return self.model_copy(update={"certificates": gone})

    def ending(self, now: datetime) -> list[str]:
        """A line for each holder whose last certificate ends soon, or has ended."""
        last = {one.to: one for one in self.certificates if one.revoked is None}
        return [
            f"the certificate of {holder} {one.word(now)} on {one.ends:%Y-%m-%d}: --renew {holder}"
            for holder, one in last.items()
            if one.ends - now < timedelta(days=WARNED)
        ]


def serial_text(certificate: x509.Certificate) -> str:
    """A serial number as nginx's $ssl_client_serial has it: whole bytes, in capital hex digits."""
    digits = f"{certificate.serial_number:X}"
    return digits.zfill(len(digits) + len(digits) % 2)
