"""A film as few numbers per cell of 8 x 8 pixels, and back: a convolutional sparse coder of any film size.

Untrained it is a lapped DCT (Tran, Liang and Tu, "Lapped transform via time-domain pre- and post-filtering", 2003):
each cell is seen through a window of 16 x 16 pixels, so that no border of a cell shows, and keeping all numbers gives
the film back exactly. Of each cell's 64 numbers the S largest are kept, with their signs; or those of a square of cells
that share, S for each of them, so that flat ones leave theirs to others. Training moves the filters and a small network
that guesses, from what was kept around a cell, what was not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.models.initialise import build

CELL = 8  # pixels
WINDOW = 2 * CELL
PER_MAP = CELL * CELL  # channels of one code map
LARGEST = 127  # an int8 value lies in -127 .. 127
BOUND = 4.5  # what 127 stands for; white cells, where grey lies in [-.5, .5], have 3, and 4 beside a black edge
CURVE = 1.5  # fine steps near zero, coarse ones for large numbers, as AAC's 4/3
STRIDE = 0.1  # filters are trained so many times slower than the refinement: faster destroys them
TILT = 1.4  # 1 is the orthogonal lapped transform; best over S = 4 .. 16 on real films

Doubles = npt.NDArray[np.float64]


class SparseCoder(nn.Module):
    """`maps` code maps of 64 channels each; a later map codes what the earlier ones left over.

    In each of `rounds` the choice is made again after adding to what was kept how much of the film it misses
    (iterative hard thresholding). That changes nothing until training has given up exact reconstruction.
    """

    parity: Tensor
    first_analysis: Tensor
    first_synthesis: Tensor

    def __init__(self, maps: int = 1, refinement: int = 0, rounds: int = 0) -> None:
        super().__init__()
        analysis, synthesis = (torch.from_numpy(f).to(torch.float32).repeat(maps, 1, 1, 1) for f in lapped_dct())
        self.maps = maps
        self.rounds = rounds
        self.moved_analysis = nn.Parameter(torch.zeros_like(analysis))  # (maps * 64, 1, 16, 16)
        self.moved_synthesis = nn.Parameter(torch.zeros_like(synthesis))
        self.register_buffer("first_analysis", analysis, persistent=False)
        self.register_buffer("first_synthesis", synthesis, persistent=False)
        self.refinement = _Refinement(maps * PER_MAP, refinement) if refinement else None
        odd = torch.arange(CELL) % 2
        parity = torch.stack([odd[:, None].expand(CELL, CELL), odd.expand(CELL, CELL)])
        # How a cell's numbers change when it is mirrored up-down and left-right.
        self.register_buffer("parity", (1 - 2 * parity).float().reshape(2, PER_MAP), persistent=False)

    @property
    def channels(self) -> int:
        return self.maps * PER_MAP

    @property
    def analysis(self) -> Tensor:
        return self.first_analysis + STRIDE * self.moved_analysis

    @property
    def synthesis(self) -> Tensor:
        return self.first_synthesis + STRIDE * self.moved_synthesis

    def forward(self, films: Tensor, s: int, together: int = 1) -> Tensor:
        """(n, 1, h, w) in [0, 1] -> the same, through a code."""
        codes = torch.cat([kept.placed(_rounded(kept.numbers)) for kept in self._kept(films, s, together)], 1)
        return self.decode(codes, (films.shape[2], films.shape[3]))

    def encode(self, films: Tensor, s: int, together: int = 1) -> Tensor:
        """(n, 1, h, w) in [0, 1] -> (n, channels, h / 8, w / 8) int8 with exactly s numbers per map and cell.

        A square of cells, `together` wide, shares its numbers: together they have exactly s for each of them.
        """
        every = self._kept(films, s, together)
        return torch.cat([kept.placed(to_steps(kept.numbers).to(torch.int8)) for kept in every], 1)

    def expand(self, values: Tensor) -> Tensor:
        """What int8 codes stand for, ready for `decode`."""
        return from_steps(values.to(self.synthesis.dtype))

    def decode(self, codes: Tensor, size: tuple[int, int]) -> Tensor:
        """Films of this size; in training they may leave [0, 1] by a little."""
        refined = codes if self.refinement is None else codes + self.refinement(codes)
        return self._synthesise(refined, 0, self.maps, size) + 0.5

    def _kept(self, films: Tensor, s: int, together: int) -> Iterator[_Kept]:
        """Map by map, the largest numbers of each cell or square of cells."""
        rest, size = films - 0.5, (films.shape[2], films.shape[3])
        for number in range(self.maps):
            kept = _largest(self._analyse(rest, number), s, together)
            for _ in range(self.rounds):
                code = kept.placed(kept.numbers)
                missed = rest - self._synthesise(code, number, number + 1, size)
                kept = _largest(code + self._analyse(missed, number), s, together)
            yield kept
            if number + 1 < self.maps:
                code = kept.placed(_rounded(kept.numbers))
                rest = rest - self._synthesise(code, number, number + 1, size)

    def _analyse(self, films: Tensor, number: int) -> Tensor:
        rows, columns = (_mirrored(n, films.device) for n in films.shape[2:])
        wide = films[:, :, rows][:, :, :, columns]
        return F.conv2d(wide, self.analysis[number * PER_MAP : (number + 1) * PER_MAP], stride=CELL)

    def _synthesise(self, codes: Tensor, first: int, last: int, size: tuple[int, int]) -> Tensor:
        # A cell beyond the edge is the mirror image of the one inside: with it the edge comes back exactly too.
        up, left = self.parity.repeat(1, last - first)[:, None, :, None, None].to(codes.dtype)
        codes = torch.cat([codes[:, :, :1] * up, codes, codes[:, :, -1:] * up], 2)
        codes = torch.cat([codes[..., :1] * left, codes, codes[..., -1:] * left], 3)
        films = F.conv_transpose2d(codes, self.synthesis[first * PER_MAP : last * PER_MAP], stride=CELL)
        edge = CELL + CELL // 2
        return films[:, :, edge : edge + size[0], edge : edge + size[1]]


class _Refinement(nn.Module):
    """What the numbers that were not kept may have been; at the start it says nothing."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, channels, 1)

    def forward(self, codes: Tensor) -> Tensor:
        # Small and large numbers alike must be visible, hence the curve.
        seen = codes * (codes.abs() + 1e-3).pow(1 / CURVE - 1)
        hidden = F.relu(self.first(seen))
        added: Tensor = self.last(F.relu(hidden + self.second(hidden)))
        return 0.1 * added


