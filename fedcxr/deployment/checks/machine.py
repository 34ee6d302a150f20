"""The machine itself: disk, memory, graphics card, loopback, fence, and what the environment would make of Flower."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from fedcxr.deployment.checks.check import Outcome, fine, insecure, odd, wrong
from fedcxr.deployment.run_folder import QUIET
from fedcxr.fence.strength import NEEDED, strength

GB = 1e9
LEAST_DISK, ENOUGH_DISK = 1 * GB, 10 * GB  # packed cohorts of 100 000 films of 64 x 64 take .5 GB, codes twice that
LEAST_MEMORY, ENOUGH_MEMORY = 1 * GB, 4 * GB  # torch and Flower take .7 GB before they see a film
ENOUGH_SHARED = 1 * GB  # Ray puts what is larger than /dev/shm on the disk
DRIVERS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/kfd")
LOCAL = "127.0.0.1"


def disk(*folders: Path) -> Outcome:
    """Room where films are cached and where a party writes."""
    found = {}
    for folder in folders:
        there = _there(folder)
        held = os.statvfs(there)
        found[folder] = held.f_bavail * held.f_frsize
        if not os.access(there, os.W_OK):
            return wrong(f"this user cannot write {there}", f"give it to this user, or choose another than {folder}")
    folder, free = min(found.items(), key=lambda one: one[1])
    told = f"{free / GB:.1f} GB free for {folder}"
    if free < LEAST_DISK:
        return wrong(told, f"make room: {LEAST_DISK / GB:g} GB at least")
    return odd(told, f"make room: {ENOUGH_DISK / GB:g} GB are wanted") if free < ENOUGH_DISK else fine(told)


def memory() -> Outcome:
    """Memory that is not in use, and cores that this process may use."""
    import psutil

    free, cores = psutil.virtual_memory().available, len(os.sched_getaffinity(0))
    told = f"{free / GB:.1f} GB free, {cores} core{'s' * (cores != 1)}"
    if free < LEAST_MEMORY:
        return wrong(told, "end what else runs here, or take a larger machine")
    return (
        odd(told, f"end what else runs here: {ENOUGH_MEMORY / GB:g} GB are wanted")
        if free < ENOUGH_MEMORY
        else fine(told)
    )


def card(wanted: str) -> Outcome:
    """The graphics card that networks would run on; `wanted` is auto, cpu or cuda."""
    if wanted == "cpu":
        return fine("not asked for")
    import torch

    driver = next((path for path in DRIVERS if Path(path).exists()), None)
    if torch.cuda.is_available():
        torch.ones(1, device="cuda").add_(1).cpu()  # a driver that is too old is there until something is computed
        free, total = torch.cuda.mem_get_info()
        return fine(f"{torch.cuda.get_device_name()}, {free / GB:.0f} of {total / GB:.0f} GB free")
    built = f"torch {torch.__version__} is built for {torch.version.cuda or 'no CUDA'}"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    why = f"{built}; " + (f"a driver is here ({driver})" if driver else "there is no driver")
    why += f", and CUDA_VISIBLE_DEVICES is {hidden!r}" if hidden is not None else ""
    fix = "install the card's driver and a torch for it, let this user open /dev/nvidia*, or say --device cpu"
    if wanted == "cuda":
        return wrong(f"no graphics card can be used: {why}", fix)
    return odd(f"a card is here and cannot be used: {why}", fix) if driver else fine("none; networks run on the CPU")


def fence(weaker: str = "") -> Outcome:
    """What keeps in who answers a coordinator at a hospital, and who attacks; `weaker`: why less will do here."""
    told, whole = strength()
    if whole:
        return fine(told)
    if weaker:
        return odd(f"{told}: {weaker}", f"for the whole fence take {NEEDED}")
    return insecure(
        f"{told}: a hospital's node refuses every request, and no adversary is run",
        f"take {NEEDED}; or say fence: {{weaker: true}} in the profile (compute.weaker_fence in a scenario), "
        "and trust all code that runs here",
    )


def environment(host: str = "") -> Outcome:
    """No telemetry, and no proxy on the way to the coordinator or to this machine itself."""
    proxies, far = urllib.request.getproxies(), [host] if host else []
    caught = [name for name in (LOCAL, *far) if _proxied(proxies, name)]
    if LOCAL in caught:
        return wrong(
            "a proxy is set, and calls of this machine to itself would go to it",
            f"set NO_PROXY={','.join((LOCAL, 'localhost', *far))}",
        )
    if caught:
        return odd(
            f"a proxy is set: the node would call {host} through it, and these checks did not",
            f"add {host} to NO_PROXY, or be sure that the proxy does not open TLS",
        )
    own = sorted(name for name in os.environ if name.startswith("FLWR_") and name not in QUIET)
    if own:
        return odd(f"set here, and read by Flower: {', '.join(own)}", f"unset {' '.join(own)}")
    return fine("telemetry is turned off at the start; no proxy")


def loopback() -> Outcome:
    """Whether processes here can talk to each other."""
    try:
        with socket.create_server((LOCAL, 0)) as listener:
            socket.create_connection(listener.getsockname(), 5).close()
    except OSError as error:
        return wrong(
            f"{LOCAL}: {error.strerror or error}", "ip link set lo up, and let this machine's firewall pass it"
        )
    return fine(f"{LOCAL} works")


def shared_memory() -> Outcome:
    """Where Ray's workers exchange films."""
    place = Path("/dev/shm")  # noqa: S108  to be looked at
    if not place.is_dir():
        return fine("no /dev/shm on this system")
    held = os.statvfs(place)
    free = held.f_bavail * held.f_frsize
    told = f"{free / GB:.1f} GB free in /dev/shm"
    if free < ENOUGH_SHARED:
        return odd(told, "simulations are slower: docker run --shm-size=2g, or --engine inline")
    return fine(told)


def _proxied(proxies: dict[str, str], host: str) -> bool:
    """Whether an HTTP library that goes by the environment would take this way (httpx, which Flower uses, does)."""
    schemes: Iterable[str] = ("http", "all") if host == LOCAL else ("https", "all")
    return any(scheme in proxies for scheme in schemes) and not urllib.request.proxy_bypass(host)


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that exists already."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
