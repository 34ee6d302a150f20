"""A hostile site: whatever it signs, nobody else's run ends by it, and what it asks of a coordinator stays small."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgpack
import numpy as np
import pytest
import zstandard
from flwr.app import Message
from liars import LIAR, Failing, Liars, Lie, as_signed, crafted, lie, rows
from small import SMALL

from fedcxr import wire
from fedcxr.data import cache_folder
from fedcxr.errors import EngineBroken, Refused, TooFewSites
from fedcxr.methods import guarantee_of
from fedcxr.protocol import job_of, taught_message
from fedcxr.release import Packed, Release
from fedcxr.runs import Run, site_logs
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import Simulated, simulated_identity
from fedcxr.tasks import Bench, Tested
from fedcxr.tasks.findings import Findings
from fedcxr.training.compute import Compute
from fedcxr.view import Nobody, Shared
from server import acceptance, measure, testing
from server.collect import collect
from server.exchange import Exchange
from server.inline import InlineGrid
from server.register import Register

SITES = ("site-1", LIAR, "site-3")
FILMS = {"source": "phantom", "patients": 24, "size": 32}


def scenario(method: Any = "noise", **changes: Any) -> Scenario:
    rest = {"tasks": {}, "adversaries": {}, "min_sites": 2}
    return Scenario.parse({**SMALL, "cohort": FILMS, **rest, "method": method, **changes})


@contextmanager
def begun(of: Scenario, out: Path, *, resume: bool = False) -> Iterator[Run]:
    run = Run.place(out, of)
    with run.begun(resume=resume):
        yield run


def collected(run: Run, grid: InlineGrid) -> list[dict[str, Any]]:
    return run.stage("collect", lambda: collect(grid, run, Register.of_simulation(run.scenario)))


def read(run: Run) -> tuple[Sequence[Any], Shared]:
    """All that readers make of what was collected, as far as they come without training."""
    experiment = Experiment.open(run.scenario, cache_folder())
    entries, releases = measure._fitting(run, experiment)
    shared = Shared(releases, run.learnt())
    evidence = experiment.evidence(shared)
    assert len(evidence.view) == len(shared)
    experiment.access(shared, evidence.view)
    return entries, shared


def dropped(run: Run, grid: InlineGrid) -> str:
    """Why the liar was, once it is certain that the others were not and that what they sent is read."""
    collected(run, grid)
    entries, shared = read(run)
    assert [entry["status"] for entry in entries] == ["ok", "refused", "ok"]
    assert [release.site for release in shared.releases] == ["site-1", "site-3"]
    reason: str = entries[1]["reason"]
    assert reason.isprintable()
    assert len(reason) <= 1000
    return reason


FINDINGS = {"findings": lambda names: ["Zaphod", *names[1:]]}
OF_FILMS: dict[str, tuple[Lie, str]] = {
    "findings that it does not have": (lie(facts=FINDINGS), "findings that it does not have"),
    "findings of other films": (lie(arrays={"findings": lambda f: 1 - f}), "its findings are of others"),
    "films in another order": (lie(arrays={"split": lambda s: s[::-1]}), "its findings are of others"),
    "films of another size": (lie(arrays={"films": lambda f: rows(f, 16, 16)}), "films of another size"),
    "films of a size of their own": (lie(arrays={"films": lambda f: rows(f, 32, 33)}), "films of another size"),
    "films without a size": (lie(arrays={"films": lambda f: rows(f, 1024)}), "the size of its films"),
    "no films": (lie(arrays={"films": None}), "the size of its films"),
    "no findings": (lie(arrays={"findings": None}), "other arrays than its method makes"),
    "no splits": (lie(arrays={"split": None}), "other arrays than its method makes"),
    "another array": (lie(arrays={"names": lambda _: np.zeros(3, np.uint8)}), "other arrays than its method makes"),
    "films in sixteen bits": (lie(arrays={"films": lambda f: f.astype(np.int16)}), "other arrays"),
    "infinite findings": (lie(arrays={"findings": lambda f: f + np.float32(np.inf)}), "there, not there or unknown"),
    "half a finding": (lie(arrays={"findings": lambda f: f / 2}), "there, not there or unknown"),
    "weights that nobody asked for": (lie(arrays={"weights/w": lambda _: np.zeros(9, np.float32)}), "not asked for"),
    "fewer films": (lie(arrays={n: lambda a: a[1:] for n in ("films", "findings", "split")}), "more or fewer films"),
    "no film": (lie(arrays={n: lambda a: a[:0] for n in ("films", "findings", "split")}), "more or fewer films"),
    "another method": (lie(method="none"), "in another's name"),
    "another kind": (lie(kind="update"), "another kind"),
    "no kind": (lie(kind="gossip"), "another kind"),
    "another site": (lie(site="site-1"), "a release of another site"),
    "another run": (lie(facts={"run": "noise-0-0"}), "answers another request"),
    "origins of nonsense": (lie(facts={"origins": [[0]]}), "by their places"),
    "origins that are too few": (lie(facts={"origins": [0]}), "by their places"),
    "origins beyond its films": (lie(facts={"origins": [2**62] * 30}), "by their places|more or fewer"),
    "left out, but there": (lie(facts={"left_out": [0]}), "more or fewer films"),
    "left out by name": (lie(facts={"left_out": ["one"]}), "by their places"),
    "complaints of nonsense": (lie(facts={"complaints": [1, 2]}), "and reasons"),
    "complaints of escapes": (lie(facts={"complaints": [[0, "\x1b[2J"]]}), "and reasons"),
    "reports of nonsense": (lie(facts={"reported": [float("nan")], "films": 3}), "no plain data"),
    "reports of too many films": (lie(facts={"reported": {}, "films": 10**7}), "more films than the site holds"),
    "finding after finding": (lie(facts={"findings": [f"f{i}" for i in range(300)]}), "other arrays than its method"),
    "findings of escapes": (lie(facts={"findings": lambda names: ["\x1b]0;x", *names[1:]]}), "names its findings"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", OF_FILMS)
def test_a_wrong_release_is_its_sites(wrong: str, tmp_path: Path) -> None:
    told, said = OF_FILMS[wrong]
    with begun(scenario(), tmp_path) as run:
        assert any(part in dropped(run, Liars({wire.RELEASE: told})) for part in said.split("|"))
        assert run.release_note(LIAR) is None or "of others" in said or "does not have" in said


def cropped(size: int) -> Lie:
    """Codes of smaller films, in the right form for these."""

    def told(answer: wire.Answer) -> wire.Answer:
        n = len(Release.from_bytes(answer.release))
        shape = scenario("sealed").method.per_film((size, size))
        assert shape is not None
        sealed = np.zeros((n, *shape["sealed"][1]), np.uint8)
        return crafted(answer, facts={"size": [size, size]}, arrays={"sealed": sealed})

    return told


OF_CODES: dict[str, tuple[Any, Lie, str]] = {
    "another codec": ("sealed", lie(facts={"version": "sealed 9"}), "another codec"),
    "a version that is no text": ("sealed", lie(facts={"version": 9}), "version of its codec"),
    "a version of escapes": ("sealed", lie(facts={"version": "\x1b[2J"}), "version of its codec"),
    "films of another size": ("sealed", cropped(16), "films of another size"),
    "films of no size": ("sealed", lie(facts={"size": ["a", None]}), "the size of its films"),
    "shorter seals": ("sealed", lie(arrays={"sealed": lambda s: s[:, :9].copy()}), "other arrays"),
    "no seals": ("sealed", lie(arrays={"sealed": None}), "other arrays"),
    "public codes of another shape": ("sca", lie(arrays={"codes": lambda c: rows(c, 1, 4, 4)}), "other arrays"),
    "no public codes": ("sca", lie(arrays={"codes": None}), "other arrays"),
    "films, too": ("sca", lie(arrays={"films": lambda _: np.zeros((9, 32, 32), np.uint8)}), "other arrays"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", OF_CODES)
def test_a_wrong_release_of_codes_is_its_sites(wrong: str, tmp_path: Path) -> None:
    method, told, said = OF_CODES[wrong]
    with begun(scenario(method), tmp_path) as run:
        assert said in dropped(run, Liars({wire.RELEASE: told}))


def sealed_nonsense(answer: wire.Answer) -> wire.Answer:
    """Seals that open with the right keys, and hold no code."""
    release, of = Release.from_bytes(answer.release), scenario("sealed")
    key = Simulated(of.seed, LIAR, {}).begin(job_of(of, "release"), ["0"] * len(release))
    length = release.arrays["sealed"].shape[1] - 28
    sealed = [
        key.image_key(str(row)).seal(b"\xff" * length, str(release.facts["version"])) for row in range(len(release))
    ]
    return crafted(answer, arrays={"sealed": np.frombuffer(b"".join(sealed), np.uint8).reshape(len(release), -1)})


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (lie(envelopes={}), "granted nothing"),
        (lie(envelopes={"x" * 200: b"nonsense"}), "granted nothing"),
        (lambda answer: crafted(answer, envelopes=dict.fromkeys(_recipients(answer), b"nonsense")), "not signed by"),
        (lambda answer: crafted(answer, envelopes=dict.fromkeys(_recipients(answer), b"")), "not signed by"),
        (lie(facts={"key": [1]}), "which key"),
        (lie(facts={"key": {"release": "other", "epoch": 7}}), "not the one for this recipient"),
        (lie(arrays={"sealed": lambda s: s ^ 1}), "does not open"),
        (sealed_nonsense, "is no code"),
    ],
    ids=["none", "somebody's", "nonsense", "empty", "no key", "another key", "altered seals", "sealed nonsense"],
)
def test_what_nobody_can_open_is_read_as_that(told: Lie, said: str, tmp_path: Path) -> None:
    """A reader learns it when the key is tried, and reads what the others sent."""
    with begun(scenario("sealed"), tmp_path) as run:
        collected(run, Liars({wire.RELEASE: told}))
        entries, shared = read(run)
        assert [entry["status"] for entry in entries] == ["ok"] * 3
        view = Experiment.open(run.scenario, cache_folder()).view(shared, "server")
        ends = shared.ends
        assert view.opened[: ends[0]].all()
        assert not view.opened[ends[0] : ends[1]].any()
        assert view.opened[ends[1] :].all()
        assert said in view.refusals[LIAR]


def _recipients(answer: wire.Answer) -> list[str]:
    return list(Release.from_bytes(answer.release).envelopes)


HUGE = np.zeros((1 << 30) + 1, np.uint8)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"weights/gray": lambda _: np.zeros(1, np.float32), "weights/grey": None}, "weights of another network"),
        ({"weights/grey": lambda w: w.astype(np.float16)}, "weights of another network"),
        ({"weights/grey": None, "weights/turns": None}, "weights of another network"),
        ({"weights/grey": lambda w: w + np.float32(np.nan)}, "not finite"),
        ({"weights/grey": lambda w: w + np.float32(3e38)}, "too large to compute with"),
        ({"weights/grey": lambda w: HUGE}, "too large"),
    ],
    ids=["names", "types", "none", "nan", "huge", "a gigabyte"],
)
def test_weights_that_are_another_networks_are_their_sites(arrays: dict[str, Any], said: str, tmp_path: Path) -> None:
    with begun(scenario({"name": "learners:Greyer", "fit": "local"}), tmp_path) as run:
        assert said in dropped(run, Liars({wire.RELEASE: lie(arrays=arrays)}))
        assert not run.learnt_file(LIAR).exists()
        assert run.learnt_file("site-1").exists()


def crowded(answer: wire.Answer) -> wire.Answer:
    """As many films of nobody as its own could make."""
    films = dict.fromkeys(("films", "findings", "split"), repeated)
    return crafted(answer, facts={"origins": "nobody"}, arrays=films)


def test_a_release_that_leaves_no_room_for_the_others_is_its_sites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "memory", lambda: 2 << 20)
    with begun(scenario(), tmp_path) as run:
        assert "too large for this machine beside the others'" in dropped(run, Liars({wire.RELEASE: crowded}))


# Learning and tests ---------------------------------------------------------------------------------------------------

UPDATES: dict[str, Lie] = {
    "other names": lie(arrays={"weights/gray": lambda _: np.zeros(1, np.float32)}),
    "another shape": lie(arrays={"weights/grey": lambda w: np.zeros((1, 1), np.float32)}),
    "another type": lie(arrays={"weights/grey": lambda w: w.astype(np.int32)}),
    "no number": lie(arrays={"weights/grey": lambda w: w * np.float32(np.nan)}),
    "as large as numbers are": lie(arrays={"weights/grey": lambda w: w + np.float32(3e38)}),
    "other whole numbers": lie(arrays={"weights/turns": lambda w: w + 7}),
    "no film": lie(facts={"films": 0}),
    "too many films": lie(facts={"films": 10**15}),
    "films that are no number": lie(facts={"films": "many"}),
    "a report of nonsense": lie(facts={"reported": {"spent": "all"}}),
    "a report without what counts": lie(facts={"reported": {}}),
    "another turn": lie(facts={"request": "0" * 64}),
    "films": lie(kind="images"),
    "nothing": lambda answer: replace(answer, release=b""),
}


@pytest.mark.parametrize("wrong", UPDATES)
def test_a_wrong_update_is_its_sites(wrong: str, tmp_path: Path) -> None:
    of = scenario({"name": "learners:Greyer", "fit": "federated", "rounds": 2, "tells": True})
    with begun(of, tmp_path) as run:
        entries = collected(run, Liars({wire.LEARN: UPDATES[wrong]}))
        assert [entry["status"] for entry in entries] == ["ok"] * 3  # it may still share what the others learnt
        assert {report.site for report in run.reports()} == {"site-1", "site-3"}
    with begun(of.model_copy(update={"min_sites": None}), tmp_path / "all") as run, pytest.raises(TooFewSites):
        collected(run, Liars({wire.LEARN: UPDATES[wrong]}))


class Silent(Liars):
    """The liar hears what it is to learn, and says nothing."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        for reply in super().pull_messages(message_ids):
            asked = self.asked[reply.metadata.reply_to_message_id].metadata
            if (asked.dst_node_id, asked.message_type) != (2, wire.LEARN):
                yield reply


