"""Network namespaces for a coordinator and hospitals: each hospital has a link to the coordinator and nothing else."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HOST = "10.77.0.1"  # the coordinator, as all hospitals know it
NEW_NETWORK = 0x40000000  # CLONE_NEWNET, of setns(2)


@dataclass(frozen=True)
class Networks:
    """One of a party's own, by its name."""

    prefix: str

    @contextlib.contextmanager
    def inside(self, who: str) -> Iterator[None]:
        """This thread, and what it starts, is at this party's as far as the network goes."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        theirs = os.open(Path("/run/netns") / self._named(who), os.O_RDONLY)
        try:
            _enter(theirs)
            yield
        finally:
            _enter(own)
            os.close(own)
            os.close(theirs)

    def make(self, sites: Sequence[str]) -> None:
        """The coordinator's machine passes nothing on, so no hospital reaches another."""
        for who in ("server", *sites):
            _ip("netns", "add", self._named(who))
            self._ip_of(who, "link", "set", "lo", "up")
        self._ip_of("server", "address", "add", f"{HOST}/32", "dev", "lo")
        with self.inside("server"):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        for number, site in enumerate(sites, start=1):
            here, there = f"10.77.{number}.1", f"10.77.{number}.2"
            self._ip_of(
                "server", "link", "add", site, "type", "veth", "peer", "name", "out", "netns", self._named(site)
            )
            self._ip_of("server", "address", "add", f"{here}/30", "dev", site)
            self._ip_of("server", "link", "set", site, "up")
            self._ip_of(site, "address", "add", f"{there}/30", "dev", "out")
            self._ip_of(site, "link", "set", "out", "up")
            self._ip_of(site, "route", "add", HOST, "via", here)

    def unmake(self, sites: Sequence[str]) -> None:
        for who in ("server", *sites):
            subprocess.run(["ip", "netns", "delete", self._named(who)], capture_output=True, check=False)

    def _named(self, who: str) -> str:
        return f"{self.prefix}-{who}"

    def _ip_of(self, who: str, *words: str) -> None:
        _ip("-netns", self._named(who), *words)


@contextlib.contextmanager
def networks(sites: Sequence[str]) -> Iterator[Networks]:
    """Of a coordinator and these hospitals."""
    made = Networks(f"fedcxr-{os.getpid()}")
    try:
        made.make(sites)
        yield made
    finally:
        made.unmake(sites)


@cache
def possible() -> bool:
    """Whether this user may make them here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    try:
        with networks(["trial"]) as made, made.inside("trial"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, check=True)


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "setns")
