"""Stages of training one after the other, interrupted at any step and continued as if nothing had happened."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fedcxr.errors import TrainingDiverged
from fedcxr.storage.checkpoint import Checkpoint
from fedcxr.training import Average, Plan, optimisers, parameter_groups

SAVE_EVERY = 10.0  # seconds between two checkpoints, and
SAVE_SHARE = 20  # so many times as long as writing one takes: the paper's networks fill 500 MB

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Stage:
    """Steps of one kind: each draws its batch, leaves gradients behind and returns its loss."""

    name: str
    step: Callable[[], Tensor]
    plans: Mapping[str, Plan]  # by network that learns; all have as many steps
    average: tuple[str, float] | None = None  # a network whose running mean is kept, and its decay
    begin: int = 0
    end: int | None = None  # of the plans' steps, those from `begin` to here; None: to the last

    @property
    def steps(self) -> int:
        return max(plan.steps for plan in self.plans.values())

    @property
    def last(self) -> int:
        return self.steps if self.end is None else self.end


@dataclass
class ResumableSchedule:
    """Networks by name and the stages in which they learn."""

    networks: Mapping[str, nn.Module]
    stages: tuple[Stage, ...]
    rng: np.random.Generator  # of which all batches are drawn
    progress: Callable[[str, int, int], None]
    path: Path | None = None  # of the checkpoint; None: nothing is kept
    facts: Mapping[str, Any] = field(default_factory=dict)  # told in the checkpoint
    _at: tuple[int, int] = (0, 0)  # stage and step
    _optimisers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    _average: Average | None = None
    _memory: dict[str, Arrays] = field(default_factory=dict)  # what optimisers yet to be made remember, and the mean

    def run(self) -> None:
        """Take every step that is left."""
        saved, pause, torn = time.monotonic(), SAVE_EVERY, True
        try:
            for number in range(self._at[0], len(self.stages)):
                stage = self.stages[number]
                first = max(stage.begin, self._at[1])
                self._enter(stage)
                torn = False
                for step in range(first, stage.last):
                    torn = True
                    self._take(stage, step)
                    self._at, torn = (number, step + 1), False
                    self.progress(stage.name, step + 1, stage.steps)
                    if self.path is not None and time.monotonic() - saved > pause:
                        begun = time.monotonic()
                        self.save()
                        saved = time.monotonic()
                        pause = max(SAVE_EVERY, SAVE_SHARE * (saved - begun))
                self._leave(stage)
                self._at = (number + 1, 0)
        except KeyboardInterrupt:
            if not torn:  # in the middle of a step, weights, optimisers and random numbers are not of one moment
                self.save()
            raise
        for network in self.networks.values():
            network.eval()
        self.save()

    def _enter(self, stage: Stage) -> None:
        for name, plan in stage.plans.items():
            self.networks[name].train()
            if name not in self._optimisers:
                groups = parameter_groups(self.networks[name], plan.weight_decay)
                self._optimisers[name] = optimisers.AdamW(groups, lr=plan.learning_rate, fused=True)
                _restore(self._optimisers[name], self._memory.pop(f"optimiser/{name}/", {}))
        if stage.average is not None and self._average is None:
            name, decay = stage.average
            self._average = Average(self.networks[name], decay)
            for place, mean in self._memory.pop("average/", {}).items():
                self._average.mean[int(place)].copy_(torch.from_numpy(mean))

    def _take(self, stage: Stage, step: int) -> None:
        loss = stage.step().item()
        if not math.isfinite(loss):
            self._diverged(stage, step, f"the loss is {loss}")
        for name, plan in stage.plans.items():
            for group in self._optimisers[name].param_groups:
                group["lr"] = plan.rate(step)
            self._optimisers[name].step()
            self._optimisers[name].zero_grad(set_to_none=True)
        if self._average is not None and stage.average is not None:
            self._average.follow(self.networks[stage.average[0]], step - stage.begin)

    def _leave(self, stage: Stage) -> None:
        if self._average is not None and stage.average is not None:
            self._average.install(self.networks[stage.average[0]])
            self._average = None
        if stage is not self.stages[-1]:
            self._optimisers.clear()

    def _diverged(self, stage: Stage, step: int, what: str) -> None:
        rates = ", ".join(f"{name} {plan.learning_rate}" for name, plan in stage.plans.items())
        raise TrainingDiverged(
            f"{stage.name}: training stopped at step {step + 1} of {stage.steps}: {what}",
            given=f"learning rates: {rates}",
            do="lower the learning rate" + ("" if self.path is None else f"; the last good state is in {self.path}"),
        )

    # Checkpoints ----------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write down everything the next step depends on."""
        if self.path is None:
            return
        arrays = {name: _to_array(tensor) for name, tensor in self._tensors()}
        number, step = self._at
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                stage = self.stages[min(number, len(self.stages) - 1)]
                self._diverged(stage, step - 1, f"{name} is not finite")
        state = {"stage": number, "step": step, "rng": self.rng.bit_generator.state}
        done = number == len(self.stages)
        Checkpoint(arrays, {**self.facts, **state, "done": done}).write(self.path)

    def resume(self, kept: Checkpoint) -> None:
        """Go on where `save` wrote this down."""
        self._at = kept.facts["stage"], kept.facts["step"]
        self.rng.bit_generator.state = kept.facts["rng"]
        self.adopt(kept, self.networks)
        self._memory["average/"] = _under("average/", kept.arrays)

    def adopt(self, kept: Checkpoint, names: Iterable[str]) -> None:
        """Take over weights, and what the optimisers remember, of some of the networks."""
        for name in names:
            mine = _under(f"{name}/", kept.arrays)
            self.networks[name].load_state_dict({key: torch.from_numpy(array) for key, array in mine.items()})
            self._memory[f"optimiser/{name}/"] = _under(f"optimiser/{name}/", kept.arrays)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, network in self.networks.items():
            yield from ((f"{name}/{key}", tensor) for key, tensor in network.state_dict().items())
        for name, optimiser in self._optimisers.items():
            for place, state in optimiser.state_dict()["state"].items():
                yield from ((f"optimiser/{name}/{place}/{key}", tensor) for key, tensor in state.items())
        if self._average is not None:
            yield from ((f"average/{place}", mean) for place, mean in enumerate(self._average.mean))


