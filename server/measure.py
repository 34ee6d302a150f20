"""What is measured once the sites have answered: utility in this process, the attacks beside it in their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcxr.data import cache_folder
from fedcxr.learning import Report
from fedcxr.methods import guarantee_of
from fedcxr.metrics.paired import Replicates
from fedcxr.protocol import COORDINATOR, context_of, task_seed
from fedcxr.questions import PROTECTED
from fedcxr.release import Release
from fedcxr.runs import Run, stages
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.threat import Put, Threat
from fedcxr.storage.artefacts import Artefacts
from fedcxr.storage.disk import explained, write_json
from fedcxr.tasks import Bench, Evidence
from fedcxr.view import Shared
from server import drawing, result, scorer
from server.attack import Attack, leak_controls
from server.meter import Meter
from server.quorum import no_release, require_quorum
from server.traffic import Traffic

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute


def conduct(run: Run, experiment: Experiment, release: Callable[[], object], engine: str, meter: Meter) -> None:
    """Let the sites release, measure utility and privacy on the same released bytes, and write result.json."""
    run.scenario.method.demand(experiment.cohort)
    for task in run.scenario.tasks.values() if run.scenario.real else ():
        task.demand(experiment.cohort)  # of rendered people there can be more, and a trial may be small
    threat, artefacts = Threat(experiment), Artefacts.below(cache_folder())
    attacks = {name: Attack(run, threat, name, artefacts) for name in experiment.scenario.adversaries}
    waiting = [attack for name, attack in attacks.items() if not run.has_stage(stages.attack(name))]
    try:
        for attack in waiting:
            attack.start()  # it learns from its own films while the sites are at work
        measured = _measure(run, threat, release, attacks, waiting)
    finally:
        for attack in waiting:
            attack.stop()
    write_json(run.folder / "result.json", result.document(run.scenario, measured, engine, meter))


def _measure(
    run: Run,
    threat: Threat,
    release: Callable[[], object],
    attacks: Mapping[str, Attack],
    waiting: Sequence[Attack],
) -> result.Measured:
    began, experiment = time.monotonic(), threat.experiment
    compute = context_of(run.scenario, COORDINATOR, None).compute
    ahead = Ahead.of(partial(_foresee, run, experiment, compute))
    if not run.has_stage(stages.COLLECT):
        run.progress("sites", 0, len(run.scenario.site_names))
        release()
    release_s = time.monotonic() - began
    sites, releases = _fitting(run, experiment)
    shared = Shared(releases, run.learnt(), run.updates, run.rounds)
    threat = replace(threat, reports=_reports(run, shared))
    guarantee = guarantee_of(run.scenario.method, threat.reports)
    put = threat.put(shared)
    _keep_answers(run, threat, shared, put)
    for attack in waiting:
        attack.leak(put)
    controls = Ahead.of(partial(leak_controls, waiting, put))
    view = experiment.view(shared, run.scenario.reader)
    access = run.stage("access", partial(experiment.access, shared, view))
    evidence = experiment.evidence(shared, view)
    drawing.draw_sites(run, shared, evidence)
    ahead.done()
    utility = _utility(run, evidence, compute)
    drawing.draw_learning(run, utility)
    drawing.draw_agreement(run, utility)
    controls.done(run.scenario.compute.timeout_s)  # whoever is not ready by then is ended below
    for attack in waiting:
        attack.wait(time.monotonic() + run.scenario.compute.timeout_s)
        run.stage(stages.attack(attack.name), partial(scorer.score, threat, put, attack))
        attack.keep_for_others(put)
        attack.clear()
    outcomes = {name: run.outcome(stages.attack(name)) for name in attacks}
    drawing.draw_matches(run, experiment.cohort, put, evidence.unauthorised, outcomes)
    return result.Measured(
        sites=sites,
        traffic=Traffic.of(run).total(),
        utility=utility,
        attacks=list(outcomes.values()),
        guarantee=guarantee,
        beside=run.stage("beside", partial(_beside, threat, put)),
        access=access,
        release_s=release_s,
        compute=compute,
    )


def _fitting(run: Run, experiment: Experiment) -> tuple[Sequence[Mapping[str, Any]], list[Release]]:
    """What became of each site, and what they released: none but films that were dealt to it, or there is nobody to ask
    whose they are."""
    entries: Sequence[Mapping[str, Any]] = run.outcome(stages.COLLECT)
    releases = run.releases([entry["name"] for entry in entries if entry["status"] == "ok"])
    misfits = {release.site: why for release in releases if (why := experiment.misfit(release)) is not None}
    if not misfits:
        return entries, releases
    sites = [
        {"name": e["name"], **no_release("refused", misfits[e["name"]])} if e["name"] in misfits else e for e in entries
    ]
    require_quorum(run.scenario, {e["name"]: str(e["reason"]) for e in sites if e["status"] != "ok"})
    return sites, [release for release in releases if release.site not in misfits]


class Ahead:
    """Work done in a thread of its own, while the sites or the attacks are at work."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._failure: BaseException | None = None
        # An interrupted command must not wait for a training that nobody will use.
        self._thread = threading.Thread(target=self._run, daemon=True)

    @classmethod
    def of(cls, work: Callable[[], None]) -> Ahead:
        """Work that has begun."""
        ahead = cls(work)
        ahead._thread.start()
        return ahead

    def done(self, within: float | None = None) -> None:
        """Wait until it is, or so many seconds; raises what it raised."""
        self._thread.join(within)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as failure:  # whatever it is belongs to the thread that waits
            self._failure = failure


