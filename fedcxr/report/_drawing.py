"""What all sections of a report's page are drawn from, and how much of it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedcxr.page import text
from fedcxr.report.pictures import Picture
from fedcxr.report.words import GLOSSARY

Policy = Mapping[str, Any]


@dataclass
class Drawing:
    """The document, how much of it is shown, and which words were explained already."""

    document: Mapping[str, Any]
    shown: Mapping[str, Sequence[Picture]]
    full: int  # policies of which everything is shown
    films: int  # pictures
    rows: int  # of a table
    explained: set[str] = field(default_factory=set)

    @property
    def policies(self) -> Sequence[Policy]:
        found: Sequence[Policy] = self.document["policies"]
        return found

    @property
    def known(self) -> Sequence[Policy]:
        """Those with results."""
        return [policy for policy in self.policies if policy["runs"]]

    @property
    def detailed(self) -> Sequence[Policy]:
        """Those of which everything is shown: first whom nobody dominates."""
        return sorted(self.known, key=lambda policy: policy["dominated_by"] is not None)[: self.full]

    def number(self, policy: Policy) -> int:
        return next(number for number, other in enumerate(self.policies, 1) if other is policy)

    def gloss(self, *terms: str) -> str:
        """What these words mean, where they first stand."""
        new = [term for term in terms if term not in self.explained]
        self.explained.update(new)
        return "".join(f'<p class="gloss"><dfn>{text(term)}</dfn>: {text(GLOSSARY[term])}.</p>' for term in new)

    def rest(self, shown: int, of: int, file: str) -> str:
        return "" if shown >= of else f'<p class="soft">{shown} of {of} are shown; {file} has all.</p>'
