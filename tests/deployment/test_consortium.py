"""A consortium's document: what it may say, and one line for each thing it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from provisioned import DOCUMENT

from fedcxr.deployment.consortium import Consortium
from fedcxr.errors import ConfigError, FedcxrError


def test_the_example_is_one(root: Path) -> None:
    example = Consortium.read(root / "configs" / "deploy" / "consortium.yaml")
    assert list(example.sites) == ["charite", "mercy", "ukb"]
    assert example.sites["mercy"].runtime_port == 9194
    assert set(example.model_dump()) == set(Consortium.model_fields)
    told = (root / "configs" / "deploy" / "consortium.yaml").read_text()
    assert all(f"{key}:" in told for key in Consortium.model_fields)  # every key is explained


def test_a_list_of_names_is_short_for_a_mapping() -> None:
    listed = Consortium.parse({**DOCUMENT, "sites": ["site-10", "site-9", "site-2"]})
    assert listed == Consortium.parse({**DOCUMENT, "sites": {"site-2": {}, "site-9": None, "site-10": {}}})
    assert list(listed.sites) == ["site-2", "site-9", "site-10"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sites": ["ukb"]}, "with fewer than two sites there is nobody to learn with; given: 1 site"),
        ({"sites": []}, "given: 0 sites"),
        ({"sites": ["ukb", "charite", "ukb"]}, "two sites of one name; given: ukb"),
        ({"sites": ["ukb", "UKB"]}, "two sites of one name"),
        ({"sites": 3}, "sites are a list of names, or a mapping"),
        ({"sites": "ukb"}, "sites are a list of names, or a mapping"),
        ({"sites": ["ukb", ["charite"]]}, "it is no text"),
        ({"sites": ["ukb", 7]}, "it is no text; put it in quotation marks"),
        ({"sites": ["ukb", "a" * 64]}, "it has 64 characters, and a certificate's name"),
        ({"sites": ["ukb", "../charite"]}, "it would lead to another folder"),
        ({"sites": ["ukb", "st_mary"]}, "it cannot be a part of a machine's name (a DNS label)"),
        ({"sites": ["ukb", "mary-"]}, "a DNS label"),
        ({"sites": ["ukb", "charit\u00e9"]}, r"given: 'charit\xe9'"),
        ({"sites": ["ukb", "mary\n"]}, "a DNS label"),
        ({"sites": ["ukb", ""]}, "1 to 63 letters"),
        ({"sites": ["ukb", "server"]}, "cannot have this name"),
        ({"sites": ["ukb", "Authority"]}, "a folder beside the sites' kits"),
        ({"sites": ["ukb", "requests"]}, "a folder beside the sites' kits"),
        ({"sites": ["ukb", "coordinator"]}, "it is the coordinator's"),
        ({"sites": {"ukb": {}, "charite": {"port": 1}}}, "unknown key in consortium: sites.charite; given: port"),
        ({"sites": {"ukb": {}, "charite": 9094}}, "sites.charite maps settings to values"),
        ({"name": "two words"}, "no name for a consortium"),
        ({"name": "a" * 64}, "no name for a consortium"),
        ({"host": "https://example.org"}, "no name of a machine"),
        ({"host": "example.org:8443"}, "without https:// and port"),
        ({"host": "*.example.org"}, "a certificate for every name below a domain"),
        ({"host": "192.0.2.300"}, "no name of a machine"),
        ({"host": "fe80::1%eth0"}, "no name of a machine"),
        ({"host": ".".join(["a" * 60] * 5)}, "no name of a machine"),
        ({"names": ["example..org"]}, "no name of a machine"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"port": 9092}, "two things cannot listen at one port"),
        ({"port": "8443"}, "valid integer"),
        ({"days": 14}, "greater than 14"),
        ({"days": 300, "authority_days": 300}, "the authority must be valid for longer"),
        ({"hosts": "a"}, "unknown key in consortium; given: hosts; allowed"),
    ],
)
def test_what_no_consortium_can_be_is_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Consortium.parse({**DOCUMENT, **changes})
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "host", ["fedcxr.example.org", "hub", "192.0.2.7", "2001:db8::7", "xn--mnchen-3ya.de", "a-1.b"]
)
def test_a_machine_is_named_or_numbered(host: str) -> None:
    assert Consortium.parse({**DOCUMENT, "host": host}).every_name == (host,)


def test_a_name_that_is_written_in_two_ways_is_one() -> None:
    document = {**DOCUMENT, "host": "Hub.Example.org", "names": ["hub.example.ORG", "2001:DB8:0::7", "2001:db8::7"]}
    assert Consortium.parse(document).every_name == ("hub.example.org", "2001:db8::7")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for data, said in ((b"\xff", "not text"), (b"- a", "maps keys to values"), (b"name: a\nname: b", "given twice")):
        (tmp_path / "c.yaml").write_bytes(data)
        with pytest.raises(ConfigError, match=said):
            Consortium.read(tmp_path / "c.yaml")
    with pytest.raises(FedcxrError, match="no such consortium"):
        Consortium.read(tmp_path / "other.yaml")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([*Consortium.model_fields, "other"])


@given(changes=st.dictionaries(KEYS, PLAIN, max_size=3))
def test_whatever_is_written_it_is_a_consortium_or_refused(changes: dict[str, Any]) -> None:
    try:
        made = Consortium.parse({**DOCUMENT, **changes})
    except FedcxrError:
        return
    assert len(made.sites) >= 2
    assert Consortium.parse(made.model_dump(mode="json")) == made
