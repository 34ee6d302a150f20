"""A site's request: three signatures over all of it, and no mutation that passes for another."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from canary import leaks
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from cryptography.x509 import CertificateSigningRequestBuilder, load_pem_x509_csr
from hypothesis import given, settings
from hypothesis import strategies as st
from provisioned import Hospital, with_sites

from fedcxr.deployment.asking import make_request
from fedcxr.deployment.certificates import subject
from fedcxr.deployment.request import LARGEST, PURPOSE, Request, openssh
from fedcxr.errors import ConfigError, FedcxrError, Refused, StorageError
from fedcxr.keys import context
from fedcxr.keys.cards import Card
from fedcxr.keys.identity import Identity

CONSORTIUM = "0f" * 16
CHARITE, UKB = Hospital("charite"), Hospital("ukb")
REQUEST = CHARITE.request(CONSORTIUM)
DOCUMENT: dict[str, Any] = json.loads(REQUEST.text)


def signed(**changes: str) -> str:
    """A request with other contents, all of it signed by the keys that charite has."""
    parts = {key: {**DOCUMENT, **changes}[key] for key in ("consortium", "site", "csr", "node", "card")}
    whole = context(PURPOSE, *parts.values())
    signatures = {
        "signed_by_node": CHARITE.node.sign(whole, ec.ECDSA(SHA384())).hex(),
        "signed_by_vault": CHARITE.identity.sign(PURPOSE, whole).hex(),
    }
    return json.dumps({**DOCUMENT, **parts, **signatures})


def csr(key: Any, site: str = "charite", consortium: str = CONSORTIUM) -> str:
    builder = CertificateSigningRequestBuilder().subject_name(subject(site, consortium))
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


def of_version(version: int) -> str:
    """A signing request of a version that there is not."""
    der = load_pem_x509_csr(DOCUMENT["csr"].encode()).public_bytes(Encoding.DER)
    head, _, rest = der.partition(b"\x02\x01\x00")
    text = base64.encodebytes(head + bytes((2, 1, version)) + rest).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n"


def compressed() -> str:
    """The same point of the curve in its short form, which OpenSSH does not know."""
    kind, whole = openssh(CHARITE.node.public_key()).split()
    blob = base64.b64decode(whole)
    short = CHARITE.node.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return f"{kind} {base64.b64encode(blob[:-101] + len(short).to_bytes(4) + short).decode()}"


def test_a_request_tells_what_a_certificate_needs_and_no_secret() -> None:
    checked = Request.parse(REQUEST.text)
    assert (checked.site, checked.tls, checked.node) == ("charite", CHARITE.tls.public_key(), CHARITE.node.public_key())
    assert checked.card.public == CHARITE.identity.public
    assert not leaks(CHARITE.secrets, REQUEST.text)
    assert Request.parse(signed()).site == "charite"  # what the refusals below differ from


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (signed(site="ukb"), "the request's card is another site's"),
        (signed(card=Card.issue(Identity.generate("charite")).text), "not signed by charite"),
        (signed(csr=csr(CHARITE.tls, "ukb")), "names somebody else; given: ukb"),
        (signed(csr=csr(CHARITE.tls, consortium="1f" * 16)), "names somebody else"),
        (
            signed(csr=csr(ec.generate_private_key(ec.SECP256R1()))),
            "another kind of key; allowed: elliptic curve P-384",
        ),
        (signed(csr=csr(rsa.generate_private_key(65537, 2048))), "another kind of key"),
        (signed(csr=csr(CHARITE.node)), "one key is both"),
        (signed(csr="?"), "no certificate signing request (CSR)"),
        (signed(csr=of_version(5)), "no certificate signing request (CSR)"),
        (signed(node=compressed()), "no public key of a node"),
        (signed(node=openssh(UKB.node.public_key())), "not signed with its node's key"),
        (signed(node=openssh(CHARITE.node.public_key()) + " a comment"), "no public key of a node"),
        (signed(node=openssh(ec.generate_private_key(ec.SECP256R1()).public_key())), "no public key of a node"),
        (signed(consortium="x"), "consortium"),
        (json.dumps({**DOCUMENT, "consortium": "1f" * 16}), "names somebody else"),
        (json.dumps({**DOCUMENT, "format": 2}), "format"),
        (json.dumps({**DOCUMENT, "more": 1}), "unknown key in request; given: more"),
        (json.dumps({**DOCUMENT, "fedcxr": "identity"}), "no request of a site"),
        ("[]", "no request of a site"),
        ("[" * 100_000, "no request of a site"),
        (REQUEST.text + " " * LARGEST, "no request of a site"),
    ],
)
def test_what_is_not_proven_is_refused(text: str, said: str) -> None:
    with pytest.raises(FedcxrError) as refused:
        Request.parse(text)
    assert said in str(refused.value)


def test_somebody_else_s_card_does_not_make_their_keys_ones_own() -> None:
    """A card is public: whoever has it could ask for a certificate in that hospital's name, were it not signed too."""
    thief = Hospital("charite")
    parts = {
        "consortium": CONSORTIUM,
        "site": "charite",
        "csr": csr(thief.tls),
        "node": openssh(thief.node.public_key()),
        "card": DOCUMENT["card"],
    }
    whole = context(PURPOSE, *parts.values())
    signatures = {
        "signed_by_node": thief.node.sign(whole, ec.ECDSA(SHA384())).hex(),
        "signed_by_vault": thief.identity.sign(PURPOSE, whole).hex(),
    }
    with pytest.raises(Refused, match="not signed by charite"):
        Request.parse(json.dumps({**DOCUMENT, **parts, **signatures}))


