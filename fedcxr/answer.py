"""What a site answers, and the digest that its signature is over: without Flower, so that key agents know it, too."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import msgpack


@dataclass(frozen=True)
class Answer:
    """What a site says: its release, or why there is none."""

    site: str
    status: str  # ok | dropped | refused
    reason: str = ""
    place: str = ""  # file:line of an error
    patients: int = 0
    images: int = 0
    seconds: float = 0.0
    log: str = ""  # what was done for it, where its hospital lets that be kept (`fedcxr.steps`)
    signature: bytes = b""  # the site's, over everything else and the request
    release: bytes = b""

    def after(self, seconds: float) -> Answer:
        return replace(self, seconds=seconds)

    @property
    def digest(self) -> bytes:
        """Of all that is said, which the signature covers."""
        words = (self.site, self.status, self.reason, self.place)
        figures = (self.patients, self.images, self.seconds)
        return digest_of(*words, *figures, self.log, hashlib.sha256(self.release).digest())


def digest_of(*parts: str | int | float | bytes) -> bytes:
    """Each part carries its type and length: no two lists have the same bytes."""
    return hashlib.sha256(msgpack.packb(parts, use_bin_type=True, unicode_errors="surrogatepass")).digest()
