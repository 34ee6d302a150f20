"""Scenarios: any text gives a scenario or one clear line, equal ones have equal ids, and what is written reads back."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pydantic
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedcxr import plugins
from fedcxr.cohort import Annotation
from fedcxr.errors import ConfigError, FedcxrError, UnknownName
from fedcxr.scenario import Preset, Scenario, source
from fedcxr.scenario.document import LARGEST_FILE, override, read_file, read_yaml
from fedcxr.scenario.schema import json_schema
from fedcxr.tasks.fidelity import Fidelity

MakeScenario = Callable[..., Scenario]
BARE: dict[str, Any] = {"tasks": {}, "adversaries": {}}


def scenario_or_error(text: str) -> Scenario | None:
    """Never a traceback of another kind, and never a message of several lines or without an end."""
    try:
        return Scenario.from_yaml(text)
    except FedcxrError as error:
        raised = error
    assert raised.exit_code == 2
    assert len(str(raised)) < 5000
    return None


# Any text -------------------------------------------------------------------------------------------------------------


@settings(max_examples=400)
@given(st.text(max_size=60))
@example("")
@example("---\n---\n")
@example("&a [*a]")
@example("a: &a [1]\nb: *a")
@example("<<: {sites: 2}")
@example("<<: [{sites: 2}, {seed: 1}]")
@example("<<: 3")
@example("=: 3")
@example("? [a, b]\n: c")
@example("? {a: b}\n: c")
@example("seed: 0x" + "f" * 20_000)
@example("seed: " + "9" * 5000)
@example("preset: 0x" + "f" * 20_000)
@example("preset: {a: 1}")
@example("preset: null")
@example("min_sites: 0x" + "f" * 9000)
@example("name: 2020-01-01")
@example("name: 2020-13-45")
@example("name: 0001-01-01T00:00:00+23:59")
@example('name: "\\uD800"')
@example('name: "\\UFFFFFFFF"')
@example('"\\uD800": 1')
@example('method: "\\uD800"')
@example("name: !!timestamp foo")
@example("name: !!bool foo")
@example("name: !!int ''")
@example("name: !!float foo")
@example("name: !!binary é")
@example("name: !!set {a, b}")
@example("name: !!omap [a: 1]")
@example("name: !!python/object/apply:os.system [echo]")
@example("!!map foo")
@example("!!set [a]")
@example("!<tag:yaml.org,2002:python/name:os.system> {}")
@example("seed: .nan")
@example("seed: .inf")
@example("knowledge: {known_films: .nan}")
@example("1: 2")
@example("{1: 2, '1': 3}")
@example("null: 2")
@example("tasks: {1: {}}")
@example("tasks: [[]]")
@example("tasks: {a: b}")
@example("adversaries: 7")
@example("method: [noise]")
@example("method: {}")
@example("method: {name: [noise]}")
@example("method: {name: noise, scale: {}}")
@example("cohort: {source: null}")
@example("sites: 1_0")
@example("sites: 1:30")
@example("sites: true")
@example("\x00")
@example("\ud800")
@example("\ufeffsites: 3")
@example("\t\t- a")
@example("%YAML 9.9\n---\na: 1")
@example("[" * 5000)
@example("{a: " * 3000)
@example("- " * 3000)
@example("a: " + "[" * 200 + "]" * 200)
def test_any_text(text: str) -> None:
    scenario_or_error(text)


words = st.sampled_from(
    [*Scenario.model_fields, "name", "source", "noise", "none", "phantom", "by", "iid", "scale", "alpha"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | words
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=3)
    | st.sampled_from([2**4000, -(2**64), 1e400]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(words | st.text(max_size=4) | st.integers() | st.none() | st.booleans(), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=400)
@given(st.dictionaries(words | st.text(max_size=4), values, max_size=5))
def test_any_structure(document: dict[str, Any]) -> None:
    for told in (document, {**BARE, **document}):
        scenario_or_error(yaml.safe_dump(told))
        with contextlib.suppress(ConfigError):
            Scenario.parse(told)


@settings(max_examples=300)
@given(data=st.data())
def test_any_value_in_the_place_of_a_right_one(data: st.DataObject) -> None:
    """Near misses reach deeper into the parser than noise does."""
    document = Scenario.parse({**BARE, "method": "noise"}).document()
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(values)
    found = scenario_or_error(yaml.safe_dump(document))
    if found:
        assert Scenario.from_yaml(found.to_yaml()) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nsites: 3\nsites: 4", "key given twice: sites"),
        ("method: {name: noise, scale: 1, scale: 2}", "key given twice: scale"),
        ("a: &x 1\nb: *x", "aliases are not allowed"),
        ("name: !!python/object:os.system {}", "tags are not allowed"),
        ("name: !!str 3", "tags are not allowed"),
        ("name: ! 3", "tags are not allowed"),
        ("a: [", "not the YAML of a scenario"),
        ("- a\n- b", "a scenario maps keys to values; given: list"),
        ("just text", "a scenario maps keys to values; given: str"),
        ("1: a", "a scenario maps keys to values"),
        ("a: 1\n---\nb: 2", "not the YAML of a scenario"),
    ],
)
def test_yaml_that_is_more_than_plain_data(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_yaml(text)


def test_a_billion_laughs() -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(ConfigError, match="aliases are not allowed"):
        read_yaml("\n".join(lines))


def test_a_file_too_large_is_refused_unread() -> None:
    with pytest.raises(ConfigError, match="too large for a scenario"):
        read_yaml("a" * (LARGEST_FILE + 1))


def test_a_file_of_very_many_keys_is_read_in_time() -> None:
    text = "".join(f"k{i}: 1\n" for i in range(5_000))
    start = time.process_time()
    assert len(read_yaml(text)) == 5_000
    one_by_one = time.process_time() - start
    start = time.process_time()
    read_yaml("".join(f"k{i}: 1\n" for i in range(500)))
    assert one_by_one < 40 * (time.process_time() - start) + 0.5  # 10 times the keys: not 100 times the time


def test_nothing_is_executed(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for text in (
        f"name: !!python/object/apply:os.mkdir ['{trace}']",
        f"!!python/object/new:os.mkdir ['{trace}']",
        f"method: !!python/object/apply:os.mkdir ['{trace}']",
    ):
        assert scenario_or_error(text) is None
    assert not trace.exists()


# Round trips and ids --------------------------------------------------------------------------------------------------

DOCUMENTS: list[dict[str, Any]] = [
    BARE,
    {**BARE, "method": "noise", "sites": 2},
    {**BARE, "sites": {"ukb": {"seed": 1, "patients": 40}, "charite": "phantom"}},
    {**BARE, "method": {"name": "noise", "scale": 0.125, "distribution": "laplace"}, "seed": 7, "name": "a.b-c_1"},
    {**BARE, "cohort": {"source": "phantom", "patients": 50, "splits": [0.5, 0.2, 0.3]}, "min_sites": 3},
    {**BARE, "partition": {"by": "dirichlet", "alpha": 0.3, "quantity_skew": 1.5, "patient_overlap": 0.25}},
    {**BARE, "adversaries": ["verifier"], "knowledge": {"known_films": 0.25}},
    {**BARE, "method": "sca", "grant": {"server": 0.5, "site-2": 1}, "knowledge": {"keys": 1}},
    {**BARE, "method": "sealed", "grant": "none"},
    {**BARE, "method": "sca", "grant": ["site-2"]},
    {**BARE, "adversaries": {"verifier": {"attackers": ["naive"]}}, "knowledge": {"mechanism": False}},
    {**BARE, "adversaries": ["verifier", "support"], "method": "sca", "questions": ["linkage", "same_film"]},
    {**BARE, "adversaries": ["verifier"], "questions": {"linkage": {}}, "knowledge": {"known_films": {"share": 0.2}}},
    {**BARE, "method": "sca", "knowledge": {"keys": {"sites": 2}, "pairs": 9, "releases": 2, "own_films": "train"}},
    {**BARE, "adversaries": {"faults:Eavesdropper": {}}, "questions": {"faults:Gossip": {"of": "rumours"}}},
    {**BARE, "knowledge": {"faults:Rumours": {"heard": 3, "loud": True}}},
    {**BARE, "cohort": {"patients": 40}, "method": {}},
    {**BARE, "alike": "bands", "method": "sca"},
    {**BARE, "compute": {"workers": 3, "device": "cpu", "threads": 2, "timeout_s": 60}},
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_round_trip(document: dict[str, Any]) -> None:
    scenario = Scenario.parse(document)
    for again in (Scenario.parse(scenario.document()), Scenario.from_yaml(scenario.to_yaml())):
        assert again == scenario
        assert again.id == scenario.id
        assert again.document() == scenario.document()
    json.dumps(scenario.document(), allow_nan=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"seed": 9},
        {"compute": {"workers": 2}},
        {"compute": {"timeout_s": 5}},
        {"compute": {"gpu_server_share": 0.1}},
    ],
)
def test_id_is_independent_of_what_does_not_change_the_result(changes: dict[str, Any]) -> None:
    assert Scenario.parse({**BARE, **changes}).id == Scenario.parse(BARE).id


def test_id_changes_with_what_changes_the_result() -> None:
    variants: list[dict[str, Any]] = [
        {},
        {"sites": 3},
        {"min_sites": 2},
        {"method": "noise"},
        {"method": {"name": "noise", "scale": 0.3}},
        {"cohort": {"source": "phantom", "seed": 1}},
        {"partition": {"by": "iid"}},
        {"alike": "bands"},
        {"knowledge": {"known_films": 0.25}},
        {"adversaries": ["verifier"]},
        {"adversaries": {"verifier": {"people": 5}}},
        {"compute": {"device": "cpu"}},
        {"compute": {"precision": "fp32"}},
        {"compute": {"threads": 2}},
    ]
    ids = [Scenario.parse({**BARE, **v}).id for v in variants]
    assert len(set(ids)) == len(variants)
    assert all(id_.split("-")[0] in ("none", "noise") for id_ in ids)


def test_an_id_has_128_bits() -> None:
    """So many that nobody finds two scenarios of one id, not even on purpose."""
    method, _, fingerprint = Scenario.parse({**BARE, "method": "noise"}).id.partition("-")
    assert method == "noise"
    assert re.fullmatch("[0-9a-f]{32}", fingerprint)


def test_a_default_written_out_is_the_same_scenario() -> None:
    short = Scenario.parse({**BARE, "method": "noise"})
    written = {"sites": 5, "alike": "none", "method": {"name": "noise", "scale": 0.2}, "compute": {"threads": 1}}
    long = Scenario.parse({**BARE, **written})
    assert short == long
    assert short.id == long.id


# What is wrong, and what is offered -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stes: 3", r"unknown key in scenario; given: stes; allowed: .*sites.*; did you mean 'sites'\?"),
        ("knowledge: {known_film: 0.5}", r"given: known_film; .*did you mean 'known_films'\?"),
        ("partition: {alhpa: 1}", r"given: alhpa; allowed: by, alpha.*|given: alhpa; .*did you mean 'alpha'\?"),
        ("compute: {wrokers: 1}", r"did you mean 'workers'\?"),
        ("method: {name: noise, scael: 1}", r"unknown key in method noise; given: scael; .*did you mean 'scale'\?"),
        ("questions: [linkge]", r"unknown question; given: linkge; .*did you mean 'linkage'\?"),
        ("knowledge: {own_film: train}", r"unknown knowledge; given: own_film; .*did you mean 'own_films'\?"),
        (
            "knowledge: {auxiliary: train}",
            "unknown knowledge; given: auxiliary; allowed: demographics, keys, .*own_films",
        ),
        ("method: sca\nknowledge: {keys: {site: 1}}", r"unknown key in knowledge keys; .*did you mean 'sites'\?"),
        ("method: nois", r"unknown method; given: nois; .*did you mean 'noise'\?"),
        ("cohort: fantom", r"unknown source; given: fantom; .*did you mean 'phantom'\?"),
        ("adversaries: [verifyer]", r"unknown adversary; given: verifyer; .*did you mean 'verifier'\?"),
        ("preset: quik", r"unknown preset; given: quik; .*did you mean 'quick'\?"),
    ],
)
def test_unknown_names_offer_the_nearest(text: str, said: str) -> None:
    with pytest.raises(UnknownName, match=said):
        Scenario.from_yaml("{tasks: {}, adversaries: {}}" if not text else f"tasks: {{}}\n{text}")


def test_a_task_names_no_site_that_there_is_not() -> None:
    named = "tasks: {findings: {label_noise: {sites: {%s: {sensitivity: 0.9, specificity: 0.9}}}}}\nadversaries: {}"
    Scenario.from_yaml(named % "site-2")
    with pytest.raises(UnknownName, match=r"unknown site in tasks.findings; given: sit-2; .*did you mean 'site-2'\?"):
        Scenario.from_yaml(named % "sit-2")


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("fedavg", "would misread all others; given: alike: bands, with fedavg; .*set method.normalise"),
        ("dp_sgd", "would misread all others; given: alike: bands, with dp_sgd"),
        (
            "none\nknowledge: {own_films: {source: phantom}}",
            "would weaken it; given: .* with knowledge.own_films.source",
        ),
        ("{name: dp_pix, b: 8}", "not counted in what the method guarantees; given: alike: bands, with dp_pix"),
    ],
)
def test_films_are_not_made_alike_where_that_breaks_a_promise_or_a_model(method: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Scenario.from_yaml(f"tasks: {{}}\nadversaries: {{}}\nalike: bands\nmethod: {method}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "method: noise\nadversaries: [support]",
            "`support` has nothing to read.*noise, which releases images; allowed: purified",
        ),
        ("method: sca\nknowledge: {mechanism: false}\nadversaries: [support]", "`learned` must know the mechanism"),
        ("adversaries: [verifier]\nknowledge: {mechanism: false}", r"adversaries.verifier.attackers=\[naive\]"),
    ],
)
def test_an_adversary_that_cannot_attack_is_told_when_the_scenario_is_read(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Scenario.from_yaml(f"tasks: {{}}\n{text}")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "adversaries: []\nquestions: [reconstruction]",
            "`reconstruction`; given: no adversaries; .*name an adversary",
        ),
        (
            "adversaries: [verifier]\nquestions: [linkage, reconstruction]",
            "no adversary answers.*verifier answers linkage",
        ),
        (
            "adversaries: [verifier, support]\nmethod: sca\nquestions: [same_film]",
            "`verifier` .* answers; given: same_film; allowed: linkage or inner_linkage; .*remove verifier",
        ),
        (
            "adversaries: ['faults:Informer']\nquestions: ['faults:Nosy']",
            "`faults:Nosy` hands over; given: known_film; allowed: demographics, keys, .*did you mean 'known_films'",
        ),
        ("adversaries: [verifier]\nquestions: 3", "questions must map names to parameters; given: 3"),
        ("adversaries: [verifier]\nquestions: {linkage: {name: linkage}}", "questions.linkage has a name already"),
        ("knowledge: {keys: {name: pairs}}", "knowledge.keys has a name already"),
        ("knowledge: [keys]", "knowledge maps kinds of knowledge to what is granted"),
        ("knowledge: {'json:JSONDecoder': 1}", "is not a knowledge"),
    ],
)
def test_what_cannot_be_asked_or_granted_is_told_when_the_scenario_is_read(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Scenario.from_yaml(text if "adversaries" in text else f"{text}\nadversaries: {{}}" + "\ntasks: {}")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_unless_told_otherwise_adversaries_are_asked_all_that_they_answer() -> None:
    def asked(**document: Any) -> list[str]:
        return [*Scenario.parse({**BARE, **document}).questions]

    assert asked() == ["linkage"]  # of which the findings alone answer something
    assert asked(adversaries=["verifier"]) == ["linkage"]
    assert asked(method="sca", adversaries=["verifier", "support"]) == ["linkage", "reconstruction", "same_film"]
    assert asked(method="sca", adversaries=["verifier"], questions=["linkage"]) == ["linkage"]


def test_no_adversary_has_a_question_from_outside_imported() -> None:
    """The scenario may: then it is the user's own word."""
    with pytest.raises(ConfigError, match=r"is asked nothing that it answers; .*add one of them to `questions`"):
        Scenario.parse({**BARE, "adversaries": ["faults:Eavesdropper"]})
    asked = Scenario.parse({**BARE, "adversaries": ["faults:Eavesdropper"], "questions": ["faults:Gossip"]})
    assert [*asked.questions] == ["faults:Gossip"]


