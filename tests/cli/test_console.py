"""What a person is told of codes: who opens how much, and which attack shows most, beside what one knows anyway."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from fedcxr.cli.console import _print_access, _print_privacy


def entry(attacker: str, gain: float | None, kept: float) -> dict[str, Any]:
    gained = {"value": gain, "ci95": None if gain is None else [gain - 0.5, gain + 0.5]}
    shares = {name: {"value": kept, "ci95": [kept, kept]} for name in ("recovered", "link_rate")}
    about = {"question": "reconstruction", "adversary": "support", "attacker": attacker}
    held = {"conclusive": None, "inconclusive_because": None, "films": 9}
    return {**about, "over_mean_db": gained, "converged": None, **shares, **held}


def told(recovery: list[dict[str, Any]], same_film: list[dict[str, Any]] | None = None, attacked: bool = True) -> str:
    console = Console(width=160)
    privacy = {"attacks": [], "recovery": recovery, "same_film": same_film or [], "formal": None}
    asked = [name for name, entries in (("reconstruction", recovery), ("same_film", same_film)) if entries]
    scenario: dict[str, Any] = {
        "questions": {name: {} for name in asked or ["linkage"]},
        "adversaries": {"support": {}} if attacked else {},
    }
    with console.capture() as captured:
        _print_privacy({"privacy": privacy, "scenario": scenario}, console)
    return captured.get()


NO_GUARANTEE = "formal guarantee: none\n\n"


def test_the_best_attack_is_told_and_the_support_decides_between_equal_pictures() -> None:
    tried = {"prior": (0.0, 0.6), "twice": (12.76, 0.98), "order": (12.75, 1.0), "net": (3.0, 0.7)}
    said = told([entry(attacker, *figures) for attacker, figures in tried.items()]).removesuffix(NO_GUARANTEE)
    assert said.count("dB over the mean film") == 1
    assert "support, order: 100% of the support (60% without looking), +12.75 dB" in said
    assert "(+12.25 to +13.25), 100% linked" in said


def test_where_nothing_was_recovered_nothing_is_told() -> None:
    assert told([entry("net", None, 0.5)]) == NO_GUARANTEE
    assert told([]) == f"linkage: does not apply\n\n{NO_GUARANTEE}"
    assert told([], attacked=False) == "Who can be re-identified: nobody attacked, so unknown\n\n"


def test_recognised_films_are_one_line() -> None:
    about = {"question": "same_film", "adversary": "support", "attacker": "values"}
    said = told([], [{**about, "pairs": 8, "auc": {"value": 1.0, "ci95": None}}])
    first, *_ = said.strip().splitlines()
    assert first == "who has a film recognises its code by values: AUC 1.000"
    assert "\nSomebody who holds a film can tell which code was made of it.\n" in said


def test_an_answer_to_one_question_is_not_told_as_one_to_another() -> None:
    """Two questions may share a section of the result."""
    assert (
        told([{**entry("net", 3.0, 0.7), "question": "somebody:Elses"}])
        == f"reconstruction: does not apply\n\n{NO_GUARANTEE}"
    )


def test_who_opens_how_much_and_why_not_more() -> None:
    refused = {f"site-{n}": f"site-{n} granted nothing to server; given: envelopes for 1 others; ask" for n in (1, 2)}
    readers = [
        {"name": "server", "films": 9, "opened": 0, "refusals": refused},
        {"name": "site-2", "films": 9, "opened": 9, "refusals": {}},
    ]
    console = Console(width=160)
    with console.capture() as captured:
        _print_access({"readers": readers, "other_site": {"tried": 9, "opened": 0}}, console)
        _print_access(None, console)
    assert captured.get().splitlines() == [
        "server opens 0 of 9 films (site-1 granted nothing to server, ...)",
        "site-2 opens 9 of 9 films",
        "the key of another site opens 0 of 9",
        "",
    ]
