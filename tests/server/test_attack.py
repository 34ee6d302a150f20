"""A contribution cannot cheat its measurement: adversaries that try are held, refused or measured by somebody else."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from consortium import NAMES, Consortium

from fedcxr.adversaries._process import KEPT
from fedcxr.data.phantom import Phantom
from fedcxr.errors import AttackFailed, ConfigError
from fedcxr.questions import PROTECTED
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.storage.artefacts import Artefacts
from server import adversary as process
from server.attack import Attack, leak_controls

MakeConsortium = Callable[..., Consortium]
SECONDS = 60.0
CPU: dict[str, Any] = {"device": "cpu", "precision": "fp32", "timeout_s": SECONDS}


@pytest.fixture(autouse=True)
def contributed(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module of cheats as a file of its own, with room beside it for the marks that they make."""
    folder = tmp_path / "contributed"
    folder.mkdir()
    shutil.copy(root / "tests" / "toys" / "hostile.py", folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "hostile", raising=False)
    return folder


@pytest.fixture
def begun(make_consortium: MakeConsortium, tmp_path: Path) -> Any:
    """An attack at work on everything that it is asked, which is ended however the test ends."""
    started: list[Attack] = []

    def begin(name: str, compute: dict[str, Any] | None = None, **parameters: Any) -> tuple[Attack, Consortium]:
        named = f"hostile:{name}"
        consortium = make_consortium(
            (3, 1, 4, 2, 5) * 4,
            method={"name": "noise", "scale": 0.25},
            adversaries={named: parameters},
            compute={**CPU, **(compute or {})},
        )
        run = Run.place(tmp_path / "runs", consortium.scenario)
        (run.folder / "answers").mkdir(parents=True)
        (run.folder / "answers" / "answers.csv").write_text("Magrathea")
        attack = Attack(run, consortium.threat, named, Artefacts(tmp_path / "artefacts"))
        started.append(attack)
        attack.start()
        attack.leak(consortium.put)
        attack.leak_controls(consortium.put)
        return attack, consortium

    yield begin
    for attack in started:
        attack.stop()


def waited(attack: Attack, seconds: float = SECONDS) -> None:
    attack.wait(time.monotonic() + seconds)


def attackers(attack: Attack, consortium: Consortium) -> set[str]:
    """By what names it answered, in all worlds."""
    waited(attack)
    return {name for one in attack.heard("linkage", consortium.put["linkage"]).values() for name in one.answers}


