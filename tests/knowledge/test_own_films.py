"""Clean films of people who are not attacked: which, and numbers in place of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from consortium import FILMS_OF, Consortium, bytes_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError, DataError
from fedcxr.knowledge import Holding
from fedcxr.knowledge._some_people import some_people
from fedcxr.knowledge.own_films import Owned, OwnFilms
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.threat import Threat
from fedcxr.world import Roles

MakeConsortium = Callable[..., Consortium]

# Forty films of sixteen pixels, at hospitals where the scenario has people rendered.
RENDERED: dict[str, Any] = {"source": "phantom", "size": 16, "patients": 20, "mean_visits": 2}
OTHERS = 12  # people of the first twenty who are not tested on


def test_by_hand(tiny: Consortium, roles: Roles) -> None:
    held = OwnFilms().held(tiny.world, roles)
    np.testing.assert_array_equal(held.arrays["films"], tiny.experiment.cohort.films(np.arange(5)))
    assert held.arrays["people"].tolist() == [0, 0, 1, 2, 2]
    assert held.arrays["sources"].tolist() == [0, 0, 1, 2, 2]
    assert held.arrays["held_out"].tolist() == [False, False, False, True, True]
    assert held.facts == {}


def test_whose_they_are_is_as_the_world_has_it(tiny: Consortium, roles: Roles) -> None:
    """In a world in which identities mean nothing, what is learnt from means nothing either."""
    named = replace(tiny.world, patients=np.array([*"abcab", *"dddd"], dtype=object))
    held = OwnFilms().held(named, roles)
    assert held.arrays["people"].tolist() == [0, 1, 2, 0, 1]
    assert held.arrays["held_out"].tolist() == [False, False, False, True, True]


def test_they_are_of_people_who_are_not_attacked(make_consortium: Callable[..., Consortium]) -> None:
    consortium = make_consortium(method="noise")
    mine: Owned = consortium.leak().own
    cohort, index = consortium.experiment.cohort, consortium.experiment.cohort.index
    owner = {film.tobytes(): p for film, p in zip(cohort.films(), cohort.patients, strict=True)}
    patients = [owner[film.tobytes()] for film in mine.films]
    assert not set(patients) & set(index["patient"][index["split"] == "test"])
    assert len(mine.films) == int((index["split"] != "test").sum())
    # The numbers tell people apart as the names do, and tell nothing else.
    assert len(set(zip(patients, mine.people.tolist(), strict=True))) == len(set(patients)) == len(set(mine.people))
    split = dict(zip(index["patient"], index["split"], strict=True))
    assert [split[p] == "val" for p in patients] == mine.held_out.tolist()
    source = dict(zip(index["patient"], index["source"], strict=True))
    assert len({(source[p], s) for p, s in zip(patients, mine.sources.tolist(), strict=True)}) == 3


@pytest.mark.parametrize("world", ["protected", "control_raw", "control_shuffled"])
def test_what_is_learnt_from_before_is_what_is_held_after(
    world: str, make_consortium: Callable[..., Consortium]
) -> None:
    """An adversary prepares on its own films while the sites are at work: nothing it holds then may change."""
    consortium = make_consortium()
    before = consortium.threat.owned("linkage", consortium.threat.settings("linkage")[world].world)
    after = consortium.leak(world=world).holdings
    assert list(before) == ["own_films"]
    for name, array in before["own_films"].arrays.items():
        np.testing.assert_array_equal(array, after["own_films"].arrays[name])


# Some of them --------------------------------------------------------------------------------------------------------


def told(holding: Holding) -> Owned:
    return Owned(**dict(holding.arrays))  # type: ignore[arg-type]


def owned(consortium: Consortium, world: str = "protected") -> Owned:
    return consortium.leak(world=world).own


def test_fewer_people_are_some_with_all_their_films(make_consortium: MakeConsortium) -> None:
    everybody, some, few = (
        owned(make_consortium(knowledge={"own_films": {"people": people}})) for people in (None, 10, 5)
    )
    assert [len(set(mine.people)) for mine in (everybody, some, few)] == [24, 10, 5]
    assert bytes_of(few.films) < bytes_of(some.films) < bytes_of(everybody.films)  # a curve is of the same people
    films = {film.tobytes(): person for film, person in zip(everybody.films, everybody.people, strict=True)}
    chosen = {films[film.tobytes()] for film in some.films}
    assert len(some.films) == np.isin(everybody.people, list(chosen)).sum()
    assert len(set(some.people[some.held_out])) == pytest.approx(10 * 8 / 24, abs=1)


def test_fewer_people_are_persons_also_where_identities_mean_nothing(make_consortium: MakeConsortium) -> None:
    consortium = make_consortium(knowledge={"own_films": {"people": 5}})
    real, drawn = owned(consortium), owned(consortium, "control_shuffled")
    np.testing.assert_array_equal(real.films, drawn.films)
    assert sorted(np.bincount(real.people)) == sorted(np.bincount(drawn.people))
    assert not np.array_equal(real.people, drawn.people)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=30), st.integers(1, 30), st.integers(1, 30))
def test_whom_one_has_first_one_still_has_later(films_of: list[int], one: int, other: int) -> None:
    index = pd.DataFrame({"patient": np.repeat([f"{n}" for n in range(len(films_of))], films_of)})
    index["split"] = np.where(index["patient"].astype(int) % 3, "train", "val")
    cohort: Any = type("Films", (), {"patients": index["patient"].to_numpy(dtype=object), "index": index})
    fewer, more = (some_people(cohort, people, stream(1)) for people in sorted((one, other)))
    assert index["patient"][fewer].nunique() == min(one, other, len(films_of))
    assert not (fewer & ~more).any()
    assert not set(index["patient"][more]) & set(index["patient"][~more])


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_who_is_held_out_may_be_said(share: float, tiny: Consortium, roles: Roles) -> None:
    """By person: of the three of that world."""
    mine = told(OwnFilms(held_out=share).held(tiny.world, roles))
    assert len(set(mine.people[mine.held_out])) == round(share * 3)
    assert not set(mine.people[mine.held_out]) & set(mine.people[~mine.held_out])


# Of other hospitals ---------------------------------------------------------------------------------------------------


def test_of_other_hospitals_or_of_those_attacked(make_consortium: MakeConsortium) -> None:
    """The same films are attacked, with films of these hospitals or of the others."""
    consortia = {of: make_consortium(knowledge={"own_films": {"hospital": of}}) for of in ("any", "attacked", "other")}
    roles = {of: one.put["linkage"]["protected"].roles for of, one in consortia.items()}
    source = consortia["any"].experiment.cohort.index["source"].to_numpy()
    places = {of: set(source[one.owned]) for of, one in roles.items()}
    np.testing.assert_array_equal(roles["attacked"].attacked, roles["other"].attacked)
    np.testing.assert_array_equal(roles["attacked"].known, roles["other"].known)
    assert set(source[roles["other"].attacked]) == places["attacked"] == places["any"] - places["other"]
    assert len(places["attacked"]) == 2
    np.testing.assert_array_equal(roles["attacked"].owned | roles["other"].owned, roles["any"].owned)


def test_other_hospitals_are_needed(make_consortium: MakeConsortium, make_cohort: Callable[..., Cohort]) -> None:
    consortium = make_consortium(sites=1, knowledge={"own_films": {"hospital": "other", "people": 24}})
    with pytest.raises(DataError, match=r"fewer people at these hospitals.*; given: 24; allowed: 2 to 8"):
        _ = consortium.put
    lone = replace(consortium.world, cohort=make_cohort(FILMS_OF, sources=1))
    with pytest.raises(DataError, match="needs two of them; given: source-0"):
        OwnFilms(hospital="other").assign(lone, consortium.scenario.questions["linkage"].roles(lone))


# From elsewhere -------------------------------------------------------------------------------------------------------


def test_more_people_are_rendered_behind_those_there_are(make_consortium: MakeConsortium) -> None:
    """And nothing else is another: who is attacked, what is released, and whose own films were released too."""
    document = {"method": "sca", "cohort": RENDERED, "adversaries": {"support": {}}}
    usual = make_consortium(FILMS_OF[:20], **document, knowledge={"pairs": 5})
    more = make_consortium(FILMS_OF[:20], **document, knowledge={"pairs": 5, "own_films": {"people": OTHERS + 6}})
    mine, before = owned(more), owned(usual)
    here = len(before.films)
    np.testing.assert_array_equal(mine.films[:here], before.films)
    np.testing.assert_array_equal(mine.people[:here], before.people)
    np.testing.assert_array_equal(mine.held_out[:here], before.held_out)
    assert len(set(mine.people)) == OTHERS + 6
    assert len(set(mine.people[here:])) == 6
    assert not bytes_of(mine.films[here:]) & bytes_of(more.experiment.cohort.films())
    assert not mine.films.flags.writeable  # mapped from disk
    one, other = (of.put["linkage"]["protected"] for of in (usual, more))
    np.testing.assert_array_equal(one.roles.attacked, other.roles.attacked)
    np.testing.assert_array_equal(usual.world.released.films, more.world.released.films)
    pairs = more.leak("same_film").holdings["pairs"].arrays
    np.testing.assert_array_equal(pairs["films"], usual.leak("same_film").holdings["pairs"].arrays["films"])
    drawn = owned(more, "control_shuffled")
    assert drawn.films is mine.films or np.shares_memory(drawn.films, mine.films)  # one file for all worlds
    assert sorted(np.bincount(drawn.people[here:])) == sorted(np.bincount(mine.people[here:]))
    assert len(mine.films) - here > 6
    assert not np.array_equal(drawn.people[here:], mine.people[here:])


def test_where_each_hospital_has_films_of_its_own_they_are_of_the_first_made_up_one(tmp_path: Path) -> None:
    """Filmed by its scanners."""
    sites = [{**RENDERED, "patients": 12, "seed": seed} for seed in (3, 4)]
    told = {"method": "none", "tasks": {}, "adversaries": {}, "sites": sites}
    experiment = Experiment.open(Scenario.parse({**told, "knowledge": {"own_films": {"people": 30}}}), tmp_path)
    mine = Owned(**dict(Threat(experiment).owned("linkage", experiment.world())["own_films"].arrays))  # type: ignore[arg-type]
    index = experiment.cohort.index
    here = int((index["split"] != "test").sum())
    assert len(set(mine.people)) == 30
    first = index["source"][index["split"] != "test"].str.startswith("site-1/").to_numpy()
    assert set(mine.sources[here:]) == set(mine.sources[:here][first])
    assert not set(mine.sources[here:]) & set(mine.sources[:here][~first])


@pytest.mark.parametrize(("seed", "secret", "same"), [(0, None, True), (1, None, True), (0, "5" * 64, False)])
def test_who_is_rendered_follows_from_the_secret(
    seed: int, secret: str | None, same: bool, make_consortium: MakeConsortium
) -> None:
    """And not from the seed, as the hospitals' people do not: without a secret they are rendered once for all runs."""

    def rendered(**document: Any) -> set[bytes]:
        asked = make_consortium(
            FILMS_OF[:10], cohort=RENDERED, knowledge={"own_films": {"source": RENDERED, "people": 3}}, **document
        )
        return bytes_of(owned(asked).films)

    other = rendered(seed=seed, **({"secret": secret} if secret else {}))
    assert (other == rendered()) is same
    assert same or not other & rendered()