@settings(max_examples=150)
@given(
    place=st.integers(0, len(REQUEST.text) - 1), letter=st.characters(exclude_categories=()) | st.sampled_from('0a"{},')
)
def test_a_letter_changed_is_refused_or_of_no_consequence(place: int, letter: str) -> None:
    text = REQUEST.text[:place] + letter + REQUEST.text[place + 1 :]
    try:
        found = Request.parse(text)
    except FedcxrError:
        return
    assert found.request == REQUEST  # another blank between two keys


@settings(max_examples=60)
@given(
    key=st.sampled_from(sorted(DOCUMENT)),
    value=st.none() | st.integers() | st.text(max_size=80) | st.lists(st.integers(), max_size=2),
)
def test_any_other_value_is_refused(key: str, value: Any) -> None:
    if value != DOCUMENT[key]:
        with pytest.raises(FedcxrError):
            Request.parse(json.dumps({**DOCUMENT, key: value}))


# At the site ----------------------------------------------------------------------------------------------------------


def test_a_site_makes_its_keys_once_and_for_its_own_eyes(tmp_path: Path) -> None:
    with_sites(tmp_path)
    kit, card = tmp_path / "charite", Card.issue(CHARITE.identity)
    first = make_request(kit, card, CHARITE.identity)
    assert Request.parse((kit / "request.json").read_text()).request == first
    made = {name: (kit / "private" / name).read_bytes() for name in ("tls.key", "node.key")}
    assert isinstance(load_pem_private_key(made["tls.key"], None), ec.EllipticCurvePrivateKey)
    assert isinstance(load_ssh_private_key(made["node.key"], None), ec.EllipticCurvePrivateKey)  # as Flower loads it
    assert {(kit / "private" / name).stat().st_mode & 0o777 for name in made} == {0o600}
    again = make_request(kit, card, CHARITE.identity)
    assert (again.csr != first.csr, again.node) == (True, first.node)  # signatures are drawn, keys are kept
    assert {name: (kit / "private" / name).read_bytes() for name in made} == made


def test_a_site_asks_with_its_own_vault_and_whole_keys(tmp_path: Path) -> None:
    with_sites(tmp_path)
    kit = tmp_path / "charite"
    with pytest.raises(Refused, match="the vault is another site's than the kit; given: ukb"):
        make_request(kit, Card.issue(UKB.identity), UKB.identity)
    assert not (kit / "private").exists()
    (kit / "private").mkdir(mode=0o700)
    (kit / "private" / "node.key").touch(mode=0o600)
    with pytest.raises(StorageError, match="a key of this machine cannot be read"):
        make_request(kit, Card.issue(CHARITE.identity), CHARITE.identity)
    with pytest.raises(ConfigError, match="for another machine; given: role: server"):
        make_request(tmp_path / "server", Card.issue(CHARITE.identity), CHARITE.identity)
