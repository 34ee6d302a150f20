"""What a coordinator brings: nginx with its configuration, and every site's card, node key and certificate."""

from __future__ import annotations

import subprocess
import tempfile
from datetime import datetime
from pathlib import Path

from fedcxr.deployment import kit
from fedcxr.deployment.checks.check import Outcome, Verdict, fine, odd, wrong
from fedcxr.deployment.checks.credentials import lasting
from fedcxr.deployment.checks.software import nginx
from fedcxr.errors import one_line

CONFIGURATION = "nginx.conf"
SECONDS = 20.0
PAPERS = ((kit.CARDS, ".card", "card"), (kit.NODES, ".pub", "node key"), (kit.NODES, ".crt", "certificate"))


def gate(folder: Path) -> Outcome:
    """Whether nginx is there and takes the configuration; nothing is written into the kit."""
    program = nginx()
    if program is None:
        return wrong("there is no nginx", "apt install nginx-light")
    with tempfile.TemporaryDirectory(prefix="fedcxr-") as passing:
        trial = Path(passing)
        (trial / kit.RUN).mkdir()
        for part in folder.iterdir():
            if part.name != kit.RUN:  # where a gate that runs has its own files
                (trial / part.name).symlink_to(part.absolute())
        command = [program, "-t", "-q", "-p", str(trial), "-c", CONFIGURATION]
        ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    if ran.returncode:
        said = next((line for line in ran.stderr.splitlines() if "[emerg]" in line), ran.stderr)
        return wrong(
            f"nginx refuses {CONFIGURATION}: {one_line(said.partition('[emerg] ')[2] or said, 120)}",
            "copy the whole kit again, or install Debian's nginx (1.22 or later)",
        )
    return fine(f"{program} takes {CONFIGURATION}")


def sites(folder: Path, told: kit.ServerKit, now: datetime) -> Outcome:
    """Whether every site can come: who lacks what, and whose certificate ends."""
    lacking = {
        site: [what for inner, ending, what in PAPERS if not (folder / inner / f"{site}{ending}").is_file()]
        for site in told.sites
    }
    there = [site for site, missing in lacking.items() if not missing]
    without = [f"{site} without {', '.join(missing)}" for site, missing in lacking.items() if missing]
    ask = "put their requests into KITS/requests, provision again, and copy the kit"
    if not there:
        return wrong(f"nobody can come: {'; '.join(without)}", ask)
    if without:
        return odd(f"{len(there)} of {len(lacking)} can come; {'; '.join(without)}", ask)
    ending = {
        site: seen
        for site in there
        if (seen := lasting(kit.certificate(folder / kit.NODES / f"{site}.crt"), now, "")).verdict is not Verdict.ok
    }
    if ending:
        told_of = "; ".join(f"{site}'s {seen.found}" for site, seen in ending.items())
        return odd(told_of, f"provision with --renew {next(iter(ending))}, and send it its node.crt")
    return fine(f"{len(there)} of {len(there)} can come: card, node key and certificate are here")


def programs() -> Outcome:
    """nginx, for whom this machine is to be a coordinator's."""
    found = nginx()
    return fine(f"nginx: {found}" if found else "no nginx, which only a coordinator's machine needs")
