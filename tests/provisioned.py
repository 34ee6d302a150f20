"""A small consortium with kits, whose sites hand in requests; without vaults, which take time to unlock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from fedcxr.deployment.certificates import new_key
from fedcxr.deployment.consortium import Consortium
from fedcxr.deployment.issued import IssuedList
from fedcxr.deployment.provision import Report, provision
from fedcxr.deployment.request import Request
from fedcxr.keys.cards import Card
from fedcxr.keys.identity import Identity

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOCUMENT: dict[str, Any] = {"name": "chest", "host": "localhost", "sites": ["charite", "ukb"]}


@dataclass
class Hospital:
    """What a site keeps to itself."""

    name: str
    identity: Identity = field(init=False)
    tls: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    node: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    def __post_init__(self) -> None:
        self.identity = Identity.generate(self.name)

    @property
    def secrets(self) -> list[bytes]:
        """What must stand nowhere but at the hospital."""
        numbers = [key.private_numbers().private_value for key in (self.tls, self.node)]
        return [self.identity.reveal(), *(number.to_bytes(48) for number in numbers)]

    def request(self, consortium: str) -> Request:
        return Request.make(consortium, Card.issue(self.identity), self.tls, self.node, self.identity)


@dataclass
class Kits:
    """A folder of kits, and who provisions them."""

    out: Path
    document: dict[str, Any] = field(default_factory=lambda: dict(DOCUMENT))
    now: datetime = NOW

    def provision(self, **options: Any) -> Report:
        return provision(Consortium.parse(self.document), self.out, self.now, **options)

    def hand_in(self, hospital: Hospital) -> Request:
        """Its request, where whoever provisions puts it."""
        request = hospital.request(self.issued.id)
        (self.out / "requests" / f"{hospital.name}.json").write_text(request.text)
        return request

    @property
    def issued(self) -> IssuedList:
        return IssuedList.read(self.out / "authority" / "issued.json")

    def text(self, name: str) -> str:
        return (self.out / name).read_text()


def with_sites(out: Path, *hospitals: Hospital, **changes: Any) -> Kits:
    """Kits in which these hospitals have their certificates; others may be in the consortium."""
    now = changes.pop("now", NOW)
    kits = Kits(out, {**DOCUMENT, **changes}, now)
    kits.provision()
    for hospital in hospitals:
        kits.hand_in(hospital)
    kits.provision()
    return kits
