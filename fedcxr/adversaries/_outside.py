"""An adversary from outside, as everybody but its own process sees it: described by that, and never imported.

Whoever imports a module runs its code. This one is written by whoever is to be measured, so it runs inside a fence
alone: once to be described (`server.description`), and again for every attack (`server.adversary`).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, cast

import pydantic

from fedcxr import plugins
from fedcxr.adversaries import Adversary
from fedcxr.adversaries._location import Location
from fedcxr.adversaries._process import command, environment
from fedcxr.errors import ConfigError, one_line
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Form
from fedcxr.questions import Answers
from fedcxr.view import Weights

DESCRIBER = "server.description"  # by name: the library does not know the server
PATIENCE = 120.0  # seconds for a description
LONGEST_REASON = 300  # characters

Question = Annotated[str, pydantic.StringConstraints(pattern=r"^\w[\w.]{0,99}(:\w{1,100})?$")]
Attacker = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Text = Annotated[str, pydantic.StringConstraints(max_length=10_000)]
Few = pydantic.Field(max_length=64)


class Told(pydantic.BaseModel):
    """What a process says of an adversary that it has imported: of the right form, and believed in nothing else."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    answers: Annotated[tuple[Question, ...], Few]
    reads: frozenset[Form]
    attackers: Annotated[tuple[Attacker, ...], Few]
    running_mechanism: Annotated[tuple[Attacker, ...], Few]
    smoke: dict[str, pydantic.JsonValue]  # its parameters on a smoke budget
    files: Annotated[tuple[Text, ...], Few]  # that it asks to read
    about: dict[str, Text | None]  # what it does, its paper, its equations and its deviations
    takes: Annotated[dict[Text, dict[Text, pydantic.JsonValue]], Few]  # its parameters, each with its JSON schema

    @pydantic.field_validator("smoke", "takes")
    @classmethod
    def _plain(cls, value: dict[str, Any]) -> dict[str, Any]:
        json.dumps(value, allow_nan=False)
        return value


class Outside(Adversary):
    """A plain stand-in with the same verbs; the attack itself is its own process's."""

    lends: ClassVar[bool] = False

    name: str
    parameters: dict[str, pydantic.JsonValue]  # as they were given: what it says of itself is in no scenario
    located: Location
    told: Told | None = None

    @classmethod
    def named(cls, name: str, parameters: Mapping[str, Any]) -> Outside:
        """Not described yet; a module that is not there is an error here."""
        module, _, own = name.partition(":")
        try:
            if not own.isidentifier():
                raise ConfigError("this is no name of a class", given=own)
            located = Location.of(module)
        except (ConfigError, OSError) as error:
            raise refused(name, str(error)) from None
        given = cast(dict[str, pydantic.JsonValue], json.loads(plugins.document(parameters, f"adversary {name}")))
        return cls(name=name, parameters=given, located=located)

    def described(self, *, weaker: bool) -> Self:
        """The same with what its process tells of it, after which every question about it has an answer."""
        request = {"name": self.name, "parameters": self.parameters, "weaker": weaker}
        told = _described(json.dumps(request, sort_keys=True), self.located, self.located.digest)
        strange = [file for file in told.files if file not in self._named_files()]
        if strange:
            raise ConfigError(
                f"the adversary {self.name} asks to read a file that no parameter of it names", given=strange[0]
            )
        return self.model_copy(update={"told": told})

    def _named_files(self) -> Iterator[str]:
        for value in self.parameters.values():
            if isinstance(value, str) and Path(value).expanduser().is_file():
                yield from (value, str(Path(value).expanduser()), str(Path(value).expanduser().resolve()))

    @property
    def known(self) -> Told:
        """What is told of it, once it has been described."""
        if self.told is None:
            raise ConfigError(f"the adversary {self.name} has not been described yet")
        return self.told

    @property
    def answers(self) -> tuple[str, ...]:  # type: ignore[override]  # of each, where others have it by class
        return self.known.answers

    @property
    def reads(self) -> frozenset[Form]:  # type: ignore[override]
        return self.known.reads

    @property
    def attackers(self) -> tuple[str, ...]:
        return self.known.attackers

    @property
    def running_mechanism(self) -> tuple[str, ...]:
        return self.known.running_mechanism

    @property
    def location(self) -> Location:
        return self.located

    @property
    def digests(self) -> Mapping[str, str]:
        return {self.located.module: self.located.digest}

    def required_files(self) -> tuple[Path, ...]:
        return tuple(Path(file) for file in self.known.files)

    def on_smoke_budget(self) -> Self:
        return self.model_copy(update={"parameters": self.known.smoke})

    def spec(self) -> dict[str, Any]:
        return {**self.parameters, "name": self.name}

    def answer(self, question: str, leak: Any, prepared: Weights, *_: Any) -> Answers:
        raise ConfigError(f"{self.name} answers in its own process alone")

    def prepare(self, own: Owned, *_: Any) -> Weights:
        raise ConfigError(f"{self.name} learns in its own process alone")


def refused(name: str, why: str) -> ConfigError:
    """Whatever its process said, in a line of ours."""
    return ConfigError(
        "cannot load the adversary",
        given=name,
        allowed=f"{', '.join(plugins.names('adversary'))} or an importable package.module:Class",
        do=one_line(why, LONGEST_REASON),
    )


@functools.lru_cache(maxsize=64)
def _described(request: str, located: Location, digest: str) -> Told:
    """What a fenced process says; asked once for the same sources and parameters."""
    asked = {**json.loads(request), "module": located.module, "file": located.file}
    if importlib.util.find_spec(DESCRIBER.partition(".")[0]) is None:
        raise refused(asked["name"], "adversaries from outside are described by the server, which is not installed")
    reply = _reply(json.dumps(asked))
    try:
        said = json.loads(reply)
        if "refused" in said:
            raise refused(asked["name"], str(said["refused"]))
        return Told.model_validate_json(json.dumps(said["told"]), strict=True)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise refused(asked["name"], f"it describes itself strangely: {error}") from None


def _reply(request: str) -> str:
    """Its supervisor's last word, which is bounded; however we leave, it ends and takes its child with it."""
    with subprocess.Popen(
        command(DESCRIBER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        text=True,
        start_new_session=True,
    ) as process:
        try:
            reply, _ = process.communicate(request, timeout=PATIENCE)
        except BaseException as error:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            process.kill()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return json.dumps({"refused": f"it was not described within {PATIENCE:g} s"})
    return reply
