"""How one model is made of many updates: those of Flower's strategies that need updates and numbers of films alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import pydantic


class Strategy(pydantic.BaseModel):
    """How one model is made of the sites' updates: the class of this name in flwr.serverapp.strategy.

    Its fields are the constructor's arguments that matter once the updates are there. Flower's others choose nodes
    and name records, which is done elsewhere here. So is Flower's `eta_l`: it reads it nowhere, and a method has a
    learning rate of its own.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    remembers: ClassVar[bool] = False  # whether a round depends on more of the earlier ones than where they ended

    @property
    def fewest(self) -> int:
        """How many updates it needs to be what it is called."""
        return 1

    @property
    def pull(self) -> float:
        """How strongly a site's weights are drawn towards those it was sent, which is the site's own work."""
        return 0.0


class FedAvg(Strategy):
    """The mean of all updates, weighed by films."""


class FedProx(Strategy):
    """The same, of weights that the sites keep near what they were sent."""

    proximal_mu: float = pydantic.Field(gt=0, le=1e6)  # no default: Flower's, 0, is FedAvg

    @property
    def pull(self) -> float:
        return self.proximal_mu


class FedAvgM(Strategy):
    """A step of gradient descent with momentum towards the mean."""

    remembers: ClassVar[bool] = True

    server_learning_rate: float = pydantic.Field(default=1.0, gt=0, le=1e6)
    server_momentum: float = pydantic.Field(default=0.0, ge=0, lt=1)


class FedAdagrad(Strategy):
    """A step of Adagrad towards the mean."""

    remembers: ClassVar[bool] = True

    eta: float = pydantic.Field(default=0.1, gt=0, le=1e6)
    tau: float = pydantic.Field(default=1e-3, gt=0, le=1e6)


class FedAdam(Strategy):
    """A step of Adam towards the mean."""

    remembers: ClassVar[bool] = True

    eta: float = pydantic.Field(default=0.1, gt=0, le=1e6)
    beta_1: float = pydantic.Field(default=0.9, ge=0, lt=1)
    beta_2: float = pydantic.Field(default=0.99, ge=0, lt=1)
    tau: float = pydantic.Field(default=1e-3, gt=0, le=1e6)


class FedYogi(FedAdam):
    """A step of Yogi towards the mean."""

    eta: float = pydantic.Field(default=0.01, gt=0, le=1e6)


class FedMedian(Strategy):
    """The median of each weight, whatever the sites' films."""


class FedTrimmedAvg(Strategy):
    """The mean of each weight without the largest and the smallest `beta` of all sites."""

    beta: float = pydantic.Field(default=0.2, ge=0, lt=0.5)


class Krum(Strategy):
    """The one update that is nearest to most others."""

    num_malicious_nodes: int = pydantic.Field(default=0, ge=0, le=10_000)

    @property
    def fewest(self) -> int:
        return 2 * self.num_malicious_nodes + 3  # Blanchard et al., NeurIPS 2017: n > 2 f + 2


class MultiKrum(Krum):
    """The mean of the updates that are nearest to most others."""

    num_nodes_to_select: int = pydantic.Field(default=1, ge=1, le=10_000)

    @property
    def fewest(self) -> int:
        return max(super().fewest, self.num_nodes_to_select)


class Bulyan(Strategy):
    """Of the updates that Krum chooses, the mean of each weight's values next to the median."""

    num_malicious_nodes: int = pydantic.Field(default=0, ge=0, le=10_000)

    @property
    def fewest(self) -> int:
        return 4 * self.num_malicious_nodes + 3  # El Mhamdi et al., ICML 2018; with fewer, Flower leaves out the round


Name = Literal[
    "fedavg", "fedprox", "fedavgm", "fedadagrad", "fedadam", "fedyogi",
    "fedmedian", "fedtrimmedavg", "krum", "multikrum", "bulyan",
]  # fmt: skip

# A table of our own, because importing Flower takes longer than refusing a scenario may take. Absent are those that
# need more than updates and numbers of films: the sites' losses (QFedAvg), trees (FedXgb...), noise (Differential...).
STRATEGIES: Mapping[str, type[Strategy]] = {
    strategy.__name__.lower(): strategy
    for strategy in (
        *(FedAvg, FedProx, FedAvgM, FedAdagrad, FedAdam, FedYogi),
        *(FedMedian, FedTrimmedAvg, Krum, MultiKrum, Bulyan),
    )
}
