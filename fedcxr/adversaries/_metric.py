"""A learned answer to whether two films are of one patient, from numbers that describe each film.

Two-covariance model (Ioffe, ECCV 2006; Brümmer and de Villiers, Odyssey 2010): a film's numbers are its patient's plus
what differs from film to film, both Gaussian. Their covariances are estimated from films of one's own, and two films
are compared by the log-likelihood ratio of one patient against two.
Our deviations: principal components first; the covariance within patients is drawn towards a multiple of the identity,
as far as serves people who were held out; the ratio is calibrated on their pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from fedcxr.metrics import auc

Numbers = npt.NDArray[np.float32]  # (n, d)
Likeness = npt.NDArray[np.float32]  # (n, m)
People = npt.NDArray[np.int64]

COMPONENTS = 300
SHRINKAGE = (0.003, 0.01, 0.03, 0.1, 0.3)  # tried in this order; the first is kept if nobody can be held out
LEAST = 1e-6


@dataclass(frozen=True)
class Metric:
    """Ready to compare: films in coordinates in which both covariances are diagonal."""

    centre: npt.NDArray[np.float64]  # (d,)
    axes: npt.NDArray[np.float64]  # (d, k)
    between: npt.NDArray[np.float64]  # (k,) variance between patients; within patients it is 1

    def __call__(self, some: Numbers, others: Numbers) -> Likeness:
        """The log-likelihood ratio of every pair, (n, m)."""
        a, b = ((numbers - self.centre) @ self.axes for numbers in (some, others))
        total = self.between + 1
        determinant = total**2 - self.between**2
        alone = 1 / total - total / determinant
        both = a * (self.between / determinant) @ b.T
        ratio = both + 0.5 * ((a * a) @ alone)[:, None] + 0.5 * ((b * b) @ alone)[None]
        return np.asarray(ratio, dtype=np.float32)


def learn(numbers: Numbers, people: People, held_out: npt.NDArray[np.bool_], rng: np.random.Generator) -> Metric:
    """Learnt on some people, with as much shrinkage as serves those held out, and then on all of them."""
    from sklearn.decomposition import PCA  # type: ignore[import-untyped, unused-ignore]

    most = min(COMPONENTS, len(numbers) - 1, numbers.shape[1])
    main = PCA(most, svd_solver="randomized", random_state=int(rng.integers(2**31))).fit(numbers)
    shown = (numbers - main.mean_) @ main.components_.T
    judged, genuine = shown[held_out], pairs_of(people[held_out])
    best = SHRINKAGE[0]
    if genuine.any() and not genuine.all():
        tried = {s: _fitted(shown[~held_out], people[~held_out], s)(judged, judged) for s in SHRINKAGE}
        apart = ~np.eye(len(judged), dtype=bool)
        best = max(SHRINKAGE, key=lambda s: auc(genuine[apart], tried[s][apart]))
    inner = _fitted(shown, people, best)
    return Metric(main.mean_ + inner.centre @ main.components_, main.components_.T @ inner.axes, inner.between)


def pairs_of(people: People) -> npt.NDArray[np.bool_]:  # (n, n)
    """Which pairs of different films are of one person."""
    return np.asarray((people[:, None] == people[None]) & ~np.eye(len(people), dtype=bool))


def _fitted(numbers: Numbers, people: People, shrinkage: float) -> Metric:
    centre = numbers.mean(axis=0, dtype=np.float64)
    apart = numbers - centre
    _, owner, films = np.unique(people, return_inverse=True, return_counts=True)
    means = np.zeros((len(films), numbers.shape[1]))
    np.add.at(means, owner, apart)
    means /= films[:, None]
    moved = (apart - means[owner])[films[owner] > 1]
    within = moved.T @ moved / max(len(moved) - int((films > 1).sum()), 1)
    d = len(within)
    within = (1 - shrinkage) * within + (shrinkage * np.trace(within) / d + LEAST) * np.eye(d)
    between, axes = eigh(apart.T @ apart / len(apart) - within, within)
    useful = between > LEAST
    return Metric(centre, axes[:, useful], between[useful])


Calibrated = Callable[[Likeness], Likeness]


def calibrated(alike: Likeness, people: People) -> Calibrated:
    """Log-odds at even prior odds that two films so like are of one patient, from films compared with each other."""
    # Imported here, because it takes a second.
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped, unused-ignore]

    others = ~np.eye(len(alike), dtype=bool)
    genuine = (people[:, None] == people[None])[others]
    centre, spread = alike[others].mean(), max(float(alike[others].std()), 1e-6)
    model = LogisticRegression(class_weight="balanced").fit(((alike[others] - centre) / spread)[:, None], genuine)
    slope, bias = float(model.coef_[0, 0]), float(model.intercept_[0])
    return lambda likeness: ((likeness - centre) / spread * slope + bias).astype(np.float32)
