"""What real nodes cost, all on loopback: nginx, SuperLink, two SuperNodes, certificates, a process for each message.

    scripts/bench nodes                     # a model of 200 MB
    scripts/bench nodes --megabytes 28

`gate` downloads a file of that size from an nginx with the same certificates, before, between and after the rest. A run
of rounds of a model of a few bytes tells what a round costs whatever is carried, and one of the large model what the
carrying costs: both directions at both sites. Learning takes no time here. Whose processors are at work in it, in
CPU-seconds, other work on the machine changes least: of the SuperLink, the SuperNodes and the gate no line is ours.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from fedcxr.deployment.kit import read_server
from server.control import Control

SITES = ("one", "other")
ROUNDS = 4
ONLINE_S = 120.0
HERE = Path(__file__).parent


def main() -> None:
    """Set two hospitals up, measure, and take them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedcxr-nodes-") as folder:
        bench = Bench(Path(folder))
        bench.provision()
        with bench.running():
            _print(bench, options.megabytes)


def _print(bench: Bench, megabytes: float) -> None:
    rates = [bench.download(megabytes)]
    small, little = bench.spent(0.001)
    rates.append(bench.download(megabytes))
    large, much = bench.spent(megabytes)
    raw = max(*rates, bench.download(megabytes))
    carried = 2 * len(SITES) * megabytes  # of each round: down and up
    rate = carried / max(large["round_s"] - small["round_s"], 1e-9)
    print(f"{len(SITES)} sites, {megabytes:g} MB, {ROUNDS} rounds, {os.cpu_count()} cores\n")
    print(f"gate, best of 3 downloads {raw:8.0f} MB/s")
    print(f"nodes, both directions    {rate:8.0f} MB/s, {rate / raw:.2f} of that")
    print(f"start to first update     {small['first_s']:8.1f} s")
    print(f"a round of a few bytes    {small['round_s']:8.1f} s")
    print(f"a round of {megabytes:6g} MB      {large['round_s']:8.1f} s")
    print(f"\nCPU-seconds of carrying, in all, by {ROUNDS} rounds")
    for part, seconds in much.items():
        print(f"{part:26}{(seconds - little[part]) / ROUNDS:8.1f}")


