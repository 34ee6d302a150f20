"""What an adversary of ours takes over from earlier runs: what it prepared there, and what it answered of plain films.

Both are functions of what it was given, to the last digit, and neither tells of what was protected: the control with
unprotected films is the same for every method. Nothing is lent to or by one from outside, whose code may do otherwise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedcxr.adversaries import Adversary
from fedcxr.methods import Method
from fedcxr.questions import Answers
from fedcxr.storage.artefacts import Artefacts, digest_of_file
from fedcxr.storage.checkpoint import Checkpoint
from fedcxr.storage.disk import write_json
from fedcxr.storage.version import versions
from server import adversary as process
from server import answers, prepared
from server import leak as leaks


@dataclass(frozen=True)
class Lent:
    """Between the folder of one attack and the artefacts of all runs."""

    artefacts: Artefacts
    folder: Path
    adversary: Adversary
    method: Method

    def lend_prepared(self) -> None:
        """Spare it the preparation that it went through for another run."""
        for made, key in self._preparations():
            arrays = self.artefacts.get(key)
            if arrays is not None:
                Checkpoint(arrays, {}).write(made)

    def keep_prepared(self, most: int) -> None:
        """Keep what it prepared, of so many bytes at most: it may not write outside its own folder."""
        for made, key in self._preparations():
            if self.artefacts.get(key) is None:
                self.artefacts.put(key, prepared.read(made, most))

    def _preparations(self) -> Iterator[tuple[Path, str]]:
        """Where it prepares, and all that this depends on."""
        for step in process.Plan.read(self.folder).steps:
            if self.adversary.lends and step.prepared_by == step.leak:
                yield process.prepared_file(self.folder, step.leak), self._called("prepared", step)

    def lend_answers(self, leak: str, told: Mapping[str, Any]) -> None:
        """Spare it an attack that it made for another run, on a leak that holds the same; before that is complete."""
        key = self._answered(leak, told)
        arrays = None if key is None else self.artefacts.get(key)
        if arrays is None or process.note_file(self.folder, leak).is_file():
            return
        given: dict[str, dict[str, Any]] = {}
        for name, array in arrays.items():
            _, attacker, part = name.split("/", 2)
            given.setdefault(attacker, {})[part] = array
        outcome = process.outcome_folder(self.folder, leak)
        outcome.mkdir(exist_ok=True)
        answers.save(given, leaks.parts_of(told), outcome)
        write_json(process.note_file(self.folder, leak), asdict(process.Note(0.0, "")))

    def keep_answers(self, leak: str, told: Mapping[str, Any], heard: Answers) -> None:
        """Keep what it answered, once that was read as a stranger's is."""
        key = self._answered(leak, told)
        if key is None or not all(heard.values()) or self.artefacts.get(key) is not None:
            return
        ordered = enumerate(heard.items())
        self.artefacts.put(
            key, {f"{at:02d}/{who}/{part}": array for at, (who, own) in ordered for part, array in own.items()}
        )

    def _answered(self, leak: str, told: Mapping[str, Any]) -> str | None:
        """All that an answer depends on; None: no other run would believe it."""
        if not self.adversary.lends:
            return None
        (step,) = (one for one in process.Plan.read(self.folder).steps if one.leak == leak)
        held = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return self._called("answered", step, leak=held, question=step.question, method=versions([type(self.method)]))

    def _called(self, kind: str, step: process.Step, **more: Any) -> str:
        from fedcxr.training.compute import Compute  # here and not above: it imports torch, which takes seconds

        plan = process.Plan.read(self.folder)
        return self.artefacts.key(
            kind,
            adversary=step.adversary,
            holds=step.holds,
            seed=plan.seed,
            compute=Compute.choose(**plan.compute).settings,
            files=[digest_of_file(file) for file in self.adversary.required_files()],
            versions=versions([type(self.adversary)]),
            **more,
        )
