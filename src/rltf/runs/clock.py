"""Seconds of a step's parts."""

from __future__ import annotations

import time

from rltf.rollouts.records import Timing


class Clock:
    """Starts when it is made; each lap ends a part."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._phases: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """The part that has just ended."""
        now = time.perf_counter()
        self._phases[name] = round(now - self._last, 4)
        self._last = now

    def timing(self, step: int, tokens: float = 0.0) -> Timing:
        """Up to the last lap; `tokens` are those sampled in it."""
        seconds = self._last - self._start
        return Timing(
            step=step,
            seconds=round(seconds, 4),
            phases=self._phases,
            tokens_per_second=round(tokens / max(seconds, 1e-9), 1),
        )
