"""What every method promises, checked for each file in the folder: a new one is tested by being there."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
from parameters import wrong_parameters

from fedcxr import plugins
from fedcxr.cohort import SPLITS, Cohort
from fedcxr.errors import ConfigError, DataError
from fedcxr.methods import FilmMethod, Method, Round, RunContext, Weights
from fedcxr.methods._coded import release_key
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.view import Nobody, Shared, Thief

METHODS = plugins.names("method")
SITE = "site-1"
KEYS, OTHER_KEYS = (release_key(SITE, stream(seed, "keys")) for seed in (1, 2))
CONTEXT = RunContext("cpu", "fp32")
CANARY = "Zaphod-Beeblebrox-"  # in the name of every patient and of every image

pytestmark = pytest.mark.parametrize("name", METHODS)

MakeCohort = Callable[..., Cohort]


def method_of(name: str) -> Method:
    return cast(Method, plugins.build("method", name)).on_smoke_budget()


@pytest.fixture(scope="module")
def cohort(make_cohort: MakeCohort) -> Cohort:
    return make_cohort((3, 2, 1, 3, 2, 3, 2, 1, 3, 2), size=32, prefix=CANARY)


def skip_models(name: str) -> None:
    if plugins.load("method", name).kind == "update":  # type: ignore[attr-defined]
        pytest.skip(f"{name} shares a model, which has no rows")


def share(method: Method, cohort: Cohort, rng: np.random.Generator, fit: int = 0) -> Release:
    return method.release(cohort, KEYS, weights_of(method, cohort, fit), rng, CONTEXT)


def weights_of(method: Method, cohort: Cohort, seed: int = 0) -> Weights:
    return method.learn(cohort.where("train"), stream(seed, "learn"), CONTEXT)


def test_same_stream_same_release(name: str, cohort: Cohort) -> None:
    one, other = (share(method_of(name), cohort, stream(1, "release")) for _ in range(2))
    assert one.digest() == other.digest()


def test_another_stream_another_release(name: str, cohort: Cohort) -> None:
    """Randomness that is drawn must show; a method that draws none is a fixed function of the film."""
    method, rng, other = method_of(name), stream(1, "release"), stream(2, "release")
    before = repr(rng.bit_generator.state)
    one, two = share(method, cohort, rng), share(method, cohort, other)
    drawn = repr(rng.bit_generator.state) != before
    assert drawn == (one.digest() != two.digest())


def test_global_random_state_is_untouched(name: str, cohort: Cohort) -> None:
    import torch

    def state() -> tuple[str, str, bytes]:
        return repr(random.getstate()), repr(np.random.get_state()), torch.get_rng_state().numpy().tobytes()

    before = state()
    share(method_of(name), cohort, stream(1, "release"))
    assert state() == before


def test_global_random_state_does_not_matter(name: str, cohort: Cohort) -> None:
    import torch

    digests = set()
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            digests.add(share(method_of(name), cohort, stream(1, "release")).digest())
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        torch.set_rng_state(kept[2])
    assert len(digests) == 1


def test_inputs_are_not_modified(name: str, make_cohort: MakeCohort) -> None:
    cohort, untouched = (make_cohort((3, 2, 1, 2, 3), size=32) for _ in range(2))
    method = method_of(name)
    weights = weights_of(method, cohort)
    kept = {key: array.copy() for key, array in weights.items()}
    method.release(cohort, KEYS, weights, stream(1, "release"), CONTEXT)
    np.testing.assert_array_equal(cohort.pixels, untouched.pixels)
    assert cohort.index.equals(untouched.index)
    assert weights.keys() == kept.keys()
    for key, array in weights.items():
        np.testing.assert_array_equal(array, kept[key])


def test_release_is_what_the_method_says_it_is(name: str, cohort: Cohort) -> None:
    method = method_of(name)
    release = share(method, cohort, stream(1, "release"))
    assert (release.kind, release.site, release.method) == (method.kind, SITE, name)
    check = {"images": _films_are_films, "codes": _codes_are_codes}.get(release.kind)
    if check:
        check(release, cohort)


def _films_are_films(release: Release, cohort: Cohort) -> None:
    films = release.arrays["films"]
    assert films.shape == (len(cohort), *cohort.size)
    assert films.dtype == np.uint8
    _rows_are_films(release, cohort)


def _codes_are_codes(release: Release, cohort: Cohort) -> None:
    assert release.size == cohort.size
    assert "films" not in release.arrays
    assert release.facts["version"]
    _rows_are_films(release, cohort)


def _rows_are_films(release: Release, cohort: Cohort) -> None:
    method = method_of(release.method)
    told = method.told(release, Thief({SITE: KEYS}))
    np.testing.assert_array_equal(told.split, cohort.index["split"].map(SPLITS.index))
    np.testing.assert_array_equal(told.findings, cohort.labels)
    held = {name: release.arrays[name] for name in method.per_film_told(len(cohort.findings))}
    assert {n: (a.dtype.name, a.shape[1:]) for n, a in held.items()} == method.per_film_told(len(cohort.findings))
    assert method.tells_findings == ("findings" in release.arrays)
    assert list(release.facts["findings"]) == list(cohort.findings)
    assert list(release.facts["splits"]) == list(SPLITS)
    assert len(release) == len(cohort)


def test_a_release_can_be_looked_at_by_those_it_is_for(name: str, cohort: Cohort) -> None:
    skip_models(name)
    method = method_of(name)
    weights = weights_of(method, cohort)
    release = method.release(cohort, KEYS, weights, stream(1, "release"), CONTEXT)
    shared = Shared([release.publishing(weights)])
    seen = method.view(shared, Thief({SITE: KEYS}), CONTEXT)
    assert seen.opened.all()
    assert len(seen) == len(seen.versions) == len(release)
    assert seen.forms["films"].shape == (len(release), *cohort.size)
    assert seen.forms["films"].dtype == np.uint8
    assert not seen.refusals
    chosen = seen.take([2, 0])
    for form, array in seen.forms.items():
        np.testing.assert_array_equal(chosen.forms[form], array[[2, 0]])


def test_a_key_matters_where_the_method_has_keys_and_nowhere_else(name: str, cohort: Cohort) -> None:
    skip_models(name)
    method = method_of(name)
    weights = weights_of(method, cohort)
    one, other = (method.release(cohort, keys, weights, stream(1, "release"), CONTEXT) for keys in (KEYS, OTHER_KEYS))
    assert (one.digest() != other.digest()) == method.keyed
    shared = Shared([one.publishing(weights)])
    for holder in (Nobody(), Thief({SITE: OTHER_KEYS})):
        seen = method.view(shared, holder, CONTEXT)
        assert (not seen.opened.any()) == ("films" not in seen.forms) == (SITE in seen.refusals) == method.keyed
        assert seen.opened.all() == (not method.keyed)
    assert method.opens(one, 0, KEYS.image_key("0")) == method.keyed
    assert not method.opens(one, 0, OTHER_KEYS.image_key("0"))


def test_ones_own_films_in_every_form_that_recipients_read(name: str, cohort: Cohort) -> None:
    """What a hospital has of its own has the shape of what is read of others; published codes it has none of."""
    skip_models(name)
    method = method_of(name)
    weights, films = weights_of(method, cohort), cohort.films()
    release = method.release(cohort, KEYS, weights, stream(1, "release"), CONTEXT)
    seen = method.view(Shared([release.publishing(weights)]), Thief({SITE: KEYS}), CONTEXT)
    for form in method.forms:
        own = method.clean(form, films, weights, CONTEXT)
        assert (own is None) == (form == "codes")
        if own is not None:
            assert (own.shape, own.dtype) == (seen.forms[form].shape, seen.forms[form].dtype)
    clean = method.clean("films", films, weights, CONTEXT)
    assert clean is not None
    np.testing.assert_array_equal(clean, films)


def test_films_of_ones_own_look_as_released_ones_do_without_a_key(name: str, cohort: Cohort) -> None:
    method = method_of(name)
    weights, films = weights_of(method, cohort), cohort.films()
    release = method.release(cohort, KEYS, weights, stream(1, "release"), CONTEXT)
    seen = method.view(Shared([release.publishing(weights)]), Nobody(), CONTEXT)
    looks = method.appearance(films, weights, CONTEXT)
    assert (looks is None) == (not method.repeatable)
    if looks is None:
        return
    for pictures in (looks.released(seen), looks.protected(films, stream(2))):
        assert (pictures.shape, pictures.dtype) == (films.shape, films.dtype)
    np.testing.assert_array_equal(looks.protected(films, stream(3)), looks.protected(films, stream(3)))
    np.testing.assert_array_equal(films, cohort.films())


def test_masks_lie_where_the_method_puts_what_they_outline(name: str, cohort: Cohort) -> None:
    """On as many films of the same size, and exactly where they were unless the method says that it moves pixels."""
    method = method_of(name)
    if not isinstance(method, FilmMethod):
        pytest.skip(f"{name} shares no films")
    weights, films = weights_of(method, cohort), cohort.films()
    masks = films > 127
    moved = method.moved(masks, films, weights, CONTEXT)
    assert moved.shape == masks.shape
    assert moved.dtype == np.bool_
    np.testing.assert_array_equal(masks, films > 127)
    if method.displacements(films, weights, CONTEXT) is None:
        np.testing.assert_array_equal(moved, masks)


def test_release_survives_the_wire(name: str, cohort: Cohort) -> None:
    release = share(method_of(name), cohort, stream(1, "release"))
    arrived = Release.from_bytes(release.to_bytes())
    assert arrived.digest() == release.digest()
    assert arrived.facts == dict(release.facts)
    for key, array in release.arrays.items():
        np.testing.assert_array_equal(arrived.arrays[key], array)
        assert arrived.arrays[key].dtype == array.dtype


def test_release_names_nobody(name: str, cohort: Cohort) -> None:
    release = share(method_of(name), cohort, stream(1, "release"))
    raw = release.to_bytes() + b"".join(array.tobytes() for array in release.arrays.values())
    for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
        assert CANARY.encode(encoding) not in raw
        assert CANARY.lower().encode(encoding) not in raw.lower()


def test_release_does_not_depend_on_what_patients_are_called(name: str, cohort: Cohort) -> None:
    """Not even as a hash or a running number: the same films of differently named people give the same bytes."""
    # In the same order as the old names: a method may sort its patients.
    names = {patient: f"{7 * i + 1:03d}-Somebody{i}-Else" for i, patient in enumerate(sorted(set(cohort.patients)))}
    index = cohort.index.assign(
        patient=[names[patient] for patient in cohort.patients],
        image=[f"{7 * i + 1:04d}.dcm.{i}" for i in range(len(cohort))],
    )
    renamed = Cohort.whole(cohort.pixels, index)
    one, other = (share(method_of(name), c, stream(1, "release")) for c in (cohort, renamed))
    assert one.digest() == other.digest()


def test_a_hospital_with_a_single_film_can_share(name: str, make_cohort: MakeCohort) -> None:
    """What it learns from a single film is nothing, so it says so, and shares with what was learnt elsewhere.

    Where people are promised that they do not show, neither may how few there are.
    """
    cohort, method = make_cohort((1,), size=32), method_of(name)
    weights: Weights = {}
    if method.learning is not None and method.spending(Round()) is not None:
        weights = weights_of(method, cohort)
    elif method.learning is not None:
        with pytest.raises(DataError, match="too few"):
            weights_of(method, cohort)
        weights = weights_of(method, make_cohort((3, 2, 1, 3, 2, 3, 2, 1, 3, 2), size=32))
    release = method.release(cohort, KEYS, weights, stream(1, "release"), CONTEXT)
    if release.kind != "update":
        assert len(release) == 1


def test_parameters_can_be_written_down_and_read_again(name: str) -> None:
    method = method_of(name)
    assert plugins.build("method", method.spec()) == method


def test_wrong_parameters_are_one_line(name: str) -> None:
    for parameters in wrong_parameters("method", name):
        with pytest.raises(ConfigError) as caught:
            plugins.build("method", {"name": name, **parameters})
        said = str(caught.value)
        assert "\n" not in said
        assert next(iter(parameters)) in said
        assert f"method {name}" in said
        assert caught.value.exit_code == 2


def test_every_number_has_limits(name: str) -> None:
    """Unbounded numbers surface as a crash deep inside a run instead of as one line before it."""
    for field, told in plugins.load("method", name).model_json_schema().get("properties", {}).items():
        if told.get("type") in ("number", "integer") and field != "seed" and "enum" not in told:
            assert {"minimum", "exclusiveMinimum"} & told.keys(), f"{field} has no lower limit"


def test_says_what_it_guarantees(name: str) -> None:
    guarantee = method_of(name).guarantee()
    if guarantee is not None:
        assert guarantee.epsilon > 0
        assert 0 <= guarantee.delta < 1
        assert guarantee.accountant


def test_says_what_it_does(name: str) -> None:
    cls = plugins.load("method", name)
    assert (cls.__doc__ or "").strip()
    assert cls.kind in ("images", "codes", "update")  # type: ignore[attr-defined]
