"""A world of five people that can be looked through by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from fedcxr.questions.linkage import Linkage
from fedcxr.world import Roles

if TYPE_CHECKING:
    from consortium import Consortium

# Rows of films 0 and 1, and 2, are of people to learn from; 3 and 4 of one to validate on; 5 to 7, and 8, of two to
# test on. They lie at sources 0, 1, 2, 0 and 1.
TINY = (2, 1, 2, 3, 1)


@pytest.fixture(scope="session")
def tiny(make_consortium: Callable[..., Consortium]) -> Consortium:
    """Nobody hides anything at a single site."""
    return make_consortium(TINY, sites=1, method="none")


@pytest.fixture(scope="session")
def roles(tiny: Consortium) -> Roles:
    """Who plays which part in linkage, before anything is granted."""
    return Linkage().roles(tiny.world)