ASKED = st.lists(st.sampled_from(["linkage", "reconstruction", "same_film"]), unique=True)
HELD = st.fixed_dictionaries(
    {},
    optional={
        "keys": st.integers(0, 5) | st.fixed_dictionaries({"sites": st.integers(0, 5)}),
        "known_films": st.floats(0.001, 0.999) | st.fixed_dictionaries({"share": st.floats(0.001, 0.999)}),
        "mechanism": st.booleans(),
        "demographics": st.booleans(),
        "own_films": st.just("train"),
        "pairs": st.integers(0, 10_000),
        "releases": st.integers(1, 2),
    },
)


@settings(max_examples=100)
@given(questions=ASKED, knowledge=HELD)
def test_what_is_asked_and_known_is_written_down_and_read_again(
    questions: list[str], knowledge: dict[str, Any]
) -> None:
    if knowledge.get("mechanism") is False:
        questions = []  # those who answer must know it
    opponents = ["support"] if questions else []
    opponents += ["verifier"] if "linkage" in questions else []
    told = {**BARE, "method": "sca", "questions": questions, "knowledge": knowledge, "adversaries": opponents}
    scenario = Scenario.parse(told)
    assert Scenario.from_yaml(scenario.to_yaml()) == scenario
    assert [*scenario.questions] == (questions or ["linkage"])
    for kind, granted in knowledge.items():
        value = next(iter(granted.values())) if isinstance(granted, dict) else granted
        assert scenario.document()["knowledge"][kind] == value
    assert {*scenario.document()["knowledge"]} == {*plugins.names("knowledge")}


