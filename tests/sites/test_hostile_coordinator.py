"""A coordinator that asks for more than a hospital gives: names, imports, files, what is there and what is not."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import copyist
import numpy as np
import pytest
import yaml
from asked import FINDINGS, PEOPLE, SCENARIO, SOURCE, Asked, said, told
from flwr.app import ConfigRecord, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nodes import COORDINATOR, greeting, requested

from fedcxr import wire
from fedcxr.data import cache_folder
from fedcxr.errors import ConfigError
from fedcxr.keys.cards import Card
from fedcxr.keys.identity import Identity
from fedcxr.methods._generator import FILM_SIZE
from fedcxr.protocol import taught_message
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.tasks import Bench, Taught
from fedcxr.tasks._findings import Labelled
from fedcxr.tasks.findings import Findings
from fedcxr.training import arrays_of, loaded, predict
from fedcxr.training.compute import Compute
from sites import policy, premises
from sites.codes import Code
from sites.journal import FILE, read
from sites.own_line import HOME
from sites.profile import Profile

TASK = {"findings": {"width": 2}}
OTHERS = "Mueller 1971-01-01"  # nobody here is called so


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with Asked.started(tmp_path_factory.mktemp("hospital")) as hospital:
        yield hospital


def released(hospital: Asked, **changes: Any) -> Release:
    answer = hospital.answer(**changes)
    assert answer.status == "ok", answer
    return Release.from_bytes(answer.release)


# Who asks -------------------------------------------------------------------------------------------------------------

STRANGER = Identity.generate("server")
OF_NOW = wire.Request(yaml.safe_dump(SCENARIO), "charite", nonce=b"nonce")
EXPIRED, EARLY = (int(time.time()) + seconds for seconds in (-600, wire.LONGEST_LIFE + 86_400))


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (wire.pack_hello(wire.Hello("run", b"nonce")), wire.HELLO, Code.COORDINATOR),
        (greeting(wire.Hello("run", b"nonce"), STRANGER), wire.HELLO, Code.COORDINATOR),
        (greeting(wire.Hello("run", b"nonce", expires=EXPIRED)), wire.HELLO, Code.EXPIRED),
        (wire.pack_request(OF_NOW), wire.RELEASE, Code.COORDINATOR),
        (requested(OF_NOW, by=STRANGER), wire.RELEASE, Code.COORDINATOR),
        (requested(OF_NOW, wire.RELEASE), wire.LEARN, Code.COORDINATOR),
        (requested(OF_NOW, wire.TEST), wire.RELEASE, Code.COORDINATOR),
        (requested(replace(OF_NOW, expires=EXPIRED)), wire.RELEASE, Code.EXPIRED),
        (requested(replace(OF_NOW, expires=EARLY)), wire.RELEASE, Code.EXPIRED),
    ],
    ids=[
        "unsigned greeting",
        "stranger's greeting",
        "old greeting",
        "unsigned",
        "stranger's",
        "kind",
        "test",
        "old",
        "early",
    ],
)
def test_what_its_coordinator_does_not_ask_now_costs_nothing(
    hospital: Asked, content: RecordDict, kind: str, code: Code, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger cannot make a node derive keys, which is slow on purpose, nor have a word of a scenario read."""
    touched: list[str] = []
    monkeypatch.setattr(premises, "unlocked_elsewhere", lambda *of: touched.append("vault"))
    monkeypatch.setattr(policy, "read_yaml", lambda text: touched.append("scenario"))
    heard = hospital.hears(content, kind)
    said = wire.unpack_introduction(heard) if kind == wire.HELLO else wire.unpack_answer(heard)
    assert (said.status, said.reason, said.signature, touched) == ("refused", code, b"", [])
    hospital.hears(requested(OF_NOW))  # the control: what is looked at would be seen
    assert touched == ["vault"]


