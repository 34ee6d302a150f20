"""The contract tests catch contributions that break their promises: one sloppy file of each kind, in a copy of all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SLOPPY = {
    "adversaries": '''
import numpy as np

from fedcxr.adversaries import Adversary


class Sloppy(Adversary):
    """Draws from whatever generator there is."""

    answers = ("linkage", "sloppy")
    scale: float = 1.0

    def answer(self, question, leak, prepared, seed, compute, progress):
        progress("sloppy", 1, 2)
        n = len(leak.view)
        shape = (n, len(leak.known)) if question == "linkage" else (n,)
        return {"lots": {"scores": np.random.random(shape)}}
''',
    "questions": '''
import numpy as np

from fedcxr.knowledge import Holding
from fedcxr.questions import PROTECTED, Asked, Part, Question, Setting, no_film
from fedcxr.table import Table
from fedcxr.world import Roles


class Sloppy(Question):
    """Tells who is asked about, and makes nothing of the answer."""

    knows = ("own_films", "known_films", "mechanism")
    share: float = 0.5

    def settings(self, world):
        after = {} if world.traces is None else {"control": Setting(world)}
        return {PROTECTED: Setting(world), **after}

    def roles(self, world):
        nobody = no_film(world)
        return Roles(world.tested, np.ones_like(nobody), nobody, nobody)

    def ask(self, world, roles, view, held):
        asked = world.rows_of(roles.attacked)
        given = Holding({"lots": np.random.random(3)}, {"names": world.cohort.patients.tolist()})
        return Asked(view.take(asked), {"scores": Part((int(asked.sum()),), np.float32)}, world.cohort.patients, given)

    def score(self, heard, seed):
        return [
            {
                "attacker": attacker,
                "auc": {"value": float(answer["scores"].mean()), "ci95": [1.0, 0.0]},
                "whom": list(heard[PROTECTED].key[:3]),
                "conclusive": True,
                "inconclusive_because": None,
                "seconds": np.random.random(),
            }
            for attacker, answer in heard[PROTECTED].answers.items()
        ]

    def table(self, entries, privacy):
        return Table("", notes=(str(float("nan")),))
''',
    "knowledge": '''
from dataclasses import replace

import numpy as np

from fedcxr.knowledge import Holding, Knowledge


class Sloppy(Knowledge):
    """Holds names, and whatever a generator gives."""

    most: int = 3

    before_releases = True

    @property
    def granted(self):
        return True

    def assign(self, world, roles):
        return replace(roles, known=roles.attacked)

    def held(self, world, roles):
        released = 0 if world.traces is None else len(world.traces)
        return Holding({"lots": np.random.random(3) + released}, {"names": world.cohort.patients.tolist()})
''',
    "tasks": '''
import numpy as np

from fedcxr.table import Row, Table
from fedcxr.tasks import Task


class Sloppy(Task):
    """Tells whose films it likes, more or less."""

    bins: int = 3

    def applies(self, evidence):
        return True

    def measure(self, evidence, bench):
        told = {"auc": {"value": 1.5 + np.random.random(), "ci95": [1.0, 0.0]}, "whom": evidence.cohort.patients[0]}
        return told | ({} if (evidence.origin >= 0).any() else {"psnr": float("nan")})

    def table(self, figures):
        return Table("", ("AUC",), (Row("", ("nan", "too", "many")),))
''',
}

# By folder, promises that its file does not keep.
BROKEN = {
    "adversaries": {
        "test_same_seed_same_answers_from_disk_and_whatever_the_global_generators_are",
        "test_progress_ends_at_its_end",
        "test_every_number_has_limits",
    },
    "questions": {
        "test_its_worlds_are_known_before_anything_is_released",
        "test_nobody_plays_two_parts",
        "test_the_same_is_asked_again_whatever_the_global_generators_are",
        "test_what_is_asked_names_nobody",
        "test_entries_are_plain_figures_in_their_ranges",
        "test_the_same_answers_are_scored_the_same",
        "test_its_table_is_text",
        "test_every_number_has_limits",
    },
    "knowledge": {
        "test_nobody_plays_two_parts",
        "test_the_same_is_held_again_whatever_the_global_generators_are",
        "test_what_is_held_before_anything_is_released_is_the_same_afterwards",
        "test_what_is_held_names_nobody",
        "test_every_number_has_limits",
        "test_says_what_is_known",
    },
    "tasks": {
        "test_figures_are_plain_and_in_their_ranges",
        "test_figures_name_nobody",
        "test_same_seed_same_figures_whatever_the_global_generators_are",
        "test_figures_do_not_depend_on_what_patients_are_called",
        "test_its_table_is_text",
        "test_who_sees_nothing_measures_nothing",
        "test_films_of_nobody_are_measured_or_do_not_apply",
        "test_every_number_has_limits",
    },
}


@pytest.mark.slow
def test_the_contract_tests_find_what_is_broken_in_dropped_files(root: Path, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    for part in ("fedcxr", "server", "tests"):
        shutil.copytree(root / part, tmp_path / part, ignore=ignored)
    shutil.copy(root / "pyproject.toml", tmp_path)
    for folder, text in SLOPPY.items():
        (tmp_path / "fedcxr" / folder / "sloppy.py").write_text(text, encoding="utf-8")
    contracts = [f"tests/{folder}/test_contract.py" for folder in SLOPPY]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-k", "sloppy", *contracts],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    failed: dict[str, set[str]] = {folder: set() for folder in SLOPPY}
    for line in ran.stdout.splitlines():
        if line.startswith("FAILED "):
            file, _, test = line.split()[1].partition("::")
            failed[file.split("/")[1]].add(test.partition("[")[0])
    passed = ran.stdout.count("\nPASSED ")
    assert passed > 20, ran.stdout[-3000:]  # what fails, fails for its own reason
    missed = {folder: broken - failed[folder] for folder, broken in BROKEN.items()}
    assert not any(missed.values()), f"{missed}\n{ran.stdout[-3000:]}"
