"""Envelopes: the key of a release, or of some images in it, from one hospital to another.

    magic, format, length of the label, [sender, recipient, site, release, epoch], sealed keys, signature

The keys are sealed to the recipient with HPKE. Its base mode leaves the sender open, so the sender signs all that
stands before the signature; and who writes to whom about what goes into the seal too, so that nobody can sign another's
envelope as their own. What comes from others is cut by lengths before anything is unpacked: reading an envelope .
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import msgpack

from fedcxr.errors import BrokenSeal, ConfigError, WrongEnvelope
from fedcxr.keys import ImageKey, Origin, ReleaseKey, SomeKeys, context
from fedcxr.keys.identity import SIGNATURE_BYTES, Identity, PublicIdentity
from fedcxr.keys.stream import KEY_BYTES

KIND = b"FCXE"
FORMAT = 2
HEAD = struct.Struct(">4sBH")  # kind, format, length of the label
LONGEST_LABEL = 2048  # bytes: two fingerprints and two names of the longest characters
NAMES = struct.Struct(">I")  # how many bytes the names of images take
WHOLE, SOME = b"*", b"+"  # of which images the sealed keys are
BETWEEN = b"\0"  # two names
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
    packed: bytes = msgpack.packb([label.sender, label.recipient, *label.origin.parts], use_bin_type=True)
    sealed = recipient.seal(_packed(keys), label.about)
    signed = HEAD.pack(KIND, FORMAT, len(packed)) + packed + sealed
    return signed + sender.sign(PURPOSE, signed)


def open_envelope(
    envelope: bytes, recipient: Identity, sender: PublicIdentity, origin: Origin
) -> ReleaseKey | SomeKeys:
    """The keys in an envelope that this sender wrote to us about exactly this release; anything else is refused."""
    _check_format(envelope)
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


def _check_format(envelope: bytes) -> None:
    if envelope.startswith(KIND) and envelope[len(KIND) : HEAD.size] and envelope[len(KIND)] != FORMAT:
        raise WrongEnvelope(
            "this envelope was written by another version of fedcxr",
            given=f"format {envelope[len(KIND)]}",
            allowed=f"format {FORMAT}",
            do="send its writer your card of this version, and ask for it again",
        )


def _read(envelope: bytes) -> tuple[Label, bytes]:
    _check_format(envelope)
    try:
        kind, _, length = HEAD.unpack_from(envelope)
        end = HEAD.size + length
        if kind != KIND or length > LONGEST_LABEL or not end + SIGNATURE_BYTES <= len(envelope) <= LARGEST:
            raise ValueError
        sender, recipient, *origin = msgpack.unpackb(envelope[HEAD.size : end], raw=False, use_list=True)
        for fingerprint in (sender, recipient):
            if bytes.fromhex(fingerprint).hex() != fingerprint:  # shown to people, so nothing else may hide in it
                raise ValueError
        return Label(sender, recipient, Origin(*origin)), envelope[end:-SIGNATURE_BYTES]
    except (struct.error, msgpack.exceptions.UnpackException, ValueError, TypeError, RecursionError, ConfigError):
        raise WrongEnvelope("this is no envelope", allowed=f"format {FORMAT}", do="ask for it again") from None


def _packed(keys: ReleaseKey | SomeKeys) -> bytes:
    if isinstance(keys, ReleaseKey):
        return WHOLE + keys.reveal()
    names = [_name(image) for image in keys.images]
    if not names or any(BETWEEN in name for name in names):
        raise ConfigError("an envelope gives the keys of images with names", given=keys)
    text = BETWEEN.join(names)
    return SOME + NAMES.pack(len(text)) + text + b"".join(keys.image_key(image).reveal() for image in keys.images)


def _keys(content: bytes, origin: Origin) -> ReleaseKey | SomeKeys | None:
    """The keys, if the sender, who is known but need not be careful, packed any."""
    what, rest = content[:1], content[1:]
    if what == WHOLE and len(rest) == KEY_BYTES:
        return ReleaseKey(rest, origin)
    if what != SOME or len(rest) < NAMES.size:
        return None
    (length,) = NAMES.unpack_from(rest)
    text, keys = rest[NAMES.size : NAMES.size + length], rest[NAMES.size + length :]
    count = text.count(BETWEEN) + 1
    if len(text) != length or len(keys) != KEY_BYTES * count:
        return None
    try:
        names = [name.decode("utf-8", "surrogatepass") for name in text.split(BETWEEN)]
    except UnicodeDecodeError:
        return None
    if len(set(names)) != count:
        return None
    cut = (keys[start : start + KEY_BYTES] for start in range(0, len(keys), KEY_BYTES))
    return SomeKeys(origin, {name: ImageKey(key, origin, name) for name, key in zip(names, cut, strict=True)})


def _name(image: str) -> bytes:
    return image.encode("utf-8", "surrogatepass")
