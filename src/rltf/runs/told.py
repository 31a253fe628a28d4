"""What a tracker was told already, so that a run that goes on after a crash tells nothing twice.

A run goes on from its newest checkpoint and makes the steps after it again. What a tracker was told of them stands in
its record, which cannot be cut as the run's own files are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from rltf.rollouts.records import EvaluationRecord, Summary, Timing
from rltf.runs.directory import RunDir
from rltf.runs.observers import Observer

TOLD = "told.jsonl"


class Once(Observer):
    """Tells a tracker what it was not told before the run was interrupted."""

    def __init__(self, name: str, tracker: Observer, run: RunDir) -> None:
        self._name, self._tracker, self._run = name, tracker, run
        self._before: set[tuple[int, str]] = set()

    def _tell(self, step: int, what: str, call: Callable[[Observer], None]) -> None:
        if (step, what) in self._before:
            return
        call(self._tracker)
        # Afterwards: a crash in between has it told twice, and not never.
        self._run.append(TOLD, [{"step": step, "tracker": self._name, "what": what}])

    def begin(self, step: int, steps: int) -> None:
        """Reads what was told; the tracker begins, or goes on."""
        self._run.cut_after(TOLD, sys.maxsize)  # no line, but one that a crash cut short
        lines = self._run.records(TOLD)
        self._before = {(line["step"], line["what"]) for line in lines if line["tracker"] == self._name}
        self._tracker.begin(step, steps)

    def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
        """Told once."""
        self._tell(step, "step", lambda tracker: tracker.step(step, metrics, timing))

    def evaluation(self, record: EvaluationRecord) -> None:
        """Told once."""
        self._tell(record.step, record.split, lambda tracker: tracker.evaluation(record))

    def alarm(self, step: int, reason: str) -> None:
        """Told once."""
        self._tell(step, f"alarm: {reason}", lambda tracker: tracker.alarm(step, reason))

    def end(self, summary: Summary | None) -> None:
        """Told whenever the run ends."""
        self._tracker.end(summary)
