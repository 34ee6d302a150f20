"""The Flower ServerApp: asks every site for its release and keeps what arrives."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

from fedcxr import wire
from fedcxr.document import choose, read_file
from fedcxr.errors import EngineBroken, Refused, TooFewSites
from fedcxr.methods import Method
from fedcxr.release import Release
from fedcxr.runs import Run
from fedcxr.scenario import Scenario

PULL_INTERVAL = 0.02  # seconds between looks for answers
ROUND = 1

Answers = dict[str, dict[str, Any]]  # site -> its entry under `sites` in result.json


def collect(grid: Grid, run: Run) -> list[dict[str, Any]]:
    """Ask the sites whose release is not on file, until all answered or the time is over.

    Returns one entry per site; raises if fewer sites than the scenario needs released anything.
    """
    scenario = run.scenario
    deadline = time.monotonic() + scenario.compute.timeout_s
    on_file = {site: note for site in scenario.site_names if (note := run.release_note(site)) is not None}
    nodes = _wait_for_nodes(grid, len(scenario.site_names), deadline)
    document = scenario.to_yaml()
    asked = {
        site: Message(
            wire.pack_request(wire.Request(document, site, ROUND)),
            dst_node_id=node,
            message_type=wire.REQUEST,
            group_id=str(ROUND),
            ttl=max(deadline - time.monotonic(), 1.0),
        )
        for site, node in zip(scenario.site_names, nodes, strict=True)
        if site not in on_file
    }
    answers = on_file | _answers(grid, run, asked, deadline)
    entries = [{"name": site, **answers[site]} for site in scenario.site_names]
    _check_enough(entries, scenario.needed_sites)
    return entries


def _wait_for_nodes(grid: Grid, sites: int, deadline: float) -> Sequence[int]:
    while len(nodes := sorted(grid.get_node_ids())) < sites:
        if time.monotonic() > deadline:
            raise TooFewSites("too few sites are connected", given=len(nodes), allowed=f"{sites} sites")
        time.sleep(PULL_INTERVAL)
    return nodes[:sites]


def _answers(grid: Grid, run: Run, asked: Mapping[str, Message], deadline: float) -> Answers:
    answers: Answers = {}
    ids = list(grid.push_messages(asked.values()))
    waiting = dict(zip(ids, asked, strict=True))  # a reply names its message, and not always its site
    while waiting and time.monotonic() < deadline:
        replies = list(grid.pull_messages(list(waiting)))
        for reply in replies:
            site = waiting.pop(reply.metadata.reply_to_message_id)
            answers[site] = _entry(run, site, reply)
            run.event("site", site=site, round=ROUND, **answers[site])
            run.progress("sites", len(asked) - len(waiting), len(asked))
        if not replies:
            time.sleep(PULL_INTERVAL)
    for site in waiting.values():
        answers[site] = _no_release("dropped", f"no answer within {run.scenario.compute.timeout_s:g} s")
        run.event("site", site=site, round=ROUND, **answers[site])
    return answers


def _entry(run: Run, site: str, reply: Message) -> dict[str, Any]:
    """Keep one site's release, or say why there is none."""
    if reply.has_error():
        # Our ClientApp answers even when a method raises, so this error is the engine's own. Flower puts a dead
        # Ray actor back into its pool, where it spoils every message after this one: stop here.
        raise EngineBroken("the engine died while a site was at work", given=f"{site}: {reply.error.reason}")
    try:
        answer = wire.unpack_answer(reply.content)
        if answer.site != site:
            raise Refused("an answer in another site's name", given=answer.site, allowed=site)
        if answer.status != "ok":
            where = f" ({answer.place}, round {ROUND})" if answer.place else ""
            return _no_release(answer.status, answer.reason + where, answer)
        release = Release.from_bytes(answer.release)
        _check(release, site, answer.images, run.scenario.method)
    except Refused as error:
        return _no_release("refused", str(error))
    entry = {
        "patients": answer.patients,
        "images": answer.images,
        "released": len(release),
        "bytes_released": len(answer.release),
        "seconds": round(answer.seconds, 3),
        "status": "ok",
        "reason": None,
    }
    run.store_release(release, entry)
    return entry


def _check(release: Release, site: str, images: int, method: Method) -> None:
    """Refuse a well-formed release that is not the one we asked for."""
    if (release.site, release.method) != (site, method.plugin_name()):
        raise Refused("a release in another's name", given=f"{release.site}, {release.method}", allowed=site)
    if release.kind != method.kind:
        raise Refused("a release of another kind", given=release.kind, allowed=method.kind)
    if release.kind != "update" and len(release) != images:
        raise Refused("a release of more or fewer films than the site holds", given=len(release), allowed=str(images))


def _no_release(status: str, reason: str, answer: wire.Answer | None = None) -> dict[str, Any]:
    return {
        "patients": answer.patients if answer else None,
        "images": answer.images if answer else None,
        "released": None,
        "bytes_released": None,
        "seconds": round(answer.seconds, 3) if answer else None,
        "status": status,
        "reason": reason,
    }


def _check_enough(entries: Sequence[Mapping[str, Any]], needed: int) -> None:
    silent = [entry for entry in entries if entry["status"] != "ok"]
    if len(entries) - len(silent) < needed:
        raise TooFewSites(
            "too few sites released anything",
            given=f"{len(entries) - len(silent)} of {len(entries)}; "
            + "; ".join(f"{entry['name']}: {entry['reason']}" for entry in silent),
            allowed=f"at least {needed} (min_sites)",
        )


def server_app(run: Run) -> ServerApp:
    """A ServerApp that collects the releases of one run and keeps the outcome as the stage `collect`."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        run.stage("collect", lambda: collect(grid, run))

    return app


app = ServerApp()


@app.main()
def standalone(grid: Grid, context: Context) -> None:
    """`flwr run`: the same experiment on nodes that Flower's own runtime provides."""
    from server.simulate import simulate_on  # it imports this module for its engines

    out = Path(str(context.run_config.get("out") or Path.home() / "fedcxr-runs"))
    simulate_on(grid, _scenario_of(context), out)


def _scenario_of(context: Context) -> Scenario:
    """The scenario in a run configuration, where Flower wants a plain value for every key: empty or -1 is none."""
    given = {key: None if value in ("", -1) else value for key, value in context.run_config.items() if key != "out"}
    path = given.pop("scenario", None)
    return Scenario.parse(choose(read_file(Path(str(path))) if path else {}, **given))
