"""What an adversary from outside is: read off its class by a child inside a fence, and told as JSON.

Started as `python -m server.description`, with a request on stdin. This process is ours alone; its child imports.
"""

from __future__ import annotations

import inspect
import json
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from fedcxr import plugins
from fedcxr.adversaries import Adversary
from fedcxr.adversaries._location import Location
from fedcxr.errors import ConfigError, FedcxrError
from server import confined, family
from server.confined import Fence
from server.limits import Limits

LONGEST = 1 << 18  # bytes of a description
LIMITS = Limits(memory=4 << 30, processes=256, disk=1 << 20, seconds=60.0)
PREFIX = "told: "


def main(request: Mapping[str, Any]) -> str:
    """The reply to a request."""
    family.lead()
    heard: list[str] = []

    def hear(line: str) -> None:
        if line.startswith(PREFIX):
            heard[:] = [line.removeprefix(PREFIX)]

    location = Location(request["module"], request["file"])
    try:
        with tempfile.TemporaryDirectory() as scratch:
            fence = Fence([location.readable], Path(scratch), LIMITS, request["weaker"])
            ended = confined.run(partial(_told, request, location), fence, hear, LONGEST)
    finally:
        family.end()
    if ended.reason is not None or not heard:
        return json.dumps({"refused": ended.reason or "it said nothing"})
    return heard[0]


def _told(request: Mapping[str, Any], location: Location) -> None:
    """Inside the fence."""
    location.open()
    name = request["name"]
    try:
        cls = plugins.load("adversary", name)
        adversary = cast(Adversary, plugins.validate(cls, request["parameters"], f"adversary {name}"))
        reply: dict[str, Any] = {"told": _description(adversary)}
    except ConfigError as error:
        reply = {"refused": str(error)}
    except FedcxrError as error:
        reply = {"refused": f"{type(error).__name__}: {error}"}
    sys.stdout.write(f"{PREFIX}{json.dumps(reply)}\n")
    sys.stdout.flush()


def _description(adversary: Adversary) -> dict[str, Any]:
    cls = type(adversary)
    smoke = adversary.on_smoke_budget().spec()
    return {
        "answers": list(adversary.answers),
        "reads": sorted(adversary.reads),
        "attackers": list(getattr(adversary, "attackers", ())),
        "running_mechanism": list(adversary.running_mechanism),
        "smoke": {key: value for key, value in smoke.items() if key != "name"},
        "files": [str(path) for path in adversary.required_files()],
        "about": {
            "does": inspect.getdoc(cls), "paper": cls.paper, "equations": cls.equations, "deviations": cls.deviations
        },
        "takes": cls.model_json_schema().get("properties", {}),
    }  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(main(json.load(sys.stdin)))
