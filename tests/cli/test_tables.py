"""Tables on screens of any width: every figure stands there whole, whatever becomes of the words."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from fedcxr.cli import tables
from fedcxr.cli.console import stdout
from fedcxr.table import Row, Table, figure, own_entries, own_figures, span

HEADS = ("AUC", "95 % interval", "same site", "rank 1", "at 1 % FPR", "raw", "shuffled")
WIDTHS = (60, 80, 120, 160)
WORDS = st.text("abcdefgh [](),:-ß界", min_size=1, max_size=70).map(str.strip)


def drawn(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        tables.show(table, console)
    return captured.get()


def row(number: int, about: str, doubt: str = "") -> Row:
    low, high = number / 1000, number / 1000 + 0.1
    cells = (
        f"at least {figure(low)}",
        span((low, high)),
        figure(low + 0.2),
        "47%",
        "30%",
        figure(low + 0.3),
        "unknown",
    )
    return Row(about, cells, doubt)


@settings(max_examples=40)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4), st.sampled_from(WIDTHS), WORDS)
def test_no_figure_is_ever_cut(words: list[tuple[str, str]], width: int, title: str) -> None:
    rows = tuple(row(100 * place, about, doubt) for place, (about, doubt) in enumerate(words))
    lines = drawn(Table(title, HEADS, rows), width).splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if "…" in line]
    for one in rows:
        for head, cell in zip(HEADS, one.cells, strict=True):
            assert any(cell in line for line in lines), (head, cell)


@pytest.mark.parametrize("width", WIDTHS)
def test_figures_stand_below_their_heads_and_beside_their_words(width: int) -> None:
    lines = drawn(
        Table("Who", HEADS, (row(500, "verifier, retrained (worst case)", "still rising"),)), width
    ).splitlines()
    assert lines[0].startswith("Who")
    assert lines[0].split()[1] == "AUC"
    assert lines[1].startswith("verifier,")
    assert "at least 0.500" in lines[1]
    assert " ".join(" ".join(lines).split()).count("rising") == 1
    ends = {head: line.index(head) + len(head) for line in lines for head in HEADS if head in line}
    assert lines[1][: ends["AUC"]].endswith("at least 0.500")


@pytest.mark.parametrize("width", WIDTHS)
def test_sentences_are_whole(width: int) -> None:
    notes, verdict = ("raw [and] shuffled " * 12,), ("A headline.", "What it rests on " * 20)
    said = drawn(Table("", notes=notes, verdict=verdict), width)
    assert " ".join(said.split()) == " ".join(" ".join([*notes, *verdict]).split())
    assert max(map(len, said.splitlines())) <= width


def test_without_a_terminal_it_is_as_wide_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert stdout().width == 160
    monkeypatch.setenv("COLUMNS", "60")
    assert stdout().width == 60


def test_figures_that_nobody_wrote_a_table_for_are_shown() -> None:
    figures = {"dice": {"value": 0.91, "ci95": [0.9, 0.92]}, "lungs": {"left": 0.5, "films": 7}, "names": ["a"]}
    assert [(one.about, *one.cells) for one in own_figures("own", figures).rows] == [
        ("dice", "0.910", "0.900 to 0.920"),
        ("lungs left", "0.500"),
        ("lungs films", "7"),
    ]


def test_entries_that_nobody_wrote_a_table_for_show_their_auc_and_their_doubts() -> None:
    about = {"adversary": "fisher:Fisher", "attacker": "fisher"}
    sure = {**about, "auc": {"value": 0.75, "ci95": (0.7, 0.8)}, "conclusive": True, "inconclusive_because": None}
    doubted = {**about, "auc": {"value": None, "ci95": None}, "conclusive": False, "inconclusive_because": "few films"}
    said = [" ".join(line.split()) for line in drawn(own_entries("Who?", [sure, doubted, about]), 120).splitlines()]
    assert said == [
        "Who? AUC 95 % interval",
        "fisher:Fisher, fisher 0.750 0.700 to 0.800",
        "fisher:Fisher, fisher unknown unknown inconclusive",
        "fisher:Fisher, fisher unknown unknown",
        "fisher:Fisher, fisher: few films",
    ]
