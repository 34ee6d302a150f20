"""What a hospital has and nobody else may get, as bytes to look for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from canary import Search, written
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key
from three_hospitals import SITES, WORDS, ThreeHospitals

from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.deployment.kit import NODE_KEY, TLS_KEY
from fedcxr.keys.provider import Job
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


def canaries(parties: ThreeHospitals, scenario: Scenario) -> Search:
    """What none of the three may tell, whatever it is asked, and what belongs to this scenario's run."""
    wanted: dict[bytes, str] = {}
    for site in SITES:
        profile = Profile.read(parties.profile(site))
        cohort = profile.films(cache_folder())
        wanted |= dict.fromkeys(_rows(cohort), ROW)
        wanted |= dict.fromkeys(_names(parties, site, cohort), NAME)
        with Vault.unlock(profile.vault_folder, WORDS, profile.budget, profile.journal_file) as vault:
            wanted |= dict.fromkeys(_parts(*_keys(vault, cohort, scenario), *_node_keys(parties, site)), KEY)
            order = in_order(site, len(cohort), vault, job_of(scenario, "release"))
        wanted |= dict.fromkeys(_tables(cohort), FINDINGS)
        wanted |= dict.fromkeys(_tables(cohort.take(order)), FINDINGS_IN_ORDER)
    wanted |= dict.fromkeys(_parts(WORDS), WORD)
    counts = [sum(what == kind for what in wanted.values()) for kind in (ROW, NAME, KEY, WORD, FINDINGS)]
    assert min(counts) > 0, counts
    return Search(wanted)


def _rows(cohort: Cohort) -> Iterator[bytes]:
    """As grey levels however they are written, and as numbers that networks work with."""
    for row in cohort.films().reshape(-1, cohort.size[1]):
        for first in (0, cohort.size[1] // 2):
            for start in range(first, first + 3):  # base64 writes three bytes together
                part = row[start : start + PIXELS]
                if len(np.unique(part)) >= TELLING:
                    yield from written(part.tobytes())
                    for kind in (np.float16, np.float32, np.float64):
                        yield part.astype(kind).tobytes()
                        yield (part.astype(kind) / 255).tobytes()


def _names(parties: ThreeHospitals, site: str, cohort: Cohort) -> Iterator[bytes]:
    """Of patients, of films, and of the hospital's own folder."""
    names = {str(name) for column in ("patient", "image") for name in cohort.index[column]}
    return _parts(*(name.encode() for name in names), str(parties.site(site).relative_to(parties.folder)).encode())


def _keys(vault: Vault, cohort: Cohort, scenario: Scenario) -> Iterator[bytes]:
    """Of the vault, of everything that was ever begun, and of all that is random in this release."""
    ring = vault.ring
    yield ring.identity.reveal()
    yield from (epoch.key.reveal() for epoch in ring.epochs)
    yield from (ring.filing_key(purpose) for purpose in ("counter", "journal"))
    for made in ring.jobs:
        key = ring.release_key(made)
        yield key.reveal()
        yield from (key.image_key(str(row)).reveal() for row in range(len(cohort)))
    job = job_of(scenario, "release")
    yield vault.stream_key(job, "site", ring.site, "order")
    yield vault.stream_key(job, "site", ring.site, "release", images=_as_released(vault, cohort, job))


def _as_released(vault: Vault, cohort: Cohort, job: Job) -> list[str]:
    return list(cohort.take(in_order(vault.ring.site, len(cohort), vault, job)).index["image"])


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
