"""Pages of one file that need nothing else: no network, no script to be read, any width, light and dark, on paper.

What is put on a page may have come from anyone: `text` makes it harmless, and whatever is not markup of ours goes
through it.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence

from fedcxr.errors import shown
from fedcxr.page.style import STYLE


def document(title: str, parts: Iterable[str], *, style: str = "", script: str = "") -> str:
    """The whole file. Nothing is fetched, and the one script that may run is this one, by its digest."""
    runs = f"; script-src 'sha256-{_digest(script)}'" if script else ""
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'{runs}; base-uri 'none'; form-action 'none'"
    scripted = f"<script>{script}</script>\n" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{text(title)}</title><style>{STYLE}{style}</style></head>\n<body>\n"
        + "\n".join(parts)
        + f"\n{scripted}</body></html>\n"
    )


def text(value: object) -> str:
    """Anybody's words: no markup, and nothing that hides or turns around what stands beside it."""
    return html.escape(shown(str(value)))


def paragraphs(sentences: Iterable[str]) -> str:
    """Each for itself."""
    return "".join(f"<p>{text(sentence)}</p>" for sentence in sentences)


def items(told: Sequence[str]) -> str:
    """A list; nothing where there is nothing to tell."""
    return f"<ul>{''.join(f'<li>{text(item)}</li>' for item in told)}</ul>" if told else ""


def anchor(*words: object) -> str:
    """A name for a place on the page that no word can break out of."""
    return "at-" + hashlib.sha256("\n".join(map(str, words)).encode("utf-8", "replace")).hexdigest()[:12]


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
