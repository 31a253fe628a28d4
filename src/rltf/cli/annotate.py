"""`rltf annotate`: a page where people write feedback."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from rltf.annotate.items import Desk, items_of_file, items_of_run
from rltf.annotate.server import AnnotationServer
from rltf.runs.report import plain
from rltf.runs.run import Run
from rltf.support.errors import Stopped, UserError


def annotate_command(source: Path, out: Path | None, port: int) -> None:
    """Serves the page until Ctrl-C; what was written is in the file at every moment."""
    items = items_of_run(Run.open(source).rollouts()) if source.is_dir() else items_of_file(source)
    if not items:
        raise UserError(f"{source}: holds no attempt that is wrong, so there is nothing to annotate")
    name = source.name if source.is_dir() else source.stem
    path = out if out is not None else Path(f"{name}-feedback.jsonl")
    if path.resolve() == source.resolve():
        raise UserError(f"--out {path}: is the file that is annotated; choose another")
    desk = Desk(items, path)
    try:
        server = AnnotationServer(desk, port)
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}; choose another, or none for any free one") from error
    console = Console()
    done = desk.progress("")["done"]
    console.print(plain(f"{len(items):,} attempts, {done:,} done; what is written goes to {path}"), soft_wrap=True)
    console.print(plain(f"open {server.url} (Ctrl-C ends)"), soft_wrap=True)
    try:
        server.serve_forever()
    except Stopped:
        done = desk.progress("")["done"]
        console.print(plain(f"{done:,} of {len(items):,} done; train with: log.path={path}"), soft_wrap=True)
    finally:
        server.server_close()
        desk.close()
