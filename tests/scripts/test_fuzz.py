"""The fuzzer: a short campaign against every parser, and that it notices what it is there to notice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from campaign import campaign
from mutations import LONGEST, mutated
from targets import TARGETS, Target

from fedcxr.errors import Refused

CAMPAIGN = Path(__file__).resolve().parents[2] / "scripts" / "fuzzes" / "campaign.py"


@pytest.mark.parametrize("name", TARGETS)
def test_no_parser_fails_on_damaged_input(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    for example in target.examples():
        target.parse(example)  # accepted, or the campaign would begin with nothing
    outcome = campaign(target, tmp_path, seconds=20, seed=1, most=120)
    assert outcome.inputs > 0
    assert outcome.failures == 0


def test_what_fails_is_kept_and_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def brittle(data: bytes) -> None:
        if len(data) < 8:
            raise Refused("too short")
        if data[:8] != b"12345678":
            raise KeyError(data[:8])

    outcome = campaign(Target("brittle", brittle, lambda: [b"12345678"]), tmp_path, seconds=20, seed=1, most=60)
    assert 0 < outcome.failures < outcome.inputs == 60
    kept = list((tmp_path / "failures").iterdir())
    assert kept
    for path in kept:
        with pytest.raises(KeyError):
            brittle(path.read_bytes())
    assert "brittle: KeyError: " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("parse", "said"),
    [("while True: pass", "longer than 1 s"), ("bytearray(3 << 30)", "MemoryError"), ("os.abort()", "SIGABRT")],
)
def test_hangs_memory_and_crashes_are_noticed(parse: str, said: str, tmp_path: Path) -> None:
    program = f"""
import os, sys
sys.path.insert(0, {str(CAMPAIGN.parent)!r})
import campaign, targets
def bad(data):
    {parse}
campaign.TARGETS = targets.TARGETS | {{"bad": targets.Target("bad", bad, lambda: [])}}
campaign.PATIENCE = 1
targets.TARGETS["bad"] = campaign.TARGETS["bad"]
campaign.guarded()
print(campaign._parse(campaign.TARGETS["bad"], b""))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert said in done.stdout + ("SIGABRT" if done.returncode == -6 else "")


def test_damage_repeats_with_its_seed_and_stays_small() -> None:
    import random

    corpus = [b"abc" * 10, b"", b"x" * LONGEST]
    one, again = ([mutated(corpus, draws) for _ in range(200)] for draws in (random.Random(3), random.Random(3)))
    assert one == again
    assert len(set(one)) > 150
    assert max(map(len, one)) <= LONGEST


def test_an_unknown_parser_is_named(tmp_path: Path) -> None:
    start = time.monotonic()
    done = subprocess.run([sys.executable, CAMPAIGN, "relese"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no such parser: relese; allowed: release" in done.stderr
    assert time.monotonic() - start < 60
