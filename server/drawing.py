"""A run's pictures: for each site what became of its films, and for each question whom the adversary recognised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcxr.cohort import Cohort
from fedcxr.protocol import context_of
from fedcxr.questions import PROTECTED
from fedcxr.questions._matches import Match, Matches
from fedcxr.runs import Run, agreement_map
from fedcxr.runs.learning_curve import learning_curve
from fedcxr.runs.match_sheet import Row, Told, match_sheet
from fedcxr.runs.pictures import comparison, png, sheet
from fedcxr.scenario import Scenario
from fedcxr.simulation.threat import Put
from fedcxr.storage.disk import explained, write_atomic
from fedcxr.storage.private import private_folder
from fedcxr.table import figure, span
from fedcxr.tasks import Evidence
from fedcxr.view import Films, Shared

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURED_FILMS = 4
FOLDER, README = "pictures", "README.txt"
MATCHES = ".matches.png"  # behind the name of a question; no site's name has a dot
CURVE, AGREEMENT = ".curve.png", ".icc.png"  # behind the name of a task

WARNING = """\
These pictures hold original films of patients.

SITE.png             films as they are, as they were released, and what changed
QUESTION.matches.png films that were attacked, what was released of them, and whom the adversary took them for:
                     which films are of one person can be read off it
TASK.icc.png         how well each radiomics feature agrees with that of the films themselves: no film is in it
TASK.curve.png       how good a model was that sites learnt together, round by round: no film is in it

This folder is readable by its owner only (folder 0700, files 0600). Leave it so, keep it where the films themselves are
kept, and remove it when it is no longer needed: no result depends on it. Where the films were made up (`phantom`),
nobody is shown.
"""


def draw_sites(run: Run, shared: Shared, evidence: Evidence) -> None:
    """One picture per site: some films as they were, as they are seen by those they are for, and what changed."""
    if not len(shared):
        return
    released = np.asarray(evidence.view.forms.get("films", np.zeros((len(shared), *evidence.cohort.size))), np.uint8)
    firsts = np.cumsum([0, *map(len, shared.releases)])
    for release, first in zip(shared.releases, firsts, strict=False):
        shown = np.arange(first, first + min(len(release), PICTURED_FILMS))
        if (evidence.origin[shown] < 0).any():  # there is nothing to compare them with
            picture = sheet(list(released[shown]), columns=PICTURED_FILMS, heads=["released"] * len(shown))
        else:
            behind = evidence.origin[shown]
            originals = evidence.clean[behind]
            context = context_of(run.scenario, release.site, None)
            weights = shared.weights_behind(release)
            known = bool(weights) or evidence.method.learning is None  # what a site learnt may stay with it
            picture = comparison(
                originals,
                released[shown],
                evidence.method.displacements(originals, weights, context) if known else None,
                None if evidence.unauthorised is None else evidence.unauthorised[shown],
                title=f"{release.site}: {method_told(run.scenario)}",
                about=[about(evidence.cohort, int(film)) for film in behind],
            )
        _keep(run, f"{release.site}.png", picture)


def draw_matches(
    run: Run,
    cohort: Cohort,
    put: Mapping[str, Mapping[str, Put]],
    unauthorised: Films | None,
    outcomes: Mapping[str, Mapping[str, Any]],
) -> None:
    """One picture per question: what the scorer chose to show of the best adversary's answers."""
    for question in put:
        found = list(_shown(question, outcomes))
        if not found:
            continue
        entry, matches = max(found, key=lambda one: float(one[0]["auc"]["value"]))
        told = _told(run.scenario, cohort, put[question][PROTECTED], unauthorised, entry, matches)
        _keep(run, f"{question.replace(':', '.')}{MATCHES}", match_sheet(told))


