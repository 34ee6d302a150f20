"""`fedcxr site request`: a hospital asks for a certificate of its node."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from fedcxr.cli.options import Format, FormatOption

KitArgument = Annotated[Path, typer.Argument(metavar="KIT", help="This site's kit, as `fedcxr provision` made it.")]


def site_request(
    kit: KitArgument,
    vault: Annotated[
        Path | None,
        typer.Option("--vault", metavar="DIR", help="The key ring; else the one that KIT/profile.yaml names."),
    ] = None,
    format: FormatOption = Format.text,
) -> None:
    """Make this machine's keys, which stay in KIT/private, and ask for a certificate in KIT/request.json."""
    from fedcxr.deployment.asking import make_request
    from fedcxr.deployment.forms import spaced
    from fedcxr.deployment.kit import COORDINATOR_CARD, REQUEST, card, read_site

    own = read_site(kit)  # before a passphrase is asked for
    coordinator = card(kit / COORDINATOR_CARD).public.fingerprint
    with _unlocked(vault or _named_vault(kit)) as opened:
        ring = opened.ring
        make_request(kit, ring.card, ring.identity)
    facts = {
        "request": str(kit / REQUEST),
        "site": own.site,
        "fingerprint": ring.identity.public.fingerprint,
        "consortium": own.consortium,
        "coordinator": coordinator,
    }
    lines = [
        f"request:     {facts['request']}",
        f"site:        {own.site}",
        f"fingerprint: {spaced(facts['fingerprint'])}",
        f"coordinator: {spaced(coordinator)}",
        "Send the request to the coordinator, and compare both fingerprints with them over the telephone.",
    ]
    typer.echo(json.dumps(facts, indent=1) if format is Format.json else "\n".join(lines))


def _named_vault(kit: Path) -> Path:
    """The vault of the kit's profile; its films may not be in their place yet, so only this line is read."""
    from fedcxr.cli.key_files import read_text
    from fedcxr.deployment.kit import PROFILE
    from fedcxr.errors import ConfigError
    from fedcxr.scenario.document import LARGEST_FILE, read_yaml

    named = read_yaml(read_text(kit / PROFILE, LARGEST_FILE)).get("vault")
    if not isinstance(named, str):
        raise ConfigError("the profile names no vault", given=kit / PROFILE, do="name its folder with --vault")
    return Path(named).expanduser()


@contextlib.contextmanager
def _unlocked(folder: Path) -> Iterator[Any]:
    vaults = importlib.import_module("sites.vault")  # by name: the library does not know the sites
    with vaults.passphrase() as words:
        opened = vaults.Vault.unlock(folder, words)
    with opened:
        yield opened
