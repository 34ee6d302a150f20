"""How input is damaged: bits, bytes, numbers, lengths and pieces of other inputs, several times over."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

LONGEST = 1 << 20  # bytes of a mutated input
MOST_STEPS = 6
NUMBERS = (0, 1, -1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63)
TEXTS = (b"NaN", b"-Infinity", b"1e999", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"../", b"[" * 200, b"{" * 200, b"%s%n")

Mutation = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def mutated(corpus: Sequence[bytes], draws: random.Random) -> bytes:
    """One of these inputs with some damage."""
    data = bytearray(draws.choice(corpus))
    for _ in range(draws.randint(1, MOST_STEPS)):
        draws.choice(MUTATIONS)(data, draws, corpus)
    return bytes(data[:LONGEST])


def _place(data: bytearray, draws: random.Random) -> int:
    return draws.randrange(len(data) + 1)


def _flip(data: bytearray, draws: random.Random, corpus: Sequence[bytes]) -> None:
    if data:
        data[draws.randrange(len(data))] ^= 1 << draws.randrange(8)


def _overwrite(data: bytearray, draws: random.Random, corpus: Sequence[bytes]) -> None:
    place = _place(data, draws)
    noise = draws.randbytes(draws.randint(1, 16))
    data[place : place + len(noise)] = noise


def _number(data: bytearray, draws: random.Random, corpus: Sequence[bytes]) -> None:
    """A length or a count that nobody expects, in one of the ways in which numbers are written."""
    number, size = draws.choice(NUMBERS), draws.choice((1, 2, 4, 8))
    written = (number % (1 << 8 * size)).to_bytes(size, draws.choice(("big", "little")))
    place = _place(data, draws)
    data[place : place + size] = str(number).encode() if draws.random() < 0.3 else written


def _text(data: bytearray, draws: random.Random, corpus: Sequence[bytes]) -> None:
    place = _place(data, draws)
    data[place:place] = draws.choice(TEXTS)


def _cut(data: bytearray, draws: random.Random, corpus: Sequence[bytes]) -> None:
    first, last = sorted((_place(data, draws), _place(data, draws)))
    del data[first : last if draws.random() < 0.7 else None]


def _repeat(data: bytearray, draws: random.Random, corpus: Sequence[bytes]) -> None:
    first, place = _place(data, draws), _place(data, draws)
    piece = data[first : first + draws.randint(1, 64)]
    data[place:place] = piece * draws.choice((1, 2, 50))


def _splice(data: bytearray, draws: random.Random, corpus: Sequence[bytes]) -> None:
    """A piece of another input, from where there is something like it."""
    other = draws.choice(corpus)
    if other:
        start, place = draws.randrange(len(other)), _place(data, draws)
        data[place : place + draws.choice((0, 8, 64))] = other[start : start + draws.randint(1, 256)]


MUTATIONS: tuple[Mutation, ...] = (_flip, _flip, _overwrite, _number, _number, _text, _cut, _repeat, _splice)
