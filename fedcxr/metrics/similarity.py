"""Pure measures of how alike two stacks of films are, film by film."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedcxr.errors import DataError

Films = npt.NDArray[np.uint8]  # (n, h, w)
Figures = npt.NDArray[np.float64]  # (n,)

RANGE = 255.0
SIGMA, RADIUS = 1.5, 5  # pixels of SSIM's window: 11 x 11
STABLE = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2


def similarity(films: Films, others: Films) -> dict[str, Figures]:
    """Every figure by its name in result.json. `me` is positive where `others` are brighter."""
    if films.shape != others.shape or films.ndim != 3:
        raise DataError("films are compared with films of the same shape", given=f"{films.shape} and {others.shape}")
    error = others.astype(np.float64) - films
    squared = (error**2).mean(axis=(1, 2))
    spread = films.astype(np.float64).var(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "psnr": 10 * np.log10(RANGE**2 / squared),  # infinite where nothing differs
            "ssim": ssim(films, others),
            "mae": np.abs(error).mean(axis=(1, 2)),
            "me": error.mean(axis=(1, 2)),
            "rmse": np.sqrt(squared),
            "r2": np.where(spread > 0, 1 - squared / spread, np.nan),  # undefined for a blank film
        }


def ssim(films: Films, others: Films) -> Figures:
    """Structural similarity (Wang et al. 2004): Gaussian window, population covariance, mean inside the border."""
    if min(films.shape[1:]) <= 2 * RADIUS:
        return np.full(len(films), np.nan)
    return np.array([_ssim(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(films, others, strict=True)])


def _ssim(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    mean_a, mean_b = _blurred(a), _blurred(b)
    both, square_a, square_b = mean_a * mean_b, mean_a**2, mean_b**2
    covariance = _blurred(a * b) - both
    variances = _blurred(a**2) - square_a + _blurred(b**2) - square_b
    luminance = (2 * both + STABLE[0]) / (square_a + square_b + STABLE[0])
    return float((luminance * (2 * covariance + STABLE[1]) / (variances + STABLE[1])).mean())


def _blurred(film: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The Gaussian mean around every pixel whose window lies inside the film."""
    at = np.arange(-RADIUS, RADIUS + 1)
    window = np.exp(-0.5 * (at / SIGMA) ** 2)
    window /= window.sum()
    for _ in range(2):
        inside = film.shape[0] - 2 * RADIUS
        film = sum(weight * film[start : start + inside] for start, weight in enumerate(window)).T
    return film


def joint_histogram(films: Films, others: Films, bins: int) -> npt.NDArray[np.int64]:  # (bins, bins)
    """How often a grey level of a film became which one of the other."""
    place = films.astype(np.int64) * bins // 256 * bins + others.astype(np.int64) * bins // 256
    return np.bincount(place.ravel(), minlength=bins * bins).reshape(bins, bins)
