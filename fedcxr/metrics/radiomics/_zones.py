"""GLSZM: pixels of one level that hang together, corners included."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fedcxr.metrics.radiomics._emphasis import Counted
from fedcxr.metrics.radiomics._levels import Floats, Levels


def zones(levels: Levels) -> dict[str, Floats]:
    """16 features, (n,) each. Runs along rows are joined to those of the next row that they touch."""
    n, height, width = levels.grid.shape
    padded = np.zeros((n, height + 1, width + 1), dtype=np.int64)  # what is right of a row is left of the next
    padded[:, :-1, :-1] = levels.grid
    walked = padded.ravel()
    begins = np.ones(len(walked), dtype=np.bool_)
    np.not_equal(walked[1:], walked[:-1], out=begins[1:])
    starts = np.flatnonzero(begins)
    run = np.cumsum(begins) - 1
    upper, lower = [], []
    for step in (width, width + 1, width + 2):  # to below left, below, below right
        alike = (walked[:-step] == walked[step:]) & (walked[:-step] > 0)
        alike &= begins[:-step] | begins[step:]  # once for each two runs, and not for each of their pixels
        touching = np.flatnonzero(alike)
        upper.append(run[touching])
        lower.append(run[touching + step])
    edges = np.concatenate(upper), np.concatenate(lower)
    graph = coo_array((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(len(starts), len(starts)))
    _, zone = connected_components(graph, directed=False)
    inside = walked[starts] > 0
    lengths = np.diff(starts, append=len(walked))
    first, name = np.unique(zone[inside], return_index=True, return_inverse=True)[1:]
    sizes = np.bincount(name, weights=lengths[inside]).astype(np.int64)
    begun = starts[inside][first]
    found = Counted.of(begun // ((height + 1) * (width + 1)), walked[begun], sizes, n)
    told = found.features("SmallArea", "LargeArea", "SizeZone", "Zone", "ZoneEmphasis")
    return told | found.beside_pixels("ZonePercentage")
