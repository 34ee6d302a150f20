"""Keys: a site's master key gives each release its key, a release's key gives each image its own.

    MasterKey  --release-->  ReleaseKey  --image-->  ImageKey  --> sealed bytes, keyed streams

Each arrow is HKDF-SHA256 (RFC 5869) over the whole name of what it leads to, and none can be walked back. So a hospital
gives away the key of one release, or of some images in it, and never its master key. A new master key (a new epoch)
changes every key below it: a release made again after a rotation shares nothing with the earlier one.

Nothing here knows what an image is or where a key is kept.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedcxr.errors import BrokenSeal, ConfigError, NotGranted
from fedcxr.keys.stream import KEY_BYTES, KeyedStream

NONCE_BYTES = 12
TAG_BYTES = 16
LONGEST_NAME = 200  # characters
# Printable to Python and not to the eye: joiners, fillers, selectors of variants, the empty pattern of Braille.
UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def context(purpose: str, *parts: str | int | bytes) -> bytes:
    """What a key or a signature is for. Every part carries its type and length: no two lists give the same bytes."""
    packed: bytes = msgpack.packb(["fedcxr", 1, purpose, *parts], use_bin_type=True, unicode_errors="surrogatepass")
    return packed


@dataclass(frozen=True)
class Origin:
    """Which release: of which site, under which name, with the master key of which epoch. All of it is public."""

    site: str
    release: str
    epoch: int

    def __post_init__(self) -> None:
        check_name("site", self.site)
        check_name("release", self.release)
        if type(self.epoch) is not int or not 0 < self.epoch < 1 << 31:
            raise ConfigError("an epoch is a number from 1", given=self.epoch)

    def __str__(self) -> str:
        return f"release {self.release} of {self.site}, epoch {self.epoch}"

    @property
    def parts(self) -> tuple[str, str, int]:
        return self.site, self.release, self.epoch


def check_name(noun: str, name: object) -> None:
    """A name is short and printable, so that it can be shown and cannot hide anything."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or UNSEEN.search(name):
        allowed = f"1 to {LONGEST_NAME} characters that can be seen"
        raise ConfigError(f"this is no name for a {noun}", given=ascii(name), allowed=allowed)


def sealed_bytes(plain: int) -> int:
    """How long so many bytes are once an image's key has sealed them."""
    return NONCE_BYTES + plain + TAG_BYTES


class Hidden:
    """A key. It is never shown, pickled or copied; whoever stores or sends it must ask to `reveal` it."""

    __slots__ = ("_key",)
    length = KEY_BYTES

    def __init__(self, key: bytes) -> None:
        if len(key) != self.length:
            raise ConfigError("a key has the wrong length", given=f"{len(key)} bytes", allowed=f"{self.length} bytes")
        self._key = bytes(key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is neither pickled nor copied")

    def reveal(self) -> bytes:
        """The key itself, for an envelope or a vault to encrypt. A test keeps count of who asks."""
        return self._key

    def _derive(self, purpose: str, *parts: str | int | bytes) -> bytes:
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=context(purpose, *parts)).derive(self._key)


class MasterKey(Hidden):
    """A site's key of one epoch, from which all others come. It never leaves the hospital."""

    __slots__ = ("epoch", "site")

    def __init__(self, key: bytes, site: str, epoch: int) -> None:
        super().__init__(key)
        self.site = site
        self.epoch = epoch

    @classmethod
    def generate(cls, site: str, epoch: int) -> MasterKey:
        """A new master key, from the operating system's randomness."""
        return cls(os.urandom(cls.length), site, epoch)

    def release_key(self, release: str) -> ReleaseKey:
        origin = Origin(self.site, release, self.epoch)
        return ReleaseKey(self._derive("release", *origin.parts), origin)

    def stream_key(self, job: str, *about: str | int | bytes) -> bytes:
        """Of one random stream of a job: its films' order, or its noise."""
        return self._derive("random", *Origin(self.site, job, self.epoch).parts, *about)


class ReleaseKey(Hidden):
    """The key of one release, and so of every image in it."""

    __slots__ = ("origin",)

    def __init__(self, key: bytes, origin: Origin) -> None:
        super().__init__(key)
        self.origin = origin

    def image_key(self, image: str) -> ImageKey:
        """The key of the image that the release calls by this name, which may be its row."""
        return ImageKey(self._derive("image", *self.origin.parts, image), self.origin, image)

    def only(self, images: Iterable[str]) -> SomeKeys:
        """The keys of these images and of no other."""
        return SomeKeys(self.origin, {image: self.image_key(image) for image in images})


class SomeKeys:
    """The keys of some images in a release."""

    __slots__ = ("_keys", "origin")

    def __init__(self, origin: Origin, keys: Mapping[str, ImageKey]) -> None:
        self.origin = origin
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"SomeKeys({len(self)} images, redacted)"

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def image_key(self, image: str) -> ImageKey:
        """The key of this image; refused if it is not among those given."""
        if image not in self._keys:
            raise NotGranted("the key of this image was not granted", given=f"image {image}, {self.origin}")
        return self._keys[image]


class ImageKey(Hidden):
    """The key of one image in one release. Each use of it, under each version of a codec, has a key of its own."""

    __slots__ = ("image", "origin")

    def __init__(self, key: bytes, origin: Origin, image: str) -> None:
        super().__init__(key)
        self.origin = origin
        self.image = image

    def stream(self, purpose: str, version: str) -> KeyedStream:
        """The numbers this image's key draws for this purpose; from the beginning at every call."""
        return KeyedStream(self._derive("stream", purpose, version))

    def seal(self, data: bytes, version: str) -> bytes:
        """Encrypted and authenticated with AES-256-GCM, bound to site, release, epoch, image and codec version.

        The nonce is a keyed hash of what is sealed, as in SIV modes: the same bytes give the same seal, so a release
        made again is the same release, and no two different ones meet under one nonce, whatever a caller does.
        """
        about = self._about(version)
        nonce = self._nonce(data, about)
        return nonce + AESGCM(self._derive("seal")).encrypt(nonce, data, about)

    def open(self, sealed: bytes, version: str) -> bytes:
        """What was sealed for exactly this image, release and version; anything else is refused."""
        about = self._about(version)
        nonce = bytes(sealed[:NONCE_BYTES])
        try:
            if len(sealed) < NONCE_BYTES + TAG_BYTES:
                raise InvalidTag
            data = AESGCM(self._derive("seal")).decrypt(nonce, sealed[NONCE_BYTES:], about)
            # GCM alone does not commit to a key: bytes can be made that open under two. This does.
            if not hmac.compare_digest(nonce, self._nonce(data, about)):
                raise InvalidTag
        except InvalidTag:
            raise BrokenSeal(
                "a sealed image does not open with this key",
                given=f"image {self.image}, {self.origin}, version {version}",
                do="it was altered, or it is another image or version",
            ) from None
        return data

    def _about(self, version: str) -> bytes:
        return context("sealed", *self.origin.parts, self.image, version)

    def _nonce(self, data: bytes, about: bytes) -> bytes:
        mac = hmac.new(self._derive("nonce"), about, "sha256")  # `about` says where it ends
        mac.update(data)
        return mac.digest()[:NONCE_BYTES]