def test_a_renewed_card_counts_beside_the_earlier_one_that_signed_it(hospital: Asked, tmp_path: Path) -> None:
    successor = Identity.generate("server")
    earlier, renewed, stranger = (tmp_path / name for name in ("earlier", "renewed", "stranger"))
    earlier.write_text(Card.issue(COORDINATOR).text)
    renewed.write_text(Card.issue(successor, [COORDINATOR]).text)
    stranger.write_text(Card.issue(STRANGER).text)
    for file in (earlier, renewed, stranger):
        file.chmod(0o644)
    hello = wire.Hello("run", b"nonce")

    def answered(*cards: Path) -> list[bool]:
        with hospital.allowing(coordinator=[str(card) for card in cards]):
            heard = [hospital.hears(greeting(hello, by), wire.HELLO) for by in (COORDINATOR, successor, STRANGER)]
        return [wire.unpack_introduction(content).status == "ok" for content in heard]

    assert answered(earlier) == [True, False, False]
    assert answered(earlier, renewed) == [True, True, False]
    assert answered(renewed) == [False, True, False]
    assert (
        answered(earlier, stranger) == [False] * 3
    )  # who does not follow is a slip of the pen, and nobody is answered


def test_a_request_that_is_sent_again_spends_nothing_and_draws_nothing_new(hospital: Asked) -> None:
    """As long as it has not expired; so that no numbers are kept."""
    asked = requested(wire.Request(yaml.safe_dump({**SCENARIO, "seed": 77, "method": "noise"}), "charite", nonce=b"n"))
    with hospital.allowing(budget={"releases": 1000}):
        first = Release.from_bytes(told(hospital.hears(asked)).release)
    before = hospital.tallies()
    assert all(releases for releases, _, _ in before)
    with hospital.allowing(budget={"releases": 1}):
        again = Release.from_bytes(told(hospital.hears(asked)).release)
        other = replace(wire.unpack_request(asked), nonce=b"other")
        anew = Release.from_bytes(told(hospital.hears(requested(other))).release)
    assert hospital.tallies() == before
    assert first.to_bytes() == again.to_bytes() == anew.to_bytes()


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "named",
    [
        {"findings": {"label": "person"}},
        {"findings": {"label": "person"}, "columns": {"image": "image", "patient": "person"}},
        {"findings": {"label": "finding", "separator": " "}},
        {"splits": {"by": "random", "seed": 7}},
        {"table": "../films/metadata.csv"},
    ],
    ids=["label", "columns", "separator", "splits", "table"],
)
def test_a_scenario_chooses_no_table_and_no_columns(hospital: Asked, named: dict[str, Any]) -> None:
    """Words in a column were findings, and findings leave in the clear, whatever is sealed and whoever has keys."""
    source = {**SOURCE, "root": str(hospital.root), **named}
    scenario = {**SCENARIO, "sites": {"charite": source}, "method": "sealed", "grant": "none"}
    Scenario.parse(scenario)  # the control: it is a scenario
    heard = hospital.asked(scenario)
    assert told(heard) == wire.Answer("charite", "refused", Code.SOURCES)
    assert not any(person.split()[0].encode() in said(heard) for person in PEOPLE)


@pytest.mark.parametrize(
    "sources",
    [
        {"sites": {"charite": "own", "ukb": {"source": "folder", "root": "/"}}},
        {"sites": {"charite": {"source": "own", "root": "/"}}},
        {"sites": ["phantom"]},
        {"sites": 1, "cohort": "own"},
        {"sites": 1},
        {"sites": "own"},
        {"sites": None},
        {"public": {"source": "folder", "root": "/"}},
        {"public": "phantom"},
        {"cohort": "own"},
        {"cohort": None},
    ],
    ids=str,
)
def test_films_are_a_hospitals_own_wherever_they_are_named(hospital: Asked, sources: dict[str, Any]) -> None:
    answer = hospital.answer(**sources)
    assert (answer.status, answer.reason) == ("refused", Code.SOURCES)


@pytest.mark.parametrize("own", [{"sites": {"charite": {"source": "own"}, "ukb": "own"}}, {"public": "own"}], ids=str)
def test_a_hospitals_own_films_are_released(hospital: Asked, own: dict[str, Any]) -> None:
    assert len(released(hospital, **own)) == 4 * len(PEOPLE)


def test_how_long_it_took_is_told_in_whole_seconds(hospital: Asked) -> None:
    """By more digits whoever may ask often could tell films apart that take longer."""
    answer = hospital.answer()
    assert answer.status == "ok"
    assert answer.seconds in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)