def test_a_silent_site_does_not_cost_the_others_their_rounds(tmp_path: Path) -> None:
    """Waiting for it until the time is over would leave none for the next round."""
    learner, compute = {"name": "learners:Greyer", "fit": "federated", "rounds": 3, "tells": True}, {"timeout_s": 8.0}
    with begun(scenario(learner, compute={**SMALL["compute"], **compute}), tmp_path) as run:
        assert [entry["status"] for entry in collected(run, Silent({}))] == ["ok"] * 3
        assert [(report.round, report.site) for report in run.reports()] == [
            (number, site) for number in (1, 2, 3) for site in ("site-1", "site-3")
        ]


def test_reports_that_add_up_beyond_all_numbers_are_their_sites(tmp_path: Path) -> None:
    """One by one they are numbers."""

    def spent(answer: wire.Answer) -> wire.Answer:
        films = Release.from_bytes(answer.release).facts["films"]
        return crafted(answer, facts={"reported": {"spent": 1e308 / films}})

    with begun(scenario({"name": "learners:Greyer", "fit": "federated", "rounds": 2, "tells": True}), tmp_path) as run:
        collected(run, Liars({wire.LEARN: spent}))
        told = [(report.round, report.site) for report in run.reports()]
        assert told == [(1, "site-1"), (1, LIAR), (1, "site-3"), (2, "site-1"), (2, "site-3")]
        guarantee = guarantee_of(run.scenario.method, run.reports())
        assert guarantee is not None
        assert guarantee.epsilon < float("inf")


