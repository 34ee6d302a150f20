"""Run folders: whole files or none, resumed after any kill, never two commands at once, no foreign folder."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from fedcxr.errors import ConfigError, FedcxrError, OtherScenario, OtherVersion, StorageError
from fedcxr.release import Release
from fedcxr.runs import Run
from fedcxr.runs.identity import FOLDER_FORMAT, check_format
from fedcxr.scenario import Scenario
from fedcxr.storage.disk import explained, read_json, write_atomic, write_json
from fedcxr.storage.version import code_version

MakeScenario = Callable[..., Scenario]


@pytest.fixture
def scenario(make_scenario: MakeScenario) -> Scenario:
    return make_scenario(name="here", seed=4)


@pytest.fixture
def run(tmp_path: Path, scenario: Scenario) -> Run:
    """A run whose folder is ready, and not locked any more."""
    made = Run.place(tmp_path, scenario)
    with made.begun(resume=False):
        pass
    return made


def release(site: str = "site-1", value: int = 3) -> Release:
    arrays: dict[str, Any] = {
        "films": np.full((2, 4, 4), value, dtype=np.uint8),
        "findings": np.zeros((2, 1), dtype=np.float32),
        "split": np.zeros(2, dtype=np.int8),
    }
    return Release("images", site, "none", arrays, {"findings": ["Mass"]})


def in_child(work: Callable[[], object]) -> int:
    """The exit code of a forked process that does this; minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(99)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_before_rename(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object], renames: int = 0) -> None:
    """Do this in a process that is killed as it comes to a rename (after so many that succeed)."""
    real, left = Path.replace, [renames]

    def fatal(draft: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(draft, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fatal)
        assert in_child(work) == -signal.SIGKILL


# Files ----------------------------------------------------------------------------------------------------------------


def test_json_round_trip(tmp_path: Path) -> None:
    document = {"a": [1, 2.5, None, "é"], "b": {"c": True}}
    write_json(tmp_path / "x.json", document)
    assert read_json(tmp_path / "x.json") == document
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_not_json(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": value})
    assert not list(tmp_path.iterdir())


def test_a_kill_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_json(path, "old")
    killed_before_rename(monkeypatch, lambda: write_json(path, "new"))
    assert read_json(path) == "old"
    write_json(path, "new")
    assert read_json(path) == "new"


def test_a_failed_write_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "x", b"data")
    assert not list(tmp_path.iterdir())


def test_a_file_is_on_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sync, rename = os.fsync, Path.replace

    def syncs(descriptor: int) -> None:
        order.append("sync")
        sync(descriptor)

    def renames(draft: Path, target: Path) -> Path:
        order.append("rename")
        return rename(draft, target)

    monkeypatch.setattr(os, "fsync", syncs)
    monkeypatch.setattr(Path, "replace", renames)
    write_atomic(tmp_path / "x", b"data")
    assert order == ["sync", "rename"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", None])
def test_a_damaged_file_is_a_storage_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match="cannot read a stored file"):
        read_json(path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(_: int) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"the disk is full; given: .*/x; free some space") as caught:
        write_atomic(tmp_path / "x", b"data")
    assert caught.value.exit_code == 3
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_really_full_device(run: Run) -> None:
    events = run.folder / "events.jsonl"
    events.unlink(missing_ok=True)
    events.symlink_to("/dev/full")
    with pytest.raises(StorageError, match="the disk is full") as caught:
        run.event("site", reason="x" * 100_000)
    assert caught.value.exit_code == 3


def test_a_disk_that_breaks_otherwise(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"the disk refused.*Input/output"), explained(tmp_path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_our_own_errors_pass_unchanged(tmp_path: Path) -> None:
    error = ConfigError("mine")
    with pytest.raises(ConfigError) as caught, explained(tmp_path):
        raise error
    assert caught.value is error


# Places ---------------------------------------------------------------------------------------------------------------


def below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "runs"


def a_file_itself(folder: Path) -> Path:
    (folder / "here").write_text("")
    return folder


def a_long_name(folder: Path) -> Path:
    return folder / ("x" * 300)


def in_proc(folder: Path) -> Path:
    return Path("/proc/fedcxr")


@pytest.mark.parametrize("place", [below_a_file, a_file_itself, a_long_name, in_proc])
@pytest.mark.parametrize("resume", [False, True])
def test_where_nothing_can_be_written(
    tmp_path: Path, scenario: Scenario, place: Callable[[Path], Path], resume: bool
) -> None:
    run = Run.place(place(tmp_path), scenario)
    said = r"cannot write there; given: .*: choose another --out"
    with pytest.raises(ConfigError, match=said) as caught, run.begun(resume=resume):
        pytest.fail("begun in an impossible place")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path, scenario: Scenario, resume: bool) -> None:
    run = Run.place(tmp_path, scenario)
    run.folder.mkdir(parents=True)
    (run.folder / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="this folder is not a run"), run.begun(resume=resume):
        pytest.fail("begun in a foreign folder")
    assert [p.name for p in run.folder.iterdir()] == ["thesis.tex"]
    with pytest.raises(ConfigError, match="this folder is not a run"):
        Run.open(run.folder)


def test_an_empty_folder_is_fine(tmp_path: Path, scenario: Scenario) -> None:
    run = Run.place(tmp_path, scenario)
    run.folder.mkdir(parents=True)
    with run.begun(resume=True):
        check_format(run.folder)


def test_a_folder_of_another_format(run: Run) -> None:
    write_json(run.folder / "run.json", {"format": FOLDER_FORMAT + 1})
    (run.folder / "result.json").write_text("theirs")
    said = r"another version.*format 3.*allowed: format 2; start afresh"
    with pytest.raises(ConfigError, match=said) as caught, run.begun(resume=True):
        pytest.fail("resumed another format")
    assert caught.value.exit_code == 2
    assert (run.folder / "result.json").read_text() == "theirs"
    with pytest.raises(ConfigError, match="another version"):
        Run.open(run.folder)
    with run.begun(resume=False):
        check_format(run.folder)
        assert run.result is None


@pytest.mark.parametrize("content", ["[]", "{}", "null", '"x"'])
def test_a_folder_whose_marker_is_damaged(run: Run, content: str) -> None:
    (run.folder / "run.json").write_text(content)
    with pytest.raises(ConfigError, match="another version"):
        check_format(run.folder)


def test_a_kill_before_the_folder_is_marked(
    tmp_path: Path, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.place(tmp_path, scenario)
    killed_before_rename(monkeypatch, lambda: run.begun(resume=False).__enter__())
    assert not (run.folder / "run.json").exists()
    with run.begun(resume=True):
        check_format(run.folder)


def test_a_kill_before_the_scenario_is_written(
    tmp_path: Path, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.place(tmp_path, scenario)
    killed_before_rename(monkeypatch, lambda: run.begun(resume=False).__enter__(), renames=2)
    assert not (run.folder / "scenario.yaml").exists()
    with run.begun(resume=True):
        assert Run.open(run.folder).scenario == scenario


def test_place_and_open(tmp_path: Path, run: Run, scenario: Scenario) -> None:
    assert run.folder == tmp_path / "here" / f"{scenario.id}-4"
    assert Run.open(run.folder).scenario == scenario
    (run.folder / "scenario.yaml").unlink()
    with pytest.raises(FedcxrError, match=r"scenario\.yaml"):
        Run.open(run.folder)


# Whose a folder is ----------------------------------------------------------------------------------------------------


def tampered(run: Run, text: str, other: str) -> None:
    """The stored scenario says something else, and there is a result of it."""
    path = run.folder / "scenario.yaml"
    assert text in path.read_text()
    path.write_text(path.read_text().replace(text, other))
    write_json(run.folder / "result.json", {"schema": 1})


@pytest.mark.parametrize(
    ("text", "other", "said"),
    [
        ("known_films: 0.5", "known_films: 0.25", r"given: knowledge.known_films 0.25; allowed: .*known_films 0.5;"),
        ("seed: 4", "seed: 5", "given: seed 5; allowed: seed 4;"),
        ("name: none", "name: noise", r"given: method.name noise.*; allowed: method.name none;"),
        ("sites: 3", "stes: 3", "cannot be read.*did you mean 'sites'"),
        ("sites: 3", "sites: [", "cannot be read.*YAML"),
    ],
)
def test_another_scenario_is_not_gone_on_from(run: Run, text: str, other: str, said: str) -> None:
    tampered(run, text, other)
    with pytest.raises(OtherScenario, match=f"{said}.*start afresh without --resume") as caught:
        run.begun(resume=True).__enter__()
    assert caught.value.exit_code == 2
    assert run.own_result is None
    assert run.result == {"schema": 1}  # nothing is lost
    with run.begun(resume=False):
        assert run.result is None


def test_a_scenario_that_is_gone_is_not_taken_for_granted(run: Run) -> None:
    fill(run)
    (run.folder / "scenario.yaml").unlink()
    with pytest.raises(OtherScenario, match=r"cannot be read.*scenario\.yaml"), run.begun(resume=True):
        pytest.fail("resumed nobody knows what")


def test_where_and_under_which_name_it_runs_may_change(run: Run, make_scenario: MakeScenario) -> None:
    fill(run)
    elsewhere = Run(run.folder, make_scenario(name="there", seed=4, compute={"workers": 2, "timeout_s": 5}))
    with elsewhere.begun(resume=True):
        assert run.result == elsewhere.own_result == {"schema": 1}
        assert Run.open(run.folder).scenario == elsewhere.scenario


@pytest.fixture
def other_code(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on, this is another version of the code."""
    return lambda: monkeypatch.setattr("fedcxr.storage.version.code_version", lambda: "f" * 64)


def test_what_other_code_has_made_is_not_gone_on_from(run: Run, other_code: Callable[[], None]) -> None:
    fill(run)
    assert run.own_result == {"schema": 1}
    assert not run.of_other_code
    other_code()
    both = f"given: fedcxr {code_version()[:16]} in .*; allowed: fedcxr {16 * 'f'}"
    said = f"another version of the code; {both}; start afresh"
    with pytest.raises(OtherVersion, match=said) as caught, run.begun(resume=True):
        pytest.fail("resumed other code's run")
    assert caught.value.exit_code == 2
    assert run.of_other_code
    assert run.own_result is None
    assert Run.open(run.folder).result == {"schema": 1}  # it can still be read
    with run.begun(resume=False):
        assert run.result is None
        assert not run.of_other_code
    with run.begun(resume=True):
        pass


def test_a_plugin_that_changed_is_other_code(
    tmp_path: Path, make_scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "theirs.py").write_text("from fedcxr.methods.noise import Noise\nclass Mine(Noise): pass\n")
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    run = Run.place(tmp_path, make_scenario(method="theirs:Mine"))
    with run.begun(resume=True), (tmp_path / "theirs.py").open("a") as file:
        file.write("# another\n")
    with pytest.raises(OtherVersion, match=r"given: theirs \w{16} in .*; allowed: theirs \w{16};"):
        run.begun(resume=True).__enter__()


@pytest.mark.parametrize("versions", [None, [], {}, "x", {"fedcxr": None}])
def test_a_marker_without_a_version_is_other_code(run: Run, versions: object) -> None:
    write_json(run.folder / "run.json", {"format": FOLDER_FORMAT, "versions": versions})
    with pytest.raises(OtherVersion, match="another version of the code"):
        run.begun(resume=True).__enter__()


# Starting afresh, resuming, and two at once ---------------------------------------------------------------------------


def fill(run: Run) -> None:
    write_json(run.folder / "stages" / "collect.json", [1])
    write_json(run.folder / "result.json", {"schema": 1})
    run.store_release(release().packed, {"status": "ok"})
    run.event("site")
    (run.folder / "answers").mkdir()
    (run.folder / "answers" / "answers.csv").write_text("secret")
    (run.folder / ".x.json.1.draft").write_text("half")


def test_without_resume_nothing_of_an_earlier_attempt_is_left(run: Run, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    fill(run)
    (run.folder / "link").symlink_to(outside)
    with run.begun(resume=False):
        assert run.result is None
        assert not run.has_stage("collect")
        assert run.release_note("site-1") is None
        left = {p.name for p in run.folder.iterdir()}
        assert left == {"run.json", "lock", "scenario.yaml", "releases", "stages", "pictures", "learnt"}
    assert (outside / "kept").exists()


def test_with_resume_everything_is_kept(run: Run) -> None:
    fill(run)
    with run.begun(resume=True):
        assert run.result == {"schema": 1}
        assert run.has_stage("collect")
        assert run.releases(["site-1"])[0].digest() == release().digest()
        assert (run.folder / "answers" / "answers.csv").exists()


def test_two_at_once_in_one_folder(run: Run, root: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from fedcxr.errors import ConfigError; from fedcxr.runs import Run\n"
        "run = Run.open(Path(sys.argv[1]))\n"
        "try:\n"
        "    with run.begun(resume=False): print('in')\n"
        "except ConfigError as error: print(error)\n"
    )

    def second() -> str:
        ran = subprocess.run(
            [sys.executable, "-c", code, str(run.folder)], cwd=root, capture_output=True, text=True, check=True
        )
        return ran.stdout

    with run.begun(resume=False):
        write_json(run.folder / "stages" / "collect.json", [1])
        assert "another fedcxr is at work in this run folder" in second()
        assert run.has_stage("collect")  # the second has not cleared it
    assert second() == "in\n"


def test_the_lock_ends_with_its_process_however_it_ends(run: Run) -> None:
    ready, told = os.pipe()

    def hold() -> None:
        with run.begun(resume=True):
            os.write(told, b"x")
            signal.pause()

    child = os.fork()
    if child == 0:
        try:
            hold()
        finally:
            os._exit(99)
    os.read(ready, 1)
    with pytest.raises(ConfigError, match="at work"), run.begun(resume=True):
        pytest.fail("two at once")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(told)
    with run.begun(resume=True):
        pass


# Stages ---------------------------------------------------------------------------------------------------------------


def test_a_stage_is_done_once_and_gives_the_same_data(run: Run) -> None:
    calls: list[int] = []

    def work() -> dict[Any, Any]:
        calls.append(1)
        return {"third": 1 / 3, "tuple": (1, 2), "none": None, 5: "key"}

    first = run.stage("utility-x", work)
    again = Run.open(run.folder).stage("utility-x", work)
    assert calls == [1]
    assert first == again == {"third": 1 / 3, "tuple": [1, 2], "none": None, "5": "key"}


def test_a_stage_that_fails_is_not_done(run: Run) -> None:
    with pytest.raises(ZeroDivisionError):
        run.stage("attack", lambda: 1 / 0)
    assert not run.has_stage("attack")
    assert run.stage("attack", lambda: 5) == 5


def test_a_kill_within_a_stage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_before_rename(monkeypatch, lambda: run.stage("attack", lambda: "lost"))
    assert not run.has_stage("attack")
    assert run.stage("attack", lambda: "found") == "found"


def test_result_is_none_until_it_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run.result is None
    killed_before_rename(monkeypatch, lambda: write_json(run.folder / "result.json", {"schema": 1}))
    assert run.result is None
    write_json(run.folder / "result.json", {"schema": 1})
    assert Run.open(run.folder).result == {"schema": 1}


# Events ---------------------------------------------------------------------------------------------------------------


def events(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]


def test_every_event_is_one_line_of_json(run: Run) -> None:
    run.event("site", site="site-1", reason="two\nlines é", path=Path("/x"))
    run.event("engine", attempt=1)
    first, second = events(run)
    assert first["event"] == "site"
    assert first["reason"] == "two\nlines é"
    assert first["path"] == "/x"
    assert second["time"] >= first["time"] > 1e9


def test_events_of_many_threads_do_not_mix(run: Run) -> None:
    def tell(i: int) -> None:
        for _ in range(20):
            run.event("x", i=i, text="y" * 5000)

    threads = [threading.Thread(target=tell, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(e["i"] for e in events(run)) == [i for i in range(8) for _ in range(20)]


def test_progress_is_told_now_and_then_and_at_the_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("fedcxr.storage.events.time.monotonic", lambda: now[0])
    for done in range(1, 101):
        now[0] += 0.01
        run.progress("films", done, 100)
    told = [e["done"] for e in events(run)]
    assert told[0] == 1
    assert told[-1] == 100
    assert 4 <= len(told) <= 6  # one second of work, three a second


# Releases -------------------------------------------------------------------------------------------------------------


def test_releases_come_back_in_the_order_asked_for(run: Run) -> None:
    for site, value in (("site-1", 1), ("site-2", 2)):
        run.store_release(release(site, value).packed, {"status": "ok"})
    found = run.releases(["site-2", "site-1"])
    assert [(r.site, int(r.arrays["films"][0, 0, 0])) for r in found] == [("site-2", 2), ("site-1", 1)]
    assert run.release_note("site-1") == {"status": "ok"}  # what was stored, no more and no less


@pytest.mark.parametrize("renames", [0, 1])
def test_a_kill_while_a_release_is_stored(run: Run, monkeypatch: pytest.MonkeyPatch, renames: int) -> None:
    """Only what has a note counts as answered, so that the site is asked again."""
    killed_before_rename(monkeypatch, lambda: run.store_release(release().packed, {"status": "ok"}), renames)
    assert run.release_note("site-1") is None
    with pytest.raises(StorageError):
        run.releases(["site-1"])


def damaged(run: Run) -> None:
    path = run.folder / "releases" / "site-1.release"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def missing(run: Run) -> None:
    (run.folder / "releases" / "site-1.release").unlink()


def another(run: Run) -> None:
    (run.folder / "releases" / "site-1.release").write_bytes(release(value=9).to_bytes())


def of_another_site(run: Run) -> None:
    run.store_release(release().packed, {})
    (run.folder / "releases" / "site-1.release").write_bytes(replace(release(), site="site-2").to_bytes())


def without_digest(run: Run) -> None:
    write_json(run.folder / "releases" / "site-1.json", {"status": "ok"})


@pytest.mark.parametrize("harm", [damaged, missing, another, of_another_site, without_digest])
def test_a_stored_release_that_changed_is_told(run: Run, harm: Callable[[Run], None]) -> None:
    run.store_release(release().packed, {"status": "ok"})
    harm(run)
    with pytest.raises(FedcxrError, match=r"site-1\.release|damaged") as caught:
        run.releases(["site-1"])
    assert caught.value.exit_code in (3, 5)


def test_what_is_damaged_is_named_with_the_way_out(run: Run) -> None:
    stage, result = run.folder / "stages" / "collect.json", run.folder / "result.json"
    learnt, note = run.folder / "learnt" / "learnt.release", run.folder / "releases" / "site-1.json"
    run.store_release(release().packed, {"status": "ok"})
    for path in (stage, result, learnt, note):
        path.write_bytes(b"{")
    for look, path, do in (
        (lambda: run.outcome("collect"), stage, "remove it, and --resume"),
        (lambda: run.result, result, "remove it, and --resume"),
        (lambda: run.release_note("site-1"), note, "remove it, and --resume"),
        (run.learnt, learnt, "without --resume"),
    ):
        with pytest.raises(StorageError, match=do) as caught:
            look()
        assert str(path) in str(caught.value)
    note.unlink()
    with pytest.raises(StorageError, match=r"remove .*collect\.json"):
        run.releases(["site-1"])