def test_words_that_nobody_else_knows_do_not_leave(hospital: Asked) -> None:
    """Even where the hospital's own table has a name beside a finding."""
    for method in ("none", "sealed"):
        release = released(hospital, method=method, **({"grant": "none"} if method == "sealed" else {}))
        assert sorted(release.facts["findings"]) == sorted(FINDINGS)
        assert not any(person.split()[0].encode() in repr(release).encode() for person in PEOPLE)
    with hospital.allowing(findings=["Mass", PEOPLE[0]]):  # the control: what the hospital itself lists does leave
        assert released(hospital).facts["findings"] == ["Mass", PEOPLE[0]]


# Imports --------------------------------------------------------------------------------------------------------------


def places(name: str) -> dict[str, dict[str, Any]]:
    """Wherever a scenario may name a contribution."""
    return {
        "method": {"method": name},
        "method, long": {"method": {"name": name, "scale": 1}},
        "tasks": {"tasks": name},
        "tasks, listed": {"tasks": [name]},
        "tasks, long": {"tasks": {name: {}}},
        "questions": {"questions": {name: {}}},
        "questions, listed": {"questions": ["linkage", name]},
        "adversaries": {"adversaries": {name: {"width": 2}}},
        "knowledge": {"knowledge": {name: True}},
        "films of an adversary's": {"knowledge": {"own_films": {"source": name}}},
        "films of an adversary's, long": {"knowledge": {"own_films": {"source": {"source": name}}}},
        "cohort": {"sites": 2, "cohort": name},
        "public": {"public": {"source": name}},
        "sites": {"sites": {"charite": "own", "ukb": name}},
        "sites, listed": {"sites": [{"source": name}]},
    }


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that leaves a trace when it is imported."""
    (tmp_path / "a_trap.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "trace"
    sys.modules.pop("a_trap", None)


@pytest.mark.parametrize("place", places(""))
def test_a_scenario_imports_nothing_that_the_hospital_does_not_list(hospital: Asked, trap: Path, place: str) -> None:
    scenario = {**SCENARIO, **places("a_trap:X")[place]}
    answer = wire.unpack_answer(hospital.asked(scenario))
    assert (answer.status, answer.reason) in (("refused", Code.CONTRIBUTION), ("refused", Code.SOURCES))
    assert not trap.exists()
    with pytest.raises(ConfigError):  # the control: whoever parses it runs it, and adversaries behind a fence
        Scenario.parse(scenario)
    assert trap.exists() is (place != "adversaries")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_document_imports_anything(hospital: Asked, trap: Path, data: st.DataObject) -> None:
    """However it is put: values and keys of any shape where contributions stand."""
    names = st.sampled_from(["a_trap:X", "unittest.__main__:X", "a_trap.y:X", ":", "none", "findings", "own", ""])
    odd = st.recursive(
        names | st.none() | st.integers(0, 3),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names | st.just("name"), inner, max_size=2),
        max_leaves=4,
    )
    sections = st.sampled_from([*SCENARIO, "questions", "knowledge", "public", "cohort", "preset", "grant", "x"])
    document = {**SCENARIO, **data.draw(st.dictionaries(sections, odd, min_size=1, max_size=2))}
    answer = wire.unpack_answer(hospital.asked(document))
    assert not trap.exists()
    assert answer.status == "ok" or answer.reason in set(Code)


def test_code_that_the_hospital_lists_may_run(hospital: Asked, trap: Path) -> None:
    trap.with_name("a_trap.py").write_text(
        "from fedcxr.methods import ImageMethod\n\n\nclass Inverted(ImageMethod):\n"
        "    def protect(self, films, rng):\n        return 255 - films\n"
    )
    with hospital.allowing(outside=["a_trap:Inverted"]):  # to know it is not to allow it
        assert hospital.answer(method="a_trap:Inverted").reason == Code.METHOD
    with hospital.allowing(outside=["a_trap:Inverted"], methods={"a_trap:Inverted": {}}):
        inverted = released(hospital, method="a_trap:Inverted")
    films = released(hospital).arrays["films"]
    assert inverted.arrays["films"].mean() == pytest.approx(255 - films.mean())


# What is there --------------------------------------------------------------------------------------------------------


def pairs(hospital: Asked, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Scenarios that differ in nothing but whether what they name is there."""
    there, absent = hospital.root / "metadata.csv", hospital.root / "metadata2.csv"
    deep = {"name": "prichexy_net", "steps": 1, "steps_classifier": 1, "steps_verifier": 1}
    source = {**SOURCE, "root": str(hospital.root)}
    return {
        "weights": [{"method": {**deep, "weights": str(file)}} for file in (there, absent, "/etc/shadow")],
        "a file of a task": [
            {"tasks": {"findings": {"network": "resnet50", "pretrained": str(file)}}} for file in (there, absent)
        ],
        "a file of an adversary": [
            {"adversaries": {"verifier": {"network": "resnet50", "pretrained": str(file)}}} for file in (there, absent)
        ],
        "roots": [{"sites": {"charite": {**source, "root": str(root)}}} for root in (hospital.root, folder / "no")],
        "columns": [{"sites": {"charite": {**source, "findings": {"label": name}}}} for name in ("person", "persona")],
        "findings": [
            {"sites": {"charite": {**source, "findings": {"label": "finding", "only": [name]}}}}
            for name in (PEOPLE[0], OTHERS)
        ],
        "shards": [{"public": {"source": "shard", "root": str(root)}} for root in (folder, folder / "no")],
        "masks": [{"sites": {"charite": {**source, "masks": name}}} for name in ("images", "nothing")],
        "a module": [{"method": name} for name in ("json:X", "jsonx:X", "json.nothing:X")],
    }


