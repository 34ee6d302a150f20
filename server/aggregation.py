"""One of Flower's strategies at work: what it makes of the sites' updates, round after round, kill or no kill."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.constant import SType
from flwr.serverapp import Grid, strategy

from fedcxr import wire
from fedcxr.errors import ConfigError
from fedcxr.learning import CentralNoise, Learning
from fedcxr.learning.bounds import STATISTICS
from fedcxr.methods import Weights
from fedcxr.release import Release
from fedcxr.storage.checkpoint import Checkpoint

PIECE = 1 << 20  # numbers
FILMS = "num-examples"  # what Flower's strategies weigh an update by
Arrays = Mapping[str, npt.NDArray[np.generic]]
Noise = Callable[[int], np.random.Generator]  # of a round


def _no_noise(number: int) -> np.random.Generator:
    raise ConfigError("a strategy with noise needs to be told where it comes from", given=f"round {number}")


class Aggregation:
    """The strategy of one federation.

    Some strategies remember more of the rounds that are over than where they ended: momentum, second moments. All of
    it comes from the means of these rounds, so these are kept in `folder`, and a run that was interrupted shows them to
    a new strategy: the same sums in the same order. What a strategy keeps to itself is nobody else's business.
    """

    def __init__(self, learning: Learning, folder: Path, noise: Noise = _no_noise) -> None:
        logging.getLogger("flwr").setLevel(logging.WARNING)  # what it tells of every round, our own progress tells
        chosen = learning.aggregation
        self._remembers = chosen.remembers
        self._folder = folder
        self._central, self._noise = learning.central, noise
        self._strategy = _flowers(type(chosen).__name__, chosen.model_dump())

    def combined(self, number: int, before: Weights, updates: Mapping[str, Release], asked: int = 0) -> Weights:
        """What the sites' updates, in this order, make of a round that began at `before`.

        Whole numbers, such as a film's size, must be everyone's. Of `asked` sites some may be missing.
        """
        whole = _whole(updates)
        replies = [_reply(update.weights, int(update.facts["films"])) for update in updates.values()]
        mean: Arrays = {}
        if self._central is not None:
            sent = [update.weights for update in updates.values()]
            mean = noised(before, sent, self._central, max(asked, len(sent)), self._noise(number))
            replies = [_reply(mean, 1)]
        if self._remembers:
            mean = mean or _aggregated(_flowers("FedAvg", {}), number, before, replies)
            Checkpoint(mean, {"round": number}).write(self._mean_file(number))
            replies = [_reply(mean, 1)]  # the mean of one is that one, to the last bit
        made: dict[str, npt.NDArray[Any]] = dict(_aggregated(self._strategy, number, before, replies))
        if self._remembers:
            # Means and variances are measured, not learnt: a step along them would leave a variance below zero.
            made |= {name: mean[name] for name in made if name.endswith(STATISTICS)}
        return {**whole, **{name: made[name].astype(before[name].dtype) for name in made}}

    def again(self, number: int, before: Weights) -> None:
        """Let the strategy see a round that was over before this process began."""
        if self._remembers:
            kept = Checkpoint.read(self._mean_file(number))
            _aggregated(self._strategy, number, before, [_reply(kept.arrays, 1)])

    def _mean_file(self, number: int) -> Path:
        return self._folder / f"mean-{number:04}.safetensors"


def noised(
    before: Weights, updates: Sequence[Weights], how: CentralNoise, asked: int, rng: np.random.Generator
) -> dict[str, npt.NDArray[np.float64]]:
    """The mean of updates that are none longer than `clip`, all of equal voice, and noise.

    The mean is over all that were asked: its divisor tells nothing of who was there.
    """
    names = _averaged(before)
    total = {name: np.zeros(before[name].shape) for name in names}
    for update in updates:
        step = {name: update[name].astype(np.float64) - before[name].astype(np.float64) for name in names}
        length = float(np.sqrt(sum(np.square(part).sum() for part in step.values())))
        for name in names:
            total[name] += step[name] * min(1.0, how.clip / max(length, 1e-12))
    for name in names:
        total[name] += rng.standard_normal(total[name].shape) * (how.clip * how.noise_multiplier)
    return {name: before[name].astype(np.float64) + total[name] / asked for name in names}


def _flowers(name: str, arguments: Mapping[str, object]) -> strategy.FedAvg:
    """Flower's strategy of this name; all of those we use are kinds of FedAvg."""
    made: strategy.FedAvg = getattr(strategy, name)(weighted_by_key=FILMS, **arguments)
    made.fraction_train = 0.0  # of the nodes: it need not choose any, we have asked them
    return made


def _aggregated(
    by: strategy.FedAvg, number: int, before: Weights, replies: list[Message]
) -> dict[str, npt.NDArray[np.float64]]:
    # Flower's strategies take note here of where a round begins. A grid they would only look for nodes in.
    by.configure_train(number, _record(before), ConfigRecord(), cast(Grid, None))
    made, _ = by.aggregate_train(number, replies)
    assert made is not None, "there are as many updates as the strategy needs: a scenario is checked for it"
    numbers = np.concatenate([piece.numpy() for _, piece in sorted(made.items())])
    ends = np.cumsum([before[name].size for name in _averaged(before)])
    parts = np.split(numbers, ends[:-1])
    return {name: part.reshape(before[name].shape) for name, part in zip(_averaged(before), parts, strict=True)}


def _reply(weights: Arrays, films: int) -> Message:
    content = RecordDict({"arrays": _record(weights), "metrics": MetricRecord({FILMS: films})})
    return Message(content, dst_node_id=1, message_type=wire.LEARN)


def _record(weights: Arrays) -> ArrayRecord:
    """What can be averaged, in double precision and in one order, in pieces of a size.

    No strategy looks at where one weight's numbers end. Of many small arrays Flower takes longer to begin with each
    than to add it up, and of a few large ones to find memory for whatever it computes in between.
    """
    numbers = np.concatenate([np.zeros(0, np.float16), *(weights[name].ravel() for name in _averaged(weights))])
    record = ArrayRecord()
    for begin in range(0, max(numbers.size, 1), PIECE):
        record[f"{begin:012}"] = Held(numbers[begin : begin + PIECE])
    return record


class Held(Array):
    """Numbers that go nowhere: in the form in which Flower's travel they would be written only to be read again."""

    def __init__(self, numbers: npt.NDArray[Any]) -> None:
        super().__init__(dtype="float64", shape=numbers.shape, stype=SType.NUMPY, data=b"")
        self.__dict__["numbers"] = numbers

    def numpy(self) -> npt.NDArray[Any]:
        numbers: npt.NDArray[Any] = self.__dict__["numbers"]
        return numbers.astype(np.float64)


def _averaged(weights: Arrays) -> list[str]:
    """The names of what is averaged."""
    return sorted(name for name, array in weights.items() if array.dtype.kind == "f")


def _whole(updates: Mapping[str, Release]) -> Weights:
    """The whole numbers that are the same in all updates."""
    whole = {site: {n: a for n, a in u.weights.items() if a.dtype.kind != "f"} for site, u in updates.items()}
    first = next(iter(whole.values()))
    for site, numbers in whole.items():
        differ = [name for name, a in numbers.items() if not np.array_equal(a, first[name])]
        if differ:
            raise ConfigError("the sites' updates are of different films", given=f"{differ[0]} of {site}")
    return first
