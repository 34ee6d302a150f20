"""What a hospital has and nobody else may get, as bytes to look for."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping

import numpy as np
from canary import Search, written
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key
from three_hospitals import WORDS, ThreeHospitals

from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.deployment.kit import NODE_KEY, TLS_KEY
from fedcxr.protocol import in_order, job_of
from fedcxr.scenario import Scenario
from sites.profile import Profile
from sites.vault import Vault

ROW, NAME, KEY, WORD = "a row of a film", "a name", "a key", "the passphrase"
FINDINGS, FINDINGS_IN_ORDER = "findings of films, as they lie in the hospital", "findings of films, as released"
PIXELS = 15  # of a row that are looked for together
TELLING = 8  # different grey levels among them: flat parts are everybody's
PART = 9  # bytes of names and keys: in a gigabyte chance finds a million such once in four million times
TABLE = 8  # films whose findings are looked for together, with what is around them


def canaries(parties: ThreeHospitals, vaults: Mapping[str, Vault], scenario: Scenario) -> Search:
    """What none of the three may tell, whatever it is asked, and what belongs to this scenario's run."""
    wanted: dict[bytes, str] = {}
    for site, vault in vaults.items():
        cohort = Profile.read(parties.profile(site)).films(cache_folder())
        released = cohort.take(in_order(site, len(cohort), vault, job_of(scenario, "release")))
        for what, parts in (
            (ROW, _rows(cohort)),
            (NAME, _names(parties, site, cohort)),
            (KEY, _parts(*_keys(vault, released, scenario), *_node_keys(parties, site))),
            (WORD, _parts(WORDS)),
            (FINDINGS, _tables(cohort)),
            (FINDINGS_IN_ORDER, _tables(released)),
        ):
            found = dict.fromkeys(parts, what)
            assert found, f"{site} has no {what}"
            wanted |= found
    return Search(wanted)


def _rows(cohort: Cohort) -> Iterator[bytes]:
    """The middle of each, as grey levels however they are written, and as numbers that networks work with."""
    first = (cohort.size[1] - PIXELS) // 2
    for row in cohort.films().reshape(-1, cohort.size[1]):
        part = row[first : first + PIXELS]
        if len(set(part.tolist())) >= TELLING:
            yield from written(part.tobytes())
            for shift in (1, 2):  # base64 writes three bytes together, wherever the first of them is
                yield base64.b64encode(row[first + shift : first + shift + PIXELS].tobytes())
            for kind in (np.float16, np.float32, np.float64):
                yield part.astype(kind).tobytes()
                yield np.divide(part, 255, dtype=kind).tobytes()


def _names(parties: ThreeHospitals, site: str, cohort: Cohort) -> Iterator[bytes]:
    """Of patients, of films, and of the hospital's own folder."""
    names = {str(name) for column in ("patient", "image") for name in cohort.index[column]}
    yield from _parts(*(name.encode() for name in names))
    yield bytes(parties.site(site).relative_to(parties.folder))


def _keys(vault: Vault, released: Cohort, scenario: Scenario) -> Iterator[bytes]:
    """Of the vault, of everything that was ever begun, and of all that is random in this release."""
    ring, job = vault.ring, job_of(scenario, "release")
    yield ring.identity.reveal()
    yield from (epoch.key.reveal() for epoch in ring.epochs)
    yield from (ring.filing_key(purpose) for purpose in ("counter", "journal"))
    for made in ring.jobs:
        key = ring.release_key(made)
        yield key.reveal()
        if made.release == job.name:
            yield from (key.image_key(str(row)).reveal() for row in range(len(released)))
    yield vault.stream_key(job, "site", ring.site, "order")
    yield vault.stream_key(job, "site", ring.site, "release", images=list(released.index["image"]))


def _node_keys(parties: ThreeHospitals, site: str) -> Iterator[bytes]:
    kit = parties.site(site)
    tls, node = (kit / TLS_KEY).read_bytes(), (kit / NODE_KEY).read_bytes()
    for key in (load_pem_private_key(tls, None), load_ssh_private_key(node, None)):
        assert isinstance(key, EllipticCurvePrivateKey)
        yield key.private_numbers().private_value.to_bytes(48)


def _parts(*secrets: bytes) -> Iterator[bytes]:
    for secret in secrets:
        for start in range(len(secret) - PART + 1):
            yield from written(secret[start : start + PART])


def _tables(cohort: Cohort) -> Iterator[bytes]:
    """Some films' findings one after another, as numbers of any sort, from the first that is there."""
    for first in range(0, len(cohort) - TABLE, TABLE):
        told = cohort.labels[first : first + TABLE].reshape(-1)
        told = told[int(told.argmax()) :]
        if told.sum() >= TABLE // 2:
            for kind in (np.uint8, np.int32, np.int64, np.float16, np.float32, np.float64):
                yield told.astype(kind).tobytes()
            for separator in (",", ", "):
                yield separator.join(map(str, told.astype(int))).encode()
                yield separator.join(map(str, told.astype(float))).encode()
