"""Envelopes: the key of a release, or of some images in it, from one hospital to another.

    magic, format, [sender, recipient, site, release, epoch, sealed key], signature

The key is sealed to the recipient with HPKE. Its base mode leaves the sender open, so the sender signs all that stands
before the signature; and who writes to whom about what goes into the seal too, so that nobody can sign another's
envelope as their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from fedcxr.errors import BrokenSeal, ConfigError, WrongEnvelope
from fedcxr.keys import ImageKey, Origin, ReleaseKey, SomeKeys, context
from fedcxr.keys.identity import SIGNATURE_BYTES, Identity, PublicIdentity

MAGIC = b"FCXE\x01"  # the last byte is the format
PURPOSE = "envelope"
LARGEST = 1 << 28  # bytes: five million images


@dataclass(frozen=True)
class Label:
    """What stands on an envelope, for all to read: fingerprints of sender and recipient, and the release."""

    sender: str
    recipient: str
    origin: Origin

    @property
    def about(self) -> bytes:
        return context(PURPOSE, self.sender, self.recipient, *self.origin.parts)


def grant(keys: ReleaseKey | SomeKeys, sender: Identity, recipient: PublicIdentity) -> bytes:
    """An envelope that gives the recipient these keys."""
    if sender.public.name != keys.origin.site:
        raise ConfigError("only a site grants its own releases", given=f"{sender.public} for {keys.origin}")
    label = Label(sender.public.fingerprint, recipient.fingerprint, keys.origin)
    content: list[object] = (
        ["all", keys.reveal()]
        if isinstance(keys, ReleaseKey)
        else ["images", {image: keys.image_key(image).reveal() for image in keys.images}]
    )
    sealed = recipient.seal(msgpack.packb(content, use_bin_type=True), label.about)
    body = [label.sender, label.recipient, *label.origin.parts, sealed]
    signed: bytes = MAGIC + msgpack.packb(body, use_bin_type=True)
    return signed + sender.sign(PURPOSE, signed)


def open_envelope(
    envelope: bytes, recipient: Identity, sender: PublicIdentity, origin: Origin
) -> ReleaseKey | SomeKeys:
    """The keys in an envelope that this sender wrote to us about exactly this release; anything else is refused."""
    sender.verify(PURPOSE, envelope[:-SIGNATURE_BYTES], envelope[-SIGNATURE_BYTES:])
    label, sealed = _read(envelope)
    expected = Label(sender.fingerprint, recipient.public.fingerprint, origin)
    if label != expected or origin.site != sender.name:
        raise WrongEnvelope(
            "this envelope is not the one for this recipient and release",
            given=f"{label.origin}, to {label.recipient[:16]}",
            allowed=f"{origin}, to {expected.recipient[:16]}",
        )
    keys = _keys(recipient.unseal(sealed, label.about), origin)
    if keys is None:  # raised here, for an error of reading may carry what was read along
        raise BrokenSeal("an envelope holds no keys", given=str(origin), do="ask its sender for another")
    return keys


def read_label(envelope: bytes) -> Label:
    """What an envelope says of itself. Nothing of it is checked: it tells what to look for, not what is there."""
    return _read(envelope)[0]


def _read(envelope: bytes) -> tuple[Label, bytes]:
    try:
        if not envelope.startswith(MAGIC) or len(envelope) > LARGEST:
            raise ValueError
        body = msgpack.unpackb(envelope[len(MAGIC) : -SIGNATURE_BYTES], raw=False, use_list=True)
        sender, recipient, site, release, epoch, sealed = body
        if not (isinstance(sender, str) and isinstance(recipient, str) and isinstance(sealed, bytes)):
            raise TypeError
        return Label(sender, recipient, Origin(site, release, epoch)), sealed
    except (msgpack.exceptions.UnpackException, ValueError, TypeError, RecursionError, ConfigError):
        raise WrongEnvelope("this is no envelope", allowed=f"format {MAGIC[-1]}", do="ask for it again") from None


def _keys(content: bytes, origin: Origin) -> ReleaseKey | SomeKeys | None:
    """The keys, if the sender, who is known but need not be careful, packed any."""
    try:
        what, keys = msgpack.unpackb(content, raw=False)
        if what == "all" and isinstance(keys, bytes):
            return ReleaseKey(keys, origin)
        if what == "images" and isinstance(keys, dict) and all(isinstance(image, str) for image in keys):
            return SomeKeys(origin, {image: ImageKey(key, origin, image) for image, key in keys.items()})
        return None
    except (msgpack.exceptions.UnpackException, ValueError, TypeError, RecursionError, ConfigError):
        return None
