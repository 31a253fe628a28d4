"""`rltf watch`: the page of a run that is under way, and from it the page where feedback is written."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rltf.annotate.items import Desk, items_of_run
from rltf.annotate.server import AnnotationServer
from rltf.report.live import Live
from rltf.report.server import WatchServer
from rltf.rollouts.records import RolloutRecord
from rltf.runs.report import plain
from rltf.support.errors import Stopped, UserError


class Annotation:
    """The page where feedback is written, from the first time that it is asked for."""

    def __init__(self, path: Path) -> None:
        """`path`: the log that takes the feedback."""
        self._path = path
        self._lock = threading.Lock()
        self._server: AnnotationServer | None = None

    def __call__(self, record: RolloutRecord) -> str:
        """The address of the page, with the rollout's first attempt before the reader."""
        items = items_of_run([record])
        if not items:
            raise UserError("the first attempt is right, or empty: there is nothing to write about")
        with self._lock:
            if self._server is None:
                self._server = AnnotationServer(Desk([], self._path), 0)
                threading.Thread(target=self._server.serve_forever, daemon=True).start()
            self._server.desk.add(items[0])
            return f"{self._server.url}&item={items[0].key}"

    def close(self) -> Path | None:
        """Ends the page; says where what was written lies, if it was opened."""
        if self._server is None:
            return None
        self._server.shutdown()
        self._server.server_close()
        self._server.desk.close()
        return self._path


def watch_command(paths: Sequence[Path], port: int) -> None:
    """Serves the page until Ctrl-C."""
    live = Live(paths)
    live.data(0)  # A damaged run is told here, not in the page.
    annotation = Annotation(Path(f"{paths[0].resolve().name}-feedback.jsonl"))
    try:
        server = WatchServer(live, port, annotation)
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}; choose another, or none for any free one") from error
    console = Console()
    console.print(plain(f"open {server.url} (Ctrl-C ends)"), soft_wrap=True)
    try:
        server.serve_forever()
    except Stopped:
        written = annotation.close()
        if written is not None:
            console.print(plain(f"train with what was written: log.path={written}"), soft_wrap=True)
    finally:
        server.server_close()
