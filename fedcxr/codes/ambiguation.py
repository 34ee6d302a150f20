"""Sparse coding with ambiguation: a film's code in public, with fakes among its values, and its support in secret.

Whoever holds the film's key takes the fakes away and has the code back. What everybody else can do depends on the
ambiguation. All but the last two show them the film, and `keyed` still shows how often each size of value occurs, which
tells patients apart (`scripts/evidence sca` measures it):

    published   fakes beyond all true values of a cell, as the authors of the mechanism released it
    gaussian    fakes with the mean and variance of the film's values, as the paper's text has it
    matched     fakes drawn from the film's own values in the same channel
    decoy       fakes that are other films' values in their places
    keyed       true and drawn values of the whole film in an order and with signs that only the key tells
    padded      as many of each value as in every other film, in an order that only the key tells; what each value
                means in this film is sealed (`padding`)

Shuffles and fakes come from the key of one film in one release and from the code itself: a film released again under
another name is shuffled anew, one released again under the same name is the same bytes, and another film released by
mistake under that name shares no shuffle with it. None of them can be intersected.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedcxr.codes import PER_MAP, Codes, Shape, pack_support, padding, unpack_support, values_of, with_values
from fedcxr.errors import DataError
from fedcxr.keys import ImageKey
from fedcxr.keys.stream import KeyedStream

Ambiguation = Literal["published", "gaussian", "matched", "decoy", "keyed", "padded"]
SHUFFLING: tuple[Ambiguation, ...] = ("keyed", "padded")
LARGEST = 127
SALT_BYTES = 16

Values = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Rule:
    """Which ambiguation, with how many fakes per cell and map, on codes of which shape."""

    ambiguation: Ambiguation
    shape: Shape
    s_n: int

    @property
    def secret_bytes(self) -> int:
        """How long the secret part is, before it is sealed."""
        meaning = padding.MEANING_BYTES if self.ambiguation == "padded" else 0
        return SALT_BYTES + self.shape.support_bytes + meaning

    @property
    def shuffles(self) -> bool:
        """Whether public values stand anywhere in the film."""
        return self.ambiguation in SHUFFLING

    @property
    def public_shape(self) -> tuple[int, int, int]:
        """With shuffled values nobody can tell which channel they are of, so there are no channels to publish."""
        if not self.shuffles:
            return self.shape.code
        return self.shape.maps * (self.shape.s + self.s_n), self.shape.rows, self.shape.columns


@dataclass(frozen=True)
class Ambiguated:
    """A film's code in two parts."""

    public: Codes
    secret: bytes  # to be sealed; always as many for films of one size


def ambiguate(codes: Codes, rule: Rule, key: ImageKey, version: str, donors: Codes | None = None) -> Ambiguated:
    """Hide one film's code (c, h, w). `donors` (n, c, h, w) are other films' codes, which decoys are made of."""
    salt = hashlib.sha256(np.ascontiguousarray(codes).tobytes()).digest()[:SALT_BYTES]
    secret, salted = salt + pack_support(codes != 0, rule.shape), _salted(version, salt)
    if rule.ambiguation == "keyed":
        return Ambiguated(_shuffled(codes, rule, key, salted), secret)
    if rule.ambiguation == "padded":
        plain, meaning = padding.pad(values_of(codes, rule.shape), (rule.shape.s + rule.s_n) * rule.shape.cells)
        order = key.stream("order", salted).permutation(len(plain))
        return Ambiguated(plain[order].reshape(rule.public_shape), secret + meaning.tobytes())
    fakes = key.stream("fakes", salted)
    if rule.ambiguation == "decoy":
        return Ambiguated(_with_decoys(codes, rule, fakes, donors), secret)
    places = _free_places(codes, rule, fakes)
    public = codes.copy()
    match rule.ambiguation:
        case "published":
            _fill_beyond(public, places, fakes)
        case "gaussian":
            true = codes[codes != 0].astype(np.float64)
            drawn = true.mean() + true.std() * _normal(int(places.sum()), fakes)
            public[places] = _as_values(drawn)
        case "matched":
            _fill_matched(public, places, fakes)
    return Ambiguated(public, secret)


def purify(public: Codes, secret: bytes, rule: Rule, key: ImageKey, version: str) -> Codes:
    """The code that was hidden: exactly, but for what did not fit into a padded one."""
    if public.shape != rule.public_shape or public.dtype != np.int8:
        raise DataError("this is no public code of this rule", given=public.shape, allowed=str(rule.public_shape))
    if len(secret) != rule.secret_bytes:
        raise DataError("the secret part has the wrong length", given=len(secret), allowed=str(rule.secret_bytes))
    salt, rest = _salted(version, secret[:SALT_BYTES]), secret[SALT_BYTES:]
    support = unpack_support(rest[: rule.shape.support_bytes], rule.shape)
    if not rule.shuffles:
        return np.where(support, public, np.int8(0))
    if rule.ambiguation == "keyed":
        order, signs = _order_and_signs(public.size, key, salt)
        true = (_in_order(public, order) * signs)[: rule.shape.kept]
    else:
        if not padding.is_padded(public.ravel()):
            raise DataError("a public code shows another number of some value than the codes of all other films")
        order, meaning = key.stream("order", salt).permutation(public.size), rest[rule.shape.support_bytes :]
        shown = _in_order(public, order)[: rule.shape.kept]
        true = padding.meant(shown, np.frombuffer(meaning, dtype=np.int8))
    return with_values(support, true, rule.shape)


