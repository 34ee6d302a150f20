"""What a data-protection officer is told is what results hold, and never better news than they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_by_hand import attribute, figure, linking, of_people, result, telling

from fedcxr.errors import ConfigError, OtherVersion
from fedcxr.report import dpia
from fedcxr.report._residual import over_seeds, residual, together
from fedcxr.verdict import Figure

RATE = st.floats(0, 1)


@st.composite
def rates(draw: st.DrawFn) -> Figure:
    low, value, high = sorted(draw(st.lists(RATE, min_size=3, max_size=3)))
    return Figure(value, low, high)


# Residual risk --------------------------------------------------------------------------------------------------------


@given(rates(), RATE)
def test_a_residual_risk_is_a_share_or_is_refused_and_never_nothing(attack: Figure, control: float) -> None:
    left = residual(attack, control)
    if left.value is None:
        assert left.low is None
        assert left.high is None
        assert left.refused_because
        assert control >= 1 or attack.low is None or attack.low <= control
    else:
        assert left.refused_because is None
        assert left.low is not None
        assert left.high is not None
        assert 0 < left.low <= left.value <= left.high <= 1


@given(rates(), RATE, st.floats(0, 0.5))
def test_it_grows_with_the_attack_and_falls_with_the_control(attack: Figure, control: float, more: float) -> None:
    assert attack.value is not None
    assert attack.low is not None
    assert attack.high is not None
    left = residual(attack, control)
    stronger = residual(Figure(*(min(1.0, end + more) for end in (attack.value, attack.low, attack.high))), control)
    harder = residual(attack, min(1.0, control + more))
    if left.value is not None:
        assert stronger.value is not None
        assert stronger.value >= left.value - 1e-12
        assert harder.value is None or harder.value <= left.value + 1e-12
    else:
        assert harder.value is None


@pytest.mark.parametrize(
    ("attack", "control", "said"),
    [
        (Figure(None), 0.5, "the attack has no figure"),
        (Figure(0.8, 0.7, 0.9), None, "the control has no figure"),
        (Figure(0.8), 0.5, "too few patients"),
        (Figure(0.8, 0.5, 0.9), 0.5, "not surely better"),
        (Figure(1.0, 1.0, 1.0), 1.0, "always right"),
    ],
)
def test_what_is_unknown_stays_unknown(attack: Figure, control: float | None, said: str) -> None:
    left = residual(attack, control)
    assert left.value is None
    assert left.told()["ci95"] is None
    assert said in str(left.refused_because)


def test_three_cases_by_hand() -> None:
    assert residual(Figure(0.8, 0.7, 0.9), 0.5).told() == {
        "value": pytest.approx(0.6),
        "ci95": pytest.approx([0.4, 0.8]),
        "refused_because": None,
    }
    paired = residual(Figure(0.8, 0.5, 0.95), 0.6, Figure(0.2, 0.1, 0.3))  # measured on the same people, and sure
    assert (paired.value, paired.low, paired.high) == pytest.approx((0.5, 0.25, 0.75))
    assert residual(Figure(1.0, 1.0, 1.0), 0.25).value == 1.0


def test_seeds_are_averaged_and_no_interval_is_narrower_than_theirs() -> None:
    both = over_seeds([Figure(0.6, 0.5, 0.7), Figure(0.8, 0.7, 0.9)])
    assert (both.value, both.low, both.high) == pytest.approx((0.7, 0.5, 0.9))
    assert over_seeds([Figure(0.6, 0.5, 0.7), Figure(0.8)]).low is None
    assert over_seeds([Figure(None)]).value is None


def test_groups_of_other_people_are_joined() -> None:
    one = Figure(0.5, 0.3, 0.6)
    alone = together([(7, one)])
    assert (alone.value, alone.low, alone.high) == pytest.approx((0.5, 0.3, 0.6))
    joined = together([(5, one), (5, one)])  # twice as many people: half the variance
    assert joined.low == pytest.approx(0.5 - 0.2 / 2**0.5)
    assert joined.high == pytest.approx(0.5 + 0.1 / 2**0.5)
    assert together([(5, one), (5, Figure(0.7))]).low is None


# Measures -------------------------------------------------------------------------------------------------------------


def found(assessment: dict[str, Any], name: str) -> dict[str, Any]:
    [one] = [one for measures in assessment["criteria"].values() for one in measures if one["measure"] == name]
    assert isinstance(one, dict)
    return one


def test_the_first_guess_is_measured_against_a_guess() -> None:
    """Of ten known films one is the patient's: chance is a tenth."""
    told = found(dpia.assess([result(attacks=[linking(figure(0.9, 0.8, 0.95))])]), "first guess")
    assert told["criterion"] == "singling_out"
    assert told["control"] == {"against": "chance", "value": pytest.approx(0.1)}
    assert told["residual"]["value"] == pytest.approx((0.5 - 0.1) / 0.9)
    assert told["patients"]["average"]["value"] == 0.5
    assert told["patients"]["worst"] == {"value": 1.0, "residual": pytest.approx(1.0)}
    assert (told["patients"]["of"], told["patients"]["always_found"]) == (8, 2)


