"""The version of the code: any change of any source is another, and nothing that is not a source is one."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedcxr.methods.noise import Noise
from fedcxr.methods.none import Unprotected
from fedcxr.storage.version import code_version, digest_of_sources, versions

MIXIN = "from contextlib import ContextDecorator\n\n\nclass Mixin(ContextDecorator):\n    changed = False\n"
OUTSIDE = "from fedcxr.methods.noise import Noise\n\n\nclass Mine(Noise):\n    pass\n"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for name in ("fedcxr/__init__.py", "fedcxr/presets/quick.yaml", "sites/app.py", "server/app.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return tmp_path


CHANGES: dict[str, Callable[[Path], object]] = {
    "a source": lambda root: (root / "fedcxr/__init__.py").write_text("# other\n"),
    "data": lambda root: (root / "fedcxr/presets/quick.yaml").write_text("seed: 1\n"),
    "a site": lambda root: (root / "sites/app.py").write_text("# other\n"),
    "the server": lambda root: (root / "server/app.py").write_text("# other\n"),
    "a new file": lambda root: (root / "fedcxr/weights.safetensors").touch(),
    "a name": lambda root: (root / "sites/app.py").rename(root / "sites/apps.py"),
    "a file that is gone": lambda root: (root / "server/app.py").unlink(),
    "what stands in which file": lambda root: (
        (root / "sites/app.py").write_text("# server/app.py\n"),
        (root / "server/app.py").write_text("# sites/app.py\n"),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_another_version(sources: Path, change: str) -> None:
    before = digest_of_sources(sources)
    CHANGES[change](sources)
    assert digest_of_sources(sources) != before


def test_what_python_and_editors_leave_is_no_change(sources: Path) -> None:
    before = digest_of_sources(sources)
    (sources / "fedcxr/__pycache__").mkdir()
    (sources / "fedcxr/__pycache__/__init__.cpython-312.pyc").write_bytes(b"x")
    (sources / "fedcxr/.__init__.py.swp").write_bytes(b"x")
    (sources / "fedcxr/empty").mkdir()
    (sources / "tests").mkdir()
    (sources / "tests/test_x.py").write_text("")
    assert digest_of_sources(sources) == before


def test_ours_is_the_same_in_every_process_and_known_at_once(root: Path) -> None:
    asked = "from fedcxr.storage.version import code_version; print(code_version())"
    ran = subprocess.run([sys.executable, "-c", asked], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == code_version() == digest_of_sources(root)
    began = time.perf_counter()
    code_version()
    assert time.perf_counter() - began < 0.001


def test_what_is_ours_has_our_version_alone() -> None:
    assert versions([Noise, Unprotected]) == {"fedcxr": code_version()}


def test_a_class_from_outside_has_a_version_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "theirs.py").write_text(MIXIN)
    (tmp_path / "ours.py").write_text("import theirs\n" + OUTSIDE.replace("(Noise)", "(Noise, theirs.Mixin)"))

    def loaded() -> dict[str, str]:
        for module in ("ours", "theirs"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()
        return versions([Noise, importlib.import_module("ours").Mine])

    before = loaded()
    assert set(before) == {"fedcxr", "ours", "theirs"}
    assert loaded() == before
    (tmp_path / "theirs.py").write_text(MIXIN.replace("False", "True"))
    after = loaded()
    assert {module for module in after if after[module] != before[module]} == {"theirs"}


def test_a_class_without_a_file_is_equal_to_nothing() -> None:
    typed = type("Typed", (Noise,), {"__module__": "prompt"})
    assert versions([typed])["prompt"] != versions([typed])["prompt"]
