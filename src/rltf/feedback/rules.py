"""Feedback from the task's own rules: a program that reads the attempt."""

from __future__ import annotations

from collections.abc import Sequence

from rltf.support.side_by_side import in_calling_thread
from rltf.tasks.base import INCORRECT_FEEDBACK, TRUNCATED_FEEDBACK, FeedbackLevel, Task
from rltf.types import Feedback, FeedbackFailure, FeedbackRequest


class RuleSource:
    """Asks the task what is wrong, at one level of detail."""

    def __init__(self, task: Task, level: FeedbackLevel) -> None:
        self._task = task
        self._level: FeedbackLevel = level

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """One feedback per request; rules do not fail."""
        texts = in_calling_thread(lambda: [self._text(request) for request in requests])
        return [Feedback(text=text, source=f"rules:{self._level}") for text in texts]

    def _text(self, request: FeedbackRequest) -> str:
        if request.truncated:
            return INCORRECT_FEEDBACK if self._level == "correctness" else self._of_cut(request)
        return self._task.feedback(request.problem, request.attempt, request.score, self._level)

    def _of_cut(self, request: FeedbackRequest) -> str:
        """That the attempt was cut; and what is wrong with what there is, where that was scored and is not right."""
        fragment = request.score.of_fragment
        if fragment is None or fragment.correct:
            return TRUNCATED_FEEDBACK
        wrong = self._task.feedback(request.problem, request.attempt, fragment, self._level)
        return f"{TRUNCATED_FEEDBACK}\n{wrong}"