def test_where_findings_are_released_films_are_measured_against_them_and_they_against_chance() -> None:
    told = dpia.assess([result(floor=0.6, attacks=[linking(figure(0.9, 0.8, 0.95))])])
    assert found(told, "verification")["control"] == {"against": "findings alone", "value": 0.6}
    assert found(told, "verification")["residual"]["value"] == pytest.approx(0.75)
    assert found(told, "findings alone")["residual"]["refused_because"]  # .5 to .7 is not surely above .5
    assert found(told, "unique findings")["attack"]["value"] == pytest.approx(0.4)
    assert found(told, "unique findings")["residual"]["value"] is None
    sealed = dpia.assess([result(attacks=[linking(figure(0.9, 0.8, 0.95))])])
    assert found(sealed, "verification")["control"]["value"] == 0.5
    assert "cannot read the findings" in found(sealed, "unique findings")["unknown_because"]


def test_the_strongest_that_proves_something_is_told_and_a_higher_doubt_beside_it() -> None:
    doubtful = linking(figure(0.99, 0.98, 1.0), "naive", conclusive=False, inconclusive_because="raw reaches 0.7")
    told = found(dpia.assess([result(attacks=[doubtful, linking(figure(0.7, 0.6, 0.8))])]), "verification")
    assert told["attack"]["attacker"] == "retrained"
    assert told["residual"]["value"] == pytest.approx(0.4)
    [higher] = told["higher_but_doubtful"]
    assert (higher["attacker"], higher["value"]) == ("naive", 0.99)
    alone = found(dpia.assess([result(attacks=[doubtful])]), "verification")
    assert alone["attack"]["value"] == 0.99
    assert alone["residual"] == {
        "value": None,
        "ci95": None,
        "refused_because": "it is inconclusive: raw reaches 0.7",
    }


def test_a_control_that_failed_under_one_seed_fails_all() -> None:
    good = linking(figure(0.8, 0.7, 0.9))
    bad = good | {"conclusive": False, "inconclusive_because": "raw reaches 0.7"}
    both = dpia.assess([result(0, attacks=[good]), result(1, attacks=[good])])
    assert both["seeds"] == [0, 1]
    assert found(both, "verification")["residual"]["value"] == pytest.approx(0.6)
    told = found(dpia.assess([result(0, attacks=[good]), result(1, attacks=[bad])]), "verification")
    assert told["residual"]["value"] is None
    assert "1 of 2 seeds" in told["residual"]["refused_because"]


