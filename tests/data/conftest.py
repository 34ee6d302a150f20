"""What tests of readers share: a secret of their own, and the real tables that never enter the repository."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

REAL = Path(os.environ.get("FEDCXR_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


@pytest.fixture
def secret_file(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The secret of the site the test plays."""
    path = tmp_path_factory.mktemp("site") / "secret"
    path.write_text("5e" * 32 + "\n")
    path.chmod(0o600)
    monkeypatch.setenv("FEDCXR_SECRET_FILE", str(path))
    return path


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """A file or folder of the real data; skips where there is none."""

    def at(name: str) -> Path:
        path = REAL / name
        if not path.exists():
            pytest.skip(f"needs {path}, which may not be distributed; FEDCXR_TEST_DATA names another folder")
        return path

    return at
