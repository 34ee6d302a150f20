"""Stored runs as TensorBoard reads them: for each run one file of events, made of what is on file of it.

Nothing here runs while anything learns. A file has a name of its own and replaces the one before, so that exporting
twice shows nothing twice; its times are that of the result, so that the same run gives the same bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcxr.errors import ConfigError, FedcxrError
from fedcxr.methods import guarantee_of
from fedcxr.report.pictures import sheets
from fedcxr.report.reading import Read, Shelf
from fedcxr.runs import Run
from fedcxr.runs.figures import curves, figures
from fedcxr.runs.stored import short_name
from fedcxr.storage.disk import explained, write_atomic
from fedcxr.storage.private import private_folder

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = "events.out.tfevents.fedcxr"  # what TensorBoard knows its files by, and whose it is
FORMAT = "brain.Event:2"  # what the first event of a file has to say
AXES = ("round", "budget")  # of curves: what is counted in steps

Scalar = tuple[str, int, float]  # name, step, value


def write(folder: Path, out: Path, with_pictures: bool | None = None) -> list[Path]:
    """A file for every run of a folder that can be read, below `out`; pictures as in a report."""
    Summary = _summary()  # noqa: N806 - a class
    written = []
    for _, runs in Shelf.open(folder).policies():
        for read in runs:
            values = [(step, Summary.Value(tag=_tag(name), simple_value=value)) for name, step, value in scalars(read)]
            if read.made_up if with_pictures is None else with_pictures:
                values += [(0, _picture(Summary, path, sheet)) for path, sheet in sheets(read.folder)]
            place = out / short_name(read.folder)
            with explained(place):
                private_folder(place)
            write_atomic(place / NAME, _events(values, (read.folder / "result.json").stat().st_mtime))
            written.append(place / NAME)
    return written


def scalars(read: Read) -> Iterator[Scalar]:
    """Every figure with the ends of its interval, every curve over its budget or rounds, and epsilon by rounds."""
    for name, found in figures(read.result).items():
        ends = {name: found.value, f"{name}.low": found.low, f"{name}.high": found.high}
        yield from ((own, 0, value) for own, value in ends.items() if value is not None and math.isfinite(value))
    for name, points in curves(read.result).items():
        yield from _risen(name, points)
    yield from _spent(read.folder)


def _risen(name: str, points: Sequence[Mapping[str, Any]]) -> Iterator[Scalar]:
    """A curve; where its budget is a share of the whole, in percent: TensorBoard counts in whole steps."""
    for axis in AXES:
        known = [point for point in points if isinstance(point.get(axis), int | float)]
        shares = axis == "budget" and any(float(point[axis]) % 1 for point in known)
        over = "percent of budget" if shares else axis
        for point in known:
            step = round(point[axis] * (100 if shares else 1))
            for figure, value in point.items():
                if figure not in AXES and isinstance(value, int | float) and math.isfinite(value):
                    yield f"{name}.{figure} by {over}", step, float(value)


def _spent(folder: Path) -> Iterator[Scalar]:
    """What was spent of privacy after each round, reckoned from what sites told; nothing where that cannot be read."""
    try:
        run = Run.open(folder)
        reports = run.reports()
        for number in sorted({report.round for report in reports}):
            told = guarantee_of(run.scenario.method, [report for report in reports if report.round <= number])
            if told is not None:
                yield f"privacy.formal.epsilon per {told.unit.replace('_', ' ')} by round", number, told.epsilon
    except (FedcxrError, TypeError):
        return


def _tag(name: str) -> str:
    """TensorBoard groups by what stands before a stroke."""
    return name.replace(".", "/", 1)


def _picture(summary: Any, path: Path, sheet: Image) -> Any:
    drawn = summary.Image(
        width=sheet.width, height=sheet.height, colorspace=len(sheet.getbands()), encoded_image_string=path.read_bytes()
    )
    return summary.Value(tag=f"pictures/{path.stem}", image=drawn)


def _events(values: Sequence[tuple[int, Any]], when: float) -> bytes:
    """A file of events: each with its length and checksums."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    file = io.BytesIO()
    records = RecordWriter(file)
    records.write(Event(wall_time=when, file_version=FORMAT).SerializeToString())
    for step, value in values:
        records.write(Event(wall_time=when, step=step, summary=Summary(value=[value])).SerializeToString())
    return file.getvalue()


def _summary() -> Any:
    # TensorBoard's own records: torch.utils.tensorboard, which writes the same, takes seconds to import.
    try:
        from tensorboard.compat.proto.summary_pb2 import Summary
    except ImportError as error:
        raise ConfigError(
            "files for TensorBoard need tensorboard, which is not installed",
            given=str(error),
            do='pip install "fedcxr[tensorboard]"',
        ) from None
    return Summary
