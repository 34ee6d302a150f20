"""A site's update under a key of its own: whom the site grants keys reads it, and not who carries or stores it.

Of what travels, only who it is from, for which request and how long it is can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from fedcxr.errors import Refused
from fedcxr.keys import ReleaseKey
from fedcxr.release import Header, Packed, Release
from fedcxr.view import Holder

UPDATE = "update"  # the only array, and the name of what its key opens


def seal(update: Release, keys: ReleaseKey, envelopes: Mapping[str, bytes]) -> Release:
    """The update as it travels, and the keys of those who may open it."""
    closed = keys.image_key(UPDATE).seal(update.to_bytes(), update.method)
    facts = {"key": {"release": keys.origin.release, "epoch": keys.origin.epoch}}
    arrays = {UPDATE: np.frombuffer(closed, dtype=np.uint8)}
    return replace(Release("update", update.site, update.method, arrays, facts), envelopes=dict(envelopes))


def admit(header: Header) -> None:
    """Refuse, before anything is unpacked, what is no sealed update."""
    stated = {name: (one.dtype, len(one.shape)) for name, one in header.arrays.items()}
    if header.kind != "update" or stated != {UPDATE: ("uint8", 1)}:
        raise Refused("this is no sealed update", given=f"{header.kind}, {', '.join(header.arrays)}")


def unseal(sealed: Release, holder: Holder, within: Callable[[Header], None]) -> Release:
    """The update, if the holder's keys open it; what `within` asks of its header comes before it is unpacked."""
    opened = holder.keys(sealed).image_key(UPDATE).open(sealed.arrays[UPDATE].tobytes(), sealed.method)
    packed = Packed.from_bytes(opened)
    if (packed.header.site, packed.header.method) != (sealed.site, sealed.method):
        raise Refused("a sealed update in another's name", given=packed.header.site, allowed=sealed.site)
    within(packed.header)
    return Release.of(packed)
