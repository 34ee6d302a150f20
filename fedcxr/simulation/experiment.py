"""What the experimenter of a simulation holds, and nobody in a deployment does: everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.data._vocabulary import canonical
from fedcxr.errors import DataError
from fedcxr.keys import ReleaseKey
from fedcxr.keys.provider import SERVER, Job
from fedcxr.learning import Report
from fedcxr.partition import Rows, deal
from fedcxr.protocol import COORDINATOR, context_of, release_order
from fedcxr.reading import Recipient, foreign_keys
from fedcxr.release import Release
from fedcxr.scenario import Scenario
from fedcxr.simulation.consortium import join
from fedcxr.simulation.elsewhere import Opened, Opening
from fedcxr.simulation.keys import Simulated, simulated_identity, simulated_register
from fedcxr.tasks import Evidence, Progress
from fedcxr.view import Films, Holder, Shared, Thief, Told, View
from fedcxr.world import Traces, World


@dataclass(frozen=True)
class Experiment:
    """One scenario, all films, and which site holds which."""

    scenario: Scenario
    cohort: Cohort
    dealt: Mapping[str, Rows]
    elsewhere: Opened
    _behind: dict[str, Rows] = field(default_factory=dict, compare=False, repr=False)  # by digest of a release
    _views: dict[tuple[str, ...], View] = field(default_factory=dict, compare=False, repr=False)  # of who reads

    @classmethod
    def of(cls, scenario: Scenario, cohort: Cohort, opening: Opening | None = None) -> Experiment:
        """One cohort, dealt out to the sites."""
        sites = len(scenario.site_names)
        dealt = deal(cohort.index, cohort.findings, sites, scenario.partition, scenario.root)
        cohort = scenario.made_alike(cohort, of=dealt)
        return cls(scenario, cohort, dealt, Opened(cohort, opening or Opening(scenario, cache_folder())))

    @classmethod
    def open(cls, scenario: Scenario, cache: Path, workers: int = 1, progress: Progress | None = None) -> Experiment:
        """The scenario's films, made on first use: one cohort to deal out, or each site's own."""
        opening = Opening(scenario, cache, workers, progress)
        if scenario.cohort is not None:
            return cls.of(scenario, opening.films(scenario.cohort, "films"), opening)
        own = {site: opening.films(source, f"films of {site}") for site, source in scenario.own_sources.items()}
        cohort, dealt = join({site: scenario.made_alike(films, of=site) for site, films in own.items()})
        return cls(scenario, cohort, dealt, Opened(cohort, opening))

    def site(self, name: str) -> Cohort:
        """The films one hospital holds."""
        return self.cohort.take(self.dealt[name])

    def world(self, shared: Shared | None = None, reports: Sequence[Report] = ()) -> World:
        """All there is to know, before or after the sites have released and told of their learning."""
        context = context_of(self.scenario, COORDINATOR, None)
        traces = None
        if shared is not None:
            sites = np.repeat([r.site for r in shared.releases], [len(r) for r in shared.releases]).astype(object)
            opened = partial(self._opened, shared) if self.scenario.method.keyed else None
            readers = partial(self._readers, shared)
            there = np.zeros(len(self.cohort), dtype=np.bool_)
            there[np.concatenate([self.dealt[release.site] for release in shared.releases])] = True
            films = self.truth(shared)
            traces = Traces(shared, films, sites, self.release_key, opened, readers, reports, there)
        return World(
            cohort=self.cohort,
            patients=self.cohort.patients,
            method=self.scenario.method,
            seed=self.scenario.root,
            context=context,
            sites=self.scenario.site_names,
            traces=traces,
            elsewhere=self.elsewhere,
        )

    # Who is who -------------------------------------------------------------------------------------------------------

    def truth(self, shared: Shared) -> Rows:
        """For each released row, release after release, the film it was made of; -1: it belongs to nobody."""
        return np.concatenate([self._films_behind(release) for release in shared.releases])

    def misfit(self, release: Release) -> str | None:
        """Why a release cannot be of the films that its site holds; None: it can."""
        try:
            self._films_behind(release)
        except DataError as why:
            return str(why)
        return None

    def _films_behind(self, release: Release) -> Rows:
        if release.digest() not in self._behind:
            self._behind[release.digest()] = self._find_films_behind(release)
        return self._behind[release.digest()]

    def _find_films_behind(self, release: Release) -> Rows:
        """By the order that the seed gives the site's films, checked against what was released of each."""
        dealt = self.dealt[release.site]
        if not release.of_films:
            return np.zeros(0, dtype=np.intp)
        if not release.accounts_for(len(dealt)) or release.size != self.cohort.size:
            raise DataError(
                f"the release of {release.site} does not fit the films it holds",
                given=f"{(len(release), *release.size)}",
                allowed=f"{(len(dealt), *self.cohort.size)}",
            )
        origins = release.origins
        ordered = dealt[release_order(release.site, len(dealt), self.scenario.root)]
        rows = np.where(origins >= 0, ordered[origins], -1)
        real = np.flatnonzero(rows >= 0)
        if len(real):
            split = self.cohort.splits
            beside = self.scenario.method.told(release, Thief({release.site: self.release_key(release.site)}))
            told, known = self._labels(release, beside)[real], self.cohort.labels[rows[real]]
            # A finding that is told must be the film's; one that is not told may be withheld.
            same = np.array_equal(beside.split[real], split[rows[real]])
            if not same or not ((told == known) | np.isnan(told)).all():
                raise DataError(
                    f"the films behind the release of {release.site} cannot be told: its findings are of others",
                    given="another order than this simulation's",
                    do="a site of a simulation takes its films' order from the scenario's seed",
                )
        return rows

    def _labels(self, release: Release, beside: Told) -> npt.NDArray[np.float32]:  # (n, k)
        """What is told of findings in the order of the whole cohort's; those the site does not know are unknown."""
        place = {finding: column for column, finding in enumerate(self.cohort.findings)}
        told = [canonical(name) for name in release.facts["findings"]]
        strange = [name for name in told if name not in place]
        if strange:
            raise DataError(f"{release.site} released findings that it does not have", given=", ".join(strange))
        labels = np.full((len(release), len(place)), np.nan, dtype=np.float32)
        labels[:, [place[name] for name in told]] = beside.findings
        return labels

    # Who sees what ----------------------------------------------------------------------------------------------------

    def view(self, shared: Shared, reader: str) -> View:
        """All that was released, as a site or the coordinator sees it."""
        if reader != self.scenario.reader:
            return self._seen(shared, self._recipient(reader))
        key = tuple(release.digest() for release in shared.releases)
        if key not in self._views:
            self._views[key] = self._seen(shared, self._recipient(reader))
        return self._views[key]

    def _seen(self, shared: Shared, holder: Holder) -> View:
        return self.scenario.method.view(shared, holder, context_of(self.scenario, COORDINATOR, None))

    def _opened(self, shared: Shared) -> View:
        """All that was released, as whoever has every site's key sees it."""
        read = self.view(shared, self.scenario.reader)
        if read.opened.all():
            return read
        return self._seen(shared, Thief({site: self.release_key(site) for site in self.scenario.site_names}))

    def _readers(self, shared: Shared) -> Mapping[str, npt.NDArray[np.bool_]]:
        """Which released rows are open to whom."""
        method = self.scenario.method
        return {name: method.opened(shared, self._recipient(name)) for name in self.readers}

    def _recipient(self, reader: str) -> Recipient:
        return Recipient(
            simulated_identity(self.scenario.root, reader),
            simulated_register(self.scenario.root, self.scenario.site_names),
        )

    def evidence(self, shared: Shared, view: View | None = None) -> Evidence:
        """What tasks are measured on: the releases as they are read by the one whom the scenario has read them."""
        seen = self.view(shared, self.scenario.reader) if view is None else view
        films, versions, sites = self._clean(shared)
        behind = self.truth(shared)
        place = np.full(len(self.cohort) + 1, -1, dtype=np.intp)  # the last stands for nobody's
        place[films] = np.arange(len(films))
        reader, method = self._recipient(self.scenario.reader), self.scenario.method
        told = [(release, method.told(release, reader)) for release in shared.releases if len(release)]
        return Evidence(
            view=seen,
            labels=_joined([self._labels(*one) for one in told], (0, len(self.cohort.findings))),
            split=_joined([beside.split for _, beside in told], (0,)).astype(np.int8),
            released_by=shared.released_by,
            findings=self.cohort.findings,
            origin=place[behind],
            cohort=self.cohort.take(films),
            versions=versions,
            sites=sites,
            method=method,
            taught=shared.taught or ({},),
            unauthorised=self._unauthorised(shared),
            rounds=lambda: ((number, made.weights) for number, made in shared.rounds()),
        )

    def expected(self) -> Cohort:
        """The films of all sites in the order in which these will release them, if they release all."""
        orders = {site: rows[release_order(site, len(rows), self.scenario.root)] for site, rows in self.dealt.items()}
        return self.cohort.take(np.concatenate([orders[site] for site in self.scenario.site_names]))

    def _clean(self, shared: Shared) -> tuple[Rows, npt.NDArray[np.int64], npt.NDArray[np.object_]]:
        """The films of the sites that released, in the order of their releases where these are of films; which of what
        the method learnt is each one's, and which site."""
        films, versions, version = [], [], -1
        for release in shared.releases:
            behind = self._films_behind(release)
            _, first = np.unique(behind[behind >= 0], return_index=True)
            films.append(behind[behind >= 0][np.sort(first)] if len(first) else self.dealt[release.site])
            version += bool(release.weights)
            versions.append(np.full(len(films[-1]), max(version, 0), dtype=np.int64))
        sites = np.repeat([release.site for release in shared.releases], [len(own) for own in films])
        return np.concatenate(films), np.concatenate(versions), sites.astype(object)

    def _unauthorised(self, shared: Shared) -> Films | None:  # (n, h, w)
        """How what was released looks to somebody without any key, who has films of people that are not tested on."""
        method, world = self.scenario.method, self.world(shared)
        if not method.keyed:
            return None
        own, seen = self.cohort.films(np.flatnonzero(~world.tested)), world.view()
        films = np.zeros((len(seen), *self.cohort.size), dtype=np.uint8)
        for version, weights in enumerate(shared.taught or ({},)):
            looks, rows = method.appearance(own, weights, world.context), seen.versions == version
            if looks is not None and rows.any():
                films[rows] = looks.released(seen.take(rows))
        return films

    def access(self, shared: Shared, view: View) -> dict[str, Any] | None:
        """Who may read what, and what the key of one site does to another's films; None where there are no keys.

        `view` is that of the scenario's reader, which is there already.
        """
        method, scenario = self.scenario.method, self.scenario
        if not method.keyed:
            return None
        others = [self.release_key(site) for site in scenario.site_names]
        views = ((name, view if name == scenario.reader else self.view(shared, name)) for name in self.readers)
        return {
            "reader": scenario.reader,
            "granted": dict(scenario.grant),
            "readers": [
                {"name": name, "films": len(seen), "opened": int(seen.opened.sum()), "refusals": dict(seen.refusals)}
                for name, seen in views
            ],
            "other_site": foreign_keys(method, shared.releases, others),
        }

    @property
    def readers(self) -> tuple[str, ...]:
        """Everybody who was granted keys, and the coordinator."""
        return tuple(dict.fromkeys((SERVER, *self.scenario.grant)))

    def release_key(self, site: str, release: str = "") -> ReleaseKey:
        """A simulated site's key for its release in this run, or for another one."""
        job = Job("release", f"{self.scenario.run_name}{release}")
        return Simulated(self.scenario.root, site, {}).begin(job, ())


def _joined(parts: list[Any], empty: tuple[int, ...]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(empty, dtype=np.float32)
