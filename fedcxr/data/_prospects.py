"""Whether a cohort can carry an audit, told from its index before anything is trained.

Attackers learn on the people of train and val and are scored on those of test, of whose films half are known to them
and half released, as `knowledge.known_films` has it unless it is told otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.metrics import MIN_POSITIVES, scored_findings
from fedcxr.metrics.permutation import expected_smallest_auc

TOO_WIDE = 0.6  # an AUC that chance may reach: what an attacker adds to it cannot be told from luck


@dataclass(frozen=True)
class Shown:
    """One finding on the films of test."""

    finding: str
    films: int  # that show it
    others: int  # that do not


@dataclass(frozen=True)
class Prospects:
    """What an attack and a measure of usefulness would have to go by."""

    patients: int  # with two films or more
    pairs: int  # of two films of one of them, each pair once
    learnt_from: int  # such patients in train and val
    attacked: int  # such patients in test
    scored_pairs: int  # of a released and a known film of one of those
    smallest_auc: float | None  # about what chance reaches in 95 of 100 cases; None: fewer than two patients
    scored: tuple[
        Shown, ...
    ]  # findings whose AUC can be told, the rarest first; rare is also what is nearly everywhere
    too_few: tuple[Shown, ...]  # on test: fewer than MIN_POSITIVES films with it, or without

    @classmethod
    def of(cls, index: pd.DataFrame, findings: Sequence[str]) -> Prospects:
        """Of usable films."""
        test = index[index["split"] == "test"]
        films, tested = (_several(part["patient"]) for part in (index, test))
        known = np.clip(np.rint(tested / 2), 1, np.maximum(tested - 1, 1)).astype(np.int64)
        labels = test[list(findings)].to_numpy(dtype=np.float32)
        told = [Shown(f, int((y == 1).sum()), int((y == 0).sum())) for f, y in zip(findings, labels.T, strict=True)]
        enough = scored_findings(labels, MIN_POSITIVES) if len(labels) else np.zeros(len(told), dtype=np.bool_)
        return cls(
            patients=len(films),
            pairs=int((films * (films - 1) // 2).sum()),
            learnt_from=len(_several(index.loc[index["split"] != "test", "patient"])),
            attacked=len(tested),
            scored_pairs=int((known * (tested - known)).sum()),
            smallest_auc=expected_smallest_auc(known * (tested - known)),
            scored=tuple(
                sorted((s for s, e in zip(told, enough, strict=True) if e), key=lambda s: min(s.films, s.others))
            ),
            too_few=tuple(s for s, e in zip(told, enough, strict=True) if not e and s.films + s.others),
        )

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why an audit of it would prove little, and what to do."""
        found = []
        if not self.patients:
            found.append("no patient has two films, so nobody can be re-identified and no attack can be scored")
        elif self.attacked < 2:
            found.append(
                f"{self.attacked} patients in test have two films, so no attack can be scored: move more patients to "
                "test (splits.shares), or use a larger cohort"
            )
        elif self.learnt_from < 2:
            found.append("no two patients outside test have two films, so no attacker can learn from this cohort")
        elif self.smallest_auc is not None and self.smallest_auc > TOO_WIDE:
            found.append(
                f"chance alone reaches an AUC of {self.smallest_auc:.2f} among so few patients: attacks may end "
                "inconclusive; use more patients with several films, or more of them in test (splits.shares)"
            )
        if self.too_few and not self.scored:
            found.append(
                f"no finding has {MIN_POSITIVES} films in test with it and as many without, so usefulness stays "
                "unknown: name findings that are neither rare nor nearly everywhere, or set tasks={} to attack alone"
            )
        return tuple(found)

    def to_lines(self) -> list[str]:
        """For people."""
        chance = "" if self.smallest_auc is None else f"; an AUC up to about {self.smallest_auc:.2f} may be chance"
        lines = [
            f"  {self.patients} patients have two films or more: {self.pairs} genuine pairs",
            f"  attackers learn from {self.learnt_from} of them, and are scored on {self.attacked} in test with "
            f"{self.scored_pairs} pairs{chance}",
        ]
        if self.scored:
            rarest, number = self.scored[0], len(self.scored)
            told = "the only one" if number == 1 else "the rarest"
            lines.append(
                f"  {number} finding{'s' * (number > 1)} can be scored in test; {told} is {rarest.finding}, on "
                f"{rarest.films} films and not on {rarest.others}"
            )
        if self.too_few:
            named = ", ".join(f"{few.finding} ({few.films} with, {few.others} without)" for few in self.too_few)
            lines.append(f"  fewer than {MIN_POSITIVES} films in test with or without it, so not scored: {named}")
        return lines


def _several(patients: pd.Series) -> npt.NDArray[np.int64]:
    """How many films each patient has who has two or more."""
    films = patients.value_counts().to_numpy()
    return films[films > 1].astype(np.int64)
