"""`fedcxr site`: what a hospital runs, and reads, on its own machine."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Annotated

import typer

from fedcxr.cli.help import App
from fedcxr.cli.journal import as_plain, as_text, unentered
from fedcxr.cli.nodes import site_start
from fedcxr.cli.options import Format, FormatOption
from fedcxr.cli.request import site_request

site_app = App(help="A hospital's own node.")
ledger_app = App(
    help="The journal of what has left this hospital: each answer that was signed, each refusal, each grant of keys. "
    "What learning has cost the patients is told by `fedcxr keys show --profile FILE`.",
)
site_app.command("start", epilog="Example: fedcxr site start /var/lib/fedcxr/kit")(site_start)
site_app.command("request", epilog="Example: fedcxr site request /var/lib/fedcxr/kit")(site_request)
site_app.add_typer(ledger_app, name="ledger")

ProfileArgument = Annotated[Path, typer.Argument(metavar="PROFILE", help="The hospital's profile.")]


@ledger_app.command("show", epilog="Example: fedcxr site ledger show /etc/fedcxr/hospital.yaml")
def ledger_show(profile: ProfileArgument, format: FormatOption = Format.text) -> None:
    """List what has left. It needs no passphrase, and does not look whether the end was cut off: `verify` does."""
    own = importlib.import_module("sites.profile").Profile.stated(profile)  # by name: the library knows no sites
    reading = importlib.import_module("sites.journal").read(own.journal_path)
    shown = as_plain if format is Format.json else as_text
    typer.echo(shown(own.site, reading, importlib.import_module("sites.room").missing(own)))


@ledger_app.command("verify", epilog="Example: fedcxr site ledger verify /etc/fedcxr/hospital.yaml")
def ledger_verify(
    profile: ProfileArgument,
    chain: Annotated[
        bool,
        typer.Option("--chain", help="Without the vault and its passphrase: whether each line fits the one before."),
    ] = False,
    format: FormatOption = Format.text,
) -> None:
    """Whether anything in the journal was altered, dropped, moved or cut off; exit code 5, and the first such entry."""
    own = importlib.import_module("sites.profile").Profile.stated(profile)
    if chain:
        reading, ahead = importlib.import_module("sites.journal").read(own.journal_path), 0
    else:
        vaults = importlib.import_module("sites.vault")
        with (
            vaults.passphrase() as words,
            vaults.Vault.unlock(own.vault_folder, words, own.budget, own.journal_file) as vault,
        ):
            reading, head = vault.read_journal()
        ahead = len(reading.ahead(head))
    count = len(reading.entries)
    no_room = importlib.import_module("sites.room").missing(own)
    facts = {"entries": count, "chain": True, "vault": not chain, "void": ahead, "unfinished": reading.cut > 0}
    facts["no_room"] = no_room
    lines = [f"{count} entries, each of which fits the one before"]
    if chain:
        lines += ["not checked, for the vault was not opened: who wrote them, and whether later ones were cut off"]
    else:
        lines += ["this vault wrote all of them, and none is missing at the end"]
    lines += [f"a kill kept the last {ahead} from taking effect: neither signed nor granted"] if ahead else []
    lines += map(unentered, no_room)
    lines += ["the beginning of a line follows: one is being written, or a kill cut it off"] if reading.cut else []
    typer.echo(json.dumps(facts, indent=1) if format is Format.json else "\n".join(lines))