@pytest.mark.parametrize("what", pairs(Asked(Path(), Path(), None), Path()))  # type: ignore[arg-type]
def test_no_answer_tells_what_is_there(hospital: Asked, tmp_path: Path, what: str) -> None:
    """The same but for the signature, which is over the question, and never a word of what was asked for."""
    answers = {told(hospital.asked({**SCENARIO, **changes})) for changes in pairs(hospital, tmp_path)[what]}
    assert [answer.status for answer in answers] == ["refused"]


def test_a_test_tells_nothing_of_findings_that_do_not_leave(hospital: Asked) -> None:
    """A model may be tested for any words: the same is told of those in the table and of those that are not."""
    scenario = Scenario.parse({**SCENARIO, "tasks": TASK})
    task, bench = scenario.tasks["findings"], Bench(0, Compute.choose("cpu", "fp32"))
    assert isinstance(task, Findings)
    heard, nobody = [], np.array(["nobody"], dtype=object)
    for run, name in enumerate((PEOPLE[0], OTHERS, "Hernia")):  # within a run, nothing is tested twice
        films = Labelled(np.zeros((1, 16, 16), np.uint8), np.zeros((1, 2), np.float32), nobody, ("Mass", name))
        taught = Taught(arrays_of(task._network(films, bench)), films.findings)
        message = taught_message(scenario, "findings", taught).to_bytes()
        answer = hospital.answer(wire.TEST, message, tasks=TASK, seed=run)
        assert answer.status == "ok", answer
        told = Release.from_bytes(answer.release).arrays
        # Film by film: in which order they come is drawn anew for every request.
        heard.append(sorted(row.tobytes() for row in np.hstack([told["scores"], told["findings"]])))
    assert heard[0] == heard[1] == heard[2]


def test_a_test_is_no_way_out_for_films(hospital: Asked) -> None:
    """A model with an output for each pixel answers with the films, though none of them may be released."""
    words = ("Mass", "Effusion", *(f"pixel {pixel}" for pixel in range(2, copyist.SIDE**2)))
    taught = Taught(copyist.copying_weights(len(words)), words)
    task = {"findings": {"width": copyist.WIDTH}}
    with hospital.allowing(methods={"none": {}}, budget={"releases": 0, "tests": 1000}):
        message = taught_message(Scenario.parse(SCENARIO), "findings", taught).to_bytes()
        answer = hospital.answer(wire.TEST, message, tasks=task)
    assert answer.status == "ok", answer
    told = Release.from_bytes(answer.release).arrays["scores"]
    films = Profile.read(hospital.profile).films(cache_folder()).where("test").films()

    def likeness(shown: Any) -> float:  # of the film that is shown best
        pairs = np.corrcoef(films.reshape(len(films), -1), shown.reshape(len(shown), -1))
        return float(pairs[: len(films), len(films) :].max())

    with Compute.choose("cpu", "fp32").session():  # the control: these weights do copy films
        network = Scenario.parse({**SCENARIO, "tasks": task}).tasks["findings"]
        assert isinstance(network, Findings)
        all_known = Labelled(films, np.zeros((len(films), len(words)), np.float32), np.zeros(0, object), words)
        bench = Bench(0, Compute.choose("cpu", "fp32"))
        copied = predict(loaded(network._network(all_known, bench), taught.weights), films, bench.compute)
        assert likeness(copyist.films_in(copied)) > 0.999
    assert likeness(copyist.films_in(told.astype(np.float32))) < 0.5
    assert not told[:, len(FINDINGS) :].any()


