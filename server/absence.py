"""Why a node gave no answer, in a sentence of ours: Flower tells it by a code, and in words about its own insides."""

from __future__ import annotations

from flwr.app import Error

from fedcxr import wire

UNREACHED, UNANSWERED, GONE, CRASHED = 3, 4, 5, 8  # of Flower's error codes
DOING = {
    wire.HELLO: "being greeted",
    wire.RELEASE: "releasing its films",
    wire.LEARN: "learning",
    wire.TEST: "testing what was learnt",
}


def why_absent(error: Error, kind: str) -> str:
    """Of a site that was sent a message of this kind; what nobody foresaw is told as it came."""
    match error.code:
        case code if code == GONE:
            return f"the site went away while {DOING[kind]}"
        case code if code in (UNREACHED, UNANSWERED):
            return f"the site's answer did not arrive in time, while {DOING[kind]}"
        case code if code == CRASHED:
            return f"what answers at the site was ended while {DOING[kind]}"
    return wire.line(f"its node does not answer: {error.reason or ''}")