def test_attributes_are_told_beyond_the_findings() -> None:
    sex = attribute(figure(0.8, 0.7, 0.9), figure(0.6, 0.5, 0.7), figure(0.2, 0.1, 0.3))
    age = attribute(figure(0.6, 0.5, 0.7), figure(0.6, 0.5, 0.7), figure(0.0, -0.1, 0.1))
    told = dpia.assess([result(inference=[of_people({"sex": sex, "age": age})])])
    assert found(told, "attribute: sex")["residual"] == {
        "value": pytest.approx(0.5),
        "ci95": pytest.approx([0.25, 0.75]),
        "refused_because": None,
    }
    assert found(told, "attribute: age")["residual"]["value"] is None
    worse = attribute(figure(0.6, 0.55, 0.7), figure(0.4, 0.3, 0.5), figure(0.2, 0.1, 0.3))  # nobody need do worse
    one = found(dpia.assess([result(inference=[of_people({"sex": worse})])]), "attribute: sex")
    assert one["control"] == {"against": "chance", "value": 0.5}
    assert one["residual"]["value"] == pytest.approx(0.2)


def test_who_is_worst_off_is_told_of_members_and_of_attributes_too() -> None:
    rates = {"0": 0.0, "0.5": 0.25, "1": 1.0}
    people = {"patients": 40, "tpr_at_0.01": rates, "always_found": 2, "never_found": 19}
    people["worst"] = {"films": 3, "tpr_at_0.01": 1.0}
    member = telling(figure(0.8, 0.7, 0.9), per_patient=people)
    sex = attribute(figure(0.9, 0.8, 1.0), figure(0.6, 0.5, 0.7), figure(0.3, 0.2, 0.4))
    sex["per_patient"] = {**people, "worst": {"films": 1, "tpr_at_0.01": 0.5}, "labels_alone": 0.25}
    told = dpia.assess([result(membership=[member], inference=[of_people({"sex": sex})])])
    one = found(told, "membership")["patients"]
    assert (one["of"], one["quantiles"]) == (40, rates)
    assert one["worst"] == {"value": 1.0, "residual": pytest.approx(1.0)}
    assert found(told, "attribute: sex")["patients"]["worst"] == {"value": 0.5, "residual": pytest.approx(1 / 3)}
    words = " ".join(text for _, text in dpia.paragraphs(told))
    assert "Worst patient of 40: 100 of 100 (share of a patient's films that are told where 1 of 100 films of" in words
    assert "of 2 patients always, of 19 never." in words
    # Where nobody is surely told better than by chance, a patient who stands out may do so by luck.
    lucky = telling(figure(0.5, 0.4, 0.6), per_patient=people)
    assert found(dpia.assess([result(membership=[lucky])]), "membership")["patients"]["worst"]["residual"] is None
    older = found(dpia.assess([result(membership=[telling(figure(0.8, 0.7, 0.9))])]), "membership")["patients"]
    assert (older["of"], older["worst"]) == (80, None)
    assert "no figure of single patients" in older["unknown_because"]


def test_what_still_rose_or_was_not_asked_is_a_lower_bound() -> None:
    strong, rival = linking(figure(0.8, 0.7, 0.9)), linking(figure(0.7, 0.6, 0.85), "naive", converged=False)
    assert found(dpia.assess([result(attacks=[strong])]), "verification")["lower_bound"] is False
    assert found(dpia.assess([result(attacks=[strong, rival])]), "verification")["lower_bound"] is True
    assert found(dpia.assess([result(membership=[telling(figure(0.7, 0.6, 0.8))])]), "membership")["lower_bound"]


def test_what_nobody_asked_or_could_ask_is_unknown_with_its_reason() -> None:
    told = dpia.assess([result(attacks=[linking(figure(0.8, 0.7, 0.9))])])
    for name, said in {
        "membership": "no question membership",
        "across hospitals": "no question inner_linkage",
        "unique findings": "cannot read",
    }.items():
        one = found(told, name)
        assert one["measured"] is False
        assert one["residual"] is None
        assert said in one["unknown_because"]
    hospitals = result() | {"unmeasured": {"privacy.attacks": "nobody here knows who is who"}}
    assert "nobody here knows" in found(dpia.assess([hospitals]), "verification")["unknown_because"]
    assert not any(one["measured"] for one in dpia.assess([hospitals])["recipients"])
    silent = result(attacks=[linking(figure(None))])
    assert "no attacker has a figure" in found(dpia.assess([silent]), "verification")["unknown_because"]


