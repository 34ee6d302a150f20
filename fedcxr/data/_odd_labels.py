"""What in a column of labels may not mean what it seems to: told to its owner, changed by nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from fedcxr.data._vocabulary import VOCABULARY, canonical

HEALTHY = {"no finding", "no findings", "normal", "healthy", "none", "negative", "control"}
JOINED = re.compile(r"\s*(?:[,;/+&|]|\band\b)\s*")
MOST_TOLD = 12  # words in a command that is proposed


def odd(films: Mapping[str, int]) -> tuple[str, ...]:
    """Doubts about words, each of which counts as a finding, from how many films bear each."""
    healthy = [word for word in films if word.casefold().replace("_", " ") in HEALTHY]
    ill = [word for word in films if word not in healthy]
    return (*_healthy(healthy, ill, films), *_joined(ill, films), *_of_its_own(ill, films))


def _healthy(healthy: list[str], ill: list[str], films: Mapping[str, int]) -> list[str]:
    if not healthy or not ill:
        return []
    told = ", ".join(f"{word!r} ({films[word]} films)" for word in healthy)
    do = f"--set 'findings.only={json.dumps(ill)}'" if len(ill) <= MOST_TOLD else "naming all others in findings.only"
    return [f"{told} counts as a finding; it is left out by {do}"]


def _joined(ill: list[str], films: Mapping[str, int]) -> list[str]:
    known = {canonical(word) for word in ill} | set(VOCABULARY)
    found = [word for word in ill if any(canonical(part) in known - {canonical(word)} for part in JOINED.split(word))]
    if not found:
        return []
    told = ", ".join(f"{word!r} ({films[word]} films)" for word in found)
    return [f"{told} may be several findings in one, and counts as one of its own: see findings.separator"]


def _of_its_own(ill: list[str], films: Mapping[str, int]) -> list[str]:
    ours = [word for word in ill if canonical(word) in VOCABULARY]
    own = [word for word in ill if word not in ours]
    if not ours or not own:
        return []
    told = ", ".join(f"{word!r} ({films[word]})" for word in own)
    return [f"films of {told} count as films without {', '.join(ours)}, unless both words stand there"]
