"""Who gives an attempt its score: the task's verifier, or where there is none another scorer, by the task's rubric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rltf.support.side_by_side import in_calling_thread
from rltf.tasks.base import Task, rubric_of, score_all
from rltf.types import FeedbackFailure, Problem, Score


class Scorer(Protocol):
    """Scores attempts, all those of a turn at once."""

    def scores(self, attempts: Sequence[tuple[Problem, str]], seed: int) -> list[Score | FeedbackFailure]:
        """The score of each attempt, or why it has none; `seed` decides whatever is drawn by chance."""
        ...


class TaskScorer:
    """The task's own verifier; where it has none, another scorer by its rubric."""

    def __init__(self, task: Task, by_rubric: Scorer | None = None) -> None:
        """`by_rubric` may be None where the task verifies all its problems."""
        self._task, self._by_rubric = task, by_rubric

    def scores(self, attempts: Sequence[tuple[Problem, str]], seed: int) -> list[Score | FeedbackFailure]:
        """One score or failure per attempt."""
        has_rubric = [rubric_of(self._task, problem) is not None for problem, _ in attempts]
        for_task = [a for a, rubric in zip(attempts, has_rubric, strict=True) if not rubric]
        verified = iter(in_calling_thread(lambda: score_all(self._task, for_task)))
        if not any(has_rubric):
            return list(verified)
        assert self._by_rubric is not None
        others = [a for a, rubric in zip(attempts, has_rubric, strict=True) if rubric]
        scored = iter(self._by_rubric.scores(others, seed))
        return [next(scored) if rubric else next(verified) for rubric in has_rubric]
