"""The whole sparse code encrypted: the honest baseline that every ambiguation has to be worth its leak against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from fedcxr.codes import Codes, pack, unpack
from fedcxr.keys import ImageKey, ReleaseKey, sealed_bytes
from fedcxr.methods import Held
from fedcxr.methods._coded import Arrays
from fedcxr.methods._keyed import KeyedCodes
from fedcxr.release import Release


class Sealed(KeyedCodes):
    """Shares each film's sparse code under AES-256-GCM and nothing else: without the key, only how many films."""

    deviations: ClassVar[str | None] = "Not in the paper: what its mechanism must be compared with."

    def mechanism(self) -> Mapping[str, object]:
        return {"cipher": "AES-256-GCM"}

    def per_film(self, size: tuple[int, int]) -> Mapping[str, Held]:
        shape = self.shape(size)
        return {"sealed": ("uint8", (sealed_bytes(shape.support_bytes + shape.kept),))}

    def hide(self, codes: Codes, first: int, keys: ReleaseKey, version: str, size: tuple[int, int]) -> Arrays:
        shape = self.shape(size)
        sealed = [keys.image_key(str(first + row)).seal(pack(code, shape), version) for row, code in enumerate(codes)]
        return {"sealed": np.frombuffer(b"".join(sealed), dtype=np.uint8).reshape(len(codes), -1)}

    def find(self, release: Release, row: int, key: ImageKey) -> Codes:
        packed = key.open(release.arrays["sealed"][row].tobytes(), str(release.facts["version"]))
        return unpack(packed, self.shape(release.size))
