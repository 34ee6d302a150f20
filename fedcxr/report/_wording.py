"""An assessment in the words of European regulators, without a conclusion of law."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedcxr.verdict import Figure, listed, times

Told = Mapping[str, Any]

TITLES = {
    "singling_out": "Singling out: can one person be isolated?",
    "linkability": "Linkability: can two records of one person be joined?",
    "inference": "Inference: can something be found out about a person?",
}
RECIPIENTS = {"server": "the coordinator's server", "partner": "a partner hospital", "public": "the public"}

PROMISES = {
    "patient": "a bound on how much all films of one patient together change what is shared",
    "record": "a bound on how much a single film changes what is shared",
    "site": "a bound on how much a whole hospital's part changes what is shared",
    "pixel_neighbourhood": "a bound on how much a few pixels of a film change what is shared",
}
NOT_OF_UNIT: Mapping[str, Sequence[str]] = {
    "patient": ("the same to a patient of two hospitals, who is promised the sum of both",),
    "record": ("the same to a patient of several films, who is promised the sum of them all",),
    "site": ("more of a patient than of the whole hospital that the patient is in",),
    "pixel_neighbourhood": (
        "anything of films that differ in more pixels, and so nothing of patients or of whose a film is",
    ),
}
NEVER_PROMISED = (
    "that nothing can be learnt about a person: what is true of people like them is learnt without them too",
    "anything of what else hospitals share, or will share: each further use adds to what was spent",
    "anything where its accounting or its code is wrong; attacks can show that, and cannot rule it out",
)
NOBODY_TRIES = (
    "joining releases with what stands elsewhere: reports, appointments, names in the news",
    "a person who looks at films, and whoever tries harder, longer or later than these programs",
    "what comes of several policies, or of several years, together",
)
WITHHELD: Mapping[str, tuple[object, str]] = {
    "mechanism": (False, "attackers who can run the method on films of their own (knowledge.mechanism)"),
    "demographics": (False, "attackers who know age and sex of those they look for (knowledge.demographics)"),
    "releases": (1, "attackers who see several releases of the same films (knowledge.releases)"),
}


def withheld(knowledge: object, usual: object) -> bool:
    """Whether attackers were not granted this; a mapping's first parameter says so."""
    first = next(iter(knowledge.values())) if isinstance(knowledge, Mapping) else knowledge
    return first == usual


def section(told: Told) -> Iterator[tuple[str, str]]:
    """Headings, and the text below each."""
    yield "What was assessed", " ".join(_assessed(told))
    for name, title in TITLES.items():
        yield title, "\n".join(_measure(one) for one in told["criteria"][name])
    yield "For each recipient", "\n".join(_recipient(one) for one in told["recipients"])
    yield "Formal guarantee", _formal(told["formal"])
    yield "What was not tried", "".join(f"- {one}\n" for one in told["not_tried"]).rstrip()
    yield "How to read these figures", " ".join(READING)


READING = (
    "Every figure is what programs reached that attacked what is shared; whoever tries harder finds at least as much.",
    "A control is the same without what is shared: a guess, or the findings alone.",
    "Residual risk is (attack - control) / (1 - control): of what the control leaves to be found, the share that is "
    "given away by what is shared; in brackets stands where it lies with 95 % confidence.",
    "Where an attack is not surely better than its control, or a control failed, no residual risk is given. That is "
    "unknown, and not a risk of none.",
    "Whether the remaining risk is acceptable, and what the law calls such data, is for the controller to decide.",
)


def _assessed(told: Told) -> Iterator[str]:
    policy, seeds = told["policy"], told["seeds"]
    yield (
        f"Films are shared by the method {policy['method']['name']} (policy {policy['name']}, {policy['id']}), by "
        f"{told['sites']} hospitals with films of {told['patients']:,} patients."
    )
    runs = "one run" if len(seeds) == 1 else f"{len(seeds)} runs"
    yield f"The figures are of {runs} (seed {listed([str(seed) for seed in seeds])})."
    if told["simulated"]:
        yield "They come from a simulation, in which it is known who is who; other films and people have other figures."
    else:
        yield "They come from real hospitals, where nobody is attacked: nobody there knows who is who."
    yield (
        "The criteria are those of WP29 opinion 05/2014, for shared models with EDPB opinion 28/2024, and the risk is "
        "asked of each recipient with what that recipient holds (CJEU, C-413/23 P)."
    )