def _utility(run: Run, evidence: Evidence, compute: Compute) -> dict[str, Any]:
    """Every task's figures, each with the seconds it took, and replicates to compare policies by."""

    def measured(name: str) -> dict[str, Any]:
        start, task = time.perf_counter(), run.scenario.tasks[name]
        if not task.applies(evidence):
            return {"measured": None, "seconds": 0.0}
        replicates: dict[str, Any] = {}

        def keep(figure: str, drawn: Replicates | None) -> None:
            if drawn is not None:
                replicates[figure] = drawn.told()

        with compute.session():
            figures = task.measure(evidence, replace(_bench(run, name, compute), keep=keep))
        return {"measured": figures, "seconds": time.perf_counter() - start, "replicates": replicates}

    return {name: run.stage(stages.utility(name), partial(measured, name)) for name in run.scenario.tasks}


def _foresee(run: Run, experiment: Experiment, compute: Compute) -> None:
    """What tasks can do before anything is released."""
    expected = experiment.expected()
    for name, task in run.scenario.tasks.items():
        if not run.has_stage(stages.utility(name)):
            task.foresee(expected, _bench(run, name, compute))


def _bench(run: Run, task: str, compute: Compute) -> Bench:
    return Bench(task_seed(run.scenario, task), compute, run.progress, Artefacts.below(cache_folder()))


def _reports(run: Run, shared: Shared) -> tuple[Report, ...]:
    """What sites told of learning: in each round of a federation, or with the release of each that learns alone."""
    alone = (Report.of(release, 1) for release in shared.releases if "reported" in release.facts)
    return run.reports() or tuple(alone)


def _keep_answers(run: Run, threat: Threat, shared: Shared, put: Mapping[str, Mapping[str, Put]]) -> None:
    """Who is who, and who is attacked by any question, where only the owner of the run may read it."""
    attacked = [worlds[PROTECTED].roles.attacked for worlds in put.values() if worlds]  # controls may be of other films
    everybody = np.any(attacked, axis=0) if attacked else np.zeros(len(threat.experiment.cohort), dtype=np.bool_)
    with explained(run.folder):
        threat.answers(shared, everybody).save(run.folder / "answers")


def _beside(threat: Threat, put: Mapping[str, Mapping[str, Put]]) -> dict[str, Any]:
    """What is known without any adversary, question by question."""
    found: dict[str, Any] = {}
    for name, worlds in put.items():
        for one in list(worlds.values())[:1]:  # the first world is the one that is
            found |= threat.scenario.questions[name].beside(one.asked.key, one.setting.world, one.roles)
    return found
