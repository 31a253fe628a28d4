"""`rltf report`: a run, several of them or a comparison as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rltf.report.build import report
from rltf.report.page import page
from rltf.runs.report import plain
from rltf.support.errors import UserError

REPORT = "report.html"


def report_command(paths: Sequence[Path], out: Path | None) -> None:
    """Reads the runs and writes the file."""
    path = out if out is not None else (paths[0] if len(paths) == 1 else Path()) / REPORT
    if path.is_dir():
        raise UserError(f"--out {path}: is a directory; name a file, such as {path / REPORT}")
    text = page(report(paths))
    path.write_text(text, encoding="utf-8")
    size = len(text.encode("utf-8")) / 1e6
    Console().print(plain(f"wrote {path} ({size:.1f} MB); open it in a browser"), soft_wrap=True)