def events(attack: Attack) -> list[dict[str, Any]]:
    lines = (attack._run.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


# Whose code runs where ------------------------------------------------------------------------------------------------


def test_no_code_of_it_runs_outside_the_fence(begun: Any, contributed: Path) -> None:
    """Neither where its scenario is read, nor in the process that all attacks are forked from, nor where it is told."""
    attack, consortium = begun("RunsEverywhere")
    assert attackers(attack, consortium) == {"honest"}
    assert "hostile" not in sys.modules
    assert not (contributed / "marks").exists()


def test_nothing_beside_it_is_taken_for_a_library(begun: Any, contributed: Path) -> None:
    """Libraries try modules that may not be installed, also in the process that all attacks are forked from."""
    marks = contributed / "started_by"
    text = f"import sys\nwith open({str(marks)!r}, 'a') as file: file.write(sys.argv[0] + ' ')\nraise ImportError\n"
    marks.write_text("")
    for name in ("torchcomms", "tqdm"):
        (contributed / f"{name}.py").write_text(text)
    attack, consortium = begun("RunsEverywhere")
    assert attackers(attack, consortium) == {"honest"}
    assert "adversary.py" not in marks.read_text()


def test_it_is_described_without_being_imported(contributed: Path) -> None:
    scenario = Scenario.parse({"adversaries": {"hostile:RunsEverywhere": {"number": 2}}})
    [adversary] = scenario.adversaries.values()
    assert list(adversary.answers) == ["linkage"]
    assert set(adversary.reads) == {"films"}
    assert Scenario.parse(scenario.document()) == scenario
    assert not (contributed / "marks").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ValueError('\\x1b[2J not\\ntoday' * 500)", "ValueError"),
        ("import os; os._exit(0)", "it said nothing"),
        ("import sys; sys.exit('no')", "SystemExit"),
        ("print('told: {}', flush=True); import os; os._exit(0)", "strangely"),
        ("print('told: ' + '[' * 9000, flush=True); import os; os._exit(0)", "strangely"),
        ('print(\'told: {"told": {"answers": ["../../x"]}}\', flush=True); import os; os._exit(0)', "strangely"),
        ("while True: print('x' * 60000)", "it said more than"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        ("bytearray(64 << 30)", "MemoryError"),
    ],
    ids=lambda text: text[:30],
)
def test_whatever_its_description_is_it_is_one_line(contributed: Path, text: str, said: str) -> None:
    (contributed / "odd.py").write_text(text)
    with pytest.raises(ConfigError, match="cannot load the adversary") as caught:
        Scenario.parse({"adversaries": {"odd:Class": {}}})
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"numbr": 3}, "unknown key"), ({"number": "many"}, "number"), ({"number": {1}}, "only numbers, text")],
)
def test_wrong_parameters_are_told(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Scenario.parse({"adversaries": {"hostile:RunsEverywhere": parameters}})


# What it may read -----------------------------------------------------------------------------------------------------


def test_it_cannot_say_what_may_be_read() -> None:
    with pytest.raises(ConfigError, match=r"asks to read a file that no parameter of it names; given: /$"):
        Scenario.parse({"adversaries": {"hostile:OpensTheFence": {}}})


SECRETS = {
    "variable": b"Slartibartfast",
    "patient": NAMES.encode(),
    "answers": b"Magrathea",
    "control": b"linkage protected",  # its own folder: it can find what is there
}


def turned(secret: bytes) -> str:
    """As `LooksAround` is told what to look for, so that it does not find its own parameters."""
    return bytes((byte + 1) % 256 for byte in secret).hex()


def test_all_that_it_is_given(begun: Any, contributed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, sockets, descriptors, variables, and what stands in the memory that it was forked with."""
    monkeypatch.setenv("HOSPITAL_PASSPHRASE", "Slartibartfast")
    hunted = {name: turned(secret) for name, secret in SECRETS.items()}
    attack, _ = begun("LooksAround", hunted=list(hunted.values()))
    waited(attack)
    outcome = process.outcome_folder(attack._folder, "linkage protected")
    found = json.loads((outcome / "found.json").read_text())
    lent = {*KEPT, "PYTHONPATH", "OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE", "TMPDIR", "LC_CTYPE"}
    lent |= {"TORCHINDUCTOR_CACHE_DIR", "KMP_DUPLICATE_LIB_OK"}  # torch and threadpoolctl say so themselves
    assert set(found["variables"]) <= lent
    assert found["arguments"] == [str(Path(process.__file__)), str(attack._folder)]
    nothing, said, told, *lent_files = found["descriptors"]
    assert nothing == "/dev/null"
    assert {said.partition(":")[0], told.partition(":")[0]} == {"pipe"}
    assert found["sockets"] == []
    own = [attack._folder / "linkage protected", outcome, process.prepared_file(attack._folder, "linkage protected")]
    own += [contributed / "hostile.py", Path(found["process"])]
    beyond = [f for f in (*lent_files, *found["files"]) if not any(Path(f).is_relative_to(one) for one in own)]
    assert beyond == []
    assert str(attack._folder / "linkage protected" / "leak.json") in found["files"]  # it can look
    assert found["memory"] == [hunted["control"]]


def test_it_reads_what_the_scenario_names_and_no_more(begun: Any, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("")
    attack, consortium = begun("OpensTheFence", file=str(tmp_path / "weights"))
    assert attackers(attack, consortium) == {"reads_its_file"}


@pytest.mark.parametrize("kept", ["the run", "the films"])
def test_a_package_around_what_is_attacked_is_refused(
    make_consortium: MakeConsortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    (tmp_path / "around").mkdir()
    shutil.copy(tmp_path / "contributed" / "hostile.py", tmp_path / "around" / "__init__.py")
    sys.path.insert(0, str(tmp_path))  # taken back with what the fixture put there
    consortium = make_consortium(adversaries={"around:OpensTheFence": {"file": ""}}, compute=CPU)
    if kept == "the films":
        monkeypatch.setattr(Phantom, "required_files", lambda _: (tmp_path / "around" / "films",))
    out = tmp_path / "around" if kept == "the run" else tmp_path
    run = Run.place(out / "runs", consortium.scenario)
    attack = Attack(run, consortium.threat, "around:OpensTheFence", Artefacts(tmp_path / "artefacts"))
    with pytest.raises(ConfigError, match="lies around the films"):
        attack.start()


def test_a_run_among_programs_is_refused(begun: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is fenced may read those, and in the folder of a run lie the answers."""
    monkeypatch.setattr("server.attack.system", lambda ours: [Path("/usr/lib"), tmp_path])
    with pytest.raises(ConfigError, match="could read what it is to find out"):
        begun("RunsEverywhere")


# One world and another ------------------------------------------------------------------------------------------------


def test_nothing_is_left_for_another_world(begun: Any) -> None:
    attack, consortium = begun("TalksToItsControls")
    assert attackers(attack, consortium) == {"honest"}


@pytest.mark.slow
def test_controls_come_when_nobody_speaks_of_what_is_protected_any_more(
    make_consortium: MakeConsortium, tmp_path: Path
) -> None:
    """They show the films that are attacked, and no fence keeps whoever has seen them from leaving word outside."""
    names = ("hostile:RunsEverywhere", "hostile:IsInNoHurry")
    consortium = make_consortium((3, 1, 4, 2, 5) * 4, adversaries={name: {} for name in names}, compute=CPU)
    run = Run.place(tmp_path / "runs", consortium.scenario)
    attacks = [Attack(run, consortium.threat, name, Artefacts(tmp_path / "artefacts")) for name in names]
    try:
        for attack in attacks:
            attack.start()
        for attack in attacks:
            attack.leak(consortium.put)
        leak_controls(attacks, consortium.put)
        for attack in attacks:
            waited(attack)
            assert attackers(attack, consortium) == {"honest"}
    finally:
        for attack in attacks:
            attack.stop()
    attack_folder = run.folder / "attack"
    written = {path: path.stat().st_mtime_ns for path in attack_folder.rglob("*") if path.is_file()}
    over = [at for path, at in written.items() if path.name.endswith(f" {PROTECTED}.note.json")]
    shown = [at for path, at in written.items() if path.name == "leak.json" and PROTECTED not in path.parent.name]
    assert len(over) == 3  # two are asked whose the films are, and one what they look like
    assert len(shown) == 5  # two controls of each of the former, and one of the latter
    assert max(over) < min(shown)


def test_an_adversary_that_ends_keeps_nobody_waiting(make_consortium: MakeConsortium, tmp_path: Path) -> None:
    consortium = make_consortium(adversaries={"hostile:RunsEverywhere": {}}, compute=CPU)
    run = Run.place(tmp_path / "runs", consortium.scenario)
    attack = Attack(run, consortium.threat, "hostile:RunsEverywhere", Artefacts(tmp_path / "artefacts"))
    attack.start()
    attack.stop()
    leak_controls([attack], consortium.put)


def test_what_it_made_is_lent_to_no_other_run(begun: Any, tmp_path: Path) -> None:
    attack, consortium = begun("TalksToItsControls")
    waited(attack)
    attack.keep_for_others(consortium.put)
    assert Artefacts(tmp_path / "artefacts").entries() == ()


# Who measures ---------------------------------------------------------------------------------------------------------


def test_its_report_is_not_believed(begun: Any) -> None:
    attack, consortium = begun("WritesItsOwnReport")
    assert attackers(attack, consortium) == {"liar"}
    assert attack.fence != "the strongest"
    heard = attack.heard("linkage", consortium.put["linkage"])
    assert all(0.3 < one.seconds < 30 for one in heard.values())


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("nan", "`scores` with numbers that are not finite"),
        pytest.param("header", "wrong `scores`", marks=pytest.mark.slow),
        pytest.param("nothing", "`scores` unreadable", marks=pytest.mark.slow),
        pytest.param("many", "no list of its attackers", marks=pytest.mark.slow),
    ],
)
def test_what_it_leaves_is_read_as_a_strangers(begun: Any, what: str, said: str) -> None:
    attack, consortium = begun("LeavesStrangeThings", what=what)
    with pytest.raises(AttackFailed, match=said):
        attackers(attack, consortium)


