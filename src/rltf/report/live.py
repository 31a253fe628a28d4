"""Runs that are under way, kept ready for a page that asks again and again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from rltf.report.build import assembled, runs_of
from rltf.report.digest import Digest
from rltf.report.page import as_json
from rltf.report.reading import Shrunk
from rltf.rollouts.records import RolloutRecord

LIVE_SIZE = 1_500_000
"""Bytes that rollouts may take on a page that is sent again after each step."""


class Live:
    """The page's data, made anew when something was written."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises `UserError` where a path is no run."""
        self._lock = threading.Lock()
        self._runs = runs_of(paths)
        self._digests = [self._fresh(i) for i in range(len(self._runs))]
        self._version, self._text = 0, ""

    def _fresh(self, number: int) -> Digest:
        return Digest(self._runs[number], size=LIVE_SIZE // len(self._runs))

    def data(self, known: int) -> tuple[int, str | None]:
        """The newest version and its data as JSON; no data where the page knows that version."""
        with self._lock:
            news = [self._advance(i) for i in range(len(self._digests))]
            if any(news) or not self._version:
                self._version += 1
                data = assembled([digest.data() for digest in self._digests])
                self._text = as_json(data)
            return self._version, None if known == self._version else self._text

    def _advance(self, number: int) -> bool:
        digest = self._digests[number]
        try:
            if digest.same_run():
                return digest.advance()
        except Shrunk:
            pass
        # A resumed run goes on from an earlier step, or to a later end.
        self._digests[number] = self._fresh(number)
        self._digests[number].advance()
        return True

    def record(self, run: int, step: int, group: int, rollout: int) -> RolloutRecord | None:
        """A rollout in full, as its run has written it; None where there is none such."""
        if not 0 <= run < len(self._runs):
            return None
        for record in self._runs[run].rollouts():
            if (record.step or 0) > step:
                return None
            if (record.step, record.group or 0, record.rollout) == (step, group, rollout):
                return record
        return None
