"""What happens where a source of feedback fails: never a reward, never silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rltf.feedback.base import FeedbackSource
from rltf.support.errors import FeedbackStopped
from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK
from rltf.types import FailureCause, Feedback, FeedbackFailure, FeedbackRequest

# What says nothing about the state of the source.
_HARMLESS: frozenset[FailureCause] = frozenset({"nothing_to_say", "context", "no_other_problem"})


class Breaker:
    """Stops the run after so many failures in a row. The connection to an LLM judge has one of its own, which need not
    wait for a turn to end."""

    def __init__(self, limit: int | None) -> None:
        """`limit` None: never."""
        self._limit = limit
        self._in_a_row = 0

    def record(self, answer: object) -> None:
        """Counts an answer; raises `FeedbackStopped` with the failure that is one too many."""
        if not isinstance(answer, FeedbackFailure):
            self._in_a_row = 0
            return
        if answer.cause in _HARMLESS:
            return
        self._in_a_row += 1
        if self._limit is not None and self._in_a_row >= self._limit:
            raise FeedbackStopped(
                f"feedback has failed {self._in_a_row} times in a row, last with: {answer.reason} ({answer.source}); "
                "mend the source, or raise feedback.stop_after_failures"
            )


class GuardedSource:
    """Another source, with a policy for its failures."""

    def __init__(
        self, inner: FeedbackSource, on_failure: Literal["skip", "fallback", "stop"], breaker: Breaker
    ) -> None:
        self._inner, self._on_failure, self._breaker = inner, on_failure, breaker

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """The inner source's feedback, with failures left, replaced, or raised as `FeedbackStopped`."""
        answers = self._inner.feedback(requests, seed)
        # Siblings with the same attempt have the same answer, which counts once.
        distinct = {(r.problem.task, r.problem.index, r.attempt): a for r, a in zip(requests, answers, strict=True)}
        for answer in distinct.values():
            self._breaker.record(answer)
        return [self._treat(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def _treat(self, request: FeedbackRequest, answer: Feedback | FeedbackFailure) -> Feedback | FeedbackFailure:
        if isinstance(answer, Feedback) or self._on_failure == "skip" or answer.cause in _HARMLESS:
            return answer
        if self._on_failure == "stop":
            raise FeedbackStopped(f"feedback failed: {answer.reason} ({answer.source}), and feedback.on_failure=stop")
        text = CORRECT_FEEDBACK if request.score.correct else INCORRECT_FEEDBACK
        return Feedback(text=text, source=f"fallback:{answer.source}", stands_for=answer)