@pytest.mark.slow
def test_folders_deeper_than_any_path_are_refused_and_removed(begun: Any) -> None:
    attack, _ = begun("LeavesStrangeThings", what="deep")
    with pytest.raises(AttackFailed, match="beyond its limit of disk"):
        waited(attack)
    attack.stop()
    attack.clear()
    assert not attack._folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("what", "said"), [("nan", "not finite"), ("header", "unreadable"), ("huge", "unreadable")])
def test_what_it_prepares_is_read_as_a_strangers(begun: Any, what: str, said: str) -> None:
    attack, _ = begun("PreparesPoison", what=what)
    with pytest.raises(AttackFailed, match=said):
        waited(attack)


# What it says, and how it ends ----------------------------------------------------------------------------------------


def test_a_terminal_is_told_nothing(begun: Any) -> None:
    attack, _ = begun("TalksTooMuch", what="escapes")
    with pytest.raises(AttackFailed, match="all is well") as caught:
        waited(attack)
    assert str(caught.value).isprintable()
    assert [event for event in events(attack) if "done" in event["stage"]]
    assert all(event["stage"].isprintable() for event in events(attack))


@pytest.mark.parametrize("what", ["events", *(pytest.param(w, marks=pytest.mark.slow) for w in ("markup", "line"))])
def test_what_it_says_is_bounded(begun: Any, what: str) -> None:
    attack, consortium = begun("TalksTooMuch", what=what)
    assert attackers(attack, consortium) == {"honest"}
    told = events(attack)
    assert 0 < len(told) < 3 * 1200
    assert max(len(event["stage"]) for event in told) < 150
    assert not [event for event in told if "[" in event["stage"]]