class Bench:
    """Two hospitals and a coordinator in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = folder / "kits" / "server"
        self._children: list[subprocess.Popen[bytes]] = []
        self._environment = os.environ | {
            "FEDCXR_PASSPHRASE_FILE": str(folder / "words"),
            "FEDCXR_COUNTERS": str(folder / "counters"),
            "FEDCXR_CACHE": str(folder / "cache"),
            "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])]),
        }

    def provision(self) -> None:
        """Kits, vaults, requests, certificates."""
        (self._folder / "words").touch(mode=0o600)
        (self._folder / "words").write_text("correct horse battery staple")
        gate, superlink, *ports = _free_ports(2 + len(SITES))
        plan = self._folder / "consortium.yaml"
        sites = {name: {"runtime_port": port} for name, port in zip(SITES, ports, strict=True)}
        plan.write_text(
            yaml.safe_dump(
                {"name": "bench", "host": "localhost", "port": gate, "superlink_port": superlink, "sites": sites}
            )
        )
        self._fedcxr("provision", str(plan), "--out", str(self._folder / "kits"))
        for name in SITES:
            kit = self._folder / name
            shutil.copytree(self._folder / "kits" / name, kit)
            self._fedcxr("keys", "init", "--site", name, "--vault", str(kit / "vault"))
            profile = {
                "site": name,
                "vault": str(kit / "vault"),
                "coordinator": str(kit / "coordinator.card"),
                "cohort": {"source": "phantom", "patients": 20, "size": 16},
                "methods": {"_bulk:Bulk": {}},
                "outside": ["_bulk:Bulk"],
                "learns": ["federated"],
                "budget": {"releases": 99, "turns": 999},
                "smallest": 1,
            }
            (kit / "profile.yaml").write_text(yaml.safe_dump(profile))
            self._fedcxr("site", "request", str(kit))
            shutil.copy(kit / "request.json", self._folder / "kits" / "requests" / f"{name}.json")
        self._fedcxr("provision", str(plan), "--out", str(self._folder / "kits"))
        for name in SITES:
            shutil.copy(self._folder / "kits" / name / "node.crt", self._folder / name)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The server and both nodes, connected."""
        started = [("server", "start", str(self._server)), *(("site", "start", str(self._folder / n)) for n in SITES)]
        children = self._children
        try:
            for words in started:
                command = [sys.executable, "-P", "-m", "fedcxr.cli", *words]
                children.append(subprocess.Popen(command, env=self._environment, start_new_session=True))
            deadline = time.monotonic() + ONLINE_S
            while self._online() < len(SITES):
                if time.monotonic() > deadline:
                    raise SystemExit("the nodes do not connect")
                time.sleep(0.5)
            yield
        finally:
            for child in reversed(children):
                child.terminate()
            for child in children:
                child.wait(60)

    def download(self, megabytes: float) -> float:
        """MB/s of the gate's own nginx, which sends a file to one of the sites."""
        (port,) = _free_ports(1)
        place = self._folder / "plain"
        (place / "run").mkdir(parents=True, exist_ok=True)
        (place / "bulk").write_bytes(os.urandom(int(megabytes * 1e6)))
        server = self._server
        (place / "nginx.conf").write_text(
            f"""{"user root; " if os.geteuid() == 0 else ""}
            pid run/nginx.pid; error_log run/error.log; daemon off; events {{ }}
            http {{ access_log off; client_body_temp_path run; proxy_temp_path run; fastcgi_temp_path run;
            uwsgi_temp_path run; scgi_temp_path run;
            server {{ listen 127.0.0.1:{port} ssl; root {place}; ssl_protocols TLSv1.2 TLSv1.3;
            ssl_certificate {server}/server.crt; ssl_certificate_key {server}/private/server.key;
            ssl_client_certificate {server}/ca.crt; ssl_verify_client on; }} }}"""
        )
        nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
        child = subprocess.Popen([nginx, "-p", str(place), "-c", "nginx.conf"])
        try:
            site = self._folder / SITES[0]
            context = ssl.create_default_context(cafile=str(site / "ca.crt"))
            context.load_cert_chain(site / "node.crt", site / "private" / "tls.key")
            time.sleep(1.0)
            with httpx.Client(verify=context, timeout=300) as client:
                began = time.perf_counter()
                client.get(f"https://localhost:{port}/bulk").raise_for_status()
                return megabytes / (time.perf_counter() - began)
        finally:
            child.terminate()
            child.wait(30)

    def rounds(self, megabytes: float) -> dict[str, float]:
        """Seconds to the first update, and between two rounds."""
        plan = self._folder / "scenario.yaml"
        document: dict[str, Any] = {
            "name": "bench",
            "sites": dict.fromkeys(SITES, "own"),
            "method": {"name": "_bulk:Bulk", "megabytes": megabytes, "rounds": ROUNDS},
            "tasks": {},
            "adversaries": {},
        }
        plan.write_text(yaml.safe_dump(document))
        began = time.time()
        told = json.loads(self._fedcxr("submit", str(plan), "--kit", str(self._server), "--format", "json"))
        (run,) = (self._server / "runs" / "bench").glob(f"{told['run']['id']}-*")
        ends = [file.stat().st_mtime for file in sorted((run / "learnt").glob("round-*.release"))]
        return {"first_s": ends[1] - began, "round_s": (ends[-1] - ends[1]) / (ROUNDS - 1)}

    def spent(self, megabytes: float) -> tuple[dict[str, float], dict[str, float]]:
        """The same, and the CPU-seconds of each part."""
        before = self._cpu()
        told = self.rounds(megabytes)
        return told, {part: seconds - before[part] for part, seconds in self._cpu().items()}

    def _cpu(self) -> dict[str, float]:
        found = dict.fromkeys(["SuperLink", "gate", "the coordinator's app", "SuperNodes", "hospitals' apps"], 0.0)
        for child in self._children:
            for part in psutil.Process(child.pid).children():
                found[self._part(part)] += sum(_used(one) for one in (part, *part.children(recursive=True)))
        return found

    def _part(self, process: psutil.Process) -> str:
        command = " ".join(process.cmdline())
        at_server = str(self._server) in command
        if "nginx" in command:
            return "gate"
        if "flower-superexec" in command:
            return "the coordinator's app" if at_server else "hospitals' apps"
        return "SuperLink" if "superlink" in command.split("--")[0] else "SuperNodes"

    def _online(self) -> int:
        from fedcxr.errors import EngineBroken

        told = read_server(self._server)
        try:
            with Control.of(f"127.0.0.1:{told.superlink_port}", self._server / "ca.crt") as control:
                return sum(node.status == "online" for node in control.nodes().values())
        except EngineBroken:
            return 0

    def _fedcxr(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "fedcxr.cli", *words],
            env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.stderr}")
        return done.stdout


def _used(process: psutil.Process) -> float:
    """Of a process and of those below it that have ended."""
    try:
        return sum(process.cpu_times()[:4])
    except psutil.NoSuchProcess:
        return 0.0


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


if __name__ == "__main__":
    main()
