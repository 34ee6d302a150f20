"""What an audit's figures mean, in words for somebody who has never seen one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fedcxr.table import figure, span

Level = Literal["no conclusion", "patients are found", "films are found", "nothing was found"]

FAINT = 0.75  # AUC of the very film below which there may be another reason, such as the order of two lists
RESEMBLES = 0.5  # correlation of the mean films above which both folders hold chests

NOT_TRIED = (
    "attackers who own more films than there are here: figures rise with every patient learnt from",
    "attackers who have the anonymiser itself, and let it work on films of their own",
    "headers of files, names of files, dates and whatever else is handed over beside the pictures",
    "other sorts of films of the same patients, such as lateral views or CT, and people who know them",
    "restoring the films, and finding out about a patient's sex, age or illness",
)


@dataclass(frozen=True)
class Verdict:
    """A headline, what it rests on, and what nobody has tried."""

    level: Level
    headline: str
    sentences: tuple[str, ...]
    tried: tuple[str, ...]
    not_tried: tuple[str, ...]


def verdict(report: Mapping[str, Any]) -> Verdict:
    """Of a whole report; its figures are never better news than they are."""
    film, person = report["film"], report["person"]
    tried = tuple(f"{one['attacker']}: {one['told']}" for one in person["attackers"])
    not_tried = (*NOT_TRIED, *_cut_short(report))
    if not report["controls"]["passed"]:
        return Verdict(
            "no conclusion",
            "No conclusion: the attackers failed a control, so their figures prove nothing.",
            (f"{report['controls']['failed_because']}.", "More films per patient, or --thorough, may help."),
            tried,
            not_tried,
        )
    found = person["worst_case"]["found"], film["worst_case"]["found"]
    faint = not found[0] and film["worst_case"]["auc"]["value"] < FAINT
    level, headline = _headline(*found, faint)
    sentences = [_of("person", person), _of("film", film)]
    if report["resemblance"]["unchanged"]:
        unchanged = report["resemblance"]["unchanged"]
        sentences.insert(
            0, f"{unchanged} of {report['films']['pairs']} released films are, pixel for pixel, their originals."
        )
    if not any(found):
        sentences += _unrelated(report["resemblance"])
    elif not film["worst_case"]["found"]:
        sentences.append(
            "That patients are found but not a film's own original is odd: look whether the right films are paired."
        )
    elif faint:
        sentences += _unrelated(report["resemblance"])
    if found[0]:
        sentences.append(_by_source(person))
    if any(found):
        sentences.append("These are lower bounds: whoever tries harder, or owns more films, finds at least as many.")
    return Verdict(level, headline, tuple(sentences), tried, not_tried)


def _headline(person: bool, film: bool, faint: bool) -> tuple[Level, str]:
    if person:
        return "patients are found", "Patients can be re-identified from the released films."
    if film and faint:
        return (
            "films are found",
            "There is a faint trace of the originals, if these are the same films; no patient was shown to be found.",
        )
    if film:
        return (
            "films are found",
            "Released films can be traced to their originals; that other films of a patient are found was not shown.",
        )
    return (
        "nothing was found",
        "Nothing was found, and that proves nothing yet: perhaps these are not the same films.",
    )


def _of(question: str, answer: Mapping[str, Any]) -> str:
    worst, smallest = answer["worst_case"], answer["smallest_auc"]
    best = _best(answer)
    value, ci95 = best["auc"]["value"], best["auc"]["ci95"]
    right = "another film of the same patient" if question == "person" else "the film's own original"
    told = _told(value, ci95)
    if not worst["found"]:
        unseen = (
            "" if smallest is None else f" Among so many patients an AUC below {figure(smallest)} would go unnoticed."
        )
        return (
            f"Asked to tell {right} from a film of somebody else, no attacker did better than chance beyond doubt "
            f"(best: {worst['attacker']}, {told}).{unseen}"
        )
    first = ""
    if best["rank1"] is not None:
        first = (
            f" Among {best['gallery']} films, the best match was a right one for {_percent(best['rank1'])} "
            f"of {best['queries']} released films (by chance: {_percent(best['rank1_by_chance'])})."
        )
    least = value if ci95 is None else ci95[0]
    return (
        f"Shown a released film, {right} and a film of somebody else, the best attacker ({worst['attacker']}) "
        f"picks the right one in at least {math.floor(100 * least)} of 100 cases, where guessing gets 50 "
        f"({told}).{first}"
    )


def _by_source(person: Mapping[str, Any]) -> str:
    """Whether it was patients who were recognised, or the places that their films are from."""
    why = "Films of one source (a device, a publication, an exposure) resemble each other more than they do others"
    best = _best(person)
    if best["same_source_auc"] is None or best["same_source_auc"]["value"] is None:
        told = "the table does not tell sources" if best["same_source_auc"] is None else "no two patients share one"
        return (
            f"{why}, and {told}: whether patients were recognised or only where their films are from, this audit "
            "cannot tell."
        )
    value, ci95 = best["same_source_auc"]["value"], best["same_source_auc"]["ci95"]
    shown = (
        "patients are recognised, and not only where their films are from"
        if ci95 is not None and ci95[0] > 0.5
        else "that more is recognised than where films are from was not shown"
    )
    return f"{why}; where the other film is of the same source: {_told(value, ci95)}; {shown}."


def _best(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attacker of the worst case, with all that is known of it."""
    best: Mapping[str, Any] = next(
        one for one in answer["attackers"] if one["attacker"] == answer["worst_case"]["attacker"]
    )
    return best


def _told(value: float, ci95: Sequence[float] | None) -> str:
    return f"AUC {figure(value)}" + ("" if ci95 is None else f", 95 % interval {span(ci95)}")


def _unrelated(resemblance: Mapping[str, Any]) -> list[str]:
    alike = resemblance["mean_film"]
    told = [
        "Films that were changed beyond recognition look like this, and so do folders of different films, or a table "
        "that pairs the wrong ones. Look at the pairs with your own eyes before you believe either."
    ]
    if alike is None or alike < RESEMBLES:
        told.append("On average the released films have nothing of a chest: whether anybody can use them is doubtful.")
    else:
        told.append(
            "The released films are of chests, yet hardly one is like its original: are they of the same patients?"
        )
    return told


def _cut_short(report: Mapping[str, Any]) -> tuple[str, ...]:
    more = []
    if any(report[question]["worst_case"]["converged"] is False for question in ("film", "person")):
        more.append("learning for longer: the last doubling still helped" + _longer(report))
    if report["run"]["budget"] == "quick":
        more.append(f"films at more than {report['run']['size']} pixels, and larger networks: see --thorough")
    return tuple(more)


def _longer(report: Mapping[str, Any]) -> str:
    return ", so --thorough will find more" if report["run"]["budget"] == "quick" else ""


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"