def changed(tested: Tested, **changes: Any) -> Tested:
    return {**tested, **{name: change(tested.get(name)) for name, change in changes.items()}}


FIGURES: dict[str, Any] = {
    "scores of other films": {"scores": lambda s: s[1:]},
    "scores of other findings": {"scores": lambda s: s[:, 1:]},
    "scores of another type": {"scores": lambda s: s.astype(np.float16)},
    "findings in halves": {"findings": lambda f: f + np.float32(0.5)},
    "infinite findings": {"findings": lambda f: f + np.float32(np.inf)},
    "patients beyond all numbers": {"patients": lambda p: p + 2**62},
    "patients below none": {"patients": lambda p: p - 1},
    "patients in a table": {"patients": lambda p: p[:, None]},
    "one patient": {"patients": lambda p: p[0]},
    "more figures": {"names": lambda _: np.zeros(3, np.uint8)},
    "other figures": {"scores": lambda _: np.zeros(3, np.uint8)},
}


def repeated(array: np.ndarray) -> np.ndarray:
    return np.repeat(array, 100, axis=0)


TESTS: dict[str, Lie] = {
    "scores that are no numbers": lie(arrays={"scores": lambda s: s * np.float32(np.nan)}),
    "no patients": lie(arrays={"patients": None}),
    "absurdly many films": lie(
        arrays={n: lambda a: np.repeat(a[:1], 10**6, axis=0) for n in ("scores", "findings", "patients")}
    ),
    "another task": lie(facts={"task": "fidelity"}),
    "more films than it released": lambda answer: replace(
        crafted(answer, arrays=dict.fromkeys(("scores", "findings", "patients"), repeated)), images=10**5
    ),
}


