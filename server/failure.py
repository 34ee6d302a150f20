"""How a run failed that another process conducts: left in its folder for whoever waits."""

from __future__ import annotations

from pathlib import Path

from fedcxr import errors
from fedcxr.errors import EngineBroken, FedcxrError
from fedcxr.storage.disk import read_json, write_json

VERDICT = "engine.json"


def forget(folder: Path) -> None:
    """An earlier attempt's counts no more."""
    (folder / VERDICT).unlink(missing_ok=True)


def note(folder: Path, error: Exception) -> None:
    """Leave an error there; what is none of ours is the engine's, or a bug."""
    name = type(error).__name__ if isinstance(error, FedcxrError) else EngineBroken.__name__
    message = str(error) if isinstance(error, FedcxrError) else f"{type(error).__name__}: {error}"
    write_json(folder / VERDICT, {"error": name, "message": message})


def noted(folder: Path) -> FedcxrError | None:
    """The error that was left there, as it was."""
    if not (folder / VERDICT).is_file():
        return None
    said = read_json(folder / VERDICT)
    kind = getattr(errors, said["error"], None)
    if not (isinstance(kind, type) and issubclass(kind, FedcxrError)):
        kind = EngineBroken
    return kind(said["message"])
