"""Lock files: every distribution that an installation brings, with its version and the digests of its files.

    requirements.lock       what users get
    requirements-dev.lock   what developers and CI get: the same, and tools

`constraints.txt` says which versions; this resolves what those bring along, for every Python and platform we support.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = {"requirements.lock": (), "requirements-dev.lock": ("--extra", "dev")}
BUILD = "setuptools>=77\n"  # with it the project itself is built, without fetching anything
HEAD = "# Made by `scripts/make lock` from pyproject.toml and constraints.txt.\n"


def main() -> None:
    """Resolve anew, and write both files."""
    for name, extra in LOCKS.items():
        resolved = subprocess.run(
            [
                *(sys.executable, "-m", "uv", "--quiet", "pip", "compile", "pyproject.toml", "-", *extra),
                *("--constraint", "constraints.txt", "--universal", "--python-version", "3.11"),
                *("--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url"),
            ],
            input=BUILD,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        (ROOT / name).write_text(HEAD + resolved, encoding="utf-8")
        print(f"{name}: {resolved.count('==')} distributions")


if __name__ == "__main__":
    main()
