"""`fedcxr artefacts`: says what is kept and deletes what was asked for, and nothing else."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import click
import numpy as np
import pytest
from typer.testing import CliRunner

from fedcxr.cli import app
from fedcxr.storage.artefacts import Artefacts


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artefacts:
    """Three artefacts: two verifiers, one of which nobody has used for ten days, and a codec."""
    monkeypatch.setenv("FEDCXR_CACHE", str(tmp_path))
    made = Artefacts.below(tmp_path)
    for kind, seed in (("verifier", 1), ("verifier", 2), ("codec", 1)):
        made.put(Artefacts.key(kind, seed=seed), {"x": np.zeros(500_000)})
    then = time.time() - 10 * 24 * 3600
    os.utime(made.folder / f"{Artefacts.key('verifier', seed=1)}.safetensors", (then, then))
    return made


def said(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["artefacts", *arguments], standalone_mode=False)
    assert done.exception is None, done.exception
    return done.stdout


def test_what_is_kept_is_listed_by_kind(store: Artefacts) -> None:
    codec, verifier, total = said("list").splitlines()
    assert codec.split()[:4] == ["codec", "1", "4.0", "MB"]
    assert verifier.split()[:4] == ["verifier", "2", "8.0", "MB"]
    assert total == f"kept: 3, 12.0 MB, in {store.folder}"
    listed = json.loads(said("list", "--kind", "verifier", "--older-than", "9", "--format", "json"))
    assert [entry["key"] for entry in listed["kept"]] == [Artefacts.key("verifier", seed=1)]
    assert listed["kept"][0]["bytes"] == store.entries()[1].size
    assert len(store.entries()) == 3


def test_what_is_cleared_is_gone(store: Artefacts) -> None:
    assert said("clear", "--older-than", "11").startswith("deleted: 0")
    assert said("clear", "--older-than", "9").splitlines()[-1].startswith("deleted: 1, 4.0 MB")
    assert len(json.loads(said("clear", "--kind", "codec", "--format", "json"))["deleted"]) == 1
    assert [entry.key for entry in store.entries()] == [Artefacts.key("verifier", seed=2)]
    said("clear")
    assert said("list") == f"kept: 0, 0.0 MB, in {store.folder}\n"


@pytest.mark.parametrize("days", ["-1", "many"])
def test_days_are_a_number(store: Artefacts, days: str) -> None:
    done = CliRunner().invoke(app, ["artefacts", "clear", "--older-than", days], standalone_mode=False)
    assert isinstance(done.exception, click.UsageError)
    assert len(store.entries()) == 3