def sparse_coder(maps: int, refinement: int, rounds: int, rng: np.random.Generator) -> SparseCoder:
    """A coder ready to be trained: exactly the untrained one until then."""
    coder = SparseCoder(maps, refinement, rounds)
    if refinement:
        coder.refinement = build(lambda: _Refinement(maps * PER_MAP, refinement), rng)
        nn.init.zeros_(coder.refinement.last.weight)
    return coder


def lapped_dct() -> tuple[Doubles, Doubles]:
    """Analysis and synthesis filters, each (64, 1, 16, 16), channel 8 u + v for the frequencies u down and v right."""
    cells = 5  # enough for the middle one to see no edge
    dct = np.kron(np.eye(cells), _dct2(CELL))
    filtered = np.eye(cells * CELL)
    for border in range(CELL, cells * CELL, CELL):
        across = slice(border - CELL // 2, border + CELL // 2)
        filtered[across] = _prefilter() @ filtered[across]
    forth = dct @ filtered
    back = np.linalg.inv(forth)
    middle, seen = slice(2 * CELL, 3 * CELL), slice(2 * CELL - CELL // 2, 3 * CELL + CELL // 2)
    size = np.linalg.norm(back[:, middle], axis=0)  # with atoms of equal size, the largest numbers matter most
    analysis, synthesis = forth[middle, seen] * size[:, None], back[seen, middle].T / size[:, None]
    return _products(analysis), _products(synthesis)


def _products(lines: Doubles) -> Doubles:  # (8, 16) -> (64, 1, 16, 16)
    planes: Doubles = np.einsum("ui,vj->uvij", lines, lines)
    return planes.reshape(PER_MAP, 1, WINDOW, WINDOW)


def _dct2(n: int) -> Doubles:
    k, i = np.arange(n)[:, None], np.arange(n)[None]
    rows = np.sqrt(2 / n) * np.cos(np.pi * k * (2 * i + 1) / (2 * n))
    rows[0] /= np.sqrt(2)
    return np.asarray(rows)


def _dct4(n: int) -> Doubles:
    k, i = np.arange(n)[:, None], np.arange(n)[None]
    return np.asarray(np.sqrt(2 / n) * np.cos(np.pi * (2 * k + 1) * (2 * i + 1) / (4 * n)))


def _prefilter() -> Doubles:  # (8, 8), across the border of two cells
    half = CELL // 2
    same, nothing = np.eye(half), np.zeros((half, half))
    turned = same[::-1]
    butterfly = np.block([[same, turned], [turned, -same]])
    scale = np.diag([TILT] + [1.0] * (half - 1))
    odd = turned @ _dct2(half).T @ scale @ _dct4(half) @ turned
    return np.asarray(butterfly @ np.block([[same, nothing], [nothing, odd]]) @ butterfly / 2)


def _mirrored(pixels: int, device: torch.device) -> Tensor:
    """Where to read each pixel of a line that is continued by mirrors to whole cells and half a cell beyond."""
    half, beyond = CELL // 2, -pixels % CELL
    whole = np.pad(np.arange(pixels), (0, beyond), mode="edge")
    return torch.from_numpy(np.pad(whole, half, mode="symmetric")).to(device)


@dataclass(frozen=True)
class _Kept:
    """The largest numbers of each square of cells, and which places of the square hold them."""

    numbers: Tensor  # (n, s t^2, rows / t, columns / t) for squares t cells wide
    places: Tensor
    together: int  # t
    cells: tuple[int, int]  # rows and columns

    def placed(self, numbers: Tensor) -> Tensor:
        """A code map with these numbers where those were, and zeros elsewhere; gradients pass through them."""
        n, _, rows, columns = self.places.shape
        code = numbers.new_zeros((n, PER_MAP * self.together**2, rows, columns)).scatter(1, self.places, numbers)
        if self.together == 1:
            return code
        return F.pixel_shuffle(code, self.together)[:, :, : self.cells[0], : self.cells[1]]


def _largest(numbers: Tensor, s: int, together: int) -> _Kept:
    """Of each square of cells the largest numbers, in size: s for each cell that lies on the film."""
    rows, columns = numbers.shape[2:]
    sizes, beyond = numbers.detach().abs(), (0, -columns % together, 0, -rows % together)
    if any(beyond):
        # A cell beyond the edge keeps s numbers, come what may: so those on the film are left exactly theirs.
        numbers, sizes = F.pad(numbers, beyond), F.pad(sizes, beyond, value=-1)
        sizes[:, :s, rows:] = sizes[:, :s, :, columns:] = torch.inf
    if together > 1:
        numbers, sizes = F.pixel_unshuffle(numbers, together), F.pixel_unshuffle(sizes, together)
    places = sizes.topk(s * together**2, dim=1, sorted=False).indices
    return _Kept(numbers.gather(1, places), places, together, (rows, columns))


def to_steps(numbers: Tensor) -> Tensor:
    """The nearest of -127 .. 127 without zero: a number that was kept stays visible, and a cell holds exactly s."""
    steps = (numbers.abs() / BOUND).clamp(max=1.0).pow(1 / CURVE).mul(LARGEST).round().clamp(min=1.0)
    return torch.where(numbers < 0, -steps, steps)


def from_steps(steps: Tensor) -> Tensor:
    """What the steps stand for; zero stays zero."""
    return steps.sign() * (steps.abs() / LARGEST).pow(CURVE) * BOUND


def _rounded(numbers: Tensor) -> Tensor:
    """As if stored in eight bits; gradients pass as if not."""
    with torch.no_grad():
        error = from_steps(to_steps(numbers)) - numbers
    return numbers + error