@pytest.mark.parametrize(("across", "asked"), [("any", "inner linkage"), ("sites", "across hospitals")])
def test_releases_are_joined_among_all_or_across_hospitals(across: str, asked: str) -> None:
    run = result(attacks=[linking(figure(0.8, 0.7, 0.9), question="inner_linkage")])
    run["scenario"]["questions"] = {"inner_linkage": {"across": across}}
    told = dpia.assess([run])
    assert found(told, asked)["residual"]["value"] == pytest.approx(0.6)
    other = {"inner linkage": "across hospitals", "across hospitals": "inner linkage"}[asked]
    assert "questions.inner_linkage.across" in found(told, other)["unknown_because"]


def test_a_question_of_somebody_elses_is_not_lost() -> None:
    foreign = {"question": "mine:Riddle", "adversary": "mine:Sphinx", "attacker": "a", "auc": figure(0.9, 0.8, 1.0)}
    [other] = dpia.assess([result(riddles=[foreign])])["others"]
    assert (other["question"], other["auc"]["value"]) == ("mine:Riddle", 0.9)


# Recipients -----------------------------------------------------------------------------------------------------------


def whom(assessment: dict[str, Any], role: str) -> dict[str, Any]:
    [one] = [one for one in assessment["recipients"] if one["recipient"] == role]
    assert isinstance(one, dict)
    return one


def reached(recipient: dict[str, Any]) -> dict[str, float | None]:
    return {one["measure"]: one["residual"]["value"] for one in recipient["measures"]}


def test_without_keys_all_recipients_see_the_same() -> None:
    told = dpia.assess([result(attacks=[linking(figure(0.8, 0.7, 0.9))])])
    for role in ("server", "partner", "public"):
        assert reached(whom(told, role))["verification"] == pytest.approx(0.6)
    assert whom(told, "partner")["unknown"]


KEYED: dict[str, Any] = {"readers": [{"name": "server", "films": 20, "opened": 20, "refusals": {}}]}


def holder(role: str, name: str, auc: dict[str, Any], opens: int) -> dict[str, Any]:
    who = {"adversary": "verifier", "attacker": "retrained"}
    return {"role": role, "name": name, "opens": opens, "of": 20, **who, "auc": auc}


def test_with_keys_each_recipient_has_its_own_figure() -> None:
    listed = [
        holder("adversary", "", figure(0.5, 0.45, 0.55), 0),
        holder("reader", "server", figure(1.0, 0.99, 1.0), 20),
        holder("keys", "site-1", figure(0.9, 0.8, 0.95), 8),
    ]
    run = result(attacks=[linking(figure(0.5, 0.45, 0.55))], recipients=listed, access=KEYED)
    told = dpia.assess([run])
    assert reached(whom(told, "public"))["verification"] is None
    assert reached(whom(told, "server")) == {"verification": 1.0}
    assert whom(told, "server")["opens"] == {"films": 20, "of": 20}
    assert reached(whom(told, "partner")) == {"verification": pytest.approx(0.8)}


def test_who_has_no_key_is_unknown_where_attackers_had_some() -> None:
    run = result(attacks=[linking(figure(0.8, 0.7, 0.9))], access=KEYED, knowledge={"keys": 2})
    told = dpia.assess([run])
    assert not whom(told, "public")["measured"]
    assert "held the keys of 2 hospitals" in whom(told, "public")["unknown"][0]
    assert reached(whom(told, "partner"))["verification"] == pytest.approx(0.6)
    assert "nobody was asked" in whom(told, "server")["unknown"][0]  # it was granted keys, and no figure is of them


