"""Where in our own code something went wrong, which a hospital may let its coordinator know: a file and a line of ours.

Of nothing else: what a library's or a contribution's file is called, and what an error says, could be anything.
"""

from __future__ import annotations

import re
import traceback
from pathlib import Path

HOME = Path(__file__).parents[1]
OURS = ("fedcxr", "sites")  # packages
LONGEST = 120  # characters
FORM = re.compile(rf"(?:{'|'.join(OURS)})/[a-z0-9_/]+\.py:[1-9][0-9]{{0,5}}")


def own_line(error: BaseException) -> str:
    """The innermost line of ours that it passed, as `sites/app.py:12`; empty if there is none."""
    lines = (_line(Path(frame.f_code.co_filename), number) for frame, number in traceback.walk_tb(error.__traceback__))
    return ([line for line in lines if line] or [""])[-1]


def is_own_line(text: str) -> bool:
    """Whether this may be entered and told as one."""
    return len(text) <= LONGEST and FORM.fullmatch(text) is not None


def _line(file: Path, number: int) -> str:
    """Of a file that is there and has so many lines: code can be compiled under any name, with any number."""
    try:
        told = f"{file.relative_to(HOME).as_posix()}:{number}"
        there = is_own_line(told) and 1 <= number <= file.read_bytes().count(b"\n")
    except (OSError, ValueError):  # a name that no file can have
        return ""
    return told if there else ""