def test_a_wrong_test_is_its_sites(tmp_path: Path) -> None:
    of = scenario(tasks=SMALL["tasks"])
    task = cast(Findings, of.tasks["findings"])
    with begun(of, tmp_path) as run:
        collected(run, Liars({}))
        shared, bench = Shared(run.releases(SITES), run.learnt()), Bench(0, Compute.choose("cpu", "fp32"))
        taught = task.teach(testing._material(run, shared, Nobody()), bench)
        assert taught is not None
        message = taught_message(of, "findings", taught)
        job = job_of(of, "test", "findings", message)

        def told(grid: Liars) -> Mapping[str, Tested]:
            exchange = Exchange(grid, run, Register.of_simulation(of))
            return testing._ask(exchange, message, job, partial(task.check, taught=taught))

        honest = told(Liars({}))
        assert honest.keys() == set(SITES)
        for wrong, false in TESTS.items():
            left = told(Liars({wire.TEST: false}))
            assert left.keys() == {"site-1", "site-3"}, wrong
        figures = task.figures(left, taught, bench)
        assert figures["trained"]["mean_auc"]["value"] is not None
        assert figures["subgroups"]["trained"]["site"]["groups"].keys() == {"site-1", "site-3"}
    for changes in FIGURES.values():
        with pytest.raises(Refused, match="a test of"):
            task.check(changed(honest[LIAR], **changes), taught)