@dataclass(frozen=True)
class Folder:
    """Checkpoints of one course, by turn. Those of other code, settings, films or beginnings are not continued."""

    folder: Path | None
    settings: str  # fingerprint of all that every turn has in common
    turn: str  # and of this turn's beginning with it

    @property
    def facts(self) -> dict[str, Any]:
        return {"settings": self.settings, "turn": self.turn}

    def path(self, turn: int) -> Path | None:
        return None if self.folder is None else self.folder / f"learning-{turn:04d}.safetensors"

    def of(self, turn: int) -> Checkpoint | None:
        """What is kept of this very turn, done or half done."""
        return self._kept(turn, "turn")

    def before(self, turn: int) -> Checkpoint | None:
        """The end of the turn before, or of the one before that if a site has missed one, and so on."""
        earlier = (self._kept(number, "settings") for number in reversed(range(turn)))
        return next((kept for kept in earlier if kept is not None and kept.facts["done"]), None)

    def tidy(self, turn: int) -> None:
        """Remove what no turn can ask for any more; the one before may yet be asked for again."""
        for number in range(turn - 1):
            path = self.path(number)
            if path is not None:
                path.unlink(missing_ok=True)

    def _kept(self, turn: int, key: str) -> Checkpoint | None:
        path = self.path(turn)
        if path is None or not path.is_file() or Checkpoint.facts_of(path).get(key) != self.facts[key]:
            return None
        return Checkpoint.read(path)


def _to_array(tensor: Tensor) -> npt.NDArray[np.generic]:
    array: npt.NDArray[np.generic] = tensor.detach().cpu().numpy()
    return array


def _under(prefix: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _restore(optimiser: torch.optim.Optimizer, arrays: Arrays) -> None:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, array in arrays.items():
        place, _, key = name.partition("/")
        value = torch.from_numpy(np.array(array))
        if key != "step":  # the fused step reads memory as it lies: like the weights, channels last
            value = torch.empty_like(parameters[int(place)], requires_grad=False).copy_(value)
        state.setdefault(int(place), {})[key] = value
    if state:
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
