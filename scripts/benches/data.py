"""What packing real films costs beside the decoding it cannot avoid, and how fast films come out of a shard.

    scripts/bench data                                  # 1200 made-up films of 1024 px, three turns
    scripts/bench data --table Data_Entry_2017_v2020.csv.gz --films 5000
    scripts/bench data --tree DIR                       # only make the tree: the layout of NIH's download

`raw` is the shortest loop that decodes and resizes a film with Pillow, on as many processes that are running already;
`pack` is all of `fedcxr data shard`: the table, starting the processes, decoding, checking, writing, check sums.
Both run in turn, and the ratio is that of the same turn. `reopen` is what every process after the first waits for a
cohort in the cache: a look at the state of all files, beside the full look into table and files that it saves.
Reading takes place from a shard as large as NIH's.
"""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from fedcxr.cohort import FINDINGS
from fedcxr.data import _draft
from fedcxr.data import _shard as shard
from fedcxr.data.nih import Nih
from fedcxr.data.phantom import Phantom

SIDE = 1024  # pixels of NIH's films
SIZE = 64  # pixels of packed films
NIH_FILMS = 112_120
BATCH = 256
FOLDERS = 12
DISTINCT = 96  # pictures in a tree; more films are links to them
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


def main() -> None:
    """Make the tree, pack it, read from a shard."""
    options = _options()
    if options.tree:
        make_tree(options.tree, options.films, options.table)
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        place = Path(scratch)
        os.environ["FEDCXR_CACHE"] = str(place / "cache")
        make_tree(place / "nih", options.films, options.table)
        _packing(place, options.turns, options.workers)
        _reopening(place, options.turns, options.workers)
        _reading(place)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="NIH's Data_Entry_2017*.csv, plain or .gz: its rows are used")
    parser.add_argument("--films", type=int, default=1200)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tree", type=Path, metavar="DIR", help="make the tree here and stop")
    parser.add_argument("--scratch", type=Path, help="where to work; about 1.5 GB")
    return parser.parse_args()


# An NIH-shaped tree ---------------------------------------------------------------------------------------------------


def make_tree(root: Path, films: int, table: Path | None) -> None:
    """Table, lists and images_001 ... images_012, with phantoms for films."""
    rows = _real_rows(table, films) if table else _made_up_rows(films)
    names = [row.split(",", 1)[0] for row in rows]
    pixels = Phantom(patients=60, size=256).open(root.parent / "phantoms", workers=1).films()
    drawn: list[Path] = []
    for number, name in enumerate(names):
        file = root / f"images_{number * FOLDERS // films + 1:03d}" / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if number < DISTINCT:
            _grainy(pixels[number % len(pixels)], number).save(file)
            drawn.append(file)
        else:
            file.hardlink_to(drawn[number % DISTINCT])
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    held_out = {name for name in names if int(name[:8]) % 5 == 0}  # patients, as in the official lists
    (root / "test_list.txt").write_text("\n".join(sorted(held_out)) + "\n", encoding="utf-8")
    (root / "train_val_list.txt").write_text("\n".join(sorted(set(names) - held_out)) + "\n", encoding="utf-8")


def _grainy(film: np.ndarray, seed: int) -> Image.Image:
    """A phantom at NIH's size, with a detector's grain: a smooth picture would be decoded too quickly."""
    large = np.asarray(Image.fromarray(film).resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32)
    grain = np.random.Generator(np.random.Philox(key=seed)).normal(0, 1.5, large.shape)
    return Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8))


def _real_rows(table: Path, films: int) -> list[str]:
    with gzip.open(table, "rt") if table.suffix == ".gz" else table.open() as file:
        return [line.rstrip("\n") for line in itertools.islice(file, 1, films + 1)]


