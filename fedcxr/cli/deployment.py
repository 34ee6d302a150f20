"""`fedcxr provision`: the kits with which a consortium's machines start."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcxr.cli.options import Format, FormatOption

if TYPE_CHECKING:
    from fedcxr.deployment.provision import Report


def provision(
    consortium: Annotated[Path, typer.Argument(metavar="CONSORTIUM.yaml", help="Who takes part, and where they meet.")],
    out: Annotated[Path, typer.Option("--out", metavar="KITS", help="The folder of all kits, and of the authority.")],
    revoke: Annotated[str | None, typer.Option("--revoke", metavar="NAME", help="Shut this site out.")] = None,
    renew: Annotated[
        str | None,
        typer.Option("--renew", metavar="NAME", help="A new certificate for this site's request, or for `server`."),
    ] = None,
    format: FormatOption = Format.text,
) -> None:
    """Make start-up kits: one for the server and one for each site. A second run keeps all that is still good.

    A site's own keys are made at the site (`fedcxr site request`). Put its request.json at KITS/requests/NAME.json and
    run this again: it checks the request and puts a certificate into the site's kit.
    """
    from fedcxr.deployment.consortium import Consortium
    from fedcxr.deployment.provision import provision as provisioned

    report = provisioned(Consortium.read(consortium), out, datetime.now(UTC), revoke, renew)
    if format is Format.json:
        typer.echo(json.dumps({"kits": str(out), **asdict(report)}, indent=1, default=datetime.isoformat))
    else:
        typer.echo("\n".join(_lines(report, out)))


def _lines(report: Report, out: Path) -> list[str]:
    from fedcxr.deployment.forms import spaced

    width = max(len(site.site) for site in report.sites)
    lines = [f"kits:        {out}, one for the server and one for each of {len(report.sites)} sites"]
    lines.append(f"coordinator: {spaced(report.coordinator)}")
    for site in report.sites:
        until = f" until {site.ends:%Y-%m-%d}" if site.ends and site.state == "certified" else ""
        lines.append(f"{site.site:{width}}  {site.state}{until}")
        if site.fingerprint:
            lines.append(f"{'':{width}}  {spaced(site.fingerprint)}")
    if any(site.fingerprint for site in report.sites):
        lines.append("Compare each fingerprint with its site over the telephone before you send its kit.")
    lines += [f"note: {note}" for note in report.notes]
    lines.append(f"Keep {out / 'authority'} to yourself, and a copy of it: whoever has it lets anybody in.")
    lines.append(f"Run this again, and reload the gate, before {report.again:%Y-%m-%d}: then its list of revoked ends.")
    return lines
