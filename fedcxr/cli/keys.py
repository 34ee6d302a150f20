"""`fedcxr keys`: a hospital's key ring. No command prints a key or takes a passphrase as an argument."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from fedcxr.cli.help import App
from fedcxr.cli.key_files import read_bytes, read_card, read_text, write_card, write_envelopes
from fedcxr.cli.ledger import privacy_lines, privacy_spent
from fedcxr.cli.options import Format, FormatOption

keys_app = App(
    help="A hospital's key ring: who it is, what it gave to whom. The passphrase is asked for, or read from the file "
    "that FEDCXR_PASSPHRASE_FILE names.",
)

VaultOption = Annotated[
    Path | None,
    typer.Option("--vault", metavar="DIR", help="The key ring; else FEDCXR_VAULT, else ~/.config/fedcxr/vault."),
]
CardOption = Annotated[
    Path | None, typer.Option("--card", metavar="FILE", help="Write the public identity here, to hand to others.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Write envelopes for releases already made here.")
]


@keys_app.command("init", epilog="Example: fedcxr keys init --site mercy --card mercy.card")
def keys_init(
    site: Annotated[str, typer.Option("--site", help="This hospital's name, as the others know it.")],
    vault: VaultOption = None,
    card: CardOption = None,
    format: FormatOption = Format.text,
) -> None:
    """Make a key ring: a new identity and a first master key, under a passphrase."""
    vaults = _vaults()
    folder = vault or vaults.own_folder()
    with vaults.new_passphrase() as words, vaults.Vault.create(folder, site, words) as opened:
        made = opened.ring.card
    write_card(card, made)
    facts = {"vault": str(folder), "site": site, "fingerprint": made.public.fingerprint, "epoch": 1}
    _say(
        format,
        facts,
        f"vault:       {folder}\nsite:        {site}\nfingerprint: {_spaced(made.public.fingerprint)}\n"
        "Whoever loses the passphrase or this folder loses the keys: keep a copy of the folder.",
    )


@keys_app.command("show", epilog="Example: fedcxr keys show --card mercy.card")
def keys_show(
    vault: VaultOption = None,
    card: CardOption = None,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FILE", help="The hospital's profile: of how much the privacy was spent."),
    ] = None,
    format: FormatOption = Format.text,
) -> None:
    """Show who this hospital is, its epochs, releases, grants and the privacy it spent; nothing that is secret."""
    own = None if profile is None else importlib.import_module("sites.profile").Profile.read(profile)
    folder = vault if vault is not None or own is None else Path(own.vault).expanduser()
    with _unlocked(folder) as opened:
        ring, ledger = opened.ring, opened.ledger
    write_card(card, ring.card)
    privacy = privacy_spent(ledger, None if own is None else own.budget.privacy)
    public = ring.identity.public
    facts = {
        "site": ring.site,
        "fingerprint": public.fingerprint,
        "verifying": public.verifying.hex(),
        "sealing": public.sealing.hex(),
        "earlier": [old.public.fingerprint for old in ring.earlier],
        "epochs": [{"epoch": epoch.key.epoch, "made": epoch.made} for epoch in ring.epochs],
        "releases": [
            {"release": made.release, "epoch": made.epoch, "images": made.films, "made": made.made}
            for made in ring.releases
        ],
        "grants": [
            {
                "recipient": given.recipient.name,
                "fingerprint": given.recipient.fingerprint,
                "what": given.what,
                "releases": list(given.releases) or "from then on",
                "made": given.made,
                "revoked": given.revoked or None,
            }
            for given in ring.grants
        ],
        "privacy": privacy,
    }
    lines = [f"site:        {ring.site}", f"fingerprint: {_spaced(public.fingerprint)}"]
    lines += [f"earlier:     {_spaced(old.public.fingerprint)}" for old in ring.earlier]
    lines += [f"epoch {epoch.key.epoch}: made {epoch.made}" for epoch in ring.epochs]
    lines += [f"release {m.release}: epoch {m.epoch}, {m.films} images, {m.made}" for m in ring.releases]
    for given in ring.grants:
        end = f", REVOKED {given.revoked}" if given.revoked else ""
        which = ", ".join(given.releases) or "releases from then on"
        lines.append(f"grant to {given.recipient}: {given.what} of {which}, {given.made}{end}")
    _say(format, facts, "\n".join([*lines, *privacy_lines(privacy)]))


@keys_app.command("grant", epilog="Example: fedcxr keys grant charity.card --share 0.25")
def keys_grant(
    recipient: Annotated[Path, typer.Argument(metavar="CARD", help="The recipient's card.")],
    images: Annotated[
        Path | None, typer.Option("--images", metavar="FILE", help="Only the images named in it, one per line.")
    ] = None,
    share: Annotated[float, typer.Option("--share", help="Only this share of the images, chosen by key.")] = 1.0,
    releases: Annotated[
        list[str] | None,
        typer.Option("--release", metavar="NAME", help="Only this release, made or not; else all from now on."),
    ] = None,
    out: OutOption = None,
    vault: VaultOption = None,
    format: FormatOption = Format.text,
) -> None:
    """Let another hospital open releases: all images, a list, or a share."""
    to = read_card(recipient).public
    listed = tuple(dict.fromkeys(filter(None, read_text(images).splitlines()))) if images else None
    new = _vaults().Grant(to, listed, share, tuple(releases or ()))
    with _unlocked(vault) as opened:
        opened.grant(new)
        made = opened.rewrapped(only=to.fingerprint)
    written = write_envelopes(out, made)
    which = ", ".join(new.releases) or "every release from now on"
    waiting = len({release for release, _, _ in made}) if out is None else 0
    lines = [
        f"granted: {new.what} of {which}, to {to.name}",
        f"fingerprint: {_spaced(to.fingerprint)}",
        "Compare the fingerprint with its owner over the telephone.",
    ]
    lines += [f"{waiting} releases made already are covered; --out DIR writes the envelopes"] if waiting else []
    facts = {"recipient": to.name, "fingerprint": to.fingerprint, "what": new.what, "releases": list(new.releases)}
    _say(format, {**facts, "envelopes": written}, "\n".join([*lines, *written]))


@keys_app.command("accept", epilog="Example: fedcxr keys accept charity.card --out post")
def keys_accept(
    renewed: Annotated[Path, typer.Argument(metavar="CARD", help="The recipient's next card.")],
    out: OutOption = None,
    vault: VaultOption = None,
    format: FormatOption = Format.text,
) -> None:
    """Take a recipient's next card, which the one known here signed: what was granted to the one is the other's."""
    card = read_card(renewed)
    to = card.public
    with _unlocked(vault) as opened:
        ring = opened.accept_card(card)
        made = opened.rewrapped(only=to.fingerprint) if out is not None else []
    written = write_envelopes(out, made)
    moved = sum(given.recipient == to for given in ring.grants)
    _say(
        format,
        {"recipient": to.name, "fingerprint": to.fingerprint, "grants": moved, "envelopes": written},
        "\n".join(
            [
                f"accepted: {to}; what it holds: {moved} grants",
                f"fingerprint: {_spaced(to.fingerprint)}",
                "The card known before signed it. So could whoever stole its keys: in doubt, telephone, or revoke.",
                *written,
            ]
        ),
    )


@keys_app.command("revoke", epilog="Example: fedcxr keys revoke charity")
def keys_revoke(
    who: Annotated[str, typer.Argument(metavar="NAME|FINGERPRINT", help="The recipient.")],
    vault: VaultOption = None,
    format: FormatOption = Format.text,
) -> None:
    """Give a recipient nothing more. What was given cannot be taken back."""
    with _unlocked(vault) as opened:
        to = opened.ring.recipient(who)
        ring = opened.revoke(to.fingerprint)
    given = [one for one in ring.grants if one.recipient == to]
    kept = sorted({made.release for made in ring.releases for one in given if one.covers(made)})
    warning = (
        f"What was given cannot be taken back: {to.name} keeps the keys of {', '.join(kept)}, if they went out."
        if kept
        else f"{to.name} was not given the key of any release yet."
    )
    _say(
        format,
        {"recipient": to.name, "fingerprint": to.fingerprint, "revoked": True, "keeps": kept, "note": warning},
        f"revoked: {to}\n{warning}\nThe next release has no envelope for them. Before making a release again under its "
        "old name, run `fedcxr keys rotate`.",
    )


@keys_app.command("rotate", epilog="Example: fedcxr keys rotate --out envelopes")
def keys_rotate(
    identity: Annotated[
        bool, typer.Option("--identity", help="The keys to sign with and to be written to instead of the master key.")
    ] = False,
    card: CardOption = None,
    out: OutOption = None,
    vault: VaultOption = None,
    format: FormatOption = Format.text,
) -> None:
    """Make a new master key for all releases from now on; wrap the keys of old releases again for who remains."""
    with _unlocked(vault) as opened:
        ring = opened.renew() if identity else opened.rotate()
        made = opened.rewrapped() if out is not None else []
    write_card(card, ring.card)
    written = write_envelopes(out, made)
    remaining = sorted({given.recipient.name for given in ring.grants if not given.revoked})
    fingerprint = ring.identity.public.fingerprint
    what = (
        [
            f"fingerprint: {_spaced(fingerprint)}",
            "Hand the new card (--card FILE) to all who have the old one: the old keys signed it, and still open what "
            "was sealed to them.",
        ]
        if identity
        else [
            f"epoch {ring.epoch} has begun; images released again are hidden afresh",
            f"recipients that remain: {', '.join(remaining) or 'none'}",
            "Old releases stay what they are: whoever held their keys can still open them.",
        ]
    )
    facts = {"epoch": ring.epoch, "fingerprint": fingerprint, "recipients": remaining, "envelopes": written}
    _say(format, facts, "\n".join([*what, *written]))


@keys_app.command("passphrase", epilog="Example: fedcxr keys passphrase --vault mercy")
def keys_passphrase(vault: VaultOption = None, format: FormatOption = Format.text) -> None:
    """Put the key ring under another passphrase: asked for, or read from the file FEDCXR_NEW_PASSPHRASE_FILE names."""
    vaults = _vaults()
    with _unlocked(vault) as opened, vaults.new_passphrase(vaults.NEW_VARIABLE) as words:
        opened.relock(words)
        site = opened.ring.site
    folder = vault or vaults.own_folder()
    _say(
        format,
        {"vault": str(folder), "site": site, "passphrase": "changed"},
        f"the passphrase of {site} is changed\n"
        f"Copies of {folder} made before still open under the old one: destroy them.",
    )


@keys_app.command("open", epilog="Example: fedcxr keys open mercy.envelope --from mercy.card")
def keys_open(
    envelope: Annotated[Path, typer.Argument(metavar="ENVELOPE", help="An envelope addressed to this key ring.")],
    sender: Annotated[Path, typer.Option("--from", metavar="CARD", help="The card of whom it should come from.")],
    vault: VaultOption = None,
    format: FormatOption = Format.text,
) -> None:
    """Open an envelope and say what it gives; no key is printed."""
    from fedcxr.keys import SomeKeys
    from fedcxr.keys.envelopes import open_envelope, read_label

    data, by = read_bytes(envelope), read_card(sender).public
    label = read_label(data)
    origin = label.origin
    with _unlocked(vault) as opened:
        keys = open_envelope(data, opened.ring.addressed(label.recipient), by, origin)
    images = list(keys.images) if isinstance(keys, SomeKeys) else None
    _say(
        format,
        {
            "site": origin.site,
            "release": origin.release,
            "epoch": origin.epoch,
            "from": by.fingerprint,
            "opens": "all" if images is None else images,
        },
        f"opens {'all' if images is None else len(images)} images of {origin}\nfrom: {_spaced(by.fingerprint)}",
    )


@keys_app.command("accept-restored", epilog="Example: fedcxr keys accept-restored --vault mercy")
def keys_accept_restored(vault: VaultOption = None, format: FormatOption = Format.text) -> None:
    """Use a key ring that was restored from a copy, or moved here: on purpose, for it forgot what came since."""
    vaults = _vaults()
    folder = vault or vaults.own_folder()
    with vaults.passphrase() as words, vaults.Vault.accept_restored(folder, words) as opened:
        ring = opened.ring
    _say(
        format,
        {"vault": str(folder), "site": ring.site, "epoch": ring.epoch},
        f"this copy of {folder} is the latest from now on; epoch {ring.epoch} has begun\n"
        "What was begun, counted, granted and revoked since it was copied is not in it: grant and revoke it again.\n"
        "Films may be answered for that had their budget since: lower the budget if you do not know.",
    )


@keys_app.command("convert", epilog="Example: fedcxr keys convert --vault mercy")
def keys_convert(vault: VaultOption = None, format: FormatOption = Format.text) -> None:
    """Write a key ring of an earlier version as this one's, under the same passphrase."""
    vaults = _vaults()
    folder = vault or vaults.own_folder()
    with vaults.passphrase() as words:
        done = importlib.import_module("sites.conversion").convert(folder, words)
    again = ", ".join(done.recipients) or "nobody"
    _say(
        format,
        {"vault": str(folder), "site": done.site, "releases": done.releases, "recipients": list(done.recipients)},
        f"converted: {folder}, with {done.releases} releases\n"
        f"Its identity is a new one: hand out its card (fedcxr keys show --card).\n"
        f"Its grants are not kept. To be granted anew, by their new cards: {again}.\n"
        "Copies of it made before are out of date: destroy them.",
    )


def _vaults() -> Any:
    return importlib.import_module("sites.vault")  # by name: the library does not know the sites


@contextlib.contextmanager
def _unlocked(vault: Path | None) -> Iterator[Any]:
    vaults = _vaults()
    folder = vault or vaults.own_folder()
    with vaults.passphrase() as words:
        opened = vaults.Vault.unlock(folder, words)
    with opened:
        yield opened


def _say(format: Format, facts: dict[str, Any], text: str) -> None:
    typer.echo(json.dumps(facts, indent=1) if format is Format.json else text)


def _spaced(fingerprint: str) -> str:
    return " ".join(fingerprint[i : i + 8] for i in range(0, len(fingerprint), 8))