def test_whoever_tells_wonders_stands_there_by_name(tmp_path: Path) -> None:
    """Nobody else knows its films, so its figures are believed, and told apart from the others'."""

    def wonders(answer: wire.Answer) -> wire.Answer:
        scores = Release.from_bytes(answer.release).arrays["scores"]
        there = np.tile(np.array([[0], [1]], scores.dtype), (4, scores.shape[1]))
        return crafted(answer, arrays={"scores": there, "findings": there, "patients": np.arange(8)})

    with begun(scenario(tasks=SMALL["tasks"]), tmp_path) as run:
        collected(run, Liars({}))
        exchange = Exchange(Liars({wire.TEST: wonders}), run, Register.of_simulation(run.scenario))
        figures = testing.test_at_sites(exchange, run, Shared(run.releases(SITES)), Nobody())["findings"]
    alone = {site: own["trained"]["mean_auc"]["value"] for site, own in figures["by_site"].items()}
    assert alone.keys() == {*SITES}
    assert alone.pop(LIAR) == 1.0
    assert all(value is None or value < 1.0 for value in alone.values())


# Answers --------------------------------------------------------------------------------------------------------------


class Unsigned(Liars):
    """The liar's words without its signature."""

    def signed(self, answer: wire.Answer, asked: Any) -> wire.Answer:
        return replace(answer, signature=b"")


class Impostor(Liars):
    """Another site signs for it."""

    def signed(self, answer: wire.Answer, asked: Any) -> wire.Answer:
        self.identity = simulated_identity(0, "site-1")
        return super().signed(answer, asked)


