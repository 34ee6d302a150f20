"""The documentation as a site of its own: this repository's pages, and a reference that is read off the code.

    scripts/make docs                  # into build/docs; open build/docs/index.html
    scripts/make docs --out DIR

Built without a network. A link that leads nowhere, inside a page or between two, is an error.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import _reference

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
FENCED = re.compile(r"(^```.*?^```)", re.M | re.S)
CONFIGURATION = """
project = "fedcxr"
extensions = ["myst_nb"]
root_doc = "docs/index"
exclude_patterns = []
html_theme = "furo"
html_title = "fedcxr"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
nb_execution_mode = "off"  # a test executes notebooks; the site shows what they said
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
smartquotes = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
highlight_language = "text"
"""
STYLE = "table.docutils th { text-align: left } table.docutils td { vertical-align: top }\n"
# What stands below a page, where the page itself says so in words alone.
BELOW = {"docs/decisions/README.md": "0*"}


def main() -> int:
    """Lay the pages out in a folder of their own, and build them."""
    parser = argparse.ArgumentParser(description="Build the documentation as a site.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs", metavar="DIR")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        lay_out(source)
        (source / "conf.py").write_text(CONFIGURATION)
        (source / "_static").mkdir()
        (source / "_static" / "site.css").write_text(STYLE)
        strict = ("--fail-on-warning", "--keep-going", "--quiet")
        command = [sys.executable, "-m", "sphinx", *strict, "--builder", "html", str(source), str(out)]
        code = subprocess.run(command, check=False).returncode
    if code == 0:
        (out / "index.html").write_text('<meta http-equiv="refresh" content="0; url=docs/index.html">\n')
        print(out / "index.html")
    return code


def lay_out(source: Path) -> None:
    """Every page where the repository has it, whatever it links to, and the reference beside the pages in docs/."""
    for page in pages():
        told = page.read_text()
        written = told if page.suffix == ".ipynb" else linked(page, told)
        place = source / page.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(written)
        for target in targets(page, told):
            if target.is_file() and target.suffix not in (".md", ".ipynb"):
                copy = source / target.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(target, copy)
    for name, below in BELOW.items():
        with (source / name).open("a") as page_above:
            page_above.write(f"\n```{{toctree}}\n:hidden:\n:glob:\n\n{below}\n```\n")
    (source / "docs" / "reference").mkdir()
    for name, text in _reference.pages():
        (source / "docs" / "reference" / f"{name}.md").write_text(text)


def pages() -> list[Path]:
    """What people read, at the top of the repository and in docs/."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]
    return sorted(page for page in found if ".ipynb_checkpoints" not in page.parts)


def targets(page: Path, told: str) -> Iterator[Path]:
    """The files and folders of the repository that a page links to."""
    for _, _, target, _ in LINK.findall(FENCED.sub("", told)):
        if "://" not in target:
            yield (page.parent / target).resolve()


def linked(page: Path, told: str) -> str:
    """A page as the site can link it: a folder is nothing that a browser could show, and is named in words."""

    def named(match: re.Match[str]) -> str:
        picture, words, target, _ = match.groups()
        folder = "://" not in target and (page.parent / target).is_dir()
        return words if folder and not picture else match.group()

    parts = FENCED.split(told)
    return "".join(part if part.startswith("```") else LINK.sub(named, part) for part in parts)


if __name__ == "__main__":
    sys.exit(main())
