"""All kits of a consortium, made or brought up to date: what is still good is kept.

A first certificate is issued for a site's request as soon as it is there. Any other is issued on purpose (`renew`), and
nobody is shut out by leaving a line out of a file: that is done on purpose as well (`revoke`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fedcxr.deployment.authority import SERVER, Authority
from fedcxr.deployment.consortium import Consortium
from fedcxr.deployment.request import Checked, Request, read_request
from fedcxr.deployment.writing import coordinator_identity, write_server, write_site
from fedcxr.errors import ConfigError, FedcxrError, Refused, UnknownName
from fedcxr.storage.disk import explained
from fedcxr.storage.private import locked, private_folder

AUTHORITY_FOLDER, REQUESTS = "authority", "requests"  # folders beside the kits
LOCK = ".lock"


@dataclass(frozen=True)
class SiteReport:
    """Where one site stands."""

    site: str
    state: str
    fingerprint: str | None = None  # of the card that its certificate vouches for
    ends: datetime | None = None  # its certificate


@dataclass(frozen=True)
class Report:
    """What a run found and did, for a person."""

    consortium: str
    coordinator: str  # the fingerprint of the coordinator's card
    sites: tuple[SiteReport, ...]
    notes: tuple[str, ...]  # what somebody should do
    again: datetime  # when the list of revoked certificates ends, and with it all access


def provision(
    consortium: Consortium, out: Path, now: datetime, revoke: str | None = None, renew: str | None = None
) -> Report:
    """Make or renew all kits below `out`; first revoke, or renew, what one holder has."""
    if revoke is not None and renew is not None:
        raise ConfigError("one thing at a time", given=f"--revoke {revoke} --renew {renew}", do="run it twice")
    with explained(out):
        _refuse_other_things(out)
        private_folder(out)
        private_folder(out / REQUESTS)
        with locked(out / LOCK):
            authority = Authority.open(out / AUTHORITY_FOLDER, consortium, now)
            requests, notes = _requests(out / REQUESTS, consortium, authority, bear=revoke is not None)
            identity = coordinator_identity(out / SERVER, new=not authority.issued.of(SERVER))
            if revoke is not None:
                authority = _revoked(authority, revoke)
            if renew is not None and renew != SERVER:
                authority = _renewed(authority, consortium, renew, requests, notes)
            for site in consortium.sites:
                if site in requests and not authority.issued.of(site):
                    authority = _certified(authority, consortium, requests[site])
            authority = write_server(out / SERVER, consortium, authority, identity, renew=renew == SERVER)
            for site, terms in consortium.sites.items():
                write_site(out / site, site, terms, consortium, authority, identity)
            return Report(
                consortium.name,
                identity.public.fingerprint,
                tuple(_state(authority, site) for site in consortium.sites),
                (*notes, *_noted(authority, consortium, requests)),
                authority.list_ends,
            )


def _refuse_other_things(out: Path) -> None:
    """What is in the folder of kits becomes its owner's alone: so it must not be somebody's home."""
    if not out.is_dir() or (out / AUTHORITY_FOLDER).exists():
        return
    strange = sorted(path.name for path in out.iterdir() if path.name not in (REQUESTS, LOCK))
    if strange:
        raise ConfigError(
            "this folder holds other things than kits", given=f"{out}, with {strange[0]}", do="choose a new --out"
        )


def _requests(
    folder: Path, consortium: Consortium, authority: Authority, *, bear: bool
) -> tuple[dict[str, Checked], list[str]]:
    """The requests on file by site, and what is wrong with others; a bad one must not keep anybody from revoking."""
    found: dict[str, Checked] = {}
    notes: list[str] = []
    for path in sorted(folder.glob("*.json")):
        if path.stem not in consortium.sites:
            notes.append(f"{REQUESTS}/{path.name} is of no site of this consortium: name it as the site is called")
            continue
        try:
            found[path.stem] = _fitting(read_request(path), path.stem, authority.issued.id)
        except FedcxrError as error:
            if not bear:
                raise
            notes.append(f"{REQUESTS}/{path.name}: {error}")
    return found, notes


def _fitting(asked: Checked, site: str, consortium: str) -> Checked:
    if asked.site != site:
        raise Refused("a request is of another site than its file's name says", given=asked.site, allowed=site)
    if asked.request.consortium != consortium:
        raise Refused(
            "a request is for another consortium",
            given=asked.request.consortium[:8],
            allowed=consortium[:8],
            do="the site runs `fedcxr site request` with the kit of this one",
        )
    return asked


def _revoked(authority: Authority, name: str) -> Authority:
    holders = [holder for holder in authority.issued.holders() if holder != SERVER]
    if name not in holders:
        raise UnknownName("site with a certificate", name, holders)
    return authority.revoke(name)


def _renewed(
    authority: Authority, consortium: Consortium, site: str, requests: Mapping[str, Checked], notes: list[str]
) -> Authority:
    """A new certificate for the request on file. Where that is of new keys, the old ones open nothing any more."""
    if site not in consortium.sites:
        raise UnknownName("site", site, (*consortium.sites, SERVER))
    before = _latest(authority, site)
    asked = requests.get(site, before)
    if asked is None:
        raise ConfigError(
            "there is no request to renew", given=site, do=f"put the site's request.json at {REQUESTS}/{site}.json"
        )
    _refuse_shared_keys(authority, asked)  # before anything is revoked
    if before is not None and (before.tls, before.node) != (asked.tls, asked.node):
        authority = authority.revoke(site)
    if before is not None and before.card.public != asked.card.public:
        notes.append(_succession(before, asked))
    return _certified(authority, consortium, asked)


def _succession(before: Checked, asked: Checked) -> str:
    try:
        asked.card.check_follows(before.card.public)
    except Refused:
        return f"the card of {asked.site} is another one, which the one before did not sign: telephone before you go on"
    return f"the card of {asked.site} is another one, which the one before signed"


def _certified(authority: Authority, consortium: Consortium, asked: Checked) -> Authority:
    _refuse_shared_keys(authority, asked)
    return authority.certify_site(asked.site, asked.tls, consortium.days, asked.request.text)


def _refuse_shared_keys(authority: Authority, asked: Checked) -> None:
    for other in authority.issued.holders():
        held = _latest(authority, other) if other != asked.site else None
        if held is not None and {*held.keys} & {*asked.keys}:
            raise Refused(
                "two sites have a key in common",
                given=f"{asked.site} and {other}",
                do="one of them makes a new request",
            )


def _latest(authority: Authority, site: str) -> Checked | None:
    """What the last certificate of a site answers."""
    issued = authority.issued.of(site)
    return Request.parse(issued[-1].request) if issued and issued[-1].request else None


def _state(authority: Authority, site: str) -> SiteReport:
    issued = authority.issued.of(site)
    if not issued:
        return SiteReport(site, "no request yet")
    last = issued[-1]
    over = "ended" if last.ends <= authority.now else "certified"
    card = Request.parse(last.request).card
    return SiteReport(site, "revoked" if last.revoked else over, card.public.fingerprint, last.ends)


def _noted(authority: Authority, consortium: Consortium, requests: Mapping[str, Checked]) -> list[str]:
    listed, now = authority.issued, authority.now
    notes = []
    for site in listed.holders():
        good = listed.good_of(site, now)
        if good and site != SERVER and site not in consortium.sites:
            notes.append(
                f"{site} is left out of the consortium, and not shut out: its certificate is good until "
                f"{good[-1].ends:%Y-%m-%d}. --revoke {site} shuts it out"
            )
    for site, asked in requests.items():
        latest = _latest(authority, site)
        if listed.out(site):
            notes.append(f"{site} is revoked: leave it out of the consortium, or let it in again with --renew {site}")
        elif latest is not None and not latest.same_as(asked):
            notes.append(f"a newer request of {site} is on file: --renew {site} takes it up")
    return [*notes, *authority.ending()]
