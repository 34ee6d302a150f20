"""Our table of strategies says of Flower's what Flower says."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest
from flwr.serverapp import strategy as flower

from fedcxr.learning.strategies import STRATEGIES, Name

ELSEWHERE = {*inspect.signature(flower.FedAvg).parameters, "eta_l", "selection_rule"}  # a learning rate, a function
# They need more than updates and numbers of films, or are none.
ABSENT = {"Result", "Strategy", "QFedAvg", "FedXgbBagging", "FedXgbCyclic"}


@pytest.mark.parametrize("name", STRATEGIES)
def test_options_are_the_constructors_arguments_with_their_defaults(name: str) -> None:
    ours = STRATEGIES[name]
    theirs = inspect.signature(getattr(flower, ours.__name__)).parameters
    assert issubclass(getattr(flower, ours.__name__), flower.FedAvg)
    assert ours.model_fields.keys() == theirs.keys() - ELSEWHERE
    for option, field in ours.model_fields.items():
        if (name, option) != ("fedprox", "proximal_mu"):  # Flower itself warns of its default
            assert field.default == theirs[option].default
            assert not field.is_required()


def test_a_strategy_is_named_as_it_is_kept() -> None:
    assert set(get_args(Name)) == set(STRATEGIES)


def test_no_strategy_of_flowers_was_overlooked() -> None:
    known = {strategy.__name__ for strategy in STRATEGIES.values()} | ABSENT
    assert {name for name in flower.__all__ if not name.startswith("DifferentialPrivacy")} == known
