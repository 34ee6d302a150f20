"""93 features equal to pyradiomics': to a table that it printed, and to itself where FEDCXR_PYRADIOMICS names it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fedcxr.errors import DataError
from fedcxr.metrics.radiomics import FAMILIES, NAMES, features

HERE = Path(__file__).parent
ORACLE = os.environ.get("FEDCXR_PYRADIOMICS")
SAID = json.loads((HERE / "pyradiomics.json").read_text())
HEIGHT, WIDTH = 40, 53

Y, X = np.mgrid[:HEIGHT, :WIDTH]
DISK = (3 * (Y - 20)) ** 2 + (2 * (X - 26)) ** 2 < 50**2
FILMS = {
    "smooth": ((X * X + 2 * Y * Y + X * Y) // 40 % 200 + 20, np.ones_like(DISK)),
    "rough": ((37 * X + 101 * Y + 13 * X * Y * Y) % 251, DISK),
    "steps": ((X // 7) * (Y // 9) % 6 * 40, DISK | (X > 45)),
}
GIVEN = np.array([film for film, _ in FILMS.values()], dtype=np.uint8), np.array([mask for _, mask in FILMS.values()])


def test_they_are_the_93_of_six_families() -> None:
    counts = [sum(name.startswith(f"{family}_") for name in NAMES) for family in FAMILIES]
    assert counts == [18, 24, 16, 16, 14, 5]
    assert len(NAMES) == len(set(NAMES)) == 93


def test_features_are_those_that_pyradiomics_gave() -> None:
    """Films made by a formula; the table holds nothing but what pyradiomics printed of them."""
    found = features(*GIVEN)
    for film, row in zip(FILMS, found, strict=True):
        assert SAID["films"][film].keys() == set(NAMES)
        expected = [SAID["films"][film][name] for name in NAMES]
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-9, err_msg=film)


@pytest.mark.skipif(ORACLE is None, reason="FEDCXR_PYRADIOMICS names no interpreter that has pyradiomics")
def test_features_are_pyradiomics_own(tmp_path: Path) -> None:
    """Noise, gradients, few levels, one level; masks in pieces, a line wide, and full of holes."""
    rng = np.random.default_rng(5)
    holes, lines = rng.random((HEIGHT, WIDTH)) < 0.2, np.zeros_like(DISK)
    lines[5, 5:20], lines[20:24, 30], lines[30, 40] = True, True, True
    noise = rng.integers(0, 256, (4, HEIGHT, WIDTH))
    rest = [noise[0] % 3 + 100, np.where(Y > 20, 7, 200), np.full_like(X, 77), (3 * Y + X) % 256]
    films = np.concatenate([GIVEN[0], noise, rest]).astype(np.uint8)
    masks = np.concatenate([GIVEN[1], [np.ones_like(DISK), DISK, holes, lines], [DISK, ~DISK, DISK, holes]])
    np.savez(tmp_path / "films.npz", films=films, masks=masks)
    assert ORACLE is not None
    command = [ORACLE, str(HERE / "pyradiomics_says.py"), str(tmp_path / "films.npz"), str(tmp_path / "said.json")]
    subprocess.run(command, check=True, env={"PATH": os.environ["PATH"]})
    told = json.loads((tmp_path / "said.json").read_text())
    expected = np.array([[film[name] for name in NAMES] for film in told["features"]])
    np.testing.assert_allclose(features(films, masks), expected, rtol=1e-9, atol=1e-9)
    said = dict(zip(FILMS, told["features"], strict=False))
    if SAID["pyradiomics"] == told["pyradiomics"]:
        for film, own in SAID["films"].items():
            assert own == pytest.approx(said[film], rel=1e-12), "the table is not what pyradiomics says"


@pytest.mark.parametrize("turned", [np.s_[:, ::-1], np.s_[:, :, ::-1], np.s_[:, ::-1, ::-1]])
@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1)])
def test_how_a_film_lies_changes_nothing(turned: tuple[slice, ...], axes: tuple[int, ...]) -> None:
    """Turned and mirrored, together with its mask: every feature is a mean over directions or has none."""
    films, masks = GIVEN[0].transpose(axes)[turned], GIVEN[1].transpose(axes)[turned]
    np.testing.assert_allclose(features(films, masks), features(*GIVEN), rtol=1e-9, atol=1e-9)


def test_what_is_outside_the_mask_and_which_films_stand_beside_changes_nothing() -> None:
    films, masks = GIVEN
    together = features(np.where(masks, films, 255 - films), masks)
    for row in range(len(films)):
        alone = features(films[row : row + 1], masks[row : row + 1])[0]
        np.testing.assert_allclose(together[row], alone, rtol=1e-12, atol=1e-12)


def test_a_blank_film_has_features_too() -> None:
    told = dict(zip(NAMES, features(np.full((1, 8, 8), 9, np.uint8))[0], strict=True))
    assert np.isfinite(list(told.values())).all()
    assert (told["firstorder_Variance"], told["glcm_Contrast"], told["glszm_LargeAreaEmphasis"]) == (0, 0, 64**2)
    assert told["ngtdm_Coarseness"] == 1e6


@pytest.mark.parametrize(
    ("films", "masks", "said"),
    [
        (np.zeros((1, 4, 4)), None, "8 bit"),
        (np.zeros((2, 4, 4), np.uint8), np.ones((2, 4, 5), np.bool_), "do not fit"),
        (np.zeros((2, 4, 4), np.uint8), np.ones((2, 4, 4)), "do not fit"),
        (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4), np.bool_), "2 of 2 films"),
    ],
)
def test_what_has_no_features_is_refused(films: np.ndarray, masks: np.ndarray | None, said: str) -> None:
    with pytest.raises(DataError, match=said):
        features(films, masks)
