"""The way back from a release, on toy films of sixteen grey squares: what is learnt, what cannot be, and from what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from codes_recovered import FP32, consortium_of, ignore
from holdings import changed, leak, open_view

from fedcxr.adversaries import Leak
from fedcxr.adversaries._inputs import Released
from fedcxr.adversaries.reconstruction import Reconstruction
from fedcxr.errors import ConfigError, DataError
from fedcxr.knowledge import Holding
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import RunContext
from fedcxr.methods.noise import Noise
from fedcxr.metrics.similarity import similarity
from fedcxr.models.lungs import LungFinder
from fedcxr.rng import stream
from fedcxr.view import View

TOY = Reconstruction(widths=(8, 16), critic=(4, 8), cell=1, steps=80)
SHORT = TOY.model_copy(update={"steps": 3, "widths": (2, 3), "batch": 4})
EVERY = ("copy", "mean", "unet", "vnet", "gan", "cyclegan")


def films_of(films: int, seed: int) -> np.ndarray:  # (films, 16, 16)
    grey = 25 + 200 * stream(seed, "toy films").random((films, 4, 4))
    return np.kron(grey, np.ones((4, 4))).astype(np.uint8)


def noisy_leak() -> tuple[Leak, np.ndarray]:
    """Films under strong noise, and what they were."""
    people = np.arange(200)
    own, attacked, method = (
        Owned(films_of(200, 1), people, people % 2, people >= 180),
        films_of(30, 2),
        Noise(scale=0.4),
    )
    return leak(open_view(method.protect(attacked, stream(3))), own, attacked, method), attacked


def locked(view: View, opened: np.ndarray | None = None, **forms: np.ndarray) -> View:
    """The same rows under seals, of which keys have leaked that open some."""
    sealed = {"sealed": np.zeros((len(view), 1), dtype=np.uint8), **forms}
    return replace(view, forms=sealed, opened=np.zeros(len(view), dtype=np.bool_) if opened is None else opened)


def pictures(attacker: Reconstruction, given: Leak, seed: int = 1) -> dict[str, np.ndarray]:
    answers = attacker.answer("reconstruction", given, {}, seed, FP32, ignore)
    return {name: answer["pictures"] for name, answer in answers.items()}


def near(films: np.ndarray, made: np.ndarray) -> float:
    return float(similarity(films, made)["psnr"].mean())


def test_noise_is_learnt_to_be_seen_through() -> None:
    given, films = noisy_leak()
    found = pictures(TOY, given)
    assert list(found) == ["copy", "mean", "unet"]
    np.testing.assert_array_equal(found["copy"], given.view.forms["films"])
    assert near(films, found["copy"]) < near(films, found["mean"])
    assert near(films, found["unet"]) > near(films, found["mean"]) + 3


def test_from_releases_of_other_films_nothing_but_the_mean_film_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    given, films = noisy_leak()
    protect = Noise.protect
    monkeypatch.setattr(
        Noise, "protect", lambda noise, films, rng, marks=None: protect(noise, np.roll(films, 1, axis=0), rng)
    )
    found = pictures(TOY, given)
    assert near(films, found["unet"]) < near(films, found["mean"]) + 0.1


def test_every_attacker_makes_a_film_of_each_release_and_does_so_again() -> None:
    given, films = noisy_leak()
    every = SHORT.model_copy(update={"attackers": EVERY, "learning_rate_against": 1e-2})
    one, other, another = (pictures(every, given, seed) for seed in (1, 1, 2))
    assert list(one) == [*EVERY]
    for attacker in EVERY:
        assert one[attacker].shape == films.shape
        assert one[attacker].dtype == np.uint8
        np.testing.assert_array_equal(one[attacker], other[attacker])
        assert np.array_equal(one[attacker], another[attacker]) == (attacker in ("copy", "mean"))


def test_the_way_there_is_told() -> None:
    """With fifty steps or more to a rung; and of its own validation, as far as it can validate."""
    given, _ = noisy_leak()
    paired = SHORT.model_copy(update={"attackers": ("unet",), "steps": 100})
    [answer] = paired.answer("reconstruction", given, {}, 1, FP32, ignore).values()
    assert set(answer) == {"pictures", "pictures at 1/2", "steps", "held_out"}
    assert int(answer["steps"]) == 100
    assert answer["pictures at 1/2"].shape == answer["pictures"].shape
    assert np.isfinite(answer["held_out"]).tolist() == [False] * 5 + [True] * 2
    unpaired = SHORT.model_copy(update={"attackers": ("cyclegan",)})
    [answer] = unpaired.answer("reconstruction", given, {}, 1, FP32, ignore).values()
    assert np.isnan(answer["held_out"]).all()


def test_twice_the_budget_is_twice_the_steps() -> None:
    given, _ = noisy_leak()
    longer = SHORT.model_copy(update={"attackers": ("unet",), "budget": 2.0})
    assert int(longer.answer("reconstruction", given, {}, 1, FP32, ignore)["unet"]["steps"]) == 6


def test_whoever_learns_from_pairs_must_know_the_method() -> None:
    given, _ = noisy_leak()
    blind = changed(given, mechanism=None)
    with pytest.raises(ConfigError, match=r"`unet` must be granted the method; given: nothing"):
        pictures(SHORT, blind)
    unpaired = SHORT.model_copy(update={"attackers": ("copy", "mean", "cyclegan")})
    assert unpaired.running_mechanism == ()
    assert list(pictures(unpaired, blind)) == ["copy", "mean", "cyclegan"]
    codes = replace(blind, view=locked(blind.view))
    with pytest.raises(ConfigError, match=r"`copy` must be granted the method"):  # nobody else sees anything of codes
        pictures(unpaired, codes)


def test_with_nobody_to_learn_from_it_says_so() -> None:
    given, _ = noisy_leak()
    nobody = Owned(**{**vars(given.own), "held_out": np.ones(len(given.own.films), dtype=np.bool_)})
    with pytest.raises(DataError, match=r"200 films, all of held-out people"):
        pictures(SHORT, changed(given, own_films=Holding(vars(nobody))))


def test_a_critic_too_deep_for_the_films_is_named() -> None:
    given, _ = noisy_leak()
    deep = SHORT.model_copy(update={"attackers": ("gan",), "critic": (2,) * 5})
    with pytest.raises(ConfigError, match=r"too many layers.*5 layers, films of 16 pixels; shorten `critic`"):
        pictures(deep, given)


@pytest.mark.parametrize("ambiguation", ["published", "keyed"])
def test_codes_are_shown_beside_their_pictures_unless_they_were_shuffled(ambiguation: str) -> None:
    given = consortium_of("sca", ambiguation).leak("reconstruction")
    released = Released.of(given, RunContext.on(FP32))
    [protect] = released.versions
    again = protect(given.own.films[:3], stream(1))
    if ambiguation == "keyed":
        assert released.inputs.codes is None
    else:
        np.testing.assert_array_equal(released.inputs.codes, given.view.forms["codes"])
    assert again.channels == released.inputs.channels == (0 if ambiguation == "keyed" else 64)


def test_lungs_are_looked_for_once_on_each_film(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []

    def masks(self: LungFinder, films: np.ndarray) -> np.ndarray:
        looked.extend(map(bytes, films))
        return np.zeros(films.shape, dtype=np.bool_)

    monkeypatch.setattr(LungFinder, "masks", masks)
    given, attacked = noisy_leak()
    method = Noise(where="outside_lungs")
    lessons = changed(given, mechanism=leak(given.view, given.own, attacked, method).holdings["mechanism"])
    pictures(SHORT.model_copy(update={"attackers": ("vnet",), "steps": 10, "batch": 40}), lessons)
    judged = int(given.own.held_out.sum())  # of whom each is looked at once more
    assert len(looked) <= len(set(looked)) + judged <= len(given.own.films) + judged


def test_films_that_leaked_keys_open_stay_as_they_are() -> None:
    given, films = noisy_leak()
    opened = np.arange(len(films)) == 0
    shown = np.where(opened[:, None, None], films, given.view.forms["films"])
    stolen = replace(given, view=locked(given.view, films=shown, opened=opened))
    made = pictures(SHORT.model_copy(update={"attackers": ("unet",), "steps": 20}), stolen)["unet"]
    np.testing.assert_array_equal(made[0], films[0])
    assert not np.array_equal(made[1], shown[1])
