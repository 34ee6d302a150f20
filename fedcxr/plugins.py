"""The folder is the registry: a file dropped into it is known to the CLI, to YAML and to the contract tests."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import pydantic

from fedcxr.errors import ConfigError, UnknownName

Model = TypeVar("Model", bound=pydantic.BaseModel)
Kind = Literal["method", "adversary", "question", "knowledge", "task", "source"]

FOLDERS: Mapping[Kind, str] = {
    "method": "fedcxr.methods",
    "adversary": "fedcxr.adversaries",
    "question": "fedcxr.questions",
    "knowledge": "fedcxr.knowledge",
    "task": "fedcxr.tasks",
    "source": "fedcxr.data",
}

UNION_TAGS = ("constrained-", "function-")  # how pydantic names the forms a value may have


class File(str):
    """A file that a scenario names: the text is its path on this machine, `name` is what the scenario calls it.

    Every parameter that names a file has this type, so that a hospital can find them all: there a scenario says a
    name, and the hospital which file that is. What is written down of a scenario, and counted, is the name alone.
    """

    name: str

    def __new__(cls, path: str, name: str | None = None) -> Self:
        file = super().__new__(cls, path)
        file.name = path if name is None else name
        return file

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: pydantic.GetCoreSchemaHandler) -> Any:
        def validated(given: object, text: pydantic.ValidatorFunctionWrapHandler) -> File:
            return given if isinstance(given, File) else cls(text(given))

        written = pydantic.PlainSerializer(lambda file: file.name, return_type=str, when_used="json")
        return handler.generate_schema(Annotated[str, pydantic.WrapValidator(validated), written])


class Plugin(pydantic.BaseModel):
    """One contribution: a frozen set of parameters with the verbs its kind asks for."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    paper: ClassVar[str | None] = None
    equations: ClassVar[str | None] = None
    deviations: ClassVar[str | None] = None

    @classmethod
    def plugin_name(cls) -> str:
        """The name in commands and YAML: the file's name, or `module:Class` for one from outside."""
        folder, _, file = cls.__module__.rpartition(".")
        return file if folder in FOLDERS.values() else f"{cls.__module__}:{cls.__qualname__}"

    def required_files(self) -> tuple[Path, ...]:
        """Files of the user's that it will read; raises now what would otherwise come up after minutes of work."""
        return ()

    def spec(self) -> dict[str, Any]:
        """What `build` needs to make an equal plug-in again."""
        return {"name": self.plugin_name(), **self.model_dump(mode="json")}

    @property
    def digests(self) -> Mapping[str, str]:
        """The SHA-256 of code that it is written in and that this process has not imported, by module."""
        return {}


def names(kind: Kind) -> tuple[str, ...]:
    """The names of the folder, without importing what is in it."""
    package = importlib.import_module(FOLDERS[kind])
    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")))


def load(kind: Kind, name: str) -> type[Plugin]:
    """The class behind a name of the folder or behind `package.module:Class`.

    What comes from outside is imported: it runs here, with all rights of this process. A method, a task, a question, a
    source or a kind of knowledge is its user's own code; an adversary is not, and a scenario never loads one
    (`fedcxr.adversaries.outside`).
    """
    base: type[Plugin] = getattr(importlib.import_module(FOLDERS[kind]), kind.capitalize())
    if ":" in name:
        return _load_outside(kind, name, base)
    if name not in names(kind):
        raise UnknownName(kind, name, names(kind))
    try:
        module = importlib.import_module(f"{FOLDERS[kind]}.{name}")
    # A file that somebody put into the folder may fail, or even exit, in any way while it is imported.
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"cannot load the {kind} {name}", given=_place(error, f"{name}.py"), do=f"{type(error).__name__}: {error}"
        ) from error
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    ]
    if len(found) != 1:
        raise ConfigError(
            f"{module.__name__} must hold exactly one public {base.__name__}",
            given=", ".join(c.__name__ for c in found) or "none",
            do="one contribution per file; start the names of others with an underscore",
        )
    return found[0]


def build(kind: Kind, spec: str | Mapping[str, Any]) -> Plugin:
    """A plug-in from its name alone or from `{name: ..., parameter: value, ...}`; wrong parameters are errors here."""
    parameters = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = parameters.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"a {kind} needs a name", given=name, allowed=", ".join(names(kind)))
    return validate(load(kind, name), parameters, f"{kind} {name}")


def validate(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """A model from plain data, strictly: no unknown key, no text for a number, no number for a truth value."""
    try:
        # By way of JSON, pydantic's strict mode still accepts a list where a tuple is meant.
        return model.model_validate_json(document(values, where), strict=True)
    except pydantic.ValidationError as error:
        raise explain(error, where, model) from None
    except TypeError as error:  # an abstract class: a contribution without one of its verbs
        raise ConfigError(f"{where} is not complete", do=str(error)) from None


def document(values: Mapping[str, Any], where: str) -> str:
    """Plain data as JSON."""
    try:
        return json.dumps(values)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: only numbers, text, lists and mappings are allowed", do=str(error)) from None


def explain(error: pydantic.ValidationError, where: str, model: type[pydantic.BaseModel]) -> ConfigError:
    """The first of pydantic's complaints as one line in our own form."""
    first = error.errors(include_url=False, include_context=False)[0]
    parts = [part for part in map(str, first["loc"]) if not part.startswith(UNION_TAGS)]
    path = ".".join(parts)
    if first["type"] == "extra_forbidden":
        owner, within = _model_at(model, first["loc"][:-1]), ".".join(parts[:-1])
        return UnknownName(": ".join(filter(None, [f"key in {where}", within])), parts[-1], owner.model_fields)
    said = first["msg"].removeprefix("Value error, ")  # how pydantic introduces what our own checks say
    # A check of several values together names them itself; it was given all there are.
    told = first["type"] == "missing" or (first["type"] == "value_error" and not path)
    return ConfigError(": ".join(filter(None, [where, path, said])), given=None if told else first["input"])


def _model_at(model: type[pydantic.BaseModel], path: tuple[int | str, ...]) -> type[pydantic.BaseModel]:
    for part in path:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, pydantic.BaseModel):
            model = inner
    return model


def _load_outside(kind: Kind, name: str, base: type[Plugin]) -> type[Plugin]:
    module_name, _, class_name = name.partition(":")
    if "" not in sys.path:
        sys.path.append("")  # a console script does not search the user's folder, `python` would
    try:
        value = getattr(importlib.import_module(module_name), class_name)
    # The user's own module may fail, or even exit, in any way while it is imported.
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"cannot load the {kind}",
            given=name,
            allowed=f"{', '.join(names(kind))} or an importable package.module:Class",
            do=" at ".join(filter(None, [f"{type(error).__name__}: {error}", _place(error)])),
        ) from error
    if not (isinstance(value, type) and issubclass(value, base)):
        raise ConfigError(f"{name} is not a {kind}", allowed=f"a subclass of {base.__module__}.{base.__name__}")
    return value


def _place(error: BaseException, file: str = "") -> str:
    """The file and line at which a contribution could not be imported, or `file` where none of its lines ran."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    # The first frame is ours, those below it the importer's, and then its own file begins.
    for frame in traceback.extract_tb(error.__traceback__)[1:]:
        if not frame.filename.startswith("<") and frame.filename != importlib.__file__:
            return f"{frame.filename}:{frame.lineno}"
    return file
