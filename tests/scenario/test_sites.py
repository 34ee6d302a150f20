"""Sites with names of their own: what a name may be, and that it means the same everywhere it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from small import SMALL

from fedcxr.errors import ConfigError, UnknownName
from fedcxr.keys.identity import Identity
from fedcxr.protocol import COORDINATOR
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import choose, override
from fedcxr.scenario.sites import RESERVED, in_order
from fedcxr.storage.disk import write_atomic
from server.simulate import Options, simulate

PHANTOM = {"source": "phantom", "patients": 40, "size": 32}
BARE: dict[str, Any] = {"tasks": {}, "adversaries": {}}
NAMED: dict[str, Any] = {**BARE, "sites": {"ukb": {**PHANTOM, "seed": 1}, "charite": PHANTOM}}


def test_named_sites_are_their_own_document() -> None:
    scenario = Scenario.parse(NAMED)
    assert scenario.site_names == ("charite", "ukb")
    assert {site: source.model_dump()["seed"] for site, source in scenario.own_sources.items()} == {
        "charite": 0,
        "ukb": 1,
    }
    again = Scenario.from_yaml(scenario.to_yaml())
    assert again == scenario
    assert again.to_yaml() == scenario.to_yaml()
    assert again.id == scenario.id


def test_the_order_in_which_they_are_named_means_nothing() -> None:
    one, other = Scenario.parse(NAMED), Scenario.parse({**NAMED, "sites": dict(reversed(NAMED["sites"].items()))})
    assert one.to_yaml() == other.to_yaml()


def test_other_names_are_another_scenario() -> None:
    renamed = {"sites": {"ukb": NAMED["sites"]["ukb"], "mercy": PHANTOM}}
    assert Scenario.parse({**NAMED, **renamed}).id != Scenario.parse(NAMED).id


def test_a_list_is_short_for_numbered_names() -> None:
    sources = [{**PHANTOM, "seed": seed} for seed in range(11)]
    listed = Scenario.parse({**BARE, "sites": sources})
    spelt = Scenario.parse({**BARE, "sites": {f"site-{i + 1}": source for i, source in enumerate(sources)}})
    assert listed == spelt
    assert listed.site_names == spelt.site_names  # site-10 after site-9
    assert isinstance(listed.document()["sites"], list)


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        ("{'': phantom}", "no name for a site; given: ''"),
        ("{a b: phantom}", "no name for a site; given: 'a b'"),
        ("{../a: phantom}", "no name for a site"),
        ("{a.b: phantom}", "no name for a site"),
        ("{-a: phantom}", "no name for a site"),
        ("{charité: phantom}", "no name for a site"),
        ("{1: phantom}", "no name for a site; given: 1"),
        ("{" + "x" * 65 + ": phantom}", "no name for a site"),
        ("{server: phantom}", "cannot have this name; given: server; it is the coordinator's"),
        ("{Coordinator: phantom}", "cannot have this name"),
        ("{a: phantom, a: phantom}", "key given twice: a"),
        ("{a: phantom, A: phantom}", "two sites of one name; given: a and A"),
        ("{}", "too few or too many"),
        ("{a: 3}", "a source needs a name"),
        ("{a: {source: phantm}}", "did you mean 'phantom'"),
        ("{a: {source: phantom, name: b}}", "sites.a has a name already"),
        ("{a: phantom, b: {source: phantom, size: 96}}", "a 64, b 96"),
    ],
)
def test_what_sites_may_not_be_called(sites: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        Scenario.from_yaml(f"sites: {sites}")
    assert refused.value.exit_code == 2


def test_nobody_takes_the_coordinators_names() -> None:
    assert COORDINATOR in RESERVED


@given(st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9_.-]{1,66}", fullmatch=True))
@example("x\n")
@example("x" * 64)
def test_every_name_that_is_one_can_be_a_file_and_sign(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    try:
        (checked,) = in_order([name])
    except ConfigError:
        return
    assert checked == name
    assert Identity(b"k" * 64, name).public.name == name
    folder = tmp_path_factory.getbasetemp()
    write_atomic(folder / f"{name}.release", b"")
    (folder / f"{name}.release").unlink()
    assert override({"sites": {name: "phantom"}}, f"sites.{name}.size=32")["sites"][name]["size"] == 32


def test_one_site_can_be_changed_from_the_command_line() -> None:
    assert override(NAMED, "sites.ukb.patients=50")["sites"]["ukb"]["patients"] == 50
    assert override({"sites": {"ukb": "phantom"}}, "sites.ukb.size=32") == {
        "sites": {"ukb": {"source": "phantom", "size": 32}}
    }
    assert override(NAMED, "sites.ukb=phantom")["sites"]["ukb"] == "phantom"
    for document in (NAMED, {}):
        with pytest.raises(UnknownName, match="unknown site; given: ukbb"):
            override(document, "sites.ukbb.size=32")
    with pytest.raises(ConfigError, match="below something that is no mapping"):
        override({"sites": {"ukb": 3}}, "sites.ukb.size=32")


def test_their_number_cannot_be_changed() -> None:
    with pytest.raises(ConfigError, match=r"names its sites.*allowed: 2"):
        choose(NAMED, sites=5)


def test_keys_are_granted_to_names() -> None:
    plan = {**NAMED, "method": "sca"}
    assert Scenario.parse({**plan, "grant": {"ukb": 0.5}}).reader == "ukb"
    with pytest.raises(UnknownName, match=r"recipient of keys; given: ukbb; allowed: .*ukb"):
        Scenario.parse({**plan, "grant": ["ukbb"]})


def test_named_sites_end_to_end(tmp_path: Path) -> None:
    document = {key: value for key, value in SMALL.items() if key != "cohort"}
    run = simulate(Scenario.parse({**document, "sites": NAMED["sites"]}), Options(tmp_path, "inline"))
    assert run.result is not None
    assert [site["name"] for site in run.result["sites"]] == ["charite", "ukb"]
    assert sorted(picture.name for picture in (run.folder / "pictures").iterdir()) == [
        "README.txt", "charite.png", "linkage.matches.png", "ukb.png",
    ]  # fmt: skip
    assert Scenario.parse(run.result["scenario"]) == run.scenario
