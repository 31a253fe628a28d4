"""`rltf report`: a run, several of them or a comparison as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rltf.report.build import report
from rltf.report.page import is_page, page
from rltf.runs.report import plain
from rltf.support.errors import UserError

REPORT = "report.html"


def report_command(paths: Sequence[Path], out: Path | None) -> None:
    """Reads the runs and writes the file."""
    path = out if out is not None else (paths[0] if len(paths) == 1 else Path()) / REPORT
    if path.is_dir():
        raise UserError(f"--out {path}: is a directory; name a file, such as {path / REPORT}")
    if out is not None and not path.parent.is_dir():
        raise UserError(f"--out {path}: there is no directory {path.parent}; make it, or name another")
    _check_replaceable(path)
    data = report(paths)
    text = page(data).encode("utf-8")
    # An earlier report stays until the new one is whole.
    partial = path.with_name(path.name + ".tmp")
    try:
        partial.write_bytes(text)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    size = len(text) / 1e6
    for fault in data["left_out"]:
        Console().print(plain(f"left out: {fault}"), soft_wrap=True)
    Console().print(plain(f"wrote {path} ({size:.1f} MB); open it in a browser"), soft_wrap=True)


def _check_replaceable(path: Path) -> None:
    """Refuses to write over what is no report, and among a run's records under a name that one may have."""
    if path.exists() and not is_page(path):
        raise UserError(f"--out {path}: exists and is no report; choose another name or remove it")
    if path.suffix != ".html" and (path.parent / "config.json").is_file():
        raise UserError(f"--out {path}: lies among a run's records; give a name that ends in .html")
