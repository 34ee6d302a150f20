"""What protects nothing does not leave, whatever it is called; what protects as it should does."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from fedcxr import plugins, protocol
from fedcxr.cohort import FINDINGS, Cohort
from fedcxr.data.phantom import Phantom
from fedcxr.errors import Refused
from fedcxr.methods import Method, RunContext
from fedcxr.methods._coded import release_key
from fedcxr.release import NOBODY, Release
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import simulated
from sites import inspection
from sites.inspection import Limits, inspect, measured

MakeScenario = Callable[..., Scenario]

REAL = Path(os.environ.get("FEDCXR_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
CPU = RunContext("cpu", "fp32")
TEN = np.arange(0, 50, 5)


@pytest.fixture(scope="module")
def films(nobodys_own_files: Path) -> Cohort:
    return Phantom(patients=40, size=32).open(nobodys_own_files / "cache")


def released(films: Cohort, **method: Any) -> Release:
    """What a method makes of films, each hospital learning by itself."""
    chosen = cast(Method, plugins.build("method", method))
    learns = chosen.learning is not None
    weights = chosen.learn(films.where("train"), stream(0, "learn"), CPU) if learns else {}
    return chosen.release(films, release_key("site-1", stream(0, "keys")), weights, stream(0, "release"), CPU)


def with_films(release: Release, films: npt.NDArray[np.uint8], **facts: Any) -> Release:
    return replace(release, arrays={**release.arrays, "films": films}, facts={**release.facts, **facts})


def refusal(films: Cohort, release: Release, limits: Limits | None = None) -> str:
    """Which limit a release does not keep; none: it may leave."""
    try:
        inspect(films, release, limits or Limits())
    except Refused as error:
        return str(error).partition(";")[0].rpartition(": ")[2]
    return ""


# Exploits -------------------------------------------------------------------------------------------------------------


def test_weights_of_the_identity_release_no_film(make_scenario: MakeScenario, films: Cohort) -> None:
    """The coordinator sends weights that move nothing, and is sent the films themselves, signed."""
    scenario = make_scenario(method={"name": "prichexy_net", "fit": "federated"})
    identity = protocol.initial_step(scenario)
    step = partial(protocol.site_step, scenario, "site-1", films, simulated(scenario, "site-1"), identity)
    seen: list[bool] = []

    def look(original: Cohort, release: Release) -> None:
        seen.append(bool((original.films() == release.arrays["films"]).all()))
        inspect(original, release, Limits())

    with pytest.raises(Refused, match=r"too like the films it was made of: unchanged; given: 1\.0000; allowed"):
        step(inspect=look)
    assert seen == [True]


@pytest.mark.parametrize(
    "broken", [{"name": "none"}, {"name": "noise", "scale": 0.0}, {"name": "dp_pix", "b": 1, "eps": 1e9}], ids=str
)
def test_a_method_that_is_switched_off_releases_no_film(films: Cohort, broken: dict[str, Any]) -> None:
    assert refusal(films, released(films, **broken)) == "unchanged"


@pytest.mark.parametrize("by", [(0, 1), (3, -2), (0, 7), (-9, 0), (8, 9)], ids=str)
def test_films_that_are_moved_as_a_whole_are_the_films(films: Cohort, by: tuple[int, int]) -> None:
    """However far: what is lost is an edge. Weights that a coordinator sends may move all films so."""
    release, (down, across) = released(films, name="none"), by
    rows, columns = (np.clip(np.arange(32) - n, 0, 31) for n in (down, across))  # the edge repeated, as a flow does
    moved = films.films()[:, rows][:, :, columns]
    assert measured(films, with_films(release, moved)).unchanged.min() > 0.99
    assert refusal(films, with_films(release, moved)) == "unchanged"


def test_a_little_noise_everywhere_is_too_little(films: Cohort) -> None:
    assert refusal(films, released(films, name="noise", scale=0.02)) == "mean_correlation"


@pytest.mark.parametrize(
    "spare",
    [lambda x: x, lambda x: 255 - x, lambda x: x // 2 + 60, lambda x: np.where(x < 255, x + 1, x)],
    ids=["as they are", "inverted", "duller", "brighter"],
)
def test_all_but_ten_films_protected_is_not_enough(films: Cohort, spare: Callable[[Any], Any]) -> None:
    release = released(films, name="noise")
    shown = np.array(release.arrays["films"])
    assert refusal(films, release) == ""
    shown[TEN] = spare(films.films()[TEN])
    assert refusal(films, with_films(release, shown)) == "unchanged"


def test_rows_that_are_said_to_be_nobodys_are_looked_at_too(films: Cohort) -> None:
    release = released(films, name="noise")
    shown = np.array(release.arrays["films"])
    nobodys = with_films(release, shown, origins=NOBODY)
    assert refusal(films, nobodys) == ""
    shown[TEN] = films.films()[TEN[::-1]]
    assert refusal(films, with_films(release, shown, origins=NOBODY)) == "unchanged"


def test_rows_are_held_against_the_films_they_were_made_of(films: Cohort) -> None:
    """Left out films move all later rows; against its neighbour a film would pass."""
    release, kept = released(films, name="none"), np.delete(np.arange(len(films)), TEN)
    arrays = {name: array[kept] for name, array in release.arrays.items()}
    fewer = replace(release, arrays=arrays, facts={**release.facts, "left_out": TEN.tolist()})
    assert measured(films, fewer).unchanged.min() == 1.0
    turned = np.arange(len(films))[::-1]
    back = replace(
        release,
        arrays={name: array[turned] for name, array in release.arrays.items()},
        facts={**release.facts, "origins": turned.tolist()},
    )
    assert measured(films, back).unchanged.min() == 1.0


def test_what_nobody_has_looked_at_does_not_leave(films: Cohort) -> None:
    release = released(films, name="noise")
    beside = replace(release, arrays={**release.arrays, "thumbnails": films.films()})
    with pytest.raises(Refused, match="holds what nobody here has looked at; given: thumbnails"):
        inspect(films, beside, Limits())
    larger = np.asarray(films.films()).repeat(2, 1).repeat(2, 2)
    with pytest.raises(Refused, match="another size"):
        inspect(films, with_films(release, larger), Limits())


def test_codes_are_sealed_or_stay(films: Cohort) -> None:
    some = films.take(np.arange(4))
    release = released(some, name="sealed")
    inspect(some, release, Limits())
    bare = {**release.arrays, "sealed": np.zeros((4, 0), dtype=np.uint8)}
    with pytest.raises(Refused, match="codes seals nothing"):
        inspect(some, replace(release, arrays=bare), Limits())


# Measures -------------------------------------------------------------------------------------------------------------


def drawn(seed: int, films: int = 1) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(60, 190, (films, 24, 16), dtype=np.uint8)


@given(st.integers(0, 50), st.one_of(st.floats(0.5, 1.2), st.floats(-1.2, -0.5)), st.floats(-20, 20))
def test_brightness_and_contrast_hide_nothing(seed: int, gain: float, offset: float) -> None:
    film = drawn(seed)
    shown = np.round((film.astype(np.float64) - 125) * gain + 125 + offset).astype(np.uint8)
    # Not all: where the gain is all but 1, what is rounded away makes a small slope of its own.
    assert inspection.unchanged_share(film, shown).min() > 0.9
    assert inspection.largest_correlation(film, shown).min() > 0.99


@given(st.integers(0, 50), st.floats(0, 1))
def test_the_share_of_unchanged_pixels_is_counted(seed: int, share: float) -> None:
    film = drawn(seed)
    rng = np.random.default_rng(seed + 1)
    changed = rng.random(film.shape) < share
    shown = np.where(changed, rng.integers(0, 256, film.shape), film).astype(np.uint8)
    counted = inspection.unchanged_share(film, shown)[0]
    assert counted >= (shown == film).mean() - 0.05  # some pixels are like all beside them and do not count
    assert counted <= max(1 - changed.mean() + 0.1, 0.15)


def test_a_film_that_is_moved_is_the_same_film() -> None:
    film = drawn(0, 3)
    assert inspection.largest_correlation(film, np.roll(film, (2, -1), (1, 2))) == pytest.approx(1.0, abs=1e-4)
    assert inspection.largest_correlation(film, np.roll(film, (7, 5), (1, 2))).max() < 0.3  # further than that it may


def test_at_no_shift_correlation_is_pearsons() -> None:
    ramp = np.arange(24 * 16).reshape(1, 24, 16) // 2
    film, shown = ramp.astype(np.uint8), (ramp + drawn(1) // 4).astype(np.uint8)
    expected = np.corrcoef(film.ravel(), shown.ravel())[0, 1]
    assert inspection.largest_correlation(film, shown)[0] == pytest.approx(expected, abs=1e-5)


def test_a_film_on_which_nothing_is_seen_hides_nothing() -> None:
    blank, other = np.full((1, 24, 16), 7, dtype=np.uint8), drawn(0)
    for shown in (blank, other):
        assert inspection.unchanged_share(blank, shown).max() == 0.0
        assert inspection.largest_correlation(blank, shown).max() == pytest.approx(0.0, abs=1e-6)


def test_films_are_measured_in_parts_as_they_are_at_once(films: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    release = released(films, name="noise")
    whole = measured(films, release, search=True)
    monkeypatch.setattr(inspection, "AT_ONCE", 7 * 32 * 32)
    parts = measured(films, release, search=True)
    for one, other in ((whole.unchanged, parts.unchanged), (whole.correlation, parts.correlation)):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert whole.found is not None
    assert parts.found is not None
    assert whole.found.tolist() == parts.found.tolist()


def test_each_limit_can_be_set_and_lifted(films: Cohort) -> None:
    release = released(films, name="noise")
    figures = measured(films, release, search=True).figures()
    assert figures.keys() == Limits.model_fields.keys()
    assert figures["found"] > 0.9  # noise of this strength hides nobody from one who has the film
    nothing = dict.fromkeys(figures)
    assert refusal(films, released(films, name="none"), Limits(**nothing)) == ""
    for name, figure in figures.items():
        assert refusal(films, release, Limits(**{**nothing, name: figure - 0.001})) == name
        assert refusal(films, release, Limits(**{**nothing, name: figure})) == ""


def test_nothing_at_all_may_leave(films: Cohort) -> None:
    nobody = films.take(np.array([], dtype=np.intp))
    inspect(nobody, released(nobody, name="noise"), Limits(found=0.0))


# Defaults -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["noise", "dp_pix"])
def test_a_shipped_method_keeps_the_limits(films: Cohort, name: str) -> None:
    release = released(films, name=name)
    assert refusal(films, release) == ""
    assert refusal(films, release, Limits(unchanged=0.5, correlation=0.98)) == ""


def photographs(folder: Path) -> Cohort:
    """Real films of 64 pixels, under their own names: they go nowhere."""
    table = pd.read_csv(folder / "metadata.csv", dtype={"patientid": str})
    images = [Image.open(folder / "images" / name).convert("L").resize((64, 64), Image.Resampling.BOX)
              for name in table["filename"]]  # fmt: skip
    patient = pd.factorize(table["patientid"])[0]
    index = pd.DataFrame(
        {
            "image": table["filename"],
            "patient": table["patientid"],
            "visit": 0,
            "view": "PA",
            "age": 1,
            "sex": "U",
            "source": "real",
            "split": np.where(patient % 5, "train", "test"),
        }
    )
    # Findings at random: two collections hold others than ours, and what is measured is films.
    shown = np.random.default_rng(0).random((len(index), len(FINDINGS))) < 0.3
    labels = pd.DataFrame(shown.astype(np.float32), columns=list(FINDINGS))
    return Cohort.whole(np.stack([np.asarray(image) for image in images]), pd.concat([index, labels], axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("source", ["phantom", "covid"])
def test_the_limits_fit_phantoms_and_real_films(source: str, nobodys_own_files: Path) -> None:
    if source != "phantom" and not (REAL / source).exists():
        pytest.skip(f"needs {REAL / source}, which may not be distributed; FEDCXR_TEST_DATA names another folder")
    films = (
        Phantom(patients=160).open(nobodys_own_files / "cache") if source == "phantom" else photographs(REAL / source)
    )
    show = Console(width=100, highlight=False).print
    show(f"\n{source}: {len(films)} films; unchanged: median, largest; correlation: mean, largest; found")
    for name in ("none", "noise", "dp_pix", "privacy_net", "prichexy_net"):
        release = released(films, name=name)
        likeness = measured(films, release, search=True)
        told = likeness.figures()
        show(
            f"{name:13} {np.median(likeness.unchanged):.3f} {told['unchanged']:.3f}"
            f"  {told['mean_correlation']:.3f} {told['correlation']:.5f}  {told['found']:.2f}"
        )
        assert refusal(films, release) == ("unchanged" if name == "none" else "")
