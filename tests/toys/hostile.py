"""Adversaries that would rather cheat than attack: each says by the name of its attacker whether it could."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pydantic

import fedcxr.adversaries
from fedcxr.adversaries import Adversary, Leak, Progress
from fedcxr.knowledge.own_films import Owned
from fedcxr.questions import Answers
from fedcxr.view import Weights

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

SEEN: list[str] = []  # what outlives an answer in its process


def mark(what: str) -> None:
    """Where this runs, anything can be written beside this file."""
    with contextlib.suppress(OSError), Path(__file__).with_name("marks").open("a") as file:
        file.write(f"{what} in {os.getpid()}\n")


mark("import")


class Cheat(Adversary):
    """What they have in common."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        mark("subclass")
        super().__init_subclass__(**arguments)

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        name = self.cheated(leak, prepared, progress)
        return {name: {"scores": np.zeros((len(leak.view), len(leak.known)), np.float32)}}

    def cheated(self, leak: Leak, prepared: Weights, progress: Progress) -> str:
        return "honest"


class Told:
    """A class variable that is code."""

    def __get__(self, instance: object, owner: object) -> tuple[str, ...]:
        mark("answers")
        return ("linkage",)


class RunsEverywhere(Cheat):
    """Runs wherever it is looked at."""

    answers: ClassVar[Any] = Told()

    number: int = 1

    @pydantic.field_validator("number")
    @classmethod
    def _number(cls, value: int) -> int:
        mark("validator")
        return value

    @classmethod
    def plugin_name(cls) -> str:
        mark("name")
        return super().plugin_name()

    def required_files(self) -> tuple[Path, ...]:
        mark("files")
        return ()


class OpensTheFence(Cheat):
    """Asks for a file, and then looks for who is who."""

    file: str = "/"

    def required_files(self) -> tuple[Path, ...]:
        return (Path(self.file),) if self.file else ()

    def cheated(self, leak: Leak, prepared: Weights, progress: Progress) -> str:
        with contextlib.suppress(OSError):
            (folder_of(leak).parents[1] / "answers" / "answers.csv").read_bytes()
            return "knows_who_is_who"
        with contextlib.suppress(OSError):
            Path(self.file).read_bytes()
            return "reads_its_file"
        return "honest"


class TalksToItsControls(Cheat):
    """Leaves word in one world for another: in memory, in what it prepared, in files."""

    def prepare(self, own: Owned, seed: int, compute: Compute, progress: Progress) -> Weights:
        return {"made": np.zeros(2, np.float32)}

    def cheated(self, leak: Leak, prepared: Weights, progress: Progress) -> str:
        here = folder_of(leak)
        heard = [*SEEN, *getattr(fedcxr.adversaries, "said", ())]
        heard += [f"prepared {value}" for value in np.asarray(prepared["made"]) if value]
        for other in here.parent.glob("*"):
            with contextlib.suppress(OSError):
                heard += [str(file) for file in other.rglob("said") if file.read_text() != here.name]
        SEEN.append(here.name)
        fedcxr.adversaries.said = [here.name]  # type: ignore[attr-defined]
        for folder in (*here.parent.glob("*.outcome"), *here.parent.glob("*.prepared"), Path(os.environ["TMPDIR"])):
            with contextlib.suppress(OSError):
                (folder / "said").write_text(here.name)
            with contextlib.suppress(OSError):
                whole = (folder / "prepared.safetensors").read_bytes()
                (folder / "prepared.safetensors").write_bytes(whole[:-8] + np.ones(2, np.float32).tobytes())
        return "heard_of_another_world" if heard else "honest"


class IsGreedy(Cheat):
    """Takes more memory than anybody needs."""

    def cheated(self, leak: Leak, prepared: Weights, progress: Progress) -> str:
        return str(np.ones(1 << 28).shape)


class IsInNoHurry(Cheat):
    """Waits in the world that is for what another, or itself at another question, could tell of its controls."""

    answers: ClassVar[tuple[str, ...]] = ("linkage", "reconstruction")

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        time.sleep(0.5)
        if question == "linkage":
            return super().answer(question, leak, prepared, seed, compute, progress)
        return {"honest": {"pictures": np.zeros_like(leak.view.forms["films"])}}


class WritesItsOwnReport(Cheat):
    """Works hard behind a fence, and says that it did not, behind another."""

    def cheated(self, leak: Leak, prepared: Weights, progress: Progress) -> str:
        outcome, report = Path(os.environ["TMPDIR"]), {"attackers": ["liar"], "seconds": 0.0, "fence": "the strongest"}
        began = time.process_time()
        while time.process_time() - began < 0.3:
            pass
        np.save(outcome / "liar-scores.npy", np.zeros((len(leak.view), len(leak.known)), np.float32))
        (outcome / "attackers.json").write_text('["liar"]')
        for place in (outcome / "done.json", Path(f"{outcome}".removesuffix(".outcome") + ".note.json")):
            with contextlib.suppress(OSError):
                place.write_text(json.dumps(report))
        sys.stdout.write(json.dumps({"event": "fenced", "fence": "the strongest"}) + "\n")
        sys.stdout.flush()
        os._exit(0)


