"""How useful is what was released? The rules that make sentences of the figures of the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fedcxr.verdict import GUESSING, IN_BRACKETS, Figure, times

Level = Literal["no conclusion", "useless", "something", "hardly useful", "less useful", "useful", "as useful"]

AS_GOOD = 0.01  # AUC below the ceiling within which nothing was lost, as far as anybody can tell
MOST, LITTLE = 0.75, 0.4  # shares of what the ceiling gains over guessing that are left

HEADLINES: Mapping[Level, str] = {
    "no conclusion": "No conclusion about usefulness: even unprotected films taught nothing beyond doubt.",
    "useless": "Nothing useful was shown to be left: what was learnt is not surely better than guessing.",
    "something": "Better than guessing; what unprotected films would teach, nobody could try here.",
    "hardly useful": "Hardly useful: little is left of what unprotected films teach.",
    "less useful": "Much less useful than unprotected films.",
    "useful": "Useful, if less than unprotected films.",
    "as useful": "As useful as unprotected films, as far as these patients can tell.",
}

# By which arm a method is judged: the first that it has, and what that classifier is.
JUDGED = {
    "trained": "the classifier that learnt from what was shared",
    "trained_released": "the classifier that learnt from what was shared, on released films,",
    "frozen": "a classifier of unprotected films, on released ones,",
}

ALIKE, RECOGNISABLE = 0.95, 0.7  # SSIM
KEPT, PARTLY = 0.9, 0.5  # shares of radiomics features that agree excellently


def level(shared: Figure, ceiling: Figure | None) -> Level:
    """Of two AUCs: what was learnt from what is shared, and from unprotected films; None: nobody holds them."""
    if ceiling is None:
        return "something" if shared.surely_above(GUESSING) else "useless"
    if not ceiling.surely_above(GUESSING) or ceiling.value is None:
        return "no conclusion"
    if not shared.surely_above(GUESSING) or shared.value is None:
        return "useless"
    if shared.value >= ceiling.value - AS_GOOD:
        return "as useful"
    left = (shared.value - GUESSING) / (ceiling.value - GUESSING)
    return "useful" if left >= MOST else "less useful" if left >= LITTLE else "hardly useful"


def findings(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """A headline and sentences about `utility.findings`."""
    arm = next((arm for arm in JUDGED if figures.get(arm) is not None), None)
    if arm is None:
        return ("Nothing is known of usefulness: there was nothing to learn findings from.", *_without_key(figures))
    shared, ceiling = _mean(figures, arm), _mean(figures, "raw") if figures.get("raw") else None
    reached = level(shared, ceiling)
    beside = "" if ceiling is None else f"; one that learnt from unprotected films in {ceiling.told}"
    said = [
        HEADLINES[reached],
        f"Shown a film with a finding and one without, {JUDGED[arm]} picks the right one in {shared.told}{beside}; "
        f"{IN_BRACKETS}.",
    ]
    if reached == "no conclusion":
        said.append("What to do: train longer (--preset default), or use more patients.")
    scored = {
        name: one for name, one in figures[arm]["per_finding"].items() if one is not None and one["value"] is not None
    }
    if scored:
        worst = min(scored, key=lambda name: float(scored[name]["value"]))
        films = [one["positives"] for one in scored.values()]
        said.append(
            f"That is the mean of {len(scored)} findings, each on {min(films)} to {max(films)} films that have it; "
            f"worst for {worst}, {Figure.of(scored[worst]).told}."
        )
    return (*said, *_of_a_federation(figures), *_without_key(figures))


def _of_a_federation(figures: Mapping[str, Any]) -> list[str]:
    """A shared model beside the same learning at one place, at one site, and without any film."""
    together, alone, start = (_mean(figures, arm).value for arm in ("together", "alone", "start"))
    if together is None or alone is None or start is None:
        return []
    said = [
        f"The same learning from all films at one place gets {times(together)} of 100 right, one site alone "
        f"{times(alone)} on average, and the model that all began with {times(start)}."
    ]
    shared = _mean(figures, "trained")
    if shared.value is not None and shared.value <= alone:
        said.append("Learning together was no better than learning alone.")
    if not shared.surely_above(start):
        said.append(
            "It was not shown to be better than what it began with: hospitals' films may have taught it nothing."
        )
    return said


def _mean(figures: Mapping[str, Any], arm: str) -> Figure:
    return Figure.of(figures[arm]["mean_auc"] if figures.get(arm) else None)


def _without_key(figures: Mapping[str, Any]) -> list[str]:
    outside = _mean(figures, "unauthorised")
    if outside.value is None:
        return []
    if outside.surely_above(GUESSING):
        return [f"Without a key findings are still read off, right in {outside.told}."]
    return [f"Without a key none was read off beyond doubt: right in {outside.told}."]


def fidelity(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """A headline and sentences about `utility.fidelity`."""
    films, exact, ssim, mae = figures["films"], figures["exact"], figures["ssim"]["value"], figures["mae"]["value"]
    if exact == films:
        headline = "Whoever they are for sees every film exactly as it was."
    elif ssim is None:
        headline = "How like their originals films look is unknown: they are too small for a measure of likeness."
    elif ssim >= ALIKE:
        headline = "Whoever they are for sees films that hardly differ from their originals."
    elif ssim >= RECOGNISABLE:
        headline = "Whoever they are for sees films that differ from their originals, and can be recognised."
    else:
        headline = "Whoever they are for sees films that look little like their originals."
    said = [headline]
    if mae is not None:
        said.append(f"A pixel is off by {mae:.1f} of 255 grey levels on average.")
    if ssim is not None:
        said.append(f"Likeness (SSIM; 1 is the very film) is {ssim:.2f}.")
    return (*said, f"This rests on {films:,} films.", "That films look different does not hide whose they are.")


def segmentation(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """A headline and sentences about `utility.segmentation`."""
    clean, guess = _dice(figures, "clean", "clean"), Figure.of(figures["guess"]["dice"])
    learnt, read = _dice(figures, "released", "released"), _dice(figures, "clean", "released")
    shared = learnt if learnt.value is not None else read
    least = guess.value
    if shared.value is None or clean.value is None or least is None:
        return ("Whether the anatomy survives is unknown: no released film with a mask could be tested.",)
    if not clean.surely_above(least):
        headline = (
            "No conclusion about the anatomy: even on clean films no outline was found beyond guessing its place."
        )
    elif not shared.surely_above(least):
        headline = "The anatomy was not shown to survive: outlines are found no better than by guessing their place."
    elif shared.value >= clean.value - AS_GOOD:
        headline = "The anatomy survives: outlines are found as well as on clean films."
    elif (shared.value - least) / (clean.value - least) >= MOST:
        headline = "Most of the anatomy survives: outlines are found nearly as well as on clean films."
    else:
        headline = "Part of the anatomy survives: outlines are found clearly worse than on clean films."
    said = [
        headline,
        f"Where the outline lies is found with a Dice of {_of_one(clean)} on clean films, and of {_of_one(learnt)} on "
        f"released ones by a network that learnt from such; one that learnt from clean films reaches {_of_one(read)} "
        f"there. 1 is the very outline; the average outline, whatever film is shown, gets {_of_one(guess)}.",
    ]
    if read.value is not None and clean.surely_above(least) and not read.surely_above(least):
        said.append("Whoever is used to clean films would do no better on released ones than by guessing.")
    outside = _dice(figures, "unauthorised", "unauthorised")
    if outside.value is not None:
        more = "outlines are still found" if outside.surely_above(least) else "no outline was found beyond guessing"
        said.append(f"Without a key {more}: {_of_one(outside)}.")
    return tuple(said)


def _dice(figures: Mapping[str, Any], trained: str, tested: str) -> Figure:
    arm = (figures[trained] or {}).get(tested)
    return Figure.of(arm["dice"] if arm else None)


def _of_one(dice: Figure) -> str:
    return "an unknown number" if dice.value is None else f"{dice.value:.3f}"


def texture(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """A headline and sentences about `utility.texture`."""
    kept, mean = (Figure.of(figures[name]) for name in ("excellent", "mean_icc"))
    if kept.value is None or mean.value is None:
        return ("Whether texture is kept is unknown: there are too few films, or nothing that varies.",)
    if kept.surely_above(KEPT):
        headline = "Radiomics of what was shared are nearly all those of the films themselves."
    elif kept.value >= PARTLY:
        headline = "Radiomics of what was shared are in part those of the films themselves."
    else:
        headline = "Radiomics of what was shared are mostly not those of the films themselves."
    told = [f"{count} {name}" for name, count in figures["classes"].items() if count]
    where = "inside the lungs" if figures["inside"] == "lungs" else "of whole films"
    return (
        headline,
        f"Of features {where} {kept.told} agree excellently (ICC above .75); by class: {', '.join(told)}.",
        f"This rests on {figures['films']:,} films. A feature that does not vary among them is not counted.",
    )