@pytest.mark.parametrize("grid", [Unsigned, Impostor])
@pytest.mark.parametrize("status", ["ok", "dropped", "refused"])
def test_what_is_not_signed_is_not_believed(grid: type[Liars], status: str, tmp_path: Path) -> None:
    def told(answer: wire.Answer) -> wire.Answer:
        return replace(answer, status=status, reason="my dog ate it", patients=1, images=1)

    with begun(scenario(), tmp_path) as run:
        entry = collected(run, grid({wire.RELEASE: told}))[1]
        assert entry["status"] == "refused"
        assert "this answer is not signed by site-2" in entry["reason"]
        assert "dog" not in entry["reason"]
        assert entry["images"] is None


def test_an_earlier_answer_is_none_to_this_request(tmp_path: Path) -> None:
    """Of the same run to the same site: what was true then need not be now."""
    heard: list[wire.Answer] = []

    class Replaying(Liars):
        def signed(self, answer: wire.Answer, asked: Any) -> wire.Answer:
            heard.append(super().signed(answer, asked))
            return heard[0]

    with begun(scenario(), tmp_path / "first") as run:
        assert [entry["status"] for entry in collected(run, Replaying({wire.RELEASE: lambda answer: answer}))] == [
            "ok"
        ] * 3
    with begun(scenario(), tmp_path / "again") as run:
        entry = collected(run, Replaying({wire.RELEASE: lambda answer: answer}))[1]
        assert (entry["status"], len(heard)) == ("refused", 2)
        assert "this answer is not signed by site-2" in entry["reason"]


@pytest.mark.parametrize(
    "told",
    [
        {"reason": "r" * 50_000_000, "status": "dropped"},
        {"place": "p" * 50_000_000, "status": "dropped"},
        {"reason": "\x1b]0;owned\x07\x1b[2J", "status": "refused"},
        {"patients": 2**62, "images": 2**62},
        {"patients": -1},
        {"seconds": -1e308},
        {"log": "keys 1, " * 5_000_000},
        {"log": "Kowalczyk 1"},
    ],
    ids=[
        "a long reason",
        "a long place",
        "escapes",
        "absurdly many",
        "less than none",
        "before it was asked",
        "a long log",
        "a log of names",
    ],
)
def test_words_and_counts_are_bounded_before_they_are_kept(told: dict[str, Any], tmp_path: Path) -> None:
    with begun(scenario(), tmp_path) as run:
        entry = collected(run, Liars({wire.RELEASE: lambda answer: replace(answer, **told)}))[1]
        assert entry["status"] == "refused"
        assert "a damaged answer" in entry["reason"]
        assert entry["reason"].isprintable()
        kept = [path for path in run.folder.rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in kept) < 1 << 20
        assert all(b"\x1b" not in path.read_bytes() for path in kept if path.suffix in (".json", ".jsonl"))
        for line in (run.folder / "events.jsonl").read_text().splitlines():
            assert json.dumps(json.loads(line), ensure_ascii=False).isprintable()


def test_a_log_is_kept_if_it_is_signed_and_that_of_nobody_else(tmp_path: Path) -> None:
    """Also of a site that released nothing; a site that tells no log has none."""

    def failed(answer: wire.Answer) -> wire.Answer:
        return wire.Answer(LIAR, "refused", "too few films", log="keys 1, scenario 0, films 3, work 12")

    with begun(scenario(), tmp_path) as run:
        collected(run, Liars({wire.RELEASE: failed}))
        said = "release, round 1: keys 1 s, scenario 0 s, films 3 s, work 12 s; too few films"
        assert site_logs.lines(run.folder) == [f"{LIAR}  {said}"]


@pytest.mark.parametrize("kind", [wire.HELLO, wire.RELEASE])
def test_an_error_of_a_sites_app_is_the_sites(kind: str, tmp_path: Path) -> None:
    with begun(scenario(), tmp_path) as run:
        entry = collected(run, Failing(kind, 2, "\x1b[2J" + "x" * 10_000))[1]
        assert entry["status"] == "dropped"
        assert "does not answer" in entry["reason"]
        assert entry["reason"].isprintable()
        assert len(entry["reason"]) < 1000
    with begun(scenario(), tmp_path / "engine") as run, pytest.raises(EngineBroken):
        collected(run, Failing(kind, 0))


