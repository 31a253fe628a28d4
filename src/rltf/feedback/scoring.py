"""Who gives an attempt its score: the task's verifier, or a judge where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rltf.tasks.base import Task, rubric_of, score_all
from rltf.types import FeedbackFailure, Problem, Score


class Scorer(Protocol):
    """Scores attempts, all those of a turn at once."""

    def scores(self, attempts: Sequence[tuple[Problem, str]], seed: int) -> list[Score | FeedbackFailure]:
        """The score of each attempt, or why it has none; `seed` decides whatever is drawn by chance."""
        ...


class TaskScorer:
    """The task's own verifier; where it has none, a judge."""

    def __init__(self, task: Task, judge: Scorer | None = None) -> None:
        """`judge` may be None where the task scores all its problems."""
        self._task, self._judge = task, judge

    def scores(self, attempts: Sequence[tuple[Problem, str]], seed: int) -> list[Score | FeedbackFailure]:
        """One score or failure per attempt."""
        judged = [rubric_of(self._task, problem) is not None for problem, _ in attempts]
        verified = iter(
            score_all(self._task, [a for a, by_judge in zip(attempts, judged, strict=True) if not by_judge])
        )
        if not any(judged):
            return list(verified)
        assert self._judge is not None
        answers = iter(self._judge.scores([a for a, by_judge in zip(attempts, judged, strict=True) if by_judge], seed))
        return [next(answers) if by_judge else next(verified) for by_judge in judged]