def _made_up_rows(films: int) -> list[str]:
    rng = np.random.Generator(np.random.Philox(key=0))
    rows: list[str] = []
    patient = 0
    while len(rows) < films:
        patient += 1
        sex = "MF"[rng.integers(2)]
        for visit in range(rng.geometric(0.4)):
            found = [finding for finding in FINDINGS if rng.random() < 0.06]
            view = ("PA", "AP")[rng.integers(2)]
            age = 20 + patient % 60
            name = f"{patient:08d}_{visit:03d}.png"
            labels = "|".join(found) or "No Finding"
            rows.append(f"{name},{labels},{visit},{patient},{age},{sex},{view},2500,2048,0.171,0.171,")
    return rows[:films]


# Packing --------------------------------------------------------------------------------------------------------------


def _packing(place: Path, turns: int, workers: int) -> None:
    source = Nih(root=str(place / "nih"), size=SIZE)
    files = list(source.listing().files)
    raw, packed = [], []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(_decode, files[:workers]))
        for turn in range(turns):
            start = time.perf_counter()
            list(pool.map(_decode, files, chunksize=8))
            raw.append(len(files) / (time.perf_counter() - start))
            start = time.perf_counter()
            source.pack(place / f"shard-{turn}", workers=workers)
            packed.append(len(files) / (time.perf_counter() - start))
    ratio = median(ours / theirs for ours, theirs in zip(packed, raw, strict=True))
    print(f"{len(files)} films of {SIDE} px to {SIZE} px, {workers} processes, {turns} turns")
    print(
        f"  raw   {median(raw):8.0f} films/s\n  pack  {median(packed):8.0f} films/s, {ratio:.2f} of raw (wanted: .90)"
    )


def _decode(path: Path) -> object:
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return image.resize((SIZE, SIZE), Image.Resampling.BILINEAR).getpixel((0, 0))


# Reopening ------------------------------------------------------------------------------------------------------------


def _reopening(place: Path, turns: int, workers: int) -> None:
    source, cache = Nih(root=str(place / "nih"), size=SIZE), place / "cache"
    films = len(source.open(cache, workers=workers))
    full: list[float] = []
    quick: list[float] = []
    for _ in range(turns):
        for note in cache.glob("*.seen"):
            note.unlink()
        for times in (full, quick):
            start = time.process_time()
            source.open(cache)
            times.append(time.process_time() - start)
    print(f"reopen {films} films: {median(quick):.2f} s of CPU, {median(full):.2f} s with a full look")


# Reading --------------------------------------------------------------------------------------------------------------


def _reading(place: Path) -> None:
    small = _shard_of(place / "small", NIH_FILMS // 100)
    large = _shard_of(place / "large", NIH_FILMS)
    cohort = shard.open_shard(large)
    start = time.perf_counter()
    shard.read_index(large / shard.INDEX, FINDINGS, NIH_FILMS)
    index_s = time.perf_counter() - start
    for folder in (small, large):
        start = time.perf_counter()
        np.load(folder / shard.IMAGES, mmap_mode="r")
        mapped_ms = 1000 * (time.perf_counter() - start)
        start = time.perf_counter()
        films = len(shard.open_shard(folder))
        print(f"open {films} films: {time.perf_counter() - start:.2f} s, of it pixels {mapped_ms:.2f} ms")
    rng = np.random.Generator(np.random.Philox(key=0))
    batches = rng.integers(0, NIH_FILMS, (200, BATCH))
    for rows in batches:
        cohort.films(rows)  # so that the disk has been read once
    start = time.perf_counter()
    for rows in batches:
        cohort.films(rows)
    rate = batches.size / (time.perf_counter() - start)
    print(f"  index alone {index_s:.2f} s (wanted: 1)")
    print(f"random batches of {BATCH}: {rate:.0f} films/s, {rate / 20_000:.1f} of the 20,000 wanted")
    print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB, mapped films included")


def _shard_of(folder: Path, films: int) -> Path:
    """A shard as large as asked for, with a phantom cohort again and again."""
    cohort = Phantom(patients=300, size=SIZE).open(folder.parent / "phantoms")
    _draft.write(folder, cohort.take(np.arange(films) % len(cohort)), {"source": {"name": "bench"}})
    return folder


if __name__ == "__main__":
    main()
