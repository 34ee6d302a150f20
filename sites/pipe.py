"""Messages between a hospital's app and its key agent: MessagePack with its length in front, and never too long."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgpack

from fedcxr.errors import Refused

LENGTH_BYTES = 4
LARGEST = 1 << 28  # bytes: the names of some million images, or the envelope of as many
CHUNK = 1 << 20  # bytes: a length that is only claimed takes no memory


class Ended(Exception):
    """The other side is gone."""


def send(pipe: socket.socket, message: object) -> None:
    """The whole message."""
    packed: bytes = msgpack.packb(message, use_bin_type=True, unicode_errors="surrogatepass")
    if len(packed) > LARGEST:
        raise Refused("too large for the key agent", given=f"{len(packed)} bytes", allowed=f"{LARGEST}")
    try:
        pipe.sendall(len(packed).to_bytes(LENGTH_BYTES) + packed)
    except OSError:
        raise Ended from None


def receive(pipe: socket.socket) -> object:
    """The next message, as plain values: lists, mappings, texts, bytes and numbers."""
    length = int.from_bytes(b"".join(_chunks(pipe, LENGTH_BYTES)))
    if length > LARGEST:
        raise Ended  # whatever follows cannot be told apart
    packed = b"".join(_chunks(pipe, length))
    try:
        return msgpack.unpackb(packed, raw=False, unicode_errors="surrogatepass")
    except (msgpack.exceptions.UnpackException, ValueError, RecursionError):
        return None


def _chunks(pipe: socket.socket, length: int) -> Iterator[bytes]:
    while length:
        try:
            chunk = pipe.recv(min(length, CHUNK))
        except OSError:
            raise Ended from None
        if not chunk:
            raise Ended
        length -= len(chunk)
        yield chunk