def _measure(one: Told) -> str:
    name = one["measure"][0].upper() + one["measure"][1:]
    if not one["measured"]:
        return f"{name}. {one['says']} Unknown: {one['unknown_because']}."
    said = [f"{name}. {one['says']}", _attacked(one)]
    said += [_left(one["residual"]), *_of_patients(one["patients"]), *_doubts(one)]
    return " ".join(said)


def _attacked(one: Told) -> str:
    attack, control = one["attack"], one["control"]
    who = ", ".join(filter(None, (attack["adversary"], attack["attacker"])))
    if control["value"] is None:
        return f"{times(attack['value'])} of 100 ({who})."
    among = f", the strongest of {one['attackers']} attackers" if one["attackers"] > 1 else ""
    return (
        f"Right in {Figure.of(attack).told} ({who}{among}); control ({control['against']}): "
        f"{times(control['value'])} of 100."
    )


def _left(residual: Told) -> str:
    if residual["value"] is None:
        return f"Residual risk: unknown, because {residual['refused_because']}."
    low, high = residual["ci95"]
    return f"Residual risk: {_share(residual['value'])} ({_share(low)} to {_share(high)})."


def _of_patients(people: Told) -> list[str]:
    if people["worst"] is None or people["worst"]["value"] is None:
        return [f"Worst patient: unknown, because {people['unknown_because'] or 'nobody has such a figure'}."]
    if people["what"].startswith("decibels"):
        return [f"Worst patient: {people['worst']['value']:+.1f} ({people['what']})."]
    said = f"Worst patient of {people['of']}: {times(people['worst']['value'])} of 100 ({people['what']})"
    if people["always_found"] is not None:
        said += f"; of {people['always_found']} patients always, of {people['never_found']} never"
    return [said + "."]


def _doubts(one: Told) -> list[str]:
    said = []
    if not one["controls_held"]:
        said.append("Until a run has said otherwise, take it that the attack does as well as its figure says.")
    said += [
        f"{other['adversary']}, {other['attacker']} reaches {times(other['value'])} of 100, of which {other['doubt']}."
        for other in one["higher_but_doubtful"][:1]
    ]
    if one["lower_bound"]:
        said.append("This is a lower bound: that more effort finds no more was not shown.")
    return said


def _recipient(one: Told) -> str:
    said = [f"{RECIPIENTS[one['recipient']].capitalize()} holds {one['holds']}."]
    if one["opens"] is not None:
        said.append(f"It opens {one['opens']['films']:,} of {one['opens']['of']:,} films.")
    known = [m for m in one["measures"] if m["residual"]["value"] is not None]
    if known:
        named = [f"{m['measure']} {_share(m['residual']['value'])}" for m in known]
        said.append(f"Residual risk: {listed(named)}.")
    doubted = [m["measure"] for m in one["measures"] if m["residual"]["value"] is None]
    if doubted:
        said.append(f"Measured, with no residual risk that could be told: {listed(doubted)}.")
    if one["unknown"]:
        said.append(f"Not known: {'; '.join(one['unknown'])}.")
    return " ".join(said)


def _formal(formal: Told) -> str:
    if not formal["given"]:
        return "None is given: nothing bounds what an attacker may find who was not tried."
    given = formal["guarantee"]
    said = [
        f"Epsilon {given['epsilon']:.3g} with delta {given['delta']:g} per {given['unit'].replace('_', ' ')} "
        f"({given['accountant']}): {formal['promises']}.",
        f"It does not promise: {'; '.join(formal['does_not_promise'])}.",
    ]
    if formal["contradicted"]:
        said.append("An attack found more than it allows: the guarantee does not hold as it is stated.")
    elif formal["contradicted"] is None:
        said.append("No attack was compared with it.")
    return " ".join(said)


def _share(value: float) -> str:
    return f"{times(value)} %"
