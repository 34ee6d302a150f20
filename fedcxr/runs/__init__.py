"""A run folder: what one scenario with one seed leaves on disk, written so that any kill can be resumed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

from fedcxr.errors import ConfigError, FedcxrError, OtherVersion, Refused, StorageError
from fedcxr.learning import Report
from fedcxr.release import Packed, Release
from fedcxr.runs.identity import check_format, check_scenario, check_version, is_marked, mark
from fedcxr.runs.stages import COLLECT
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import read_file
from fedcxr.storage.disk import explained, read_json, write_atomic, write_json
from fedcxr.storage.events import Events
from fedcxr.storage.private import DRAFT, locked, private_folder, sweep_drafts

Outcome = TypeVar("Outcome")

SCHEMA = 1
PARTS = ("releases", "stages", "pictures", "learnt")
ROUND = "round-"
AGAIN = "remove it, and --resume makes it again"
AFRESH = "the same command without --resume starts afresh"


class Run:
    """One scenario's folder: scenario.yaml, releases/, answers/, stages/, pictures/, events.jsonl, result.json.

    result.json is written last and atomically: present means done. Each stage's outcome is kept as it ends, and every
    stage is a function of scenario and code alone, so a resumed run gives what an unbroken one gives. run.json names
    the version of the code; what another version or another scenario has left is not gone on from.
    """

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self.folder = folder
        self.scenario = scenario
        self._events = Events(folder / "events.jsonl")

    @classmethod
    def place(cls, out: Path, scenario: Scenario) -> Run:
        """The scenario's folder below `out`, which need not exist yet."""
        return cls(out / scenario.name / scenario.run_name, scenario)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """A folder that exists, for another process of the same run or for a report."""
        check_format(folder)
        return cls(folder, Scenario.parse(read_file(folder / "scenario.yaml")))

    @contextlib.contextmanager
    def begun(self, *, resume: bool) -> Iterator[None]:
        """Hold the folder against a second command, made ready; without `resume`, an earlier attempt is cleared."""
        with explained(self.folder):
            if self.folder.is_dir() and not is_marked(self.folder) and _foreign(self.folder):
                raise ConfigError("this folder is not a run", given=self.folder, do="choose another --out")
            private_folder(self.folder)
            if not is_marked(self.folder):
                mark(self.folder, self.scenario)
        with contextlib.ExitStack() as stack:
            with explained(self.folder):
                try:
                    stack.enter_context(locked(self.folder / "lock", wait=False))
                except BlockingIOError:
                    raise ConfigError(
                        "another fedcxr is at work in this run folder",
                        given=self.folder,
                        do="wait, or choose another --out",
                    ) from None
                if resume:
                    self.check_own()
                    sweep_drafts(self.folder)
                else:
                    _clear(self.folder)
                mark(self.folder, self.scenario)
                # Before there is any place for results: where there is one, it says what they are of.
                write_atomic(self.folder / "scenario.yaml", self.scenario.to_yaml().encode())
                for part in PARTS:
                    (self.folder / part).mkdir(exist_ok=True)
            yield

    def check_own(self) -> None:
        """Refuse a folder in which another version of the code was at work, or another scenario."""
        check_version(self.folder, self.scenario)
        if any((self.folder / part).is_dir() for part in PARTS) or (self.folder / "scenario.yaml").is_file():
            check_scenario(self.folder, self.scenario)

    @property
    def of_other_code(self) -> bool:
        """Whether another version of the code was at work here."""
        try:
            check_version(self.folder, self.scenario)
        except OtherVersion:
            return True
        except FedcxrError:  # there is nothing, or nothing that can be read
            return False
        return False

    @property
    def own_result(self) -> dict[str, Any] | None:
        """The result of a finished run of this very scenario and code, or None."""
        try:
            self.check_own()
            return self.result
        except FedcxrError:
            return None

    @property
    def result(self) -> dict[str, Any] | None:
        """The result of a finished run, or None."""
        path = self.folder / "result.json"
        return _read(path, AGAIN) if path.is_file() else None

    @property
    def left(self) -> str | None:
        """In words, what an earlier attempt has left here; None: nothing that would be missed."""
        if (self.folder / "result.json").is_file():
            return "a finished result"
        return "an unfinished run" if any((self.folder / "stages").glob("*.json")) else None

    def stage(self, name: str, work: Callable[[], Outcome]) -> Outcome:
        """The stored outcome of a stage, or the outcome of doing it now. Outcomes are plain JSON data."""
        if not self.has_stage(name):
            write_json(self._stage_path(name), work())
            self.event("stage", name=name, over=True)
        # Read back even what was just written, so that a resumed run sees the very same data.
        return cast(Outcome, self.outcome(name))

    def outcome(self, name: str) -> Any:
        """The stored outcome of a stage that is done."""
        return _read(self._stage_path(name), AGAIN)

    def has_stage(self, name: str) -> bool:
        return self._stage_path(name).is_file()

    def _stage_path(self, name: str) -> Path:
        return self.folder / "stages" / f"{name}.json"

    def event(self, kind: str, **facts: object) -> None:
        """What the console shows and what a post-mortem reads."""
        self._events.tell(kind, **facts)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Report how far a stage is, a few times a second at most."""
        self._events.progress(stage, done, total)

    # What was learnt --------------------------------------------------------------------------------------------------

    def store_learnt(self, name: str, learnt: Release) -> Release:
        """Keep what a method has learnt by now, and go on from what was kept."""
        write_atomic(self._learnt_path(name), learnt.to_bytes())
        return learnt

    def learnt(self, name: str = "learnt") -> Release | None:
        """What is on file under this name."""
        path = self._learnt_path(name)
        return _release(path) if path.is_file() else None

    def learnt_file(self, who: str) -> Path:
        """Where somebody's finished weights go, for use in other scenarios."""
        return self.folder / "learnt" / f"{who}.safetensors"

    def store_reports(self, number: int, reports: Sequence[Report]) -> None:
        """Keep what the sites told of a round of learning."""
        write_json(self.folder / "learnt" / f"{round_name(number)}.json", [asdict(report) for report in reports])

    def reports(self) -> tuple[Report, ...]:
        """What every site told of every round, in their order."""
        files = sorted((self.folder / "learnt").glob(f"{ROUND}*.json"))
        return tuple(Report(**told) for file in files for told in _read(file, AFRESH))

    def store_updates(self, number: int, updates: Iterable[Release]) -> None:
        """Keep what every site sent in a round, in a folder for our own eyes; an earlier attempt's is gone."""
        folder = self.updates_folder / round_name(number)
        with explained(folder):
            private_folder(self.updates_folder)
            shutil.rmtree(folder, ignore_errors=True)
            private_folder(folder)
        for update in updates:
            write_atomic(folder / f"{update.site}.release", update.to_bytes())

    def rounds(self) -> Iterator[tuple[int, Release]]:
        """What each round of a federation made, one at a time, and first where all began."""
        for file in sorted((self.folder / "learnt").glob(f"{ROUND}*.release")):
            yield int(file.stem.removeprefix(ROUND)), _release(file)

    def updates(self) -> Iterator[tuple[int, Release]]:
        """Round and update, one at a time: together they may not fit into memory. None unless they are kept."""
        for file in sorted(self.updates_folder.glob(f"{ROUND}*/*.release")):
            yield int(file.parent.name.removeprefix(ROUND)), _release(file)

    @property
    def updates_folder(self) -> Path:
        return self.folder / "learnt" / "updates"

    @property
    def means(self) -> Path:
        """Where strategies that remember are given back what they remember, while learning is not over."""
        return self.folder / "learnt" / "means"

    def forget_means(self) -> None:
        shutil.rmtree(self.means, ignore_errors=True)

    def _learnt_path(self, name: str) -> Path:
        return self.folder / "learnt" / f"{name}.release"

    # Releases -------------------------------------------------------------------------------------------------------

    def store_release(self, packed: Packed, facts: dict[str, Any]) -> None:
        """Keep what a site released, as it came, then the note that makes it count."""
        write_atomic(self._release_path(packed.header.site), packed.to_bytes())
        write_json(self._note_path(packed.header.site), {**facts, "digest": packed.digest})

    def stored_release(self, site: str) -> Packed | None:
        """A site's stored release, if it is the one that its note is of."""
        note, path = self._note(site), self._release_path(site)
        try:
            packed = Packed.from_bytes(path.read_bytes())
            whole = note is not None and note.get("digest") == packed.digest and packed.header.site == site
        except (FileNotFoundError, Refused):
            return None
        except OSError as error:
            raise StorageError("cannot read a stored file", given=path, do=str(error)) from None
        return packed if whole else None

    def release_note(self, site: str) -> dict[str, Any] | None:
        """The facts that were stored with a site's release, or None if it has not answered."""
        note = self._note(site)
        return None if note is None else {name: fact for name, fact in note.items() if name != "digest"}

    def releases(self, sites: Sequence[str]) -> list[Release]:
        """The stored releases of these sites, checked against their notes."""
        found = []
        for site in sites:
            packed = self.stored_release(site)
            if packed is None:
                raise StorageError(
                    "a stored release is missing, or does not match its note",
                    given=self._release_path(site),
                    do=f"remove {self._stage_path(COLLECT)}, and --resume asks the site again",
                )
            found.append(Release.of(packed))
        return found

    def _release_path(self, site: str) -> Path:
        return self.folder / "releases" / f"{site}.release"

    def _note(self, site: str) -> dict[str, Any] | None:
        path = self._note_path(site)
        return _read(path, AGAIN) if path.is_file() else None

    def _note_path(self, site: str) -> Path:
        return self.folder / "releases" / f"{site}.json"


def round_name(number: int) -> str:
    """What a round of learning is called on disk."""
    return f"{ROUND}{number:04}"


def _read(path: Path, do: str) -> Any:
    """What is in a file of the run, or which file is damaged and what to do."""
    try:
        return read_json(path)
    except StorageError as error:
        raise StorageError(str(error), do=do) from None


def _release(path: Path) -> Release:
    """What is in a file of the run that holds what was learnt: later stages are of it, and cannot go on without it."""
    try:
        with explained(path):
            return Release.from_bytes(path.read_bytes())
    except Refused as error:
        raise StorageError("a stored file is damaged", given=path, do=f"{error}; {AFRESH}") from None


def _foreign(folder: Path) -> bool:
    """Whether there is anything but the drafts that a kill leaves behind."""
    return any(not entry.name.endswith(DRAFT) for entry in folder.iterdir())


def _clear(folder: Path) -> None:
    # run.json stays: a clearing that is cut short must still be recognised as a run, to be cleared again.
    # scenario.yaml goes last: until then it says what the rest is of.
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == "scenario.yaml"):
        if entry.name in ("run.json", "lock"):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
