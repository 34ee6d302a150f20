"""What is installed: our own version's libraries, programs, and names in Flower that are its to change."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from fedcxr import __version__
from fedcxr.deployment.checks.check import Outcome, fine, insecure, odd, wrong

SHOWN = ("torch", "flwr", "ray", "opacus")  # of all libraries, those that a person asks about
FLOWER = "flwr"
README = "README.txt"  # whose first line ends with the version that wrote it
AGAIN = "install fedcxr again: pip install fedcxr"
# What a machine may be without, the extra that brings it, and what it is for.
EXTRAS: Mapping[str, tuple[str, str]] = {
    "ray": ("simulation", "the engine ray of simulations"),
    "pyarrow": ("parquet", "tables in Parquet"),
    "matplotlib": ("plots", "the diagrams of scripts/evidence"),
    "tensorboard": ("tensorboard", "fedcxr report --tensorboard"),
}
PATHS = ("/usr/sbin", "/usr/local/sbin")  # where nginx is, outside of a user's PATH


def python() -> Outcome:
    """Which Python runs which fedcxr."""
    return fine(f"Python {platform.python_version()}, fedcxr {__version__}, {sys.platform} {platform.machine()}")


def libraries() -> Outcome:
    """Everything that this fedcxr asks for, in a version that it asks for."""
    from packaging.requirements import Requirement

    asked = [Requirement(line) for line in metadata.requires("fedcxr") or ()]
    always = [one for one in asked if one.marker is None]
    missing = [one.name for one in always if version(one.name) is None]
    other = [
        f"{one.name} {installed} (asked for: {one.specifier})"
        for one in always
        if (installed := version(one.name)) is not None and not one.specifier.contains(installed, prereleases=True)
    ]
    if missing or other:
        return wrong(", ".join([*other, *(f"{name} is missing" for name in missing)]), AGAIN)
    return fine(", ".join(f"{name} {version(name)}" for name in SHOWN if version(name)))


def extras() -> Outcome:
    """What can be added."""
    missing = [
        f"{name} ({what}: pip install 'fedcxr[{extra}]')" for name, (extra, what) in EXTRAS.items() if not version(name)
    ]
    return fine(f"not installed, if wanted: {', '.join(missing)}" if missing else "all are installed")


def versions(folder: Path) -> Outcome:
    """Whether this fedcxr is the one that made the kit, with a Flower that it asks for.

    Flower ends a node whose version the coordinator's does not speak to with 606, and a gate tells nobody beforehand
    which that is. But one fedcxr asks for one Flower.
    """
    from packaging.requirements import Requirement

    installed = version(FLOWER)
    asked = next(one for one in map(Requirement, metadata.requires("fedcxr") or ()) if one.name == FLOWER)
    if installed is None or not asked.specifier.contains(installed, prereleases=True):
        return wrong(
            f"flwr {installed or 'is missing'}, and fedcxr {__version__} asks for {asked.specifier}",
            "install fedcxr again, with its flwr, or Flower ends with 606 beside a coordinator's",
        )
    made = (folder / README).read_text(encoding="utf-8").partition("\n")[0].split()[-1]
    if made != __version__:
        return odd(
            f"fedcxr {made} made this kit, and here is {__version__}",
            "install the same on all machines, with its flwr, or Flower ends with 606",
        )
    return fine(f"fedcxr {made} as the kit's, flwr {installed} as that asks for")


def replaced(launcher: str, runtime: str, more: Mapping[str, str], programs: Iterable[str]) -> Outcome:
    """Every name of Flower's that ours take the place of is there, and so are the programs that are started.

    A Flower without one would go on with its own, and run code that was pushed.
    """
    beside = Path(sys.executable).parent
    absent = [name for name in programs if shutil.which(name, path=str(beside)) is None]
    if absent:
        return wrong(f"{', '.join(absent)} is not beside {sys.executable}", AGAIN)
    ours: Mapping[str, object] = importlib.import_module(launcher).REPLACED  # by name: the library knows neither party
    wanted = [*((runtime, name) for name in ours), *more.items()]
    gone = [f"{module}.{name}" for module, name in wanted if not hasattr(importlib.import_module(module), name)]
    if gone:
        return insecure(f"flwr {version(FLOWER)} has no {', '.join(gone)}", AGAIN)
    return fine(f"{len(wanted)} names in flwr that ours take the place of")


def setpriv() -> Outcome:
    """What has the kernel end a kit's processes with the one that started them."""
    if sys.platform != "linux":
        return odd("not on this system", "end a node's processes yourself if it is killed")
    if shutil.which("setpriv") is None:
        return odd("not found: processes of a killed node would live on", "install util-linux")
    return fine("found")


def nginx() -> str | None:
    """Where nginx is."""
    return shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), *PATHS)))


def version(name: str) -> str | None:
    """Of an installed library."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
