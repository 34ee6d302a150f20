"""Share the films as they are: the ceiling of usefulness and of risk."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedcxr.methods import ImageMethod


class Unprotected(ImageMethod):
    """No protection at all."""

    def protect(self, films: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        return films.copy()