def test_people_of_another_source_stand_alone(make_consortium: MakeConsortium) -> None:
    """None of the hospitals' is the adversary's then, so that no film of its own was released too."""
    asked = make_consortium(
        FILMS_OF[:20],
        cohort=RENDERED,
        method={"name": "sca", "findings": "clear"},
        adversaries={"support": {}},
        knowledge={"own_films": {"source": {**RENDERED, "patients": 3}}},
    )
    roles = asked.put["linkage"]["protected"].roles
    assert not roles.owned.any()
    assert len(set(owned(asked).people)) == 3
    assert not bytes_of(owned(asked).films) & bytes_of(asked.experiment.cohort.films())
    assert asked.put["same_film"] == {}
    assert asked.threat.scenario.questions["linkage"].beside(
        asked.put["linkage"]["protected"].asked.key, asked.world, roles
    )["label_floor"]["auc"]["value"]


def written(cohort: Cohort, folder: Path) -> Path:
    """Its films as a folder of a hospital's."""
    (folder / "images").mkdir(parents=True)
    for film, name in zip(cohort.films(), cohort.index["image"], strict=True):
        Image.fromarray(film).save(folder / "images" / name)
    cohort.index[["image", "patient"]].to_csv(folder / "metadata.csv", index=False)
    return folder