def test_a_test_has_one_score_for_each_finding(hospital: Asked) -> None:
    """And not as many as somebody asks for under one name, of which each is another pixel."""
    for words in (("Mass",) * 2, ("Effusion", "pleural effusion")):
        message = taught_message(Scenario.parse(SCENARIO), "findings", Taught({}, words)).to_bytes()
        assert hospital.answer(wire.TEST, message, tasks=TASK).reason == Code.REFUSED


def test_a_file_of_the_hospitals_is_used_under_its_name(hospital: Asked, tmp_path: Path) -> None:
    deep: dict[str, Any] = {"name": "prichexy_net", "widths": [4], "steps": 1}
    method, own = Scenario.parse({**SCENARIO, "method": deep}).method, tmp_path / "generator.safetensors"
    method.save({**method.initial(stream(1)), FILM_SIZE: np.array((16, 16), dtype=np.int32)}, own)
    asked: dict[str, Any] = {"method": {**deep, "weights": "generator-2026"}}
    assert hospital.answer(**asked).reason == Code.FILE
    with hospital.allowing(files={"generator-2026": str(own)}):
        release = released(hospital, **asked)
        assert str(own) not in repr(release)
        assert release.facts["run"] == Scenario.parse({**SCENARIO, **asked}).run_name  # as the coordinator calls it
        assert hospital.answer(method={**deep, "weights": str(own)}).reason == Code.FILE  # by name, not by path


# Errors ---------------------------------------------------------------------------------------------------------------


@contextmanager
def damaged(hospital: Asked) -> Iterator[None]:
    """One of its films cannot be read meanwhile."""
    film = hospital.root / "images" / "0.png"
    whole = film.read_bytes()
    film.write_bytes(b"damaged")
    try:
        yield
    finally:
        film.write_bytes(whole)


def test_what_went_wrong_is_told_to_the_hospital_alone(hospital: Asked, caplog: pytest.LogCaptureFixture) -> None:
    with damaged(hospital):
        answer = hospital.answer()
    assert answer == wire.Answer("charite", "dropped", Code.FAILED)
    assert "DataError: films cannot be used" in caplog.text
    assert "_packed.py" in caplog.text  # with its place


def test_a_hospital_that_tells_lines_tells_its_coordinator_a_line_of_ours_and_nothing_else(hospital: Asked) -> None:
    with hospital.allowing(tells="line", smallest=1000):
        few = hospital.answer()
        with damaged(hospital):
            failed = hospital.answer()
        for_strangers = requested(wire.Request(yaml.safe_dump(SCENARIO), "charite"), by=Identity.generate("server"))
        stranger = told(hospital.hears(for_strangers))
        entered = [one.facts for one in read(hospital.root.parent / "vault" / FILE).entries][-2:]
    assert few == wire.Answer("charite", "refused", Code.FILMS, few.place)
    assert failed == wire.Answer("charite", "dropped", Code.FAILED, failed.place)
    assert few.place.startswith("sites/premises.py:")
    assert failed.place.startswith("fedcxr/data/")
    for place in (few.place, failed.place):
        file, _, number = place.partition(":")
        assert "raise" in (HOME / file).read_text().splitlines()[int(number) - 1]
    assert (stranger.reason, stranger.place) == (Code.COORDINATOR, "")
    assert [(one["code"], one["line"]) for one in entered] == [(Code.FILMS, few.place), (Code.FAILED, failed.place)]


