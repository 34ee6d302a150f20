"""What several commands take."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer

from fedcxr.errors import ConfigError, Interrupted


class Format(StrEnum):
    """For whom output is."""

    text = "text"
    json = "json"


class Device(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Engine(StrEnum):
    """What runs the sites."""

    ray = "ray"
    inline = "inline"


class Preset(StrEnum):
    """How much of everything."""

    quick = "quick"
    default = "default"
    robust = "robust"
    paper = "paper"


Sets = Annotated[list[str] | None, typer.Option("--set", metavar="a.b=VALUE", help="Override any key of the scenario.")]
FormatOption = Annotated[Format, typer.Option("--format", help="Text for people, or one JSON document on stdout.")]


def mapping(text: str) -> dict[str, str]:
    """What --columns says."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(ours.strip() and theirs.strip() for ours, _, theirs in pairs):
        raise ConfigError(
            "--columns needs names of columns", given=text, allowed="image=filename,patient=patientid,..."
        )
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def cores() -> int:
    """How many processes can be at work at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def stoppable(do: str) -> Iterator[None]:
    """Work that Ctrl-C ends with these words instead of a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted", do=do) from None