def _salted(version: str, salt: bytes) -> str:
    return f"{version} {salt.hex()}"


def _in_order(public: Codes, order: npt.NDArray[np.intp]) -> Values:
    """As it was before it was shuffled so."""
    plain = np.empty(public.size, dtype=np.int8)
    plain[order] = public.ravel()
    return plain


# --- keyed ------------------------------------------------------------------------------------------------


def _shuffled(codes: Codes, rule: Rule, key: ImageKey, version: str) -> Codes:
    true = values_of(codes, rule.shape)
    drawn = true[key.stream("fakes", version).integers(rule.s_n * rule.shape.cells, len(true))]
    plain = np.concatenate([true, drawn])
    order, signs = _order_and_signs(len(plain), key, version)
    return (plain * signs)[order].reshape(rule.public_shape)


def _order_and_signs(n: int, key: ImageKey, version: str) -> tuple[npt.NDArray[np.intp], Values]:
    return key.stream("order", version).permutation(n), key.stream("signs", version).signs(n)


# --- in the clear: true values stay in their places --------------------------------------------------------


def _free_places(codes: Codes, rule: Rule, stream: KeyedStream) -> npt.NDArray[np.bool_]:
    """s_n places of each cell and map where the code has nothing, each choice equally likely."""
    lots = stream.uniform(codes.size).reshape(codes.shape)
    lots[codes != 0] = 2.0
    split = lots.reshape(rule.shape.maps, PER_MAP, *codes.shape[1:])
    last = np.partition(split, rule.s_n - 1, axis=1)[:, rule.s_n - 1 : rule.s_n] if rule.s_n else -1.0
    return (split <= last).reshape(codes.shape)


def _fill_beyond(public: Codes, places: npt.NDArray[np.bool_], stream: KeyedStream) -> None:
    """Half of a cell's fakes above its true positives, half above its true negatives, where there is room."""
    highest = public.max(axis=0, keepdims=True, initial=0)
    negative = np.where(public < 0, public, np.int8(-128))
    least = negative.max(axis=0, keepdims=True)  # the negative nearest zero
    lots = stream.uniform(public.size).reshape(public.shape)
    up = places & (np.cumsum(places, axis=0) % 2 == 0)
    down = places & ~up
    low, room = np.minimum(highest + 1.0, LARGEST), LARGEST - np.minimum(highest + 1.0, LARGEST) + 1
    public[up] = np.floor(low + lots * room)[up].astype(np.int8)
    low = np.minimum(np.maximum(least, -LARGEST - 1) + 1.0, -1.0)
    public[down] = np.floor(low + lots * -low)[down].astype(np.int8)


def _fill_matched(public: Codes, places: npt.NDArray[np.bool_], stream: KeyedStream) -> None:
    every = public[public != 0]
    lots = stream.uniform(public.size).reshape(public.shape)
    for channel in range(len(public)):
        own = public[channel][public[channel] != 0]
        source = own if len(own) else every
        here = places[channel]
        public[channel][here] = source[(lots[channel][here] * len(source)).astype(np.intp)]


def _with_decoys(codes: Codes, rule: Rule, stream: KeyedStream, donors: Codes | None) -> Codes:
    wanted = -(-rule.s_n // rule.shape.s)
    if donors is None or len(donors) < max(wanted, 1):
        raise DataError(
            "decoys are other films' values, so they need other films",
            given=f"{0 if donors is None else len(donors)} other films",
            allowed=f"{wanted} or more",
            do="lower s_n, or use another ambiguation",
        )
    public = codes.copy()
    for donor in donors[stream.permutation(len(donors))[:wanted]]:
        public = np.where(public == 0, donor, public)
    return public


def _normal(n: int, stream: KeyedStream) -> npt.NDArray[np.float64]:
    radius = np.sqrt(-2 * np.log(1 - stream.uniform(n)))  # Box and Muller; 1 - u is never 0
    return np.asarray(radius * np.cos(2 * np.pi * stream.uniform(n)))


def _as_values(drawn: npt.NDArray[np.float64]) -> Values:
    """Rounded to what a value may be; nought would show that nothing is there."""
    steps = np.clip(np.round(drawn), -LARGEST, LARGEST)
    return np.where(steps == 0, np.where(drawn < 0, -1, 1), steps).astype(np.int8)
