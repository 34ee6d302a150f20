"""A generator against a classifier, which must still see the findings, and a verifier, which must not see whom.

One step of each stage: what is shown to which network, and the gradients it leaves behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.cohort import Cohort
from fedcxr.models.classifier import Classifier, findings_loss
from fedcxr.models.siamese import Siamese, partner_loss
from fedcxr.pairs.sampler import PairSampler, Rows
from fedcxr.training import shifted, to_tensor
from fedcxr.training.compute import Compute


class Batches:
    """What all learn from: the films of one hospital, moved a little every time they are shown."""

    def __init__(self, cohort: Cohort, batch: int, shift: int, compute: Compute, rng: np.random.Generator) -> None:
        self.cohort = cohort
        self.sampler = PairSampler.of(cohort.patients)
        self.labels = torch.tensor(cohort.labels, device=compute.device)
        self.batch, self.shift, self.compute, self.rng = batch, shift, compute, rng

    def anyone(self, beside: int = 0) -> Rows:
        """Films of as many patients as make a batch with those `beside` them."""
        return self.sampler.anyone(self.batch - beside, self.rng)

    def pairs(self, share: float = 1.0) -> tuple[Rows, Rows]:
        """Two films each of patients who fill this share of a batch, if there are so many."""
        return self.sampler.pairs(max(2, round(share * self.batch)), self.rng)

    def films(self, rows: Rows) -> Tensor:
        return to_tensor(shifted(self.cohort.films(rows), self.shift, self.rng), self.compute)

    def findings(self, rows: Rows) -> Tensor:
        return self.labels[torch.from_numpy(rows).to(self.labels.device)]


@dataclass(frozen=True)
class AdversarialTraining:
    """Who takes part; an ablation leaves one of the opponents out."""

    generator: nn.Module
    classifier: Classifier | None
    verifier: Siamese | None
    batches: Batches
    sharpness: float  # of the softmax over partners

    def networks(self) -> dict[str, nn.Module]:
        networks = {"generator": self.generator, "classifier": self.classifier, "verifier": self.verifier}
        return {name: network for name, network in networks.items() if network is not None}

    def autoencode(self) -> Tensor:
        """The generator learns to give back what it is shown."""
        films = self.batches.films(self.batches.anyone())
        with self.batches.compute.autocast():
            loss = F.mse_loss(self.generator(films), films)
        return _backward(loss)

    def classify(self) -> Tensor:
        """The classifier learns on real films."""
        rows = self.batches.anyone()
        return _backward(self._classification(self.batches.films(rows), rows))

    def verify(self) -> Tensor:
        """The verifier learns on real films."""
        assert self.verifier is not None
        first, second = map(self.batches.films, self.batches.pairs())
        with self.batches.compute.autocast():
            embedded = self.verifier.embed(torch.cat((first, second)))
        return _backward(partner_loss(self.verifier.compare(*embedded.chunk(2)), self.sharpness))

    def adversarial_step(self) -> Tensor:
        """All learn at once from the same protected films, half of which have a real partner.

        Every network runs forwards once, and so do the real films. What the generator and the verifier want of
        their comparison goes backwards apart, and no further than it is needed: to the films, or to the weights.
        """
        rows, partners = self.batches.pairs(0.5)
        rows = np.concatenate([rows, self.batches.anyone(beside=len(rows))])
        films, partner_films = self.batches.films(rows), self.batches.films(partners)
        with self.batches.compute.autocast():
            protected: Tensor = self.generator(films)
        shown = protected.detach().requires_grad_()
        losses: list[Tensor] = []
        reached = [shown]
        if self.verifier is not None:
            with self.batches.compute.autocast():
                hidden, real = self.verifier.embed(shown[: len(partners)]), self.verifier.embed(partner_films)
            logits = self.verifier.compare(hidden, real)
            to_recognise = partner_loss(logits, self.sharpness)
            torch.autograd.backward(to_recognise, inputs=list(self.verifier.parameters()), retain_graph=True)
            losses.append(F.softplus(logits.diagonal()).mean())  # -log(1 - how likely it is the same patient)
        if self.classifier is not None:
            losses.append(self._classification(shown, rows))
            reached += self.classifier.parameters()
        loss = torch.stack(losses).sum()
        torch.autograd.backward(loss, inputs=reached)
        protected.backward(shown.grad)
        return loss.detach()

    def _classification(self, films: Tensor, rows: Rows) -> Tensor:
        assert self.classifier is not None
        labels = self.batches.findings(rows)
        with self.batches.compute.autocast():
            return findings_loss(self.classifier(films), labels, torch.ones_like(labels[0]))


def _backward(loss: Tensor) -> Tensor:
    loss.backward()
    return loss.detach()
