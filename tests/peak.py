"""How much memory a piece of work takes, beyond what importing takes: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MEASURED = """
import resource, sys
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
{imports}
before = peak()
try:
    {work}
except Exception as error:
    print(type(error).__name__, error, file=sys.stderr)
print(peak() - before)
"""


def peak_mb(imports: str, work: str, *arguments: str | Path) -> tuple[int, str]:
    """MiB that the work takes at its peak, and what it raised. The work finds its arguments in sys.argv[1:]."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(imports=imports, work=work), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return int(done.stdout), done.stderr.strip()
