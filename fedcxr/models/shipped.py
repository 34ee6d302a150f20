"""Weights that come with the package: safetensors as text in JSON, because Flower's bundles carry text files only."""

from __future__ import annotations

import base64
import json
from pathlib import Path


def shipped_weights(path: Path) -> bytes:
    """The safetensors in this file; ValueError if there are none in it."""
    try:
        found = json.loads(path.read_text(encoding="ascii"))
        return base64.b64decode(found["safetensors"], validate=True)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no safetensors in it: {error}") from None


def ship_weights(path: Path, weights: bytes) -> None:
    """Put these safetensors in the place of those that come with the package."""
    path.write_text(json.dumps({"safetensors": base64.b64encode(weights).decode("ascii")}) + "\n", encoding="ascii")
