"""What any Python program reads to run at all, and the devices that it computes with."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

# Itself and the machine, and no other process.
PROC = ("self", "cpuinfo", "meminfo", "stat", "version", "devices", "modules", "filesystems", "driver", "sys")
# Processors and cards; not /sys/kernel, where the whole machine can be traced, nor what is said there of others.
SYS = ("devices", "bus", "class", "module")
# Programs' own files, and not all of /usr: images of containers keep whole applications with their data in /usr/src.
PROGRAMS = ("bin", "lib", "lib32", "lib64", "libexec", "share")
PROCESSORS = ("cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")  # how many: joblib insists


def system(ours: Sequence[str]) -> list[Path]:
    """What any Python program reads: interpreter, libraries, these packages of ours; no home and no /etc secrets."""
    packages = Path(__file__).resolve().parents[2]
    # Not the whole prefix: it may be a folder that holds other things.
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    interpreter = {prefix / part for prefix in prefixes for part in ("bin", "lib", "lib64", "pyvenv.cfg")}
    # `pip install --user` and .pth files put libraries elsewhere.
    interpreter |= {Path(p) for p in sys.path if Path(p).name in ("site-packages", "dist-packages")}
    system = [
        "/lib",
        "/lib64",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/dev/zero",
        "/dev/random",
        "/dev/urandom",
    ]
    programs = [place / part for place in (Path("/usr"), Path("/usr/local")) for part in PROGRAMS]
    places = (Path("/opt"), Path("/usr/local"))
    drivers = [found for place in places for made in ("rocm*", "nvidia*", "cuda*") for found in place.glob(made)]
    facts = [Path("/proc") / name for name in PROC] + [Path("/sys") / name for name in SYS]
    facts += [Path("/sys/fs/cgroup") / name for name in PROCESSORS]
    return [
        *sorted({*interpreter, *(packages / name for name in ours), *map(Path, system), *programs, *drivers}),
        *facts,
    ]


def cards() -> list[Path]:
    """Graphics cards, which hold nothing of the user's. Not all of /dev: disks and shared memory hold everything."""
    return [Path("/dev/kfd"), *Path("/dev/dri").glob("renderD*"), *Path("/dev").glob("nvidia*")]
