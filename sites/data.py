"""Where a site keeps what it works with for a while."""

from __future__ import annotations

from pathlib import Path

from fedcxr.data import cache_folder
from fedcxr.scenario import Scenario


def scratch_folder(scenario: Scenario, site: str) -> Path:
    """Where this site keeps a method's half-done learning, so that a kill costs minutes and not hours."""
    return cache_folder() / "workshop" / f"{scenario.run_name}-{site}"
