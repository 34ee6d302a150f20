"""The findings of a batch of films as the renderer sees them: present, how severe, and where."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedcxr.cohort import FINDINGS
from fedcxr.data.phantom.anatomy import Anatomy
from fedcxr.data.phantom.pose import Moment
from fedcxr.data.phantom.visits import Visits


@dataclass(frozen=True)
class Signs:
    """Findings of n films."""

    present: Tensor  # (n, 14) bool
    severity: Tensor  # (n, 14) in [0, 1]
    places: Tensor  # (n, 14, PLACES) in [0, 1]
    ap: Tensor  # (n, 1, 1) 1 for AP films: large heart, high diaphragm, shoulder blades over the lungs

    @classmethod
    def of(cls, visits: Visits, anatomy: Anatomy, moment: Moment) -> Signs:
        """The findings of these films, at the places where the patients' bodies have them."""
        places = torch.from_numpy(anatomy.places + moment.jitter).clamp_(0, 1)
        return cls(
            present=torch.from_numpy(visits.findings),
            severity=torch.from_numpy(visits.severity),
            places=places,
            ap=torch.from_numpy(visits.ap)[:, None, None].float(),
        )

    def films(self, finding: str) -> Tensor:
        """Positions of the films that show it."""
        return self.present[:, FINDINGS.index(finding)].nonzero()[:, 0]

    def extent(self, finding: str, mildest: float) -> Tensor:  # (n, 1, 1)
        """Between `mildest` and 1 where present, 0 elsewhere."""
        column = FINDINGS.index(finding)
        shown = self.present[:, column] * (mildest + (1 - mildest) * self.severity[:, column])
        return shown[:, None, None]

    def place(self, finding: str, which: int) -> Tensor:  # (n, 1, 1) in [0, 1]
        """One of the numbers that say where and how it shows."""
        return self.places[:, FINDINGS.index(finding), which, None, None]

    def sides(self, finding: str, share_of_both: float) -> tuple[Tensor, Tensor]:  # 2 x (n, 1, 1) of 0 or 1
        """Whether it is on the right and on the left side of the body."""
        left = self.place(finding, 0) > 0.5
        both = self.place(finding, 3) < share_of_both
        return (~left | both).float(), (left | both).float()

    def take(self, films: Tensor) -> Signs:
        """Some films of the batch."""
        return Signs(*(field[films] for field in vars(self).values()))
