"""Asks every site for its release and keeps what arrives."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedcxr import wire
from fedcxr.errors import Refused
from fedcxr.keys.provider import Job
from fedcxr.learning import Report
from fedcxr.methods import Method
from fedcxr.protocol import job_of
from fedcxr.release import Release
from fedcxr.runs import Run
from server.exchange import Exchange, why_not
from server.learning import learn
from server.register import Register

ROUND = 1
LONGEST_COMPLAINT = 100  # characters


def collect(grid: Grid, run: Run, register: Register) -> list[dict[str, Any]]:
    """Let the method learn, and ask the sites whose release is not on file, until all answered or the time is over.

    Returns one entry per site; raises if fewer sites than the scenario needs released anything.
    """
    scenario = run.scenario
    exchange = Exchange(grid, run, register)
    learnt = learn(exchange, run, keep_updates=scenario.keeps_updates)
    entries = {site: note for site in scenario.site_names if (note := run.release_note(site)) is not None}
    asked = [site for site in scenario.site_names if site not in entries]
    job = job_of(scenario, "release", told=learnt)
    for count, (site, answer) in enumerate(exchange.ask(wire.RELEASE, asked, learnt=learnt), start=1):
        entries[site] = _entry(run, site, answer, exchange, job)
        run.event("site", site=site, round=ROUND, **entries[site])
        run.progress("sites", count, len(asked))
    exchange.require_quorum({site: str(entry["reason"]) for site, entry in entries.items() if entry["status"] != "ok"})
    return [{"name": site, **entries[site]} for site in scenario.site_names]


def _entry(run: Run, site: str, answer: wire.Answer | Refused, exchange: Exchange, job: Job) -> dict[str, Any]:
    """Keep one site's release, or say why there is none."""
    reason = why_not(answer)
    if isinstance(answer, Refused):
        return _no_release("refused", reason)
    if reason is not None:
        return _no_release(answer.status, f"{reason}, round {ROUND}" if answer.place else reason, answer)
    try:
        release = exchange.release(site, answer, job)
        _check(release, site, answer.images, run.scenario.method)
    except Refused as error:
        return _no_release("refused", str(error))
    entry = {
        "patients": answer.patients,
        "images": answer.images,
        "released": len(release),
        "complaints": _complaints(release),
        "bytes_released": len(answer.release),
        "seconds": round(answer.seconds, 3),
        "status": "ok",
        "reason": None,
    }
    if release.weights:
        run.scenario.method.save(release.weights, run.learnt_file(site))
    run.store_release(release, entry)
    return entry


def _complaints(release: Release) -> dict[str, int]:
    """How many of the site's films the method complained about, by reason."""
    told = release.facts.get("complaints", [])
    return dict(Counter(str(reason)[:LONGEST_COMPLAINT] for _, reason in told))


def _check(release: Release, site: str, images: int, method: Method) -> None:
    """Refuse a well-formed release that is not the one we asked for."""
    if (release.site, release.method) != (site, method.plugin_name()):
        raise Refused("a release in another's name", given=f"{release.site}, {release.method}", allowed=site)
    if release.kind != method.kind:
        raise Refused("a release of another kind", given=release.kind, allowed=method.kind)
    if not release.accounts_for(images):
        told = len(release) + len(release.left_out)
        raise Refused("a release of more or fewer films than the site holds", given=told, allowed=str(images))
    if "reported" in release.facts:
        Report.of(release, ROUND)
    complaints = release.facts.get("complaints", [])
    if not isinstance(complaints, list) or not all(isinstance(c, list) and len(c) == 2 for c in complaints):
        raise Refused("a release whose complaints are not films and reasons", given=site)


def _no_release(status: str, reason: str | None, answer: wire.Answer | None = None) -> dict[str, Any]:
    return {
        "patients": answer.patients if answer else None,
        "images": answer.images if answer else None,
        "released": None,
        "complaints": None,
        "bytes_released": None,
        "seconds": round(answer.seconds, 3) if answer else None,
        "status": status,
        "reason": reason,
    }


def server_app(run: Run) -> ServerApp:
    """A ServerApp that collects the releases of one simulated run and keeps the outcome as the stage `collect`."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        run.stage("collect", lambda: collect(grid, run, Register.of_simulation(run.scenario)))

    return app