@pytest.mark.slow
def test_who_talks_for_ever_is_ended(begun: Any) -> None:
    attack, _ = begun("TalksTooMuch", what="for_ever")
    with pytest.raises(AttackFailed, match="it said more than 64 MiB"):
        waited(attack)


def test_who_is_silent_for_ever_is_ended_with_the_run(begun: Any) -> None:
    attack, _ = begun("TalksTooMuch", what="silent_for_ever")
    with pytest.raises(AttackFailed, match="was not done in time"):
        waited(attack, 8.0)
    attack.stop()
    assert not [p for p in Path("/proc").glob("[0-9]*") if str(attack._folder) in _command(p)]


def test_it_starts_nobody(begun: Any) -> None:
    attack, consortium = begun("StartsADaemon")
    assert attackers(attack, consortium) == {"honest"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "limit", "said"),
    [
        ("IsGreedy", {"attack_memory_gb": 1.0}, "MemoryError|memory"),
        ("RunsEverywhere", {"attack_disk_gb": 1e-5}, "disk"),
    ],
)
def test_its_limits_are_the_scenarios(begun: Any, name: str, limit: dict[str, float], said: str) -> None:
    attack, _ = begun(name, compute=limit)
    with pytest.raises(AttackFailed, match=said):
        waited(attack)


@pytest.mark.slow
def test_the_control_is_there(begun: Any) -> None:
    """All of these would mean nothing if no adversary from outside could answer."""
    attack, consortium = begun("Cheat")
    waited(attack)
    heard = attack.heard("linkage", consortium.put["linkage"])
    assert heard.keys() == consortium.put["linkage"].keys()
    assert (
        heard[PROTECTED].answers["honest"]["scores"].shape
        == consortium.put["linkage"][PROTECTED].asked.parts["scores"].shape
    )


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""
