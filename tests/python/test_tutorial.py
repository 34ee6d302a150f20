"""The tutorial runs from its first cell to its last, here with a smaller cohort than its readers have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.ipynb"
LARGEST = 64 << 10  # bytes: it is read in a diff
SMALLER = {
    "cohort.patients": 40,
    "cohort.size": 32,
    "tasks.findings.steps": 4,
    "tasks.findings.width": 4,
    "tasks.findings.min_positives": 2,
    "tasks.findings.bootstraps": 50,
    "adversaries.verifier.steps_clean": 4,
    "adversaries.verifier.steps_retrain": 4,
    "adversaries.verifier.width": 4,
    "adversaries.verifier.people": 8,
    "compute.device": "cpu",
}


def tutorial() -> Any:
    return nbformat.read(TUTORIAL, as_version=4)  # type: ignore[no-untyped-call]


def cells(kind: str) -> list[Any]:
    return [cell for cell in tutorial().cells if cell.cell_type == kind]


@pytest.mark.slow
def test_every_cell_runs_in_order(tmp_path: Path) -> None:
    notebook = tutorial()
    [settings] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    settings.source = f"settings = {SMALLER!r}"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    ran = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in ran)
    assert "did you mean 'scale'" in json.dumps(ran[-1].outputs)
    assert len(list(tmp_path.glob("runs/*/*/result.json"))) == 4


def test_what_it_shows_was_printed_by_its_own_cells_and_is_modest() -> None:
    """Cells in order and none left out, no error among the outputs, and no path or picture of whoever ran it."""
    counts = [cell.execution_count for cell in cells("code")]
    assert counts == list(range(1, len(counts) + 1))
    assert not [one for cell in cells("code") for one in cell.outputs if one.output_type == "error"]
    text = TUTORIAL.read_text()
    assert len(text.encode()) <= LARGEST
    assert "image/png" not in text
    assert not re.search(r"/(home|root|tmp|work)/", text)


def test_it_links_to_pages_that_there_are() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", "\n".join(cell.source for cell in cells("markdown")))
    assert links
    assert all((TUTORIAL.parent / link).is_file() for link in links)
