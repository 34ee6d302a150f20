"""What several commands take."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    """For whom output is."""

    text = "text"
    json = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="Text for people, or one JSON document on stdout.")]