@pytest.mark.parametrize(
    ("films", "people", "said"),
    [(0, None, "holds films of the hospitals, some of which are attacked; given: 8 of 8 films"), (5, 9, "2 to 3")],
)
def test_real_people_must_be_others_and_enough(
    films: int, people: int | None, said: str, make_consortium: MakeConsortium, make_cohort: Any, tmp_path: Path
) -> None:
    folder = written(make_cohort((3, 1, 4), prefix="somebody-", seed=films), tmp_path)
    own = {"source": {"source": "folder", "root": str(folder), "size": 16}, "people": people}
    with pytest.raises(DataError, match=said):
        _ = make_consortium(FILMS_OF[:10], cohort=RENDERED, knowledge={"own_films": own}).put


def test_where_people_are_real_there_are_no_more(make_consortium: MakeConsortium, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no further people.*do: lower|no further people.*lower"):
        _ = make_consortium(
            FILMS_OF[:10],
            cohort={"source": "folder", "root": str(tmp_path)},
            knowledge={"own_films": {"people": 1000}},
        ).put


# As it is written down ------------------------------------------------------------------------------------------------

BARE: dict[str, Any] = {"method": "none", "tasks": {}, "adversaries": {}, "cohort": {"source": "phantom", "size": 32}}


def test_a_source_has_the_hospitals_size_unless_it_says_so() -> None:
    def granted(source: object) -> Any:
        known = Scenario.parse({**BARE, "knowledge": {"own_films": {"source": source}}}).knowledge["own_films"]
        assert isinstance(known, OwnFilms)
        return known.source

    assert granted("phantom").size == granted({"source": "folder", "root": "/films"}).size == 32
    with pytest.raises(ConfigError, match=r"another size than the hospitals'; given: 64; allowed: 32"):
        granted({"source": "phantom", "size": 64})


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"people": 1}, "own_films: people: .*given: 1"),
        ({"source": "phantoms"}, "own_films: source: .*did you mean 'phantom'"),
        ({"source": {"source": "phantom", "patience": 3}}, "unknown key in source phantom; given: patience"),
        ({"source": {"name": "phantom"}}, "under `source`"),
        ({"source": "phantom", "hospital": "other"}, "hospital is of the hospitals' own people"),
        ({"source": {"source": "folder", "root": "/films"}}, "a hospital's own"),
        ({"hospital": "another"}, "own_films: hospital: "),
        ({"held_out": 1}, "own_films: held_out: "),
    ],
)
def test_what_cannot_be_owned_is_told_in_a_line(own: dict[str, Any], said: str) -> None:
    real = {"source": "folder", "root": "/films"}
    document = {**BARE, "knowledge": {"own_films": own}, **({"cohort": real} if "a hospital's own" in said else {})}
    with pytest.raises(ConfigError, match=said) as caught:
        Scenario.parse(document)
    assert "\n" not in str(caught.value)