# What it costs --------------------------------------------------------------------------------------------------------


def bomb(size: int) -> bytes:
    made = zstandard.ZstdCompressor(level=1).compressobj(size=size)
    return b"".join(made.compress(bytes(1 << 20)) for _ in range(size >> 20)) + made.flush()


def exploding(answer: wire.Answer) -> wire.Answer:
    """98 kB that say they are 3 GiB of films, and are; as many as the site says it has."""
    n = 3 << 20
    release = Release.from_bytes(answer.release)
    facts = {**release.facts, "left_out": []}
    told: dict[str, Any] = {"kind": "images", "site": LIAR, "method": "noise", "facts": facts}
    names = len(facts["findings"])
    blocks = {"films": bomb(n * 1024), "findings": bomb(n * names * 4), "split": bomb(n)}
    shapes = {"films": ["uint8", [n, 32, 32]], "findings": ["float32", [n, names]], "split": ["int8", [n]]}
    told["arrays"] = [[name, *shapes[name], len(block)] for name, block in blocks.items()]
    header = msgpack.packb({**told, "envelopes": []}, use_bin_type=True)
    packed = Packed(len(header).to_bytes(4) + header + b"".join(blocks.values()))
    return as_signed(replace(answer, images=n, patients=n), packed)


def listing(answer: wire.Answer) -> wire.Answer:
    """Empty mappings by the million, one byte each on the way."""
    return crafted(answer, facts={"more": [{}] * 2_000_000})


@pytest.mark.parametrize("told", [exploding, listing], ids=["films", "facts"])
def test_a_small_answer_stays_small(told: Lie, tmp_path: Path) -> None:
    sizes: list[int] = []

    def measured(answer: wire.Answer) -> wire.Answer:
        false = told(answer)
        sizes.append(len(false.release))
        tracemalloc.reset_peak()
        return false

    with begun(scenario(), tmp_path) as run:
        tracemalloc.start()
        try:
            entry = collected(run, Liars({wire.RELEASE: measured}))[1]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert entry["status"] == "refused"
    assert sizes[0] < 3 << 20
    assert peak < 128 << 20


# Again ----------------------------------------------------------------------------------------------------------------


def damaged(run: Run) -> None:
    path = run.folder / "releases" / f"{LIAR}.release"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def of_another_format(run: Run) -> None:
    path = run.folder / "releases" / f"{LIAR}.release"
    path.write_bytes(b"FCXR\x01" + path.read_bytes()[5:])


def gone(run: Run) -> None:
    (run.folder / "releases" / f"{LIAR}.release").unlink()


def somebody_elses(run: Run) -> None:
    """Whole, with the right note, and signed by nobody we know."""
    packed = run.stored_release(LIAR)
    assert packed is not None
    run.store_release(replace(packed, signature=bytes(64)), run.release_note(LIAR) or {})


@pytest.mark.parametrize("harm", [damaged, of_another_format, gone, somebody_elses])
def test_what_is_on_file_and_does_not_fit_is_asked_for_again(harm: Any, tmp_path: Path) -> None:
    of = scenario()
    with begun(of, tmp_path) as run:
        collected(run, Liars({}))
        digests = [release.digest() for release in run.releases(SITES)]
        (run.folder / "stages" / "collect.json").unlink()
        harm(run)
    with begun(of, tmp_path, resume=True) as run:
        grid = Liars({})
        assert [entry["status"] for entry in collected(run, grid)] == ["ok"] * 3
        assert [release.digest() for release in run.releases(SITES)] == digests
        asked = [m for m in grid.asked.values() if m.metadata.message_type == wire.RELEASE]
        assert [wire.unpack_request(message.content).site for message in asked] == [LIAR]


def test_a_wrong_release_ends_no_resumed_run_either(tmp_path: Path) -> None:
    with begun(scenario(), tmp_path) as run:
        dropped(run, Liars({wire.RELEASE: OF_FILMS["findings of other films"][0]}))
    with begun(scenario(), tmp_path, resume=True) as run:
        entries, _ = read(run)
        assert [entry["status"] for entry in entries] == ["ok", "refused", "ok"]
