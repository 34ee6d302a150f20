"""How well sparse codes show films, in how many bits, beside JPEG at as many bits; and what training adds.

    scripts/evidence codec                                       # phantoms, 256 px
    scripts/evidence codec --films DIR --table metadata.csv      # one's own films
    scripts/evidence codec --films DIR --train 8000 --s 8        # trained on half of the patients, tested on the other
    scripts/evidence codec --s 1 2 4 8 16 32 --together 1 4 --picture FILE.png    # and the curves beside JPEG's

Bits are of an ideal order-0 entropy coder that knows each channel's statistics over all films; `fixed` is what is
really sealed, always in the same length. JPEG is Pillow's, with optimised tables, at the highest quality that needs no
more bits for each film, or else at the lowest; its headers and tables count. PSNR and SSIM are means over films, with
95 % intervals over patients.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from _films import ByPatient, add_options, halves, open_films
from PIL import Image

from fedcxr.codes import Codes, entropy_bits
from fedcxr.cohort import Cohort
from fedcxr.methods import RunContext, Weights
from fedcxr.methods.sca import Sca
from fedcxr.metrics.similarity import similarity
from fedcxr.rng import stream

CONTEXT = RunContext("cpu", "fp32")
Films = npt.NDArray[np.uint8]


def main() -> None:
    """Some lines for each number kept per cell and each way to share, one for JPEG beside them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--s", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--together", type=int, nargs="+", default=[1], choices=(1, 2, 4), help="cells that share")
    parser.add_argument("--train", type=int, default=0, help="training steps; 0: the untrained codec, all films")
    parser.add_argument("--most", type=int, default=0, help="films measured at most; 0: all")
    parser.add_argument("--picture", type=Path, help="where to draw PSNR over bits per pixel")
    options = parser.parse_args()
    cohort = open_films(options)
    own, unseen = halves(cohort.patients, stream(options.seed, "halves"))
    tested = cohort.take(unseen) if options.train else cohort
    tested = tested.take(np.arange(min(options.most or len(tested), len(tested))))
    print(f"{len(tested)} films of {options.size} px, {len(set(tested.patients))} patients, seed {options.seed}")
    points: list[Point] = []
    for together, s in product(options.together, options.s):
        points += _tell(Sca(s=s, together=together), {}, tested, options.seed)
        if options.train:
            method = Sca(s=s, together=together, fit="local", steps=options.train)
            started = time.process_time()
            weights = method.learn(cohort.take(own), stream(options.seed, "learn"), CONTEXT)
            minutes = (time.process_time() - started) / 60
            print(f"    trained on {len(own)} films of other patients, {options.train} steps, {minutes:.1f} CPU min")
            points += _tell(method, weights, tested, options.seed)
    if options.picture:
        _draw(points, options.picture)


@dataclass(frozen=True)
class Point:
    """What a codec does at one rate."""

    codec: str
    bits: float  # per pixel
    psnr: tuple[float, float, float]  # mean and interval, dB


def _tell(method: Sca, weights: Weights, cohort: Cohort, seed: int) -> tuple[Point, Point]:
    """Prints what the codec does, and JPEG."""
    codec, films = method.codec(weights, CONTEXT), cohort.films()
    codes = codec.encode(films)
    pixels = films[0].size
    bits = _bits(codes) / pixels
    by_patient = ByPatient(cohort.patients, stream(seed, "bootstrap"))
    shown, psnr = _quality(films, codec.decode(codes, cohort.size), by_patient)
    print(f"\ns {method.s:2}, together {method.together}  {shown}")
    shape = method.shape(cohort.size)
    fixed = 8 * np.array([shape.kept, shape.support_bytes]) / pixels
    print(f"    values {bits[0]:.3f} + support {bits[1]:.3f} = {bits.sum():.3f} bits per pixel, ", end="")
    print(f"fixed {fixed[0]:.3f} + {fixed[1]:.3f} = {fixed.sum():.3f}; the key itself: 256 bits")
    jpeg = [_jpeg(film, bits.sum() * pixels / 8) for film in films]
    spent = 8 * float(np.mean([size for _, size in jpeg])) / pixels
    shown, psnr_of_jpeg = _quality(films, np.stack([film for film, _ in jpeg]), by_patient)
    print(f"    JPEG  {shown}  {spent:.3f} bits per pixel", flush=True)
    name = f"together {method.together}{', trained' if weights else ''}"
    return Point(name, float(bits.sum()), psnr), Point("JPEG", spent, psnr_of_jpeg)


def _bits(codes: Codes) -> npt.NDArray[np.float64]:
    """Of a film's values and of its support."""
    by_channel = codes.swapaxes(0, 1).reshape(codes.shape[1], -1)
    support = sum(entropy_bits((channel != 0).astype(np.int8)) for channel in by_channel)
    values = sum(entropy_bits(channel[channel != 0]) for channel in by_channel)
    return np.array([values, support]) / len(codes)


def _quality(films: Films, shown: Films, by_patient: ByPatient) -> tuple[str, tuple[float, float, float]]:
    """In words, and PSNR again as numbers."""
    figures = similarity(films, shown)
    psnr, ssim = by_patient.told(figures["psnr"], "{:.2f}".format), by_patient.told(figures["ssim"])
    rest = ", ".join(
        f"{name} {figures[name].mean():.{places}f}" for name, places in (("mae", 2), ("rmse", 2), ("r2", 4))
    )
    return f"PSNR {psnr} dB  SSIM {ssim}  {rest}", by_patient.mean(figures["psnr"])


def _draw(points: Sequence[Point], file: Path) -> None:
    """A curve for each codec, with intervals."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for codec in sorted({point.codec for point in points}):
        curve = sorted((point for point in points if point.codec == codec), key=lambda point: point.bits)
        bits, (psnr, low, high) = [point.bits for point in curve], zip(*(point.psnr for point in curve), strict=True)
        look = {"color": "black", "linestyle": "--"} if codec == "JPEG" else {"marker": "o", "markersize": 4}
        (line,) = axes.plot(bits, psnr, label=codec, **look)
        axes.fill_between(bits, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="entropy-coded bits per pixel", ylabel="PSNR, dB", xscale="log")
    axes.xaxis.set_major_locator(LogLocator(base=2))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)


def _jpeg(film: Films, most: float) -> tuple[Films, int]:
    """The best JPEG of so many bytes."""
    low, high = 1, 101
    while high - low > 1:
        quality = (low + high) // 2
        low, high = (quality, high) if len(_compressed(film, quality)) <= most else (low, quality)
    data = _compressed(film, low)
    return np.asarray(Image.open(io.BytesIO(data))), len(data)


def _compressed(film: Films, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(film).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
