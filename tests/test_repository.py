"""The files that only other people's programs read: they parse, and what they name exists."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import fedcxr

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"  # pages of the site alone, which are read off the code
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def test_a_commit_and_a_push_run_scripts_that_exist() -> None:
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    hooks = [hook["entry"] for hook in repository["hooks"]]
    jobs = read(".github/workflows/ci.yml")["jobs"].values()
    steps = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    assert (hooks, steps) == (["scripts/check"], [".ci/run"])
    assert all(os.access(ROOT / script, os.X_OK) for script in [*hooks, *steps])


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_something_under_names_of_their_own(form: Path) -> None:
    document = read(str(form.relative_to(ROOT)))
    assert {"name", "description", "body"} <= document.keys()
    asked = [field["id"] for field in document["body"] if field["type"] != "markdown"]
    assert asked
    assert len(set(asked)) == len(asked)
    assert all(field["attributes"] for field in document["body"])


def test_there_are_forms() -> None:
    assert [form.stem for form in FORMS] == ["bug", "idea"]


def test_a_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == fedcxr.__version__
    assert f'license = "{citation["license"]}"' in (ROOT / "pyproject.toml").read_text()


def links(page: Path) -> set[Path]:
    """The files and folders of this repository that a page links to."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s#]+)", prose)
    found = {(page.parent / target).resolve() for target in targets if "://" not in target}
    return {target for target in found if target.parent != REFERENCE}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    assert not [target for target in links(page) if not target.exists()]


def test_every_page_is_reached_from_the_readme() -> None:
    reached, new = set[Path](), {ROOT / "README.md"}
    while new:
        reached |= new
        new = {target for page in new for target in links(page) if target.suffix == ".md"} - reached
    assert set(PAGES) == reached
