"""Whom a node answers: what its coordinator signed, while it counts. Looked at before anything that was sent is used.

Whoever recorded a message may send it again until it expires. Nothing is gained by that, so that no site remembers
numbers: the same request is the same job. It costs no budget again, and draws the same noise, so that the same films
come of it; keys are sealed anew, to the same recipients. The answer is signed as one to that number and that
coordinator, who takes none to an older number. What is left is work for this machine. Anything else would need another
signature.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedcxr import wire
from fedcxr.errors import BadSignature
from fedcxr.keys.identity import PublicIdentity
from fedcxr.keys.signatures import verify_request
from sites.codes import Code, Denied

CLOCKS = 300  # seconds by which a coordinator's clock and a site's may differ


def asking(asked: wire.Asked, kind: str, known: Sequence[PublicIdentity], now: float) -> PublicIdentity:
    """Who asks this in a message of this kind, at this time; refused unless it is known, and asks now."""
    try:
        coordinator = verify_request(known, asked.digest(kind), asked.signature)
    except BadSignature as error:
        raise Denied(Code.COORDINATOR, str(error)) from None
    # What could be dated far ahead could be had answered when everybody has forgotten it.
    if not now - CLOCKS <= asked.expires <= now + wire.LONGEST_LIFE + CLOCKS:
        away = f"{asked.expires - now:+.0f} s from now"
        allowed = f"-{CLOCKS} to {wire.LONGEST_LIFE + CLOCKS} s"
        raise Denied(Code.EXPIRED, "a request that has expired, or will in far too long", given=away, allowed=allowed)
    return coordinator
