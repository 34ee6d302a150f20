"""`fedcxr artefacts`: what runs have made once and share, how much room it takes, and how to be rid of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from fedcxr.cli.help import App
from fedcxr.cli.options import Format, FormatOption

if TYPE_CHECKING:
    from fedcxr.storage.artefacts import Artefacts, Entry

artefacts_app = App(
    help="What runs make once and share: networks, codecs, lung masks. Any of it can be deleted, and is made again."
)

DAY_S = 24 * 3600.0

KindOption = Annotated[str | None, typer.Option("--kind", help="Only of this kind; else of every kind.")]
OlderOption = Annotated[
    float | None, typer.Option("--older-than", metavar="DAYS", min=0, help="Only what was not used for so long.")
]


@artefacts_app.command("list", epilog="Example: fedcxr artefacts list --older-than 30")
def artefacts_list(kind: KindOption = None, older_than: OlderOption = None, format: FormatOption = Format.text) -> None:
    """Show what is kept: kinds, sizes and when it was last used."""
    store = _store()
    _say(store, "kept", store.chosen(kind, _seconds(older_than)), format)


@artefacts_app.command("clear", epilog="Example: fedcxr artefacts clear --kind verifier --older-than 30")
def artefacts_clear(
    kind: KindOption = None, older_than: OlderOption = None, format: FormatOption = Format.text
) -> None:
    """Delete what is kept, also while runs are at work: who needs it makes it again."""
    store = _store()
    _say(store, "deleted", store.clear(kind, _seconds(older_than)), format)


def _store() -> Artefacts:
    from fedcxr.data import cache_folder
    from fedcxr.storage.artefacts import Artefacts

    return Artefacts.below(cache_folder())


def _seconds(days: float | None) -> float | None:
    return None if days is None else days * DAY_S


def _say(store: Artefacts, what: str, entries: Sequence[Entry], format: Format) -> None:
    if format is Format.json:
        listed = [{"key": e.key, "kind": e.kind, "bytes": e.size, "used": round(e.used, 3)} for e in entries]
        typer.echo(json.dumps({"folder": str(store.folder), what: listed}, indent=1))
        return
    for line in _by_kind(entries):
        typer.echo(line)
    typer.echo(f"{what}: {len(entries)}, {_megabytes(entries)}, in {store.folder}")


def _by_kind(entries: Sequence[Entry]) -> Iterator[str]:
    for kind, group in groupby(entries, key=lambda entry: entry.kind):
        alike = list(group)
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(alike[-1].used))
        yield f"{kind:<20} {len(alike):>5} {_megabytes(alike):>12}   last used {used}"


def _megabytes(entries: Sequence[Entry]) -> str:
    return f"{sum(entry.size for entry in entries) / 1e6:.1f} MB"
