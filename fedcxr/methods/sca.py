"""Sparse codes with ambiguation: values in public among fakes, which values are true under the hospital's key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pydantic

from fedcxr.codes import PER_MAP, Codes, padding
from fedcxr.codes.ambiguation import SHUFFLING, Ambiguation, Rule, ambiguate, purify
from fedcxr.codes.support import Scores, exact_order
from fedcxr.keys import ImageKey, ReleaseKey, sealed_bytes
from fedcxr.methods import Form, Held
from fedcxr.methods._coded import Arrays
from fedcxr.methods._keyed import KeyedCodes
from fedcxr.release import Release


class Sca(KeyedCodes):
    """Shares each film's sparse code with fakes among its values; the key, per film, takes them away exactly.

    With `padded` the values of the whole film are shuffled among fakes that make them as many of each as in every other
    film: what is public is the same constants in an order that only the key tells, whatever the film. With `keyed` how
    often each size of value occurs stays visible, which recognises a film that one already has and tells patients apart
    as well as comparing films pixel by pixel does (docs/sca.md). The other ambiguations show the film itself.
    """

    paper: ClassVar[str | None] = "Shiri et al., JBI 2024 (PRIMIS: sparse coding with ambiguation)"
    deviations: ClassVar[str | None] = (
        "A lapped DCT that needs no training instead of a trained auto-encoder; eight bits per value; a keyed shuffle "
        "among fakes that leave every film the same public values instead of the released mechanism, which gives its "
        "key away (`ambiguation: published`); the secret part is sealed with AES-256-GCM, always in the same length."
    )

    # The film, or as `keyed` does whose it is.
    shows: ClassVar[Mapping[str, tuple[object, ...]]] = {
        **KeyedCodes.shows,
        "ambiguation": ("published", "gaussian", "matched", "decoy", "keyed"),
    }

    ambiguation: Ambiguation = "padded"
    s_n: int = pydantic.Field(default=24, ge=0, le=PER_MAP, description="fakes per cell; at most 64 - s")

    @pydantic.model_validator(mode="after")
    def _room(self) -> Sca:
        if self.s + self.s_n > PER_MAP:
            raise ValueError(f"s_n: s + s_n is at most {PER_MAP}, the channels of a cell; here {self.s} + {self.s_n}")
        if self.ambiguation == "padded" and not padding.fits(self.s, self.s_n):
            raise ValueError(
                f"s_n: padded makes all films' values alike with fakes and needs at least half as many as s; "
                f"here {self.s_n} for {self.s}; set s_n to {self.s} or more"
            )
        if self.together > 1 and self.ambiguation not in SHUFFLING:
            raise ValueError(
                f"together: {self.ambiguation} leaves values in their cells and needs room there for s_n fakes, "
                f"so no cell may keep more than s; here {self.together}; set together to 1, or ambiguation to padded"
            )
        return self

    @property
    def forms(self) -> tuple[Form, ...]:
        return (*super().forms, "codes")

    def mechanism(self) -> Mapping[str, object]:
        return {"ambiguation": self.ambiguation, "s_n": self.s_n}

    @property
    def hides_among_others(self) -> bool:
        return self.ambiguation == "decoy"

    @property
    def order_tells(self) -> bool:
        return self.ambiguation == "published"

    def by_order(self, public: Codes) -> Scores | None:
        return exact_order(public, self.s_n) if self.in_place else None

    @property
    def in_place(self) -> bool:
        return self.ambiguation not in SHUFFLING

    @property
    def sizes_tell(self) -> bool:
        return self.ambiguation != "padded"

    def rule(self, size: tuple[int, int]) -> Rule:
        """The ambiguation of films of this size."""
        return Rule(self.ambiguation, self.shape(size), self.s_n)

    def per_film(self, size: tuple[int, int]) -> Mapping[str, Held]:
        rule = self.rule(size)
        return {"codes": ("int8", rule.public_shape), "sealed": ("uint8", (sealed_bytes(rule.secret_bytes),))}

    def hide(self, codes: Codes, first: int, keys: ReleaseKey, version: str, size: tuple[int, int]) -> Arrays:
        rule = self.rule(size)
        public = np.empty((len(codes), *rule.public_shape), dtype=np.int8)
        sealed: list[bytes] = []
        for row, code in enumerate(codes):
            key = keys.image_key(str(first + row))
            donors = np.delete(codes, row, axis=0) if self.ambiguation == "decoy" else None
            hidden = ambiguate(code, rule, key, version, donors)
            public[row] = hidden.public
            sealed.append(key.seal(hidden.secret, version))
        return {"codes": public, "sealed": np.frombuffer(b"".join(sealed), dtype=np.uint8).reshape(len(codes), -1)}

    def find(self, release: Release, row: int, key: ImageKey) -> Codes:
        version = str(release.facts["version"])
        secret = key.open(release.arrays["sealed"][row].tobytes(), version)
        public = np.asarray(release.arrays["codes"][row], dtype=np.int8)
        return purify(public, secret, self.rule(release.size), key, version)
