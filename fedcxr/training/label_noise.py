"""Learning from labels that are wrong at known rates: forward correction, and the rates by confident learning.

Forward correction: Patrini et al., CVPR 2017, theorem 2, with a 2 x 2 transition per finding. A network says how likely
the finding is; the loss compares its label with how likely *that label* would then be.
*Our choice.* With weights for films labelled with a finding, both the network's logit and the label's are moved by the
weight's logarithm, so that what is learnt is what the plain loss would learn from right labels: log odds, plus that
logarithm. Smoothing draws a label towards what half a finding would be labelled as, for the same reason.

Rates of each site's own are learnt along with the network (Tanno et al., CVPR 2019, of annotators who differ). *Our
choice.* What all sites have in common cannot be told from how common a finding is, and stays what it was said to be:
by how much sites differ is learnt, in log odds, and no site's labels are ever taken for the opposite.

Confident learning: Northcutt et al., JAIR 2021, section 3.1, one finding at a time. *Our choice.* A rate is estimated
only if the table has `FEWEST` films in each of its two columns and the two rates leave a label something to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.label_noise import Rates
from fedcxr.rng import stream

Floats = npt.NDArray[np.float32]

FEWEST = 10  # films that are confidently with, and as many without, for rates to be estimated
LEAST = 0.02  # by which sensitivity and specificity must sum to more than 1, likewise
NEAREST = 1e-3  # rates that are found out are kept so far from 0 and 1
PACE = 10.0  # times as fast as a weight, log odds of rates are learnt


@dataclass(frozen=True)
class Correction:
    """How labels come about, finding by finding."""

    sensitivity: Tensor  # (k,), or (n, k) film by film, in (0, 1]; 1 with a specificity of 1: nothing to correct
    specificity: Tensor  # likewise
    unknown: Tensor  # (k,) how likely a finding is where its label is unknown; NaN: that teaches nothing

    @classmethod
    def of(cls, rates: Sequence[Rates | None], unknown: float | None, labels: Floats, device: torch.device) -> Self:
        """From what is known of each finding; None: its labels are taken for right."""
        pairs = [(1.0, 1.0) if one is None else (one.sensitivity, one.specificity) for one in rates]
        # Of a finding that nobody looked for, nothing is learnt.
        looked_for = ~np.isnan(labels).all(axis=0)
        soft = np.where(looked_for, np.nan if unknown is None else unknown, np.nan)
        every = np.column_stack([np.array(pairs), soft]).astype(np.float32)
        return cls(*torch.from_numpy(every).to(device).unbind(1))

    def at(self, rows: Tensor) -> Correction:
        """Of some of the films that are learnt from."""
        return self

    def labelled(self, present: Tensor | float) -> Tensor:  # (k,)
        """How likely films are labelled with each finding that have it with this probability."""
        return self.sensitivity * present + (1 - self.specificity) * (1 - present)

    def logits(self, logits: Tensor) -> Tensor:
        """The log odds of a label, from those of the finding: finite, with a finite slope, wherever those are."""
        labelled = torch.logaddexp(logits + self.sensitivity.log(), (1 - self.specificity).log())
        return labelled - torch.logaddexp(logits + (1 - self.sensitivity).log(), self.specificity.log())


class BySite(nn.Module):
    """The same where films of each site are labelled at rates of their own, given or to be learnt with a network."""

    rates: Tensor  # (2, sites, k): what was given; sensitivity and specificity

    def __init__(self, every: Correction, sites: Sequence[str], given: Mapping[str, Rates], *, learnt: bool) -> None:
        """`sites`: whose each film is; `every`: of films of which nothing is given."""
        super().__init__()
        self.sites = tuple(sorted(set(sites)))
        self.unknown = every.unknown
        device = every.unknown.device
        self.place = torch.tensor([self.sites.index(site) for site in sites], device=device)
        self.register_buffer(
            "rates", torch.stack([every.sensitivity, every.specificity])[:, None].repeat(1, len(self.sites), 1)
        )
        for number, site in enumerate(self.sites):
            if site in given:
                self.rates[:, number] = torch.tensor(
                    [[given[site].sensitivity], [given[site].specificity]], device=device
                )
        self.apart = nn.Parameter(torch.zeros_like(self.rates)) if learnt else None

    def forward(self) -> Tensor:  # (2, sites, k)
        """What is believed now: sensitivities and specificities."""
        if self.apart is None:
            return self.rates
        # A film with the finding is labelled with it by mistake, like any other, or else because it is seen.
        sensitivity, specificity = self.rates.clamp(NEAREST, 1 - NEAREST)
        odds = torch.stack([(sensitivity + specificity - 1) / specificity, specificity]).logit()
        odds = odds + PACE * (self.apart - self.apart.mean(1, keepdim=True))
        seen, specificity = odds.sigmoid().clamp(NEAREST, 1 - NEAREST)
        return torch.where(self.rates == 1, 1, torch.stack([1 - specificity * (1 - seen), specificity]))

    def at(self, rows: Tensor) -> Correction:
        """Of some of the films that are learnt from."""
        sensitivity, specificity = self()[:, self.place[rows]]
        return Correction(sensitivity, specificity, self.unknown)

    def told(self, findings: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        """What is believed of each site, by finding."""
        with torch.no_grad():
            sensitivity, specificity = self().cpu().double().numpy()
        return {
            site: {
                name: {"sensitivity": float(one), "specificity": float(other)}
                for name, one, other in zip(findings, sensitivity[number], specificity[number], strict=True)
            }
            for number, site in enumerate(self.sites)
        }


def corrected_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, correction: Correction, smoothing: float = 0.0
) -> Tensor:
    """`findings_loss` of labels that are wrong at known rates; at none it is the same."""
    apart = weights.log()
    said = correction.logits(logits.float() - apart) + apart
    with torch.no_grad():  # what is compared with does not learn
        labels = torch.where(labels.isnan(), correction.labelled(correction.unknown), labels)
        known = ~labels.isnan()
        targets = labels.nan_to_num(0.0) * (1.0 - smoothing) + correction.labelled(0.5) * smoothing
    losses = F.binary_cross_entropy_with_logits(said, targets, pos_weight=weights, reduction="none")
    return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)


def folds(films: int, count: int, seed: int) -> npt.NDArray[np.intp]:  # (films,) in 0 ... count - 1
    """Which part each film is in; by film, since whoever trains on releases need not know whose they are."""
    return stream(seed, "label noise", "folds").permutation(films) % count


def confident(labels: Floats, scores: Floats, findings: Sequence[str]) -> tuple[list[Rates | None], dict[str, str]]:
    """Rates of each finding from what networks say that were not taught these films; and of which not, and why."""
    rates: list[Rates | None] = []
    unable: dict[str, str] = {}
    for column, name in enumerate(findings):
        known = ~np.isnan(labels[:, column])
        one = _confident(labels[known, column] == 1, scores[known, column].astype(np.float64))
        if isinstance(one, str):
            unable[name] = one
        rates.append(one if isinstance(one, Rates) else None)
    return rates, unable


def _confident(labelled: npt.NDArray[np.bool_], logits: npt.NDArray[np.float64]) -> Rates | str:
    """The rates, or why there are none."""
    if not labelled.any() or labelled.all():
        return "no film is labelled with it" if not labelled.any() else "no film is labelled without it"
    likely = 0.5 * (1 + np.tanh(0.5 * logits))
    # As confident as a network is on average of films with their label.
    with_it = likely >= likely[labelled].mean()
    without = 1 - likely >= (1 - likely)[~labelled].mean()
    both = with_it & without
    with_it, without = with_it & ~(both & (likely < 0.5)), without & ~(both & (likely >= 0.5))
    if min(with_it.sum(), without.sum()) < FEWEST:
        return f"fewer than {FEWEST} films are confidently with it, or without"
    table = np.array(  # rows: labelled with, without; columns: confidently with, without
        [[(row & column).sum() for column in (with_it, without)] for row in (labelled, ~labelled)], dtype=np.float64
    )
    if not table.sum(axis=1).all():
        return "no film of one label is confidently anything"
    joint = table / table.sum(axis=1, keepdims=True) * np.array([[labelled.sum()], [(~labelled).sum()]])
    sensitivity, specificity = joint[0, 0] / joint[:, 0].sum(), joint[1, 1] / joint[:, 1].sum()
    sensitivity, specificity = np.clip((sensitivity, specificity), NEAREST, 1 - NEAREST)
    if sensitivity + specificity < 1 + LEAST:
        return f"what can be read off films does not tell labels apart ({sensitivity:.2f} and {specificity:.2f})"
    return Rates(sensitivity=float(sensitivity), specificity=float(specificity))
