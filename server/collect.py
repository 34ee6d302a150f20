"""Asks every site for its release and keeps what arrives."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedcxr import wire
from fedcxr.data import Source
from fedcxr.errors import Refused, StorageError
from fedcxr.keys.provider import Job
from fedcxr.protocol import job_of
from fedcxr.release import Header, Release
from fedcxr.runs import Run
from fedcxr.runs.stages import COLLECT
from server.acceptance import accept, admit, odd_ones
from server.exchange import Exchange, fault, why_not
from server.learning import learn
from server.quorum import no_release, require_quorum
from server.register import Register

Entry = dict[str, Any]  # what a result says of a site, but its name

ROUND = 1
MOST_COMPLAINTS = 20  # different ones of a site, those it has most often


def collect_over(exchange: Exchange, run: Run, public: Source | None = None) -> list[dict[str, Any]]:
    """Let the method learn, and ask the sites whose release is not on file, until all answered or the time is over.

    `public` are the coordinator's films, unless the scenario names them. Returns one entry per site; raises if fewer
    sites than the scenario needs released anything.
    """
    scenario = run.scenario
    learnt = learn(exchange, run, public or scenario.public, keep_updates=scenario.keeps_updates)
    intake = Intake(run, exchange, learnt, job_of(scenario, "release", told=learnt))
    entries: dict[str, Entry] = {}
    headers: dict[str, Header] = {}
    for site in scenario.site_names:
        # What was damaged since it arrived, or is not signed by the site, is asked for again.
        if (note := run.release_note(site)) is not None and (stored := exchange.stored(site)) is not None:
            entries[site], headers[site] = note, stored.header
            run.event("visit", site=site, round=ROUND, what="on file", released=note["released"])
    asked = [site for site in scenario.site_names if site not in entries]
    for count, (site, answer) in enumerate(exchange.ask(wire.RELEASE, asked, learnt=learnt), start=1):
        entries[site], header = intake.take(site, answer)
        headers |= {} if header is None else {site: header}
        run.event("site", site=site, round=ROUND, **entries[site])
        run.progress("sites", count, len(asked))
    for site, reason in odd_ones(dict(sorted(headers.items())), scenario).items():
        entries[site] = no_release("refused", reason)
        run.learnt_file(site).unlink(missing_ok=True)
        run.event("site", site=site, round=ROUND, **entries[site])
    require_quorum(scenario, {site: str(one["reason"]) for site, one in entries.items() if one["status"] != "ok"})
    return [{"name": site, **entries[site]} for site in scenario.site_names]


def collect(grid: Grid, run: Run, register: Register, public: Source | None = None) -> list[dict[str, Any]]:
    """The same at nodes that have not been greeted yet."""
    return collect_over(Exchange(grid, run, register), run, public)


@dataclass(frozen=True)
class Intake:
    """Takes in what sites answer, for one run."""

    run: Run
    exchange: Exchange
    learnt: Release | None
    job: Job

    def take(self, site: str, answer: wire.Answer | Refused) -> tuple[Entry, Header | None]:
        """Keep one site's release, or say why there is none."""
        reason, scenario = why_not(answer), self.run.scenario
        if isinstance(answer, Refused):
            return no_release("refused", reason), None
        if reason is not None:
            told = f"{reason}, round {ROUND}" if answer.place else reason
            return no_release(answer.status, told, answer.patients, answer.images, round(answer.seconds, 3)), None
        admitted = partial(admit, scenario=scenario, images=answer.images)
        try:
            packed, release = self.exchange.release(site, answer, self.job, admitted)
            accept(release, scenario, self.learnt, answer.images)
            if release.weights:
                scenario.method.save(release.weights, self.run.learnt_file(site))
        except StorageError:  # our own disk's
            raise
        except Exception as error:  # nobody else's run may end by what a site has sent
            return no_release("refused", fault(error)), None
        entry = {
            "patients": answer.patients,
            "images": answer.images,
            "released": len(release),
            "complaints": dict(Counter(release.complaints).most_common(MOST_COMPLAINTS)),
            "bytes_released": len(answer.release),
            "seconds": round(answer.seconds, 3),
            "status": "ok",
            "reason": None,
        }
        self.run.store_release(packed, entry)
        return entry, packed.header


def server_app(run: Run) -> ServerApp:
    """A ServerApp that collects the releases of one simulated run and keeps the outcome as the stage `collect`."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        run.stage(COLLECT, lambda: collect(grid, run, Register.of_simulation(run.scenario)))

    return app
