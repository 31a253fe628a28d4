"""The page as one file: markup, style, scripts and data in it, and nothing that it would fetch."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from rltf.support.texts import sound

# The library first; then ours, in the order in which they build on each other.
SCRIPTS = ("uplot/uPlot.iife.min.js", "text.js", "charts.js", "overview.js", "tokens.js", "viewer.js", "start.js")
STYLES = ("uplot/uPlot.min.css", "page.css")
_TITLE = "<title>rltf report</title>"
_HEAD = 10_000
"""Bytes of a page within which its title stands."""
_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; base-uri 'none'; form-action 'none'"
)


def policy(*, live: bool = False) -> str:
    """What the page may run and load: its own scripts and styles by their digest, and on a live page its own server."""
    scripts = " ".join(f"'{_digest(script)}'" for script in _sources(SCRIPTS))
    styles = " ".join(f"'{_digest(style)}'" for style in _sources(STYLES))
    return _POLICY.format(scripts=scripts, styles=styles) + ("; connect-src 'self'" if live else "")


def page(data: Mapping[str, Any], *, live: bool = False) -> str:
    """The whole file. `data` is what `report.build` gives; with `live`, the page asks its server for more of it."""
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy(live=live)}">'
    styles = "\n".join(f"<style>{style}</style>" for style in _sources(STYLES))
    scripts = "\n".join(f"<script>{script}</script>" for script in _sources(SCRIPTS))
    page = _source("page.html")
    for mark, text in {"POLICY": head, "STYLES": styles, "DATA": embedded(data), "SCRIPTS": scripts}.items():
        before, found, after = page.partition(f"<!-- {mark} -->")
        assert found, f"page.html has no place for {mark}"
        page = before + text + after
    return page


def is_page(path: Path) -> bool:
    """Whether a file is a page that was made here, or empty."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return not head or _TITLE.encode() in head


def embedded(data: Mapping[str, Any]) -> str:
    """Data as a block that no browser runs, and that no text in it can end."""
    text = as_json(data)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="data">{text}</script>'


def as_json(data: Mapping[str, Any]) -> str:
    """JSON that UTF-8 can write, whatever texts are in it."""
    return sound(json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def _source(name: str) -> str:
    return files("rltf.report").joinpath("page", *name.split("/")).read_text("utf-8")


def _sources(names: tuple[str, ...]) -> list[str]:
    return [_source(name) for name in names]


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