def test_a_coordinator_writes_no_line_of_its_own_into_the_log(
    hospital: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    forged = "x\nWARNING sites: all is well\x1b[2J\r"
    assert hospital.answer(tasks={forged: {}}).reason == Code.CONTRIBUTION
    assert hospital.answer(method={"name": "none", forged: 1}).reason == Code.SCENARIO
    lines = [line for record in caplog.records for line in record.getMessage().split("\n")]
    assert not any(line.startswith("WARNING sites: all") for line in lines)
    assert not any(set(line) & {"\x1b", "\r"} for line in lines)


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"request": ConfigRecord({"scenario": "/etc/passwd"})}),
        wire.Request("a: [", "charite"),
        wire.Request("sites: {charite: own}", "ukb"),
        wire.Request("x" * 70_000, "charite"),
        wire.Request("sites: {charite: own}", "charite", turn=-3),
        wire.Request("sites: {charite: own}", "charite", learnt=b"FCXR\0"),
    ],
    ids=["nothing", "damaged", "no YAML", "another site", "large", "turn", "learnt"],
)
@pytest.mark.parametrize("kind", [wire.RELEASE, wire.LEARN, wire.TEST])
def test_whatever_is_asked_the_answer_is_a_release_or_a_code(hospital: Asked, content: Any, kind: str) -> None:
    sent = requested(content, kind) if isinstance(content, wire.Request) else content
    answer = told(hospital.hears(sent, kind))
    assert answer.status == "ok" or answer == wire.Answer(answer.site, answer.status, answer.reason)
    assert answer.status == "ok" or answer.reason in set(Code)


def test_a_greeting_is_answered_with_a_name_or_a_code(hospital: Asked, tmp_path: Path) -> None:
    hello = greeting(wire.Hello("run", b"nonce"))
    assert wire.unpack_introduction(hospital.hears(hello, wire.HELLO)).site == "charite"
    for vault in (tmp_path, tmp_path / "no"):
        with hospital.allowing(vault=str(vault)):
            told = wire.unpack_introduction(hospital.hears(hello, wire.HELLO))
            assert told == wire.Introduction("", told.status, told.reason)
            assert told.reason in set(Code)
    assert wire.unpack_introduction(hospital.hears(RecordDict(), wire.HELLO)).reason == Code.REFUSED


# What is allowed ------------------------------------------------------------------------------------------------------


def test_a_method_is_refused_by_its_name_and_by_its_parameters(hospital: Asked) -> None:
    with hospital.allowing(methods={"noise": {"scale": {"at_least": 0.2}}, "dp_pix": {"eps": {"at_most": 1.0}}}):
        assert hospital.answer(method="none").reason == Code.METHOD
        for method in ({"name": "noise", "scale": 0}, {"name": "noise", "scale": 0.1}, {"name": "dp_pix", "eps": 1e9}):
            assert hospital.answer(method=method).reason == Code.PARAMETER
        for allowed in ("noise", {"name": "noise", "scale": 0.3}, "dp_pix"):
            assert len(released(hospital, method=allowed)) == 4 * len(PEOPLE)
    with hospital.allowing(methods={"noise": {"scale": {"at_least": 0.25}}}):
        assert hospital.answer(method="noise").reason == Code.PARAMETER  # what is left open is what it comes to
    with hospital.allowing(methods={"dp_pix": {"eps": {"at_most": 0.05}}}):
        assert hospital.answer(method="dp_pix", preset="paper").reason == Code.PARAMETER


