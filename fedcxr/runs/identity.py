"""Whose a run folder is: of which format, which version of the code and which scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedcxr.errors import ConfigError, OtherScenario, OtherVersion
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import read_file
from fedcxr.storage.disk import read_json, write_json
from fedcxr.storage.version import versions

FOLDER_FORMAT = 2  # of everything in a run folder but result.json

AFRESH = "start afresh without --resume, remove the folder, or choose another --out"


def mark(folder: Path, scenario: Scenario) -> None:
    """Write down by which code this run is made."""
    write_json(_marker(folder), {"format": FOLDER_FORMAT, "versions": _versions(scenario)})


def is_marked(folder: Path) -> bool:
    """Whether this is a run folder, of whatever version."""
    return _marker(folder).is_file()


def check_format(folder: Path) -> Mapping[str, Any]:
    """Refuse a folder that is no run or cannot be read by this version; what its marker says."""
    if not is_marked(folder):
        raise ConfigError("this folder is not a run", given=folder)
    marker = read_json(_marker(folder))
    written = marker.get("format") if isinstance(marker, dict) else marker
    if not isinstance(marker, dict) or written != FOLDER_FORMAT:
        raise OtherVersion(
            "this run folder was written by another version of fedcxr",
            given=f"format {written} in {folder}",
            allowed=f"format {FOLDER_FORMAT}",
            do=AFRESH,
        )
    return marker


def check_version(folder: Path, scenario: Scenario) -> None:
    """Refuse to go on from what other code has made: half of a result would be of the one and half of the other."""
    stored, ours = check_format(folder).get("versions"), _versions(scenario)
    if stored != ours:
        theirs, ours = differing(stored if isinstance(stored, dict) else {}, ours)
        raise OtherVersion(
            "this run was made by another version of the code",
            given=f"{_told(theirs)} in {folder}",
            allowed=_told(ours),
            do=AFRESH,
        )


def check_scenario(folder: Path, scenario: Scenario) -> None:
    """Refuse to go on from what was made for another scenario, whatever the folder is called."""
    path = folder / "scenario.yaml"
    try:
        stored = Scenario.parse(read_file(path))
    except ConfigError as error:
        raise OtherScenario("the scenario of this run cannot be read", given=path, do=f"{error}; {AFRESH}") from None
    theirs, ours = differing(*(dict(leaves({"seed": of.seed, **of.counted()})) for of in (stored, scenario)))
    if theirs or ours:
        raise OtherScenario("this run is of another scenario", given=_told(theirs), allowed=_told(ours), do=AFRESH)


def differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What two mappings do not have in common."""
    return (
        {key: value for key, value in theirs.items() if key not in ours or ours[key] != value},
        {key: value for key, value in ours.items() if key not in theirs or theirs[key] != value},
    )


def leaves(document: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """`{a: {b: 1}}` as `a.b: 1`, so that a difference is told by its own key."""
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _marker(folder: Path) -> Path:
    return folder / "run.json"


def _versions(scenario: Scenario) -> dict[str, str]:
    unseen = {module: digest for plugin in scenario.contributions for module, digest in plugin.digests.items()}
    return versions(type(plugin) for plugin in scenario.contributions) | unseen


def _told(values: Mapping[str, Any]) -> str:
    """The beginning of a digest tells it from another."""
    return ", ".join(f"{key} {str(value)[:16]}" for key, value in values.items()) or "nothing of the kind"
