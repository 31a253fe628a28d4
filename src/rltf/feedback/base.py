"""What a source of feedback is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rltf.types import Feedback, FeedbackFailure, FeedbackRequest


class FeedbackSource(Protocol):
    """A source of feedback on attempts.

    One call takes all the attempts of a turn, so that a slow source can work on them at the same time; or those of one
    group, where groups go on by themselves (`rollouts/collector.py`; never a source that is handed in from Python). It
    answers each request in order with feedback or with a recorded failure, and raises only where the run
    should stop.
    """

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """Feedback on each attempt, in the order of the requests; `seed` decides whatever is drawn by chance."""
        ...
