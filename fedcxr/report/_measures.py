"""What there is to measure for each criterion, whether anybody asked or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from fedcxr.report import _sightings
from fedcxr.report._sightings import Result, Sighting

Criterion = Literal["singling_out", "linkability", "inference"]  # of WP29 opinion 05/2014

NO_FIGURE = "attacked, and no attacker has a figure: there were too few patients or films to ask about"
NOTHING_OF_THE_KIND = "asked, and there was nothing of the kind to ask about in what is shared this way"
SEALED = "attackers cannot read the findings of released films"


@dataclass(frozen=True)
class Measure:
    """Something that was measured, or could have been."""

    name: str
    criterion: Criterion
    question: str
    says: str  # what the figure is, in a sentence
    seen: Callable[[Result], Iterator[Sighting]]
    otherwise: str = NOTHING_OF_THE_KIND  # why there is no figure although the question was asked
    across: bool | None = None  # whether it takes pairs of several hospitals alone; None: there is no such choice


def measures(results: Sequence[Result]) -> list[Measure]:
    """All there are, whatever was asked; of attributes those that results know."""
    attributes = dict.fromkeys(
        attribute
        for result in results
        for entry in result["privacy"].get("inference") or ()
        for attribute in entry["attributes"]
    )
    return [*FIXED, *map(_attribute, attributes or ("sex or age",))]


def _attribute(attribute: str) -> Measure:
    return Measure(
        f"attribute: {attribute}",
        "inference",
        "attributes",
        f"Shown what was released of two films, which of them is of somebody to whom this applies ({attribute})?",
        _sightings.attribute(attribute),
    )


FIXED: tuple[Measure, ...] = (
    Measure(
        "first guess",
        "singling_out",
        "linkage",
        "Asked whose a released film is, among all films known from elsewhere: how often is the first guess right?",
        _sightings.first_guess,
    ),
    Measure(
        "unique findings",
        "singling_out",
        "linkage",
        "Of how many released films is the set of findings, which is released too, nobody else's?",
        _sightings.unique_findings,
        SEALED,
    ),
    Measure(
        "verification",
        "linkability",
        "linkage",
        "Shown what was released of one film, another film of the same patient and one of somebody else: which is it?",
        _sightings.verification,
    ),
    Measure(
        "findings alone",
        "linkability",
        "linkage",
        "The same, by somebody who sees no film but the findings that are released with it.",
        _sightings.by_findings,
        SEALED,
    ),
    Measure(
        "inner linkage",
        "linkability",
        "inner_linkage",
        "Shown three releases, two of them of one patient: which two?",
        _sightings.inner(across=False),
        "asked only about pairs of several hospitals (questions.inner_linkage.across)",
        across=False,
    ),
    Measure(
        "across hospitals",
        "linkability",
        "inner_linkage",
        "Shown releases of several hospitals, two of them of one patient: which two?",
        _sightings.inner(across=True),
        "not asked of them alone (questions.inner_linkage.across: sites)",
        across=True,
    ),
    Measure(
        "same film",
        "linkability",
        "same_film",
        "Holding a film itself and two releases, one of which was made of it: which?",
        _sightings.same_film,
    ),
    Measure(
        "membership",
        "linkability",
        "membership",
        "Of one patient whose films the shared model was learnt from and one whose were not: which is it?",
        _sightings.membership,
    ),
    Measure(
        "reconstruction",
        "inference",
        "reconstruction",
        "A picture of what a film looked like, made from its release: is it likest to the right one of all films?",
        _sightings.reconstruction,
    ),
    Measure(
        "inversion",
        "inference",
        "inversion",
        "Pictures of the films behind one update of a shared model: do they tell the right one of two patients?",
        _sightings.inversion,
    ),
)
