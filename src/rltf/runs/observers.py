"""Who watches a run: its progress view, a tracker, a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rltf.rollouts.records import EvaluationRecord, Summary, Timing


class Observer:
    """Watches a run. Each method does nothing here: take this class for a base and write those that you need.

    They are called in the run's own thread, in the order in which things happen, after what they tell of stands in the
    run's directory. What one of them raises ends the run, which can be resumed.
    """

    def begin(self, step: int, steps: int) -> None:
        """Training begins, or goes on where `step` of `steps` are done."""

    def note(self, text: str) -> None:
        """Something that a person should know of how the run is done, such as entries of a log that are left out."""

    def phase(self, name: str) -> None:
        """A long piece of work begins outside the steps (an evaluation, an export)."""

    def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
        """A step is done."""

    def evaluation(self, record: EvaluationRecord) -> None:
        """An evaluation is done; step 0 is before training."""

    def alarm(self, step: int, reason: str) -> None:
        """The run seems to go wrong; told once for each reason in a row."""

    def end(self, summary: Summary | None) -> None:
        """The run is over, or was stopped before its end (None), however that came."""


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def begin(self, step: int, steps: int) -> None:
        """Told to each."""
        for observer in self._observers:
            observer.begin(step, steps)

    def note(self, text: str) -> None:
        """Told to each."""
        for observer in self._observers:
            observer.note(text)

    def phase(self, name: str) -> None:
        """Told to each."""
        for observer in self._observers:
            observer.phase(name)

    def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
        """Told to each."""
        for observer in self._observers:
            observer.step(step, metrics, timing)

    def evaluation(self, record: EvaluationRecord) -> None:
        """Told to each."""
        for observer in self._observers:
            observer.evaluation(record)

    def alarm(self, step: int, reason: str) -> None:
        """Told to each."""
        for observer in self._observers:
            observer.alarm(step, reason)

    def end(self, summary: Summary | None) -> None:
        """Told to each."""
        for observer in self._observers:
            observer.end(summary)
