"""The bill of materials: what an installation brings, in CycloneDX, for the tools of a hospital's IT.

scripts/make sbom [FILE]      fedcxr.cdx.json unless another file is named
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(out: Path) -> None:
    """Write the bill to this file."""
    subprocess.run(
        [
            *(sys.executable, "-m", "cyclonedx_py", "requirements", "requirements.lock"),
            *("--pyproject", "pyproject.toml", "--mc-type", "application"),
            *("--spec-version", "1.6", "--output-reproducible", "--output-file", str(out)),
        ],
        cwd=ROOT,
        check=True,
    )
    print(f"{out}: what requirements.lock installs, in CycloneDX 1.6")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "fedcxr.cdx.json").absolute())