@pytest.mark.parametrize("place", ["public", "federated"])
def test_films_meet_no_weights_of_a_coordinators_unless_the_hospital_says_so(hospital: Asked, place: str) -> None:
    """Weights with nothing but a bias move each film by a quarter of its side, and most of its pixels leave as are."""
    deep = {"name": "prichexy_net", "fit": place, "mu": 0.5, "widths": [4]}
    asked: dict[str, Any] = {"method": deep, "public": "own"}
    method = Scenario.parse({**SCENARIO, **asked}).method
    weights = {**method.initial(stream(1)), FILM_SIZE: np.array((16, 16), dtype=np.int64)}
    weights["generator.head.bias"] = np.repeat([20, 0], len(weights["generator.head.bias"]) // 2).astype(np.float32)
    sent = Release("update", "coordinator", "prichexy_net", {}, {}).publishing(weights).to_bytes()
    moved = Release.from_bytes(hospital.answer(learnt=sent, **asked).release).arrays["films"]  # the control
    films = Profile.read(hospital.profile).films(cache_folder()).films()
    kept = [max((film[:, 4:] == other[:, :-4]).mean() for other in films) for film in moved]
    assert min(kept) == 1.0
    with hospital.allowing(limits={}):
        assert hospital.answer(learnt=sent, seed=1, **asked).reason == Code.LIMITS
    with hospital.allowing(learns=["local"]):
        for kind in (wire.RELEASE, wire.LEARN):
            assert hospital.answer(kind, sent, seed=2, **asked).reason == Code.LEARNING


def test_codes_that_show_film_or_person_are_listed_by_name(hospital: Asked) -> None:
    """To allow `sca` is not to publish films for everybody to decode, and to grant nobody a key."""
    for ambiguation in ("published", "matched", "decoy", "keyed"):
        asked: dict[str, Any] = {"method": {"name": "sca", "s_n": 0, "s": 32, "ambiguation": ambiguation}}
        with hospital.allowing(methods={"sca": {}}):
            assert hospital.answer(grant="none", **asked).reason == Code.PARAMETER
        with hospital.allowing(methods={"sca": {"ambiguation": {"one_of": [ambiguation]}}}):
            assert hospital.answer(grant="none", **asked).status == "ok"
    with hospital.allowing(methods={"sca": {}}):
        assert hospital.answer(method="sca").status == "ok"


def test_a_hospital_of_few_films_says_nothing(hospital: Asked) -> None:
    with hospital.allowing(smallest=4 * len(PEOPLE) + 1):
        assert hospital.answer().reason == Code.FILMS
    with hospital.allowing(smallest=4 * len(PEOPLE)):  # enough to release, and too few to test or to learn
        assert hospital.answer().status == "ok"
        deep = {"name": "prichexy_net", "fit": "federated"}
        taught = taught_message(Scenario.parse(SCENARIO), "findings", Taught({}, ("Mass",))).to_bytes()
        assert hospital.answer(wire.LEARN, taught, method=deep).reason == Code.FILMS
        assert hospital.answer(method={**deep, "fit": "local"}).reason == Code.FILMS
        assert hospital.answer(wire.TEST, taught, tasks=["findings"]).reason == Code.FILMS


def test_only_tasks_that_are_allowed_are_tested(hospital: Asked) -> None:
    taught = taught_message(Scenario.parse(SCENARIO), "findings", Taught({}, ("Mass",))).to_bytes()
    with hospital.allowing(tasks=["fidelity"]):
        assert hospital.answer(wire.TEST, taught, tasks=["findings"]).reason == Code.TASK
        assert hospital.answer(tasks=["findings"]).status == "ok"  # what others measure is theirs


def test_what_is_too_like_the_films_does_not_leave(hospital: Asked) -> None:
    """Whatever the method is called: here the hospital allows it by name, and not what it makes."""
    with hospital.allowing(limits={}):
        for method in ("none", {"name": "noise", "scale": 0}):
            answer = hospital.answer(method=method)
            assert (answer.status, answer.reason, answer.release) == ("refused", Code.LIMITS, b"")
        assert hospital.answer(method="noise").status == "ok"


def test_a_film_is_released_so_often_and_no_more(hospital: Asked) -> None:
    """Whatever the scenario is called, and whatever else was asked before: the films are the same."""
    asked: list[dict[str, Any]] = [
        {"seed": seed, "method": {"name": "noise", "scale": 0.5 + seed / 100}} for seed in range(100, 104)
    ]
    with hospital.allowing(budget={"releases": 1000}):
        assert hospital.answer(**asked[0]).status == "ok"
    with hospital.allowing(budget={"releases": 1}):
        assert hospital.answer(**asked[0]).status == "ok"  # the same again is no more than there was
        assert [hospital.answer(**other).reason for other in asked[1:]] == [Code.REFUSED] * 3