GRANTS = {
    "none": {},
    "[]": {},
    "server": {"server": 1.0},
    "[site-2, server]": {"site-2": 1.0, "server": 1.0},
    "{server: 0.25, site-1: 1}": {"server": 0.25, "site-1": 1.0},
}


@pytest.mark.parametrize("given", GRANTS)
def test_a_grant_in_each_of_its_forms(given: str) -> None:
    scenario = Scenario.from_yaml(f"{{tasks: {{}}, adversaries: {{}}, method: sca, grant: {given}}}")
    assert scenario.grant == GRANTS[given]
    assert Scenario.from_yaml(scenario.to_yaml()) == scenario
    assert scenario.reader == ("server" if "server" in scenario.grant or not scenario.grant else "site-2")


def test_by_default_the_server_is_granted_everything_where_there_are_keys() -> None:
    assert Scenario.from_yaml("method: sca").document()["grant"] == {"server": 1.0}
    assert "grant" not in Scenario.from_yaml("method: noise").document()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{mars: 1}", r"unknown recipient of keys; given: mars; allowed: server, site-1"),
        ("[site-6]", "unknown recipient of keys.*did you mean 'site-"),
        ("{server: 0}", "grant.server is a share"),
        ("{server: 1.1}", "grant.server is a share"),
        ("{server: .nan}", "grant.server is a share"),
        ("{server: true}", "grant.server is a share"),
        ("{1: 0.5}", "unknown recipient"),
        ("[[server]]", "a grant names recipients"),
        ("7", "a grant names recipients"),
        ("true", "a grant names recipients"),
    ],
)
def test_a_wrong_grant_is_told_when_the_scenario_is_read(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Scenario.from_yaml(f"{{tasks: {{}}, adversaries: {{}}, method: sca, grant: {given}}}")


@pytest.mark.parametrize("method", ["none", "noise", "dp_pix"])
def test_where_there_are_no_keys_there_is_nothing_to_grant(method: str) -> None:
    with pytest.raises(ConfigError, match="no keys to grant"):
        Scenario.from_yaml(f"{{tasks: {{}}, adversaries: {{}}, method: {method}, grant: none}}")


NIH = {"source": "nih", "root": "/nowhere"}
PHANTOM = {"source": "phantom"}


@pytest.mark.parametrize(
    ("asked", "document", "said"),
    [
        (("lungs",), {"cohort": NIH}, "given: lungs; films of nih; allowed: none"),
        (("lungs", "boxes"), {"cohort": {**NIH, "boxes": True}}, "given: lungs; films of nih; allowed: boxes"),
        (("boxes",), {"cohort": PHANTOM}, "given: boxes; films of phantom; allowed: heart, lungs"),
        (("lungs",), {"sites": [NIH, NIH]}, "given: lungs; films of nih; allowed: none"),
        (("lungs", "heart"), {"cohort": PHANTOM}, None),
        (("boxes",), {"cohort": {**NIH, "boxes": True}}, None),
        (("lungs",), {"sites": [NIH, {**PHANTOM, "size": 64}]}, None),  # the other site's films go without
        ((), {"cohort": NIH}, None),
    ],
)
def test_a_task_finds_the_annotations_it_is_measured_on(
    monkeypatch: pytest.MonkeyPatch, asked: tuple[Annotation, ...], document: dict[str, Any], said: str | None
) -> None:
    """Told when the scenario is read, before a folder is looked for."""
    monkeypatch.setattr(Fidelity, "annotations", asked)
    scenario = {"method": "none", "tasks": {"fidelity": {}}, "adversaries": {}, **document}
    if said is None:
        Scenario.parse(scenario)
        return
    with pytest.raises(ConfigError, match=f"`fidelity` needs annotations that no site's films have; {said}") as caught:
        Scenario.parse(scenario)
    assert caught.value.exit_code == 2


def test_a_method_finds_the_annotations_it_learns_from() -> None:
    scenario = {"method": {"name": "fedavg", "anatomy": ["lungs", "boxes"]}, "tasks": {}, "adversaries": {}}
    said = "the method fedavg needs annotations that no site's films have; given: boxes; films of phantom"
    with pytest.raises(ConfigError, match=said):
        Scenario.parse(scenario)
    parsed = Scenario.parse({**scenario, "cohort": {**PHANTOM, "boxes": True}})
    assert parsed.method.annotations == ("lungs", "boxes")


@pytest.mark.parametrize(
    ("method", "on", "said"),
    [("noise", "purified", "films"), ("sealed", "codes", "films or purified"), ("noise", "codes", "films")],
)
def test_a_task_reads_what_the_method_releases(method: str, on: str, said: str) -> None:
    text = f'{{tasks: {{findings: {{"on": {on}}}}}, adversaries: {{}}, method: {method}}}'
    with pytest.raises(ConfigError, match=f"nothing to read.*given: {on} of {method}; allowed: {said}"):
        Scenario.from_yaml(text)
    with pytest.raises(ConfigError, match="resnet50 reads films"):
        Scenario.from_yaml('{method: sca, tasks: {findings: {"on": codes, network: resnet50}}}')
    Scenario.from_yaml('{method: sca, tasks: {findings: {"on": purified, network: resnet50}}}')


@pytest.mark.parametrize("method", ["none", "noise", "dp_pix"])
@pytest.mark.parametrize("granted", ["pairs: 1", "keys: 1"])
def test_what_codes_alone_have_is_not_granted_of_films(method: str, granted: str) -> None:
    with pytest.raises(ConfigError, match=rf"is of released codes.*{method}, which releases images.*sca"):
        Scenario.from_yaml(f"{{tasks: {{}}, adversaries: {{}}, method: {method}, knowledge: {{{granted}}}}}")


@pytest.mark.parametrize("granted", ["releases: 0", "releases: 3", "pairs: -1", "pairs: some", "keys: -1", "keys: 6"])
def test_knowledge_of_codes_has_bounds(granted: str) -> None:
    with pytest.raises(ConfigError, match=granted.split(":")[0]):
        Scenario.from_yaml(f"{{tasks: {{}}, adversaries: {{}}, method: sca, knowledge: {{{granted}}}}}")


@pytest.mark.parametrize("preset", ["quick", "default"])
def test_knowledge_that_is_not_mentioned_stays_as_usual_for_the_method(preset: str) -> None:
    usual: dict[str, Any] = {"preset": preset, "tasks": {}}
    plain = {
        "demographics": False,
        "keys": 0,
        "known_films": 0.5,
        "mechanism": True,
        "own_films": "train",
        "own_records": True,
        "pairs": 0,
        "releases": 1,
        "updates": "model",
    }

    def granted(**document: Any) -> dict[str, Any]:
        told = Scenario.parse({**usual, **document}).document()["knowledge"]
        assert isinstance(told, dict)
        return told

    assert granted(method="noise") == plain
    assert granted(method="sca") == {**plain, "releases": 2, "pairs": 32}
    assert granted(method="sca", knowledge={"known_films": 0.25}) == {
        **plain, "known_films": 0.25, "releases": 2, "pairs": 32,
    }  # fmt: skip
    assert granted(method="sca", knowledge={"releases": 1}) == {**plain, "releases": 1, "pairs": 32}
    one = Scenario.parse({**usual, "method": "sca", "knowledge": {"known_films": 0.25}})
    assert Scenario.parse(one.document()) == one


@pytest.mark.parametrize("preset", ["quick", "default", "robust", "paper"])
def test_sca_is_attacked_where_it_leaks_unless_told_otherwise(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcxr.plugins.Plugin.required_files", lambda self: ())

    def opponents(**document: Any) -> list[str]:
        return [*Scenario.parse({"preset": preset, "tasks": {}, **document}).adversaries]

    assert opponents(method="sca") == opponents(method={"name": "sca", "s": 4}) == ["verifier", "support"]
    assert opponents(method="sealed") == opponents() == ["verifier"]
    assert opponents(method="sca", adversaries=["verifier"]) == ["verifier"]
    assert [*override({"preset": preset, "method": "sca"}, "adversaries.verifier.people=5")["adversaries"]] == [
        "verifier",
        "support",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sites: 0", "sites: .*greater than or equal to 1; given: 0"),
        ("sites: '3'", "sites: .*valid integer; given: 3"),
        ("sites: 2.5", "sites: .*; given: 2.5"),
        ("sites: true", "sites: .*valid integer; given: True"),
        ("sites: 2\nmin_sites: 3", "min_sites is more than sites; given: 3 of 2"),
        ("seed: -1", "seed: "),
        ("seed: 2147483648", "seed: "),
        ("name: ../../etc", "name: "),
        ("name: .hidden", "name: "),
        ("name: a/b", "name: "),
        ("name: ''", "name: "),
        ("knowledge: {known_films: .nan}", "knowledge.known_films: "),
        ("partition: {alpha: .nan}", "partition.alpha: "),
        ("partition: {alpha: 0}", "partition.alpha: "),
        ("partition: {patient_overlap: .inf}", "partition.patient_overlap: "),
        ("partition: {quantity_skew: .nan}", "partition.quantity_skew: "),
        ("cohort: {source: phantom, splits: [1, 1, 1]}", "splits must sum to 1"),
        ("tasks: 3", "tasks must map names to parameters; given: 3"),
        ("adversaries: {verifier: 3}", "adversaries.verifier must map parameters to values; given: 3"),
        ("method: {scale: 1}", "unknown key in method none; given: scale"),
        ("method: {name: null}", "a method needs a name"),
        ("method: 3", "a method needs a name; given: 3"),
        ("adversaries: [verifier]\nknowledge: {mechanism: false}", "`retrained` must know the mechanism"),
    ],
)
def test_wrong_values_are_told(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Scenario.from_yaml(text if "tasks" in text else f"tasks: {{}}\n{text}")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "document",
    [
        {"adversaries": {"mine": {"name": "verifier"}}},
        {"cohort": {"source": "phantom", "name": "phantom"}},
    ],
)
def test_a_name_cannot_hide_behind_another(document: dict[str, Any]) -> None:
    """It would be lost where the scenario is written down."""
    with pytest.raises(ConfigError, match="name"):
        Scenario.parse({**BARE, **document})


# Presets, overrides, files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", get_args(Preset))
def test_presets_are_scenarios(preset: str) -> None:
    scenario = Scenario.parse({"preset": preset})
    assert scenario.preset == preset
    assert scenario.tasks
    assert scenario.adversaries
    assert Scenario.from_yaml(scenario.to_yaml()) == scenario


def test_no_document_at_all_is_the_default_preset() -> None:
    assert Scenario.from_yaml("") == Scenario.parse({"preset": "default"})


def test_what_is_given_goes_before_the_preset() -> None:
    given_ = Scenario.parse({"adversaries": {"verifier": {"people": 3}}, "tasks": {}})
    assert given_.adversaries["verifier"].model_dump()["people"] == 3
    assert not given_.tasks


def test_one_hospital_of_the_phantom_per_site() -> None:
    assert Scenario.parse({**BARE, "sites": 7}).sources[0].model_dump()["sources"] == 7
    told = {"sites": 3, "cohort": {"source": "phantom", "sources": 9}}
    assert Scenario.parse({**BARE, **told}).sources[0].model_dump()["sources"] == 9


def test_override() -> None:
    document: dict[str, Any] = {"method": "noise", "sites": 2}
    changed = override(document, "method.scale=0.5")
    assert changed == {"method": {"name": "noise", "scale": 0.5}, "sites": 2}
    assert document == {"method": "noise", "sites": 2}
    assert override({}, "a.b.c=[1, x]") == {"a": {"b": {"c": [1, "x"]}}}
    assert override({"a": None}, "a.b=") == {"a": {"b": None}}
    assert override({}, "name=x=y") == {"name": "x=y"}
    assert override({"sites": 2}, "sites=3") == {"sites": 3}
    assert override({"cohort": "phantom"}, "cohort.patients=9") == {"cohort": {"source": "phantom", "patients": 9}}
    listed = override({"adversaries": ["verifier"], "tasks": "findings"}, "adversaries.verifier.people=5")
    assert listed == {"adversaries": {"verifier": {"people": 5}}, "tasks": "findings"}


@pytest.mark.parametrize(
    "assignment", ["", "sites", "=3", "a..b=1", ".=1", "a.=1", "a=[", "a=&x 1", "a: 1", "a={b: *c}"]
)
def test_override_that_cannot_be_read(assignment: str) -> None:
    with pytest.raises(ConfigError):
        override({}, assignment)


def test_override_below_a_number() -> None:
    with pytest.raises(ConfigError, match=r"goes below something that is no mapping; given: sites\.x"):
        override({"sites": 3}, "sites.x=1")
    with pytest.raises(ConfigError, match=r"given: a\.b\.c"):
        override({"a": {"b": 1}}, "a.b.c=1")


@given(st.text(max_size=30))
def test_override_with_any_text(assignment: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(override({"method": "noise", "sites": 1}, assignment), dict)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(ConfigError, match="cannot read the scenario; given: "):
            read_file(path)


def test_a_source_by_name_and_assignments() -> None:
    assert source("phantom", ["patients=9", "splits=[0.5, 0.25, 0.25]"]).model_dump()["patients"] == 9
    with pytest.raises(UnknownName, match="did you mean 'patients'"):
        source("phantom", ["patient=9"])


# JSON schema ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accepts() -> Callable[[Any], bool]:
    """Whether an editor would accept a document."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    return lambda document: bool(validator.is_valid(document))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_schema_accepts_scenarios_short_and_long(accepts: Callable[[Any], bool], document: dict[str, Any]) -> None:
    assert accepts(document)
    assert accepts(Scenario.parse(document).document())


def test_schema_accepts_every_method_by_its_name(accepts: Callable[[Any], bool]) -> None:
    for name in plugins.names("method"):
        assert accepts({"method": name})
        assert accepts({"method": plugins.build("method", name).spec()})


@pytest.mark.parametrize(
    "document",
    [
        {"stes": 3},
        {"sites": 0},
        {"sites": "3"},
        {"sites": {}},
        {"sites": {"a.b": "phantom"}},
        {"sites": {"server": "phantom"}},
        {"sites": {"charite": {"source": "phantom", "patient": 3}}},
        {"method": "nois"},
        {"method": {"name": "noise", "scael": 1}},
        {"method": {"name": "noise", "scale": -1}},
        {"method": "sca", "grant": {"server": 2}},
        {"method": "sca", "grant": 0.5},
        {"method": {"scale": 1}},
        {"knowledge": {"known_film": 1}},
        {"knowledge": {"known_films": 1}},
        {"knowledge": {"known_films": {"shaer": 0.5}}},
        {"knowledge": {"mechanism": 1}},
        {"knowledge": ["mechanism"]},
        {"questions": {"linkage": {"of": "all"}}},
        {"partition": {"by": "age"}},
        {"adversaries": {"verifier": {"poeple": 3}}},
        {"cohort": {"source": "phantom", "patient": 3}},
    ],
)
def test_schema_rejects_what_the_parser_rejects(accepts: Callable[[Any], bool], document: dict[str, Any]) -> None:
    assert not accepts(document)
    with pytest.raises(ConfigError):
        Scenario.parse({**BARE, **document})


def test_scenarios_are_frozen(make_scenario: MakeScenario) -> None:
    with pytest.raises(pydantic.ValidationError):
        make_scenario().sites = 9  # type: ignore[misc]


def test_a_budget_is_every_trained_adversarys_and_repeats_with_the_document() -> None:
    given = Scenario.from_yaml("method: sca\nadversaries: [verifier, support]")
    longer = given.with_budget(2.5)
    assert longer.adversaries["verifier"].budget == 2.5  # type: ignore[attr-defined]
    assert longer.adversaries["support"] == given.adversaries["support"]
    assert Scenario.parse(longer.document()) == longer
    assert longer.id != given.id
    assert given.with_budget(1.0) == given


@pytest.mark.parametrize("factor", [0.0, -1.0, 1001.0, float("nan"), float("inf")])
def test_a_budget_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(ConfigError, match="adversary verifier: budget"):
        Scenario.from_yaml("adversaries: [verifier]").with_budget(factor)


def test_a_budget_needs_somebody_to_spend_it() -> None:
    with pytest.raises(ConfigError, match="no adversary here can train for longer; given: support"):
        Scenario.from_yaml("method: sca\nadversaries: [support]").with_budget(2.0)