def draw_learning(run: Run, utility: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How good a federation's model was after its rounds, where a task has a curve of it; the pictures' names."""
    names = []
    for name, outcome in utility.items():
        picture = learning_curve(outcome["measured"] or {}, method_told(run.scenario))
        if picture is not None:
            names.append(f"{name.replace(':', '.')}{CURVE}")
            _keep(run, names[-1], picture)
    return names


def draw_agreement(run: Run, utility: Mapping[str, Mapping[str, Any]]) -> None:
    """Which features of films agree with those of the films themselves, where a task tells that of each."""
    for name, outcome in utility.items():
        picture = agreement_map.of_run(outcome["measured"] or {}, method_told(run.scenario))
        if picture is not None:
            _keep(run, f"{name.replace(':', '.')}{AGREEMENT}", picture)


def _shown(question: str, outcomes: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Matches]]:
    """What each adversary's best attacker answered, beside its entry in the result."""
    for outcome in outcomes.values():
        if question in outcome["shown"]:
            matches = Matches.heard(outcome["shown"][question])
            for entry in outcome["entries"]["attacks"]:
                if (entry["question"], entry["attacker"]) == (question, matches.attacker):
                    yield entry, matches


def _told(
    scenario: Scenario,
    cohort: Cohort,
    put: Put,
    unauthorised: Films | None,
    entry: Mapping[str, Any],
    matches: Matches,
) -> Told:
    world, view = put.setting.world, put.asked.view
    rows = np.flatnonzero(world.rows_of(put.roles.attacked))  # of all that was released
    attacked, known = world.released.films[rows], np.flatnonzero(put.roles.known)

    def drawn(match: Match) -> Row:
        film, found = int(attacked[match.film]), int(known[match.found])
        original, first, own = cohort.films([film, found, known[match.own]])
        released = None
        if view.opened[match.film] and "films" in view.forms:
            released = np.asarray(view.forms["films"][match.film], dtype=np.uint8)
        elif unauthorised is not None and unauthorised[rows[match.film]].any():
            released = unauthorised[rows[match.film]]
        site = str(world.released.sites[rows[match.film]])
        return Row(match, original, released, first, own, f"{site}, {about(cohort, film)}", about(cohort, found))

    def chosen(how: str) -> list[Row]:
        return [drawn(match) for match in matches.rows if match.chosen == how]

    at_random, best = chosen("at random"), chosen("recognised best")
    open_to_all = bool(view.opened.all())
    return Told(
        title="Whom does the adversary recognise?",
        said=_claim(entry, matches),
        notes=[
            f"Method: {method_told(scenario)}. {len(scenario.site_names)} sites, seed {scenario.seed}. "
            f"Best adversary: {entry['adversary']}, {entry['attacker']}: AUC {figure(entry['auc']['value'])} "
            f"({span(entry['auc']['ci95'])}).",
            f"The adversary holds {matches.known} films of known patients, never the attacked film itself, and names "
            "for each released film the known one that is most likely of the same person. The higher the score, the "
            "surer it is; above 0 it says: the same person.",
            "This sheet holds original films, and tells which are of one person. Keep it where the films are kept.",
        ],
        heads=(
            "original: nobody outside the hospital sees it",
            "released: all the adversary sees of it" if open_to_all else "released: how it looks without a key",
            "known film that the adversary matched first",
            "if that was wrong: the film it should have matched",
        ),
        sections=(
            (f"{len(at_random)} films at random, of {matches.queries}", at_random),
            (f"The {len(best)} patients who are found most often, each by the film that matches best", best),
        ),
        known=matches.known,
    )


def _claim(entry: Mapping[str, Any], matches: Matches) -> list[str]:
    first = entry["rank1"]
    said = [
        f"Of {matches.queries} released films, the right patient is matched first for "
        f"{'unknown' if first is None else f'{first:.1%}'}. A guesser is right for {matches.by_chance:.1%}."
    ]
    if not entry["conclusive"]:
        said.append(f"Inconclusive: {entry['inconclusive_because']}. Whom it missed, a better one may find.")
    return said


def method_told(scenario: Scenario, most: int = 5) -> str:
    """A method with its first parameters, which are those that matter most."""
    name, spec = scenario.method.plugin_name(), scenario.method.spec()
    given = [f"{key} {value}" for key, value in spec.items() if key != "name" and isinstance(value, str | int | float)]
    more = ", ..." if len(given) > most else ""
    return f"{name} ({', '.join(given[:most])}{more})" if given else name


def about(cohort: Cohort, film: int) -> str:
    """The view of a film and its findings."""
    row, labels = cohort.index.iloc[film], cohort.labels[film]
    shown: Sequence[str] = np.array(cohort.findings)[labels == 1].tolist()
    return ", ".join(filter(None, (str(row["view"]), "; ".join(shown) or "no finding")))


def keep(run: Run, name: str, what: Image | str) -> None:
    """A picture, or a text about all of them, in the run's folder of them."""
    folder = run.folder / FOLDER
    with explained(folder):
        private_folder(folder)
    write_atomic(folder / name, what.encode() if isinstance(what, str) else png(what))


def _keep(run: Run, name: str, picture: Image) -> None:
    """A picture that holds originals."""
    if not (run.folder / FOLDER / README).is_file():
        keep(run, README, WARNING)
    keep(run, name, picture)