@pytest.mark.parametrize(
    ("updates", "who"),
    [("model", {"server", "partner", "public"}), ("rounds", {"server", "partner"}), ("sites", {"server"})],
)
def test_of_a_model_a_figure_holds_for_who_sees_as_much(updates: str, who: set[str]) -> None:
    run = result(
        membership=[telling(figure(0.7, 0.6, 0.8))],
        knowledge={"updates": updates},
        method={"name": "fedavg", "rounds": 3},
    )
    told = dpia.assess([run])
    assert {one["recipient"] for one in told["recipients"] if one["measured"]} == who
    assert all(one["unknown"] for one in told["recipients"] if not one["measured"])
    server = whom(told, "server")["unknown"]
    assert bool(server) is (updates != "sites")


# Guarantees and words -------------------------------------------------------------------------------------------------


def test_a_guarantee_has_its_unit_and_its_limits_and_is_contradicted_aloud() -> None:
    formal = {"epsilon": 2.0, "delta": 1e-5, "unit": "record", "accountant": "by hand", "epsilon_rdp": None}
    weaker = formal | {"epsilon": 3.0}
    broken = telling(figure(0.9, 0.8, 1.0), contradicts_epsilon=True, conclusive=False, inconclusive_because="more")
    told = dpia.assess([result(0, formal=formal), result(1, formal=weaker, membership=[broken])])["formal"]
    assert told["guarantee"]["epsilon"] == 3.0
    assert told["contradicted"] is True
    assert any("several films" in one for one in told["does_not_promise"])
    assert not dpia.assess([result(0, formal=formal), result(1)])["formal"]["given"]
    words = dict(dpia.paragraphs(dpia.assess([result(formal=formal)])))
    assert "per record" in words["Formal guarantee"]


def test_results_of_several_policies_or_of_another_schema_are_refused() -> None:
    other = result(1)
    other["run"]["id"] = "noise-4567"
    with pytest.raises(ConfigError, match="several policies; given: noise-0123, noise-4567"):
        dpia.assess([result(0), other])
    with pytest.raises(OtherVersion, match="schema 9"):
        dpia.assess([result() | {"schema": 9}])
    with pytest.raises(ConfigError, match="no result"):
        dpia.assess([])


@st.composite
def figures(draw: st.DrawFn) -> dict[str, Any]:
    one = draw(rates())
    return figure(one.value, *(draw(st.sampled_from([(None, None), (one.low, one.high)]))))


@settings(max_examples=40, deadline=None)
@given(st.lists(figures(), min_size=1, max_size=3), st.none() | RATE, st.booleans(), st.none() | st.booleans())
def test_nothing_is_said_that_is_better_news(
    found_out: list[dict[str, Any]], floor: float | None, conclusive: bool, converged: bool | None
) -> None:
    """Plain data and whole sentences come of any figures, and no zero and no promise of what was not measured."""
    because = None if conclusive else "Anonymous said so"
    entries = [
        linking(auc, str(number), conclusive=conclusive, inconclusive_because=because, converged=converged)
        for number, auc in enumerate(found_out)
    ]
    told = dpia.assess([result(attacks=entries, floor=floor)])
    text = json.dumps(told, allow_nan=False) + " ".join(" ".join(part) for part in dpia.paragraphs(told))
    assert "anonym" not in text.lower()
    one = found(told, "verification")
    assert one["residual"]["value"] is None or one["residual"]["value"] > 0
    said = dict(dpia.paragraphs(told))["Linkability: can two records of one person be joined?"]
    assert ("Residual risk: unknown, because" in said) or one["residual"]["value"] is not None
    for promise in ("safe", "secure", "cannot be identified", "no risk", "compliant", "lawful"):
        assert promise not in text.lower().replace("not a risk of none", "")