ODD = st.none() | st.booleans() | st.integers(-3, 2_000_000) | st.floats() | st.text("a:.{}", max_size=4)
SOURCE = st.sampled_from(["phantom", "folder"]) | st.fixed_dictionaries(
    {}, optional={"source": st.sampled_from(["phantom", "folder", "own"]), "patients": ODD, "size": ODD, "root": ODD}
)
OWN = st.fixed_dictionaries(
    {},
    optional={
        "of": st.just("train") | ODD,
        "people": st.integers(2, 100_000) | ODD,
        "source": SOURCE | ODD,
        "hospital": st.sampled_from(["any", "attacked", "other"]) | ODD,
        "held_out": st.floats(0.01, 0.99) | ODD,
    },
)


@settings(max_examples=40)
@given(OWN)
def test_any_document_is_read_back_or_refused_in_a_line(own: dict[str, Any]) -> None:
    try:
        scenario = Scenario.parse({**BARE, "knowledge": {"own_films": own}})
    except ConfigError as error:
        said = str(error)
        assert "\n" not in said
        return
    again = Scenario.from_yaml(scenario.to_yaml())
    assert again == scenario
    assert again.id == scenario.id
    short = set(own) <= {"of"} or all(value is None or value == "any" for key, value in own.items() if key != "of")
    assert (scenario.document()["knowledge"]["own_films"] == "train") is short
