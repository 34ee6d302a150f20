"""What is seen of codes that are shared under keys: by those who hold some, and by those who hold none."""

from __future__ import annotations

import contextlib

import numpy as np
import numpy.typing as npt

from fedcxr.codes import Codes, support
from fedcxr.errors import BrokenSeal, DataError, Refused
from fedcxr.keys import ImageKey
from fedcxr.methods import Films, Form, RunContext, Weights
from fedcxr.methods._coded import CodeMethod
from fedcxr.methods._keyless import Keyless
from fedcxr.release import Release
from fedcxr.view import Appearance, Array, Holder, Shared, View


class KeyedCodes(CodeMethod):
    """A method that shares sparse codes under keys."""

    def opens(self, release: Release, row: int, key: ImageKey) -> bool:
        try:
            self.find(release, row, key)
        except (BrokenSeal, DataError):
            return False
        return True

    def opened(self, shared: Shared, holder: Holder) -> npt.NDArray[np.bool_]:
        parts = [np.zeros(len(release), dtype=np.bool_) for release in shared.releases]
        for release, open_to in zip(shared.releases, parts, strict=True):
            with contextlib.suppress(Refused):
                open_to[self.rows(release, holder.keys(release))] = True
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.bool_)

    def view(self, shared: Shared, holder: Holder, context: RunContext) -> View:
        """Every code as published, and those that open without their fakes and as films."""
        parts: list[tuple[Films, Codes, npt.NDArray[np.bool_]]] = []
        refusals: dict[str, str] = {}
        for release in shared.releases:
            weights = shared.weights_behind(release)
            films = np.zeros((len(release), *release.size), dtype=np.uint8)
            codes = np.zeros((len(release), *self.shape(release.size).code), dtype=np.int8)
            opened = np.zeros(len(release), dtype=np.bool_)
            parts.append((films, codes, opened))
            try:
                keys = holder.keys(release)
                rows = self.rows(release, keys)
                codes[rows] = self.purified(release, keys, weights)
            except Refused as why:
                refusals[release.site] = str(why)
                continue
            opened[rows] = True
            films[rows] = self.decoded(codes[rows], release, weights, context)
            if not opened.all():
                refusals[release.site] = f"{release.site} granted {len(rows)} of {len(release)} images"
        films, codes, opened = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        forms = {form: array for form in ("codes", "sealed") if (array := shared.array(form)) is not None}
        if opened.any():
            forms |= {"films": films, "purified": codes}
        return View(forms, opened, shared.versions, refusals=refusals)

    def clean(self, form: Form, films: Films, weights: Weights, context: RunContext) -> Array | None:
        if form == "purified":
            return self.codec(weights, context).encode(films)
        return super().clean(form, films, weights, context)

    @property
    def repeatable(self) -> bool:
        return True

    def appearance(self, own: Films, weights: Weights, context: RunContext) -> Appearance | None:
        return Keyless(self, own, weights, context)

    def chosen(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        return support.chosen(scores, self.s, self.together)