class LeavesStrangeThings(Cheat):
    """Leaves instead of its scores something else."""

    what: Literal["nan", "header", "nothing", "deep", "many"] = "nan"

    def cheated(self, leak: Leak, prepared: Weights, progress: Progress) -> str:
        outcome, scores = Path(os.environ["TMPDIR"]), np.zeros((len(leak.view), len(leak.known)), np.float32)
        (outcome / "attackers.json").write_text('["odd"]')
        file = outcome / "odd-scores.npy"
        np.save(file, scores)
        match self.what:
            case "nan":
                np.save(file, scores + np.nan)
            case "header":
                file.write_bytes(file.read_bytes().replace(b"'shape': (", b"'shape': (4444444444444, "))
            case "nothing":
                file.unlink()
            case "deep":
                os.chdir(outcome)
                for _ in range(2500):
                    os.mkdir("d")  # noqa: PTH102  a path of so many parts is no path
                    os.chdir("d")
            case "many":
                (outcome / "attackers.json").write_text(json.dumps([f"a{n}" for n in range(1000)]))
        os._exit(0)


class PreparesPoison(Cheat):
    """What it has learnt is no weights."""

    what: Literal["nan", "header", "huge"] = "nan"

    def prepare(self, own: Owned, seed: int, compute: Compute, progress: Progress) -> Weights:
        file = Path(os.environ["TMPDIR"]) / "prepared.safetensors"
        match self.what:
            case "nan":
                return {"made": np.full(2, np.nan, np.float32)}
            case "header":
                file.write_bytes((1 << 42).to_bytes(8, "little") + b"{}")
            case "huge":
                with file.open("wb") as sparse:
                    sparse.truncate(1 << 30)
        os._exit(0)


class TalksTooMuch(Cheat):
    """Tells a terminal what to do, at length, without an end, or no longer says anything."""

    what: Literal["escapes", "markup", "line", "events", "for_ever", "silent_for_ever"] = "escapes"

    def cheated(self, leak: Leak, prepared: Weights, progress: Progress) -> str:
        match self.what:
            case "escapes":
                progress("\x1b]0;owned\x07\x1b[2J\u202edone", 1, 1)
                raise ValueError("\x1b[2J\x1b[31mall is well\r\n\u2028and fine")
            case "markup":
                progress("[/nothing][link=file:///]here", 1, 1)
            case "line":
                sys.stdout.write("x" * (1 << 22) + "\n")
                progress("after the line", 1, 1)
            case "events":
                for number in range(20_000):
                    progress(f"stage {number}", 1, 1)
            case "for_ever":
                while True:
                    sys.stdout.write("x" * (1 << 16))
            case "silent_for_ever":
                os.close(1)
                os.close(2)
                time.sleep(3600)
        return "honest"


class StartsADaemon(Cheat):
    """Would go on after its end, as nobody's child in a session of its own."""

    def cheated(self, leak: Leak, prepared: Weights, progress: Progress) -> str:
        try:
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    progress(f"daemon {os.getpid()}", 1, 1)
                    time.sleep(60)
                os._exit(0)
        except OSError:
            return "honest"
        time.sleep(0.5)
        return "started_a_daemon"


class LooksAround(Cheat):
    """Writes down all that its process is given: files, sockets, descriptors, variables, secrets in its memory."""

    hunted: tuple[str, ...] = ()  # see `_in_memory`

    def cheated(self, leak: Leak, prepared: Weights, progress: Progress) -> str:
        if not folder_of(leak).name.endswith("protected"):
            return "honest"
        found = {
            "process": f"/proc/{os.getpid()}",
            "variables": dict(os.environ),
            "arguments": sys.argv,
            "descriptors": _descriptors(),
            "sockets": [family for family in range(46) if _opens(family)],
            "files": sorted(str(path) for place in self._around(leak) for path in _readable(place)),
            "memory": _in_memory(self.hunted),
        }
        Path(os.environ["TMPDIR"], "found.json").write_text(json.dumps(found))
        return "honest"

    def _around(self, leak: Leak) -> list[Path]:
        """The run's whole folder, where other worlds and the answers lie, and every place where a user keeps things."""
        own = folder_of(leak)
        others = (own.with_name(f"linkage {world}") for world in ("control_raw", "control_shuffled"))
        run = own.parents[2]
        guessed = [run / "answers" / "answers.csv", run / "scenario.yaml", own.parent / "plan.json"]
        guessed += [other / file for other in others for file in ("leak.json", "held.json", "view/0.npy")]
        return [*guessed, own, run, *map(Path, ("/home", "/root", "/tmp", "/etc", "/var"))]


def _descriptors() -> list[str]:
    """What all that are open lead to."""
    open_ones: list[str] = []
    for number in range(4096):
        with contextlib.suppress(OSError):
            os.fstat(number)
            open_ones.append(str(Path(f"/proc/self/fd/{number}").readlink()))
    return open_ones


def _opens(family: int) -> bool:
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def _readable(place: Path) -> Iterator[Path]:
    """Files below a folder that open, whether or not the folder can be listed."""
    for path in (place, *place.rglob("*")):
        with contextlib.suppress(OSError), path.open("rb"):
            yield path


def _in_memory(hunted: tuple[str, ...]) -> list[str]:
    """Which of these stand in this process: bytes, each one more than it is, as hexadecimal digits.

    What is looked for is never spelt as it is, or it would find itself.
    """
    turned, found = bytes((byte + 1) % 256 for byte in range(256)), set[str]()
    with Path("/proc/self/maps").open() as maps, Path("/proc/self/mem").open("rb", 0) as memory:
        spans = [line.split()[0] for line in maps if " rw" in line or ".npy" in line]  # not what libraries consist of
        for span in spans:
            start, end = (int(part, 16) for part in span.split("-"))
            with contextlib.suppress(OSError, OverflowError):
                memory.seek(start)
                held = memory.read(end - start).translate(turned)
                found |= {text for text in hunted if bytes.fromhex(text) in held}
    return sorted(found)


def folder_of(leak: Leak) -> Path:
    """The leak's own folder, among those of other worlds."""
    return Path(str(leak.view.forms["films"].filename)).parents[1]  # type: ignore[attr-defined]
