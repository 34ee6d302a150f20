"""Films and their masks decoded by several processes, in batches, into a draft or only to see whether they can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import Organ
from fedcxr.data import Progress
from fedcxr.data import _draft as drafts
from fedcxr.data._decode import Unusable
from fedcxr.data._film_file import decode
from fedcxr.data._listing import Decoder, Listing
from fedcxr.data._mask_file import decode_mask
from fedcxr.data._masks import Mask
from fedcxr.data._pool import in_parallel

BATCH = 32  # films decoded between two reports of progress, a third of a second at 1024 px


@dataclass(frozen=True)
class _Batch:
    slots: tuple[int, ...]
    files: tuple[Path, ...]
    masks: Mapping[Organ, tuple[Path | None, ...]]
    size: int
    decoder: Decoder
    part: Path | None  # the draft they go to; None: they are only looked at


def looked_at(
    listing: Listing, size: int, slots: Sequence[int], part: Path | None, workers: int, progress: Progress | None
) -> Iterator[tuple[tuple[int, ...], dict[int, str]]]:
    """Decodes the films of these slots; yields some slots at a time, and why which of them cannot be used."""
    batches = [
        _Batch(
            chosen,
            tuple(listing.files[slot] for slot in chosen),
            {organ: tuple(masks[slot] for slot in chosen) for organ, masks in listing.masks.items()},
            size,
            listing.decoder,
            part,
        )
        for start in range(0, len(slots), BATCH)
        if (chosen := tuple(slots[start : start + BATCH]))
    ]
    done = len(listing.files) - len(slots)
    with closing(in_parallel(_read, batches, workers)) as outcomes:  # no process outlives us
        for batch, reasons in outcomes:
            yield batch.slots, reasons
            done += len(batch.slots)
            if progress is not None:
                progress(done, len(listing.files))


def _read(batch: _Batch) -> dict[int, str]:
    """Decodes a batch into its draft; returns why films cannot be used."""
    films: dict[int, npt.NDArray[np.uint8]] = {}
    masks: dict[Organ, list[Mask | None]] = {organ: [] for organ in batch.masks}
    reasons: dict[int, str] = {}
    for place, (slot, file) in enumerate(zip(batch.slots, batch.files, strict=True)):
        try:
            film = decode(file, batch.size, batch.decoder)
            drawn = {organ: mask_of(organ, paths[place], file, batch.size) for organ, paths in batch.masks.items()}
        except Unusable as why:
            reasons[slot] = str(why)
            continue
        films[slot] = film
        for organ, mask in drawn.items():
            masks[organ].append(mask)
    if batch.part is not None:
        drafts.fill(batch.part, list(films), list(films.values()))
        for organ, some in masks.items():
            drafts.fill_masks(batch.part, organ, list(films), some, batch.size)
    return reasons


def mask_of(organ: Organ, path: Path | None, film: Path, size: int) -> Mask | None:
    """The mask in a file, as large as its film is packed; None: the film has none."""
    try:
        return None if path is None else decode_mask(path, film, size)
    except Unusable as why:
        raise Unusable(f"mask of the {organ}: {why}") from None
