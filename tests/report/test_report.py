"""A report: what it says of hand-written runs, what becomes of those that cannot be read, and whose words it obeys."""

from __future__ import annotations

import csv
import io
import json
import stat
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from results_by_hand import figure
from runs_by_hand import compared, outlined, put, row, textured, three, whole

from fedcxr.errors import ConfigError, DataError, printable
from fedcxr.report import tables
from fedcxr.report.frontier import dominated
from fedcxr.report.making import report
from fedcxr.report.page import LARGEST, page

VOID = {"meta", "input", "img", "br", "link", "hr"}
OURS = {"html", "head", "body", "main", "section", "table", "svg", "script", "details", "form", "nav", "style"}
HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        "</title><script>alert(1)</script>",
        '" onload="alert(1)',
        "' style='color:red",
        "<!--",
        "-->",
        "]]>",
        "&lt;b&gt;",
        "=HYPERLINK(1)",
        r"\input{x}",
        "50 % & more_",
        "\u202eevil",
        "anonymous",
    ]
)


class Parsed(HTMLParser):
    """The page as a browser takes it: every element, every attribute, all that is read; and whether all is closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID and tag not in ("line", "circle", "rect", "path", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.words).split())


def fedcxr(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedcxr", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_study_is_answered_in_three_sentences(tmp_path: Path) -> None:
    made = report(three(tmp_path / "board"))
    first, second, third = made.document["answer"]
    assert first == "1 of 3 policies meets every constraint (sealed), and 1 break one."
    assert second == "Of noise .1 it cannot be told; of noise .1 because 0.7; 0.72 lies within."
    assert third.startswith("At worst, under sealed: ")
    assert "52 of 100 (47 to 57)" in third
    made.complain()


def test_a_run_is_answered_by_usefulness_and_by_its_worst_attack(tmp_path: Path) -> None:
    folder = put(tmp_path, whole(risk=0.9, converged=False))
    first, second, third = report(folder).document["answer"]
    assert "80 of 100 (78 to 82)" in first
    assert "verifier, retrained) is right in at least 90 of 100 (85 to 95); all controls held." in second
    assert "is the least it can be" in third


def test_the_page_has_every_section_with_its_figures_and_a_table_beside_every_drawing(tmp_path: Path) -> None:
    made = report(three(tmp_path / "board"))
    place = made.write(tmp_path / "out")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    parsed = Parsed(place.read_text())
    assert not parsed.open
    heads = [(tag, found.get("id")) for tag, found in parsed.elements if tag in ("h1", "h2", "h3")]
    assert [tag for tag, _ in heads][:2] == ["h1", "h2"]
    anchors = {found.get("id") for _, found in parsed.elements}
    links = [found["href"] or "" for tag, found in parsed.elements if tag == "a"]
    assert all(link.startswith("#") and link[1:] in anchors for link in links)
    for place_on_page in ("frontier", "findings", "attackers", "curves", "differences", "officer", "provenance"):
        assert place_on_page in anchors
    drawings = [found for tag, found in parsed.elements if tag == "svg"]
    assert drawings
    assert all(found["role"] == "img" and found["aria-labelledby"] in anchors for found in drawings)
    tables_there = sum(tag == "table" for tag, _ in parsed.elements)
    assert tables_there == sum(tag == "caption" for tag, _ in parsed.elements)
    assert tables_there > len(drawings)
    for said in ("0.520 0.470 to 0.570", "Worst attack over knowledge.own_films.people", "4,000", "too few"):
        assert said in parsed.said
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == made.document
    assert json.loads((tmp_path / "out" / "dpia.json").read_text())["policies"].keys() == {
        "sealed",
        "nothing protected",
        "noise .1",
    }


def test_attackers_of_other_questions_are_shown_and_their_doubts_told(tmp_path: Path) -> None:
    told = whole()
    one = {"question": "reconstruction", "adversary": "support", "attacker": "llr", "link_rate": {"value": 0.125}}
    # Without the rest of such an entry there is no assessment, and all else is there.
    told["privacy"]["recovery"] = [one | {"conclusive": False, "inconclusive_because": "28.6 dB is below 30"}]
    made = report(put(tmp_path, told))
    said = Parsed(page(made.document, made.shown)).said
    assert "support, llr reconstruction link rate 0.125 interval unknown inconclusive" in said
    assert "Inconclusive, because 28.6 dB is below 30 noise: support, llr" in said
    assert "noise has no assessment: its results are of another shape (KeyError: 'films')" in said


def test_what_holders_of_keys_see_stands_beside_what_others_do(tmp_path: Path) -> None:
    told = whole(risk=0.52)
    auc = {"value": 0.99, "ci95": [0.98, 1.0]}
    told["privacy"]["recipients"] = [
        {"role": "adversary", "name": "", "opens": 0, "of": 20, "auc": {"value": 0.52, "ci95": [0.47, 0.57]}},
        {"role": "reader", "name": "server", "opens": 20, "of": 20, "auc": auc},
    ]
    made = report(put(tmp_path, told))
    assert "server, which was granted keys, is right in 99 of 100 (98 to 100)." in made.document["answer"][1]
    assert "with keys: 0.990" in Parsed(page(made.document, made.shown)).said


def test_pairs_that_are_not_on_the_page_are_in_the_tables_with_their_own_correction(tmp_path: Path) -> None:
    folder = three(tmp_path / "board")
    study = json.loads((folder / "study.json").read_text())
    [shown] = study["differences"]
    study["other_differences"] = [{**shown, "left": "noise .1", "p_adjusted": 0.3}, {**shown, "figure": "texture"}]
    (folder / "study.json").write_text(json.dumps(study))
    made = report(folder)
    said = Parsed(made.write(tmp_path / "out").read_text()).said
    assert "sealed less nothing protected" in said
    assert "noise .1 less" not in said
    assert "2 comparisons of other pairs, corrected for each other, are in tables/differences.csv." in said
    assert made.document["other_differences"] == study["other_differences"]
    with (tmp_path / "out" / "tables" / "differences.csv").open(newline="") as file:
        lines = [(line["policy"], line["on the page"], line["corrected among"]) for line in csv.DictReader(file)]
    assert lines == [("sealed", "True", "1"), ("noise .1", "False", "2"), ("sealed", "False", "2")]
    typeset = (tmp_path / "out" / "tables" / "differences.tex").read_text()
    assert "trained & noise .1 & nothing protected" in typeset


def test_every_task_that_was_measured_is_on_the_page_and_in_the_tables(tmp_path: Path) -> None:
    made = report(three(tmp_path / "board"))
    place = made.write(tmp_path / "out")
    said = Parsed(place.read_text()).said
    heads = "policy constraints findings (AUC) worst attack (AUC) segmentation (Dice) texture (ICC) guarantee runs"
    assert heads in said
    assert "0.930 0.920 to 0.940" in said  # of sealed, in the table of policies
    assert "1 sealed: Dice 0.930 The anatomy survives: outlines are found as well as on clean films." in said
    assert "neighbours (GLCM) 0.730 0.630 to 0.830 0.250 0.5 3 0 0 1" in said
    # By hand there is less than its own table takes: what there is of it is told.
    assert "trained mean_auc 0.830 0.810 to 0.850" in said
    with (tmp_path / "out" / "tables" / "tasks.csv").open(newline="") as file:
        lines = {(line["policy"], line["task"]): line for line in csv.DictReader(file)}
    assert len(lines) == 9
    assert lines["sealed", "texture"]["figure"] == "utility.texture.mean_icc"
    found = [float(lines["sealed", "segmentation"][part]) for part in ("value", "low", "high")]
    assert found == pytest.approx([0.93, 0.92, 0.94])
    typeset = (tmp_path / "out" / "tables" / "tasks.tex").read_text()
    assert r"sealed & texture & utility.texture.mean\_icc & 0.730 & 0.630 & 0.830 \\" in typeset


def test_without_findings_policies_stand_by_the_first_task_that_has_a_main_figure(tmp_path: Path) -> None:
    for method, dice in (("none", 0.93), ("noise", 0.91)):
        for seed in (0, 1):
            told = whole(method, seed)
            told["utility"] = {"fidelity": None, "segmentation": outlined(dice - 0.01 * seed), "texture": textured(0.5)}
            put(tmp_path / "board", told)
    made = report(tmp_path / "board")
    answer = made.document["answer"][0]
    assert "the most useful of 2 is none, whose main figure of segmentation (Dice) is 0.925" in answer
    first, _ = made.document["policies"]
    assert first["utility"]["figure"] == "utility.segmentation.released.released.dice"
    assert first["utility"]["value"] == pytest.approx(0.905)
    assert first["utility"]["ci95"] == pytest.approx([0.89, 0.92])
    assert first["dominated_by"]["name"] == "none"
    drawn = page(made.document, made.shown)
    assert ">segmentation (Dice)</text>" in drawn  # beside the axis
    said = Parsed(drawn).said
    assert "findings (AUC)" not in said
    assert "This table is of seed 0; the main figure by seed: 0 0.930, 1 0.920." in said
    assert "No figure under none; noise: it does not apply, or cannot be read." in said
    alone = report(tmp_path / "board" / "none-0123-0").document["answer"][0]
    assert alone.startswith("The anatomy survives: outlines are found as well as on clean films.")


def test_a_task_from_outside_is_told_by_what_is_stored_and_its_code_is_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "edges_of_theirs.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    task = "edges_of_theirs:Edges"
    told = whole()
    told["utility"] = {task: {"kept": {"value": 0.25, "ci95": [0.2, 0.3]}, "films": 7}}
    folder = put(tmp_path / "board", told)
    compared(folder.parent, [row([folder], "noise", None)])
    assert report(folder.parent).document["policies"][0]["utility"]["value"] is None
    stored = json.loads((folder.parent / "study.json").read_text())
    stored["tasks"] = {task: {"path": "kept", "name": "kept", "says": "how much of all edges is kept"}}
    (folder.parent / "study.json").write_text(json.dumps(stored))
    made = report(folder.parent)
    made.complain()
    assert made.document["policies"][0]["utility"]["value"] == 0.25
    said = Parsed(page(made.document, made.shown)).said
    assert "kept: how much of all edges is kept" in said
    assert "kept 0.250 0.200 to 0.300" in said


@pytest.mark.parametrize("wrong", ["much", float("nan")])
def test_what_a_task_measured_and_nobody_can_read_is_named(tmp_path: Path, wrong: Any) -> None:
    told = whole()
    told["utility"]["texture"]["mean_icc"] = figure(wrong)
    made = report(put(tmp_path, told))
    (lacking,) = made.lacking
    assert lacking.startswith("texture of noise-0123, seed 0, cannot be read: its figures are of another shape")
    assert made.document["policies"][0]["tasks"]["texture"]["value"] is None
    made.write(tmp_path / "out")


def test_where_the_marker_of_a_run_is_cut_its_report_says_so(tmp_path: Path) -> None:
    folder = put(tmp_path, whole())
    (folder / "run.json").write_text('{"format": 2, "ver')
    done = fedcxr("report", folder)
    assert done.returncode == 3
    (line,) = [line for line in done.stderr.splitlines() if "run.json" in line]
    assert "noise-0123-0 is reported, and which code made it is unknown" in line
    assert "another version of the code" not in done.stderr
    said = Parsed((folder / "report.html").read_text()).said
    _, provenance = said.split("Where the figures come from Data-protection officer", 1)
    assert "unknown" in provenance
    assert "run.json" in provenance


def test_what_cannot_be_read_is_named_in_one_line_and_the_rest_is_reported(tmp_path: Path) -> None:
    study = three(tmp_path / "board")
    (study / "none-0123-0" / "result.json").write_text('{"schema": 1, "run"')
    other = whole("dp_pix") | {"schema": 2}
    put(study, other)
    put(study, {**whole("synth"), "cost": {"bytes_up": "much"}})
    unfinished = put(study, whole("sca"))
    (unfinished / "result.json").unlink()
    done = fedcxr("report", study)
    assert done.returncode == 3
    assert len([line for line in done.stderr.splitlines() if line.startswith("error:")]) == 1
    assert "the report was written, without what could not be read" in done.stderr
    page_said = Parsed((study / "report.html").read_text()).said
    assert (
        "dp_pix-0123-0 cannot be read: this result is of another schema; given: 2 in dp_pix-0123-0; allowed: 1"
        in page_said
    )
    assert "none-0123-0 cannot be read" in page_said
    assert "synth-0123-0 cannot be read: result: cost.bytes_up" in page_said
    assert "sca-0123-0 is unfinished" in page_said
    assert "52 of 100" in page_said


def test_results_of_other_code_are_reported_and_said_to_be(tmp_path: Path) -> None:
    folder = put(tmp_path, whole(), code="0" * 64)
    done = fedcxr("report", folder, "--out", tmp_path / "elsewhere")
    assert done.returncode == 0
    assert "1 of 1 results were made by another version of the code" in done.stderr
    assert "another version of the code" in Parsed((tmp_path / "elsewhere" / "report.html").read_text()).said


def test_without_study_json_the_runs_are_reported_and_no_constraint_is_said_to_be_met(tmp_path: Path) -> None:
    put(tmp_path / "board", whole(seed=0))
    put(tmp_path / "board", whole(seed=1, useful=0.9))
    made = report(tmp_path / "board")
    (one,) = made.document["policies"]
    assert one["seeds"] == [0, 1]
    assert one["utility"]["value"] == pytest.approx(0.85)
    assert one["utility"]["ci95"] == pytest.approx([0.78, 0.92])
    assert one["meets"] is None
    assert made.document["lacking"][0].startswith("study.json is not there")


def test_what_is_no_run_and_what_has_no_result_ends_in_one_line(tmp_path: Path) -> None:
    three(tmp_path / "runs" / "board")
    with pytest.raises(ConfigError, match=r"neither a run nor a study.*such as board"):
        report(tmp_path / "runs")
    with pytest.raises(ConfigError, match="neither a run nor a study"):
        report(tmp_path / "nowhere")
    folder = put(tmp_path, whole())
    (folder / "result.json").unlink()
    with pytest.raises(DataError, match=r"there is no result to report on.*is unfinished"):
        report(folder)


@pytest.fixture
def opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only browser there is; where it writes which page it was told to show."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/shown\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", str(browser))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "TERM"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "shown"


def test_the_page_is_opened_in_the_browser_that_somebody_chose(tmp_path: Path, opens: Path) -> None:
    folder = put(tmp_path / "a study", whole())
    done = fedcxr("report", folder, "--open")
    assert (done.returncode, "browser" in done.stderr) == (0, False)
    assert opens.read_text().strip() == (folder / "report.html").resolve().as_uri()


def test_where_there_is_no_browser_it_is_said_where_the_page_is(
    tmp_path: Path, opens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BROWSER")
    monkeypatch.setenv("PATH", str(tmp_path))  # wherever one may be installed
    folder = put(tmp_path / "study", whole())
    done = fedcxr("report", folder, "--open")
    assert (done.returncode, opens.exists()) == (0, False)
    assert done.stderr.splitlines()[-1] == f"no browser could be started; open {folder / 'report.html'} by hand"


def test_pictures_of_patients_are_shown_only_where_that_is_asked_for(tmp_path: Path) -> None:
    real = whole()
    real["scenario"]["cohort"] = {"source": "nih"}
    for folder, told in ((tmp_path / "made-up", whole()), (tmp_path / "real", real)):
        (put(folder, told) / "pictures").mkdir()
        Image.new("L", (600, 900), 90).save(folder / "noise-0123-0" / "pictures" / "site-1.png")
        (folder / "noise-0123-0" / "pictures" / "site-2.png").write_bytes(b"no picture")

    def drawn(folder: str, shown: bool | None = None) -> str:
        made = report(tmp_path / folder / "noise-0123-0", shown)
        return page(made.document, made.shown)

    assert "data:image/webp" in drawn("made-up")
    assert "pictures of patients" not in drawn("made-up")
    assert "data:image" not in drawn("made-up", shown=False)
    assert "data:image" not in drawn("real")
    assert "This page holds pictures of patients" in drawn("real", shown=True)


def test_a_word_that_nobody_can_prove_is_never_printed(tmp_path: Path) -> None:
    study = three(tmp_path / "board", name="Anonymous noise", site="anonymised")
    out = report(study).write(tmp_path / "out").parent
    for file in (file for file in out.rglob("*") if file.is_file()):
        assert "anonym" not in file.read_text().lower(), file


@settings(max_examples=40, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE)
def test_nobody_else_writes_markup(
    tmp_path_factory: pytest.TempPathFactory, name: str, finding: str, reason: str
) -> None:
    folder = tmp_path_factory.mktemp("hostile") / "study"
    told = whole(findings=[finding], conclusive=False, inconclusive_because=reason, site=name)
    told["scenario"]["knowledge"][name] = {"held": reason}
    told["environment"][reason] = name
    compared(put(folder, told).parent, [row([folder / "noise-0123-0"], name, None)])
    made = report(folder)
    parsed = Parsed(page(made.document, made.shown))
    assert not parsed.open
    assert [tag for tag, _ in parsed.elements].count("script") == 1
    assert not any(word.startswith("on") or (word == "href" and not (value or "").startswith("#"))
                   for _, found in parsed.elements for word, value in found.items())  # fmt: skip
    if "anonym" not in name.lower():
        assert " ".join(printable(name).split()) in " ".join(parsed.said.split())
    for table in tables.of(made.document):
        rows = list(csv.reader(io.StringIO(tables.csv(table))))
        assert {len(one) for one in rows} == {len(table.heads)}
        assert not any(cell[:1] in "=+@" and cell for one in rows[1:] for cell in one)
        for line in tables.latex(table).splitlines()[4:-2]:
            assert line.replace(r"\&", "").count("&") == len(table.heads) - 1


def test_latex_prints_what_it_might_obey() -> None:
    assert tables.escaped(r"50 % of $x_1 & {y} \input~^") == (
        r"50 \% of \$x\_1 \& \{y\} \textbackslash{}input\textasciitilde{}\textasciicircum{}"
    )


def test_whoever_is_dominated_by_an_untrusted_figure_is_so_only_if_it_holds() -> None:
    def one(name: str, useful: float, risk: float, question: str = "linkage", bound: bool = False) -> dict[str, Any]:
        told = {"question": question, "value": risk, "conclusive": True, "lower_bound": bound}
        return {"name": name, "utility": {"value": useful}, "risk": told}

    found = dominated(
        [
            one("best", 0.9, 0.6),
            one("worse", 0.8, 0.7),
            one("private", 0.7, 0.5, bound=True),
            one("as private", 0.6, 0.55),
            one("another question", 0.1, 0.9, question="membership"),
            one("equal", 0.9, 0.6),
        ]
    )
    assert found == [
        None,
        {"name": "best", "surely": True},
        None,
        {"name": "private", "surely": False},
        None,
        None,
    ]


def test_however_many_policies_there_are_the_page_stays_small(tmp_path: Path) -> None:
    made = report(three(tmp_path / "board"))
    many = [dict(one, name=f"{one['name']} {number}") for number in range(400) for one in made.document["policies"]]
    drawn = page({**made.document, "policies": many}, {})
    assert len(drawn.encode()) <= LARGEST
    assert "tables/policies.csv has all" in Parsed(drawn).said
