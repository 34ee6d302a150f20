"""No test touches the secret, the cohorts or the networks of whoever runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedcxr.data import cache_folder
from fedcxr.data._pseudonyms import own_file

PLACES = "from fedcxr.data import cache_folder, _pseudonyms; print(cache_folder(), _pseudonyms.own_file(), sep='\\n')"


def test_tests_have_places_of_their_own(tmp_path_factory: pytest.TempPathFactory, root: Path) -> None:
    """The fixture is not asked for here: it must be at work unasked."""
    said = subprocess.run([sys.executable, "-c", PLACES], cwd=root, capture_output=True, text=True, check=True).stdout
    weights = Path(os.environ["FEDCXR_WEIGHTS"])
    for place in (cache_folder(), own_file(), weights, *map(Path, said.splitlines())):
        assert place.is_relative_to(tmp_path_factory.getbasetemp().parent)
