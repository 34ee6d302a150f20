"""Asks pip-audit about every locked distribution, and tells apart `nothing known` and `nobody answered`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120  # seconds


def main() -> int:
    """Print what is known; 1 if anything is."""
    try:
        answer = subprocess.run(
            [
                *(sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"),
                *("--disable-pip", "--require-hashes", "--timeout", "5"),
                *("--requirement", "requirements-dev.lock"),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,  # it fails when it found something, and when nobody answered
        )
        asked: Sequence[Mapping[str, Any]] = json.loads(answer.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        asked = []
    code, words = verdict(asked)
    print(words, file=sys.stderr)
    return code


def verdict(asked: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """The exit code, and what was found out about how many distributions."""
    answered = [one for one in asked if "vulns" in one]
    if not answered:
        return 0, "vulnerabilities: not audited, for no source of them can be reached"
    known = [f"{one['name']} {one['version']}: {vuln['id']}" for one in answered for vuln in one["vulns"]]
    if known:
        return 1, "\n".join(["error: distributions with known vulnerabilities", *known])
    silent = len(asked) - len(answered)
    return 0, f"vulnerabilities: none known of {len(answered)} distributions" + (
        f"; {silent} could not be asked about" if silent else ""
    )


if __name__ == "__main__":
    sys.exit(main())
