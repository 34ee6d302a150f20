"""With keys and without: what holds for one recipient of codes is told of no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from consortium import Consortium

from fedcxr.questions import PROTECTED, Heard
from fedcxr.questions._pairs import ScoredPairs
from fedcxr.questions._scoring import RAW
from fedcxr.questions.linkage import Linkage, label_floor
from fedcxr.verdict.recipients import recipients as in_words
from server.recipients import recipients

SMALL = {"name": "sca", "s": 2, "s_n": 4}


@pytest.fixture(scope="module")
def coded(make_consortium: Callable[..., Consortium]) -> Consortium:
    return make_consortium(method=SMALL, grant={"server": 0.5, "site-2": 1.0})


def heard(coded: Consortium, opened: Callable[[ScoredPairs], Any]) -> dict[str, Heard]:
    """One attacker that knows nothing, but with keys."""
    answers = {}
    for where, one in coded.put["linkage"].items():
        pairs: ScoredPairs = one.asked.key
        nothing = np.zeros(pairs.genuine.shape)
        scores = nothing if pairs.opened is None else np.where(pairs.opened[:, None], opened(pairs), nothing)
        answers[where] = Heard(pairs, {"somebody": {"scores": np.asarray(scores, dtype=np.float32)}}, 0.0)
    return answers


def test_only_where_there_are_keys_is_it_asked_with_keys(
    coded: Consortium, make_consortium: Callable[..., Consortium]
) -> None:
    raw = coded.put["linkage"][RAW].asked.key
    assert raw.opened.tolist() == [False] * (len(raw.patients) // 2) + [True] * (len(raw.patients) // 2)
    for where, one in (
        *make_consortium(method="noise").put["linkage"].items(),
        (PROTECTED, coded.put["linkage"][PROTECTED]),
    ):
        assert one.asked.key.opened is None, where


def test_whoever_has_keys_sees_the_films_as_they_open(coded: Consortium) -> None:
    put = coded.put["linkage"]
    real, seen = np.split(put[RAW].leak.view.forms["films"], 2)
    assert "films" not in put[PROTECTED].leak.view.forms
    assert seen.shape == real.shape
    assert 0 < np.abs(seen.astype(float) - real).mean() < np.abs(real.astype(float) - real.mean(axis=0)).mean()
    np.testing.assert_array_equal(put[RAW].asked.key.patients, np.tile(put[PROTECTED].asked.key.patients, 2))


def test_each_recipient_has_a_figure_of_the_films_that_open(coded: Consortium) -> None:
    def of_some(pairs: ScoredPairs) -> Any:  # right of the films of one site, and wrong of all others
        return np.where((pairs.sites == "site-1")[:, None], pairs.genuine, ~pairs.genuine)

    [entry] = Linkage().score(heard(coded, of_some), seed=0)
    assert entry["control_raw_auc"] == 0.5  # what opens counts for nobody's control
    told = entry["with_keys"]
    assert entry["auc"]["value"] == 0.5
    assert told["by_site"]["site-1"]["value"] == 1.0
    assert told["by_site"]["site-2"]["value"] == 0.0
    assert told["readers"].keys() == {"server", "site-2"}
    assert told["readers"]["site-2"] == told["auc"]
    assert 0 < told["auc"]["value"] < 1

    attacks = [{"question": "linkage", "adversary": "one", **entry}]
    readers = [{"name": name, "films": 99, "opened": opened} for name, opened in (("server", 7), ("site-2", 99))]
    sites = [{"name": name, "status": "ok", "released": 33} for name in coded.scenario.site_names]
    found = recipients(attacks, {"readers": readers}, sites, leaked=())
    assert found is not None
    assert [(one["role"], one["name"], one["opens"], one["of"]) for one in found] == [
        ("adversary", "", 0, 99),
        ("reader", "server", 7, 99),
        ("reader", "site-2", 99, 99),
        ("keys", "site-1", 33, 99),
    ]
    assert [one["auc"]["value"] for one in (found[0], found[3])] == [0.5, 1.0]
    title, words = (
        Linkage().table(attacks, {"worst_case": None, "label_floor": None, "recipients": found}),
        " ".join(in_words(found)),
    )
    assert title.title == "Who can be re-identified without a key"
    assert "With its keys, server sees 7 of 99 films" in words
    assert "With the keys of site-1, anybody would see 33 of 99 films and find patients" in words
    assert recipients(attacks, {"readers": readers}, sites, leaked=("site-1",))[0]["opens"] == 33  # type: ignore[index]


def test_without_keys_all_see_the_same() -> None:
    assert recipients([{"question": "linkage", "with_keys": None}], None, [], ()) is None
    assert in_words([]) == ()


@pytest.mark.parametrize(("knows", "method"), [(0, SMALL), (3, SMALL), (0, {**SMALL, "findings": "clear"})])
def test_findings_link_for_whoever_can_read_them(
    make_consortium: Callable[..., Consortium], knows: int, method: dict[str, Any]
) -> None:
    consortium = make_consortium(method=method, knowledge={"keys": knows})
    floor = label_floor(consortium.put["linkage"][PROTECTED].asked.key, seed=0)
    assert (floor is None) == (knows == 0 and method is SMALL)
