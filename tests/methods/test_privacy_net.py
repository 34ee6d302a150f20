"""Privacy-Net: what differs from PriCheXy-Net, with which it shares all of its training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedcxr.cohort import Cohort
from fedcxr.methods import Round, RunContext
from fedcxr.methods.privacy_net import PrivacyNet
from fedcxr.rng import stream
from fedcxr.storage.checkpoint import digest

SMALL = PrivacyNet(
    widths=(4, 8), width=4, batch=6, dimensions=8, steps_autoencoder=3, steps_classifier=2, steps_verifier=2, steps=2
)


@pytest.fixture(scope="module")
def cohort(make_cohort: Callable[..., Cohort]) -> Cohort:
    return make_cohort((3, 2, 1, 3, 2), size=32)


def test_an_autoencoder_comes_first_and_draws_the_film_itself(cohort: Cohort) -> None:
    """After many steps against nobody who learns, what is released looks like the film."""
    smooth = np.broadcast_to(np.linspace(0, 255, 32).astype(np.uint8), cohort.pixels.shape)
    ramps = Cohort.whole(np.where(np.arange(len(cohort))[:, None, None] % 2, smooth, 255 - smooth), cohort.index)
    context = RunContext("cpu", "fp32")
    errors = {}
    for steps in (1, 60):
        method = SMALL.model_copy(update={"steps_autoencoder": steps, "steps": 1, "learning_rate": 0.02})
        protect = method.protector(method.learn(ramps, stream(1), context), context)
        errors[steps] = np.abs(protect(ramps.films(), stream(2)).astype(int) - ramps.films()).mean()
    assert errors[60] < 0.6 * errors[1]


def test_the_stages_come_in_turn_and_resume_in_the_first(cohort: Cohort, tmp_path: Path) -> None:
    stages: list[str] = []

    def progress(stage: str, done: int, total: int) -> None:
        stages.append(stage.removeprefix("privacy_net "))
        if len(stages) == 2:
            raise KeyboardInterrupt

    context = RunContext("cpu", "fp32", progress=progress, folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        SMALL.learn(cohort, stream(1), context)
    resumed = SMALL.learn(cohort, stream(1), context)
    assert stages == ["autoencoder"] * 3 + ["classifier"] * 2 + ["verifier"] * 2 + ["against"] * 2
    assert digest(resumed) == digest(SMALL.learn(cohort, stream(1), RunContext("cpu", "fp32")))


def test_a_federation_autoencodes_in_its_first_turn_only(cohort: Cohort, tmp_path: Path) -> None:
    stages: list[str] = []
    context = RunContext("cpu", "fp32", progress=lambda stage, *_: stages.append(stage.split()[1]), folder=tmp_path)
    weights = SMALL.initial(stream(0))
    for number in range(2):
        weights = SMALL.learn(cohort, stream(number), context, weights, Round(number, 2))
    assert stages.count("autoencoder") == 3
    assert stages.count("against") == 2


def test_briefly_has_hardly_any_steps() -> None:
    brief = PrivacyNet().on_smoke_budget()
    steps = {name: value for name, value in brief.model_dump().items() if name.startswith("steps")}
    assert len(steps) == 4
    assert set(steps.values()) == {2}
