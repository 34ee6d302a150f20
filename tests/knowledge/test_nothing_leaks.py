"""Whatever is granted: nothing an adversary is handed holds an attacked film, a name or a number to draw noise with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from consortium import FILMS_OF, NAMES, Consortium, bytes_of

from fedcxr.adversaries import Leak
from fedcxr.knowledge import Holding
from fedcxr.protocol import attack_seed, release_order
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.view import Array

MakeConsortium = Callable[..., Consortium]

EVERYTHING = {"mechanism": True, "known_films": 0.5, "releases": 2, "pairs": 9, "demographics": True}
METHODS: list[Any] = [
    "noise",
    "none",
    "dp_pix",
    "sca",
    {"name": "sca", "ambiguation": "published"},
    {"name": "sca", "fit": "local", "steps": 1, "refinement": 4, "crop": 16},
    "sealed",
]
IN_CODES = ("sca", "sealed")
ONLY_OF_CODES = ("pairs",)


@pytest.fixture(scope="module", params=METHODS, ids=str)
def consortium(request: pytest.FixtureRequest, make_consortium: MakeConsortium) -> Consortium:
    """One that grants all that it can."""
    name = request.param["name"] if isinstance(request.param, dict) else request.param
    coded = name in IN_CODES
    granted = {kind: value for kind, value in EVERYTHING.items() if coded or kind not in ONLY_OF_CODES}
    attackers: dict[str, Any] = {"adversaries": {"support": {}}} if coded else {}
    return make_consortium(FILMS_OF[:20], method=request.param, knowledge=granted, **attackers)


def holdings(leak: Leak) -> dict[str, Holding]:
    """All that is handed over beside the view."""
    return {**leak.holdings, **({"given": leak.given} if leak.given is not None else {})}


def arrays(leak: Leak) -> Iterator[tuple[str, Array]]:
    """Every array there is, by where it lies."""
    for kind, holding in holdings(leak).items():
        yield from ((f"{kind} {name}", array) for name, array in holding.arrays.items())
    yield from ((f"view {form}", array) for form, array in leak.view.forms.items())
    yield from (("view opened", leak.view.opened), ("view versions", leak.view.versions))
    yield from ((f"model {name}", array) for name, array in (leak.view.model or {}).items())


def originals(of: Consortium) -> set[bytes]:
    """Films whose release is attacked, as they were."""
    roles = of.put["linkage"]["protected"].roles
    return bytes_of(of.experiment.cohort.films(np.flatnonzero(roles.attacked)))


def test_no_original_of_an_attacked_film_is_held(consortium: Consortium) -> None:
    """By search in every byte, so that it may lie in any array, under any name, in any order."""
    attacked = originals(consortium)
    assert len(attacked) > 5
    unprotected = consortium.scenario.method.plugin_name() == "none"
    for question, worlds in consortium.put.items():
        for world, one in worlds.items():
            found = {
                place
                for place, array in arrays(one.leak)
                if any(film in np.ascontiguousarray(array).tobytes() for film in attacked)
            }
            # Only what was released unprotected by the hospital itself is an original.
            shown = {"view films"} if world == "control_raw" or unprotected else set()
            shown |= {"releases films"} if world != "control_raw" and unprotected else set()
            assert found == shown, (question, world)
    control = consortium.put["linkage"]["control_raw"]
    raw = control.leak.view.forms["films"]
    opened = np.zeros(len(raw), dtype=np.bool_) if control.asked.key.opened is None else control.asked.key.opened
    assert bytes_of(raw[~opened]) == attacked  # the control: they are found where they are
    assert not bytes_of(raw[opened]) & attacked  # what opens to a key is coded


def test_what_is_held_is_known_by_kind_and_question(consortium: Consortium) -> None:
    """Nothing beside what the question names, and in earnest all of it that there is."""
    for question, worlds in consortium.put.items():
        knows = set(consortium.scenario.questions[question].knows)
        for one in worlds.values():
            assert one.leak.holdings.keys() <= knows
            assert one.leak.given is None
    public = consortium.shared.releases[0].arrays.keys() & {"codes", "films"}
    expected = {"own_films", "known_films", "mechanism", "demographics"} | ({"releases"} if public else set())
    assert consortium.leak().holdings.keys() == expected


def test_holdings_are_numbers_and_name_nobody(consortium: Consortium) -> None:
    everybody = {*consortium.experiment.cohort.index["image"], *consortium.experiment.cohort.patients}
    assert all(NAMES in name for name in everybody)
    for worlds in consortium.put.values():
        for one in worlds.values():
            assert {array.dtype.kind for _, array in arrays(one.leak)} <= {"u", "i", "b", "f"}
            told = [*(repr(h.facts) for h in holdings(one.leak).values()), *(place for place, _ in arrays(one.leak))]
            assert not [text for text in told if NAMES in text]
            for place, array in arrays(one.leak):
                raw = np.ascontiguousarray(array).tobytes()
                for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
                    assert NAMES.encode(encoding) not in raw, place


def test_the_view_is_of_the_rows_that_are_asked_about_alone(consortium: Consortium) -> None:
    for worlds in consortium.put.values():
        for one in worlds.values():
            rows = int(one.setting.world.rows_of(one.roles.attacked).sum())
            assert len(one.leak.view) == rows
            assert {len(array) for array in one.leak.view.forms.values()} <= {rows}


def test_nothing_is_granted_of_codes_unless_the_scenario_says_so(make_consortium: MakeConsortium) -> None:
    knowledge = {"known_films": 0.5, "releases": 1, "pairs": 0}
    consortium = make_consortium(FILMS_OF[:20], method="sca", knowledge=knowledge, adversaries={"support": {}})
    leak = consortium.leak()
    assert leak.holdings.keys() == {"own_films", "known_films", "mechanism"}
    assert leak.view.forms.keys() == {"codes", "sealed"}
    assert not leak.view.opened.any()
    assert consortium.put["same_film"] == {}


def test_noise_cannot_be_subtracted_with_what_the_adversary_knows(make_consortium: MakeConsortium) -> None:
    consortium = make_consortium(method="noise")
    experiment, scenario = consortium.experiment, consortium.scenario
    seed = attack_seed(scenario, "verifier")
    assert seed != scenario.seed
    release = consortium.shared.releases[0]

    def drawn(guess: int) -> set[bytes]:
        films = experiment.site(release.site).take(release_order(release.site, len(release), guess)).films()
        rng = stream(guess, "site", release.site, "release")
        return bytes_of(scenario.method.protect(films, rng))  # type: ignore[attr-defined]

    released = bytes_of(release.arrays["films"])
    assert drawn(scenario.seed) == released  # the control: whoever has the scenario's seed can draw it
    for guess in (seed, seed >> 1, seed & 0x7FFFFFFF):
        assert not drawn(guess) & released


def test_attack_seeds_differ(make_scenario: Callable[..., Scenario]) -> None:
    seeds = {attack_seed(make_scenario(seed=seed), name) for seed in (0, 1) for name in ("verifier", "retrieval")}
    assert len(seeds) == 4
