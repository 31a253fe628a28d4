"""What a task is: problems, a scorer that never raises, and rule-based feedback that reads the attempt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from rltf.support.side_by_side import in_calling_thread
from rltf.types import Problem, Score, Split

FeedbackLevel: TypeAlias = Literal["hint", "marks", "located", "count", "correctness"]
"""From the most telling to the least; a task that has no hints or marks locates instead, and a config that asks for
them is refused."""

Family: TypeAlias = Literal["puzzle", "maths", "writing", "code", "general"]
"""The kinds of task that an LLM judge has a prompt of its own for."""

CORRECT_FEEDBACK = "Your previous answer was correct."
TRUNCATED_FEEDBACK = "Your previous answer was cut off before it ended."
INCORRECT_FEEDBACK = "Your previous answer was incorrect."


class Task(Protocol):
    """A family of problems.

    `problem` is deterministic: the same configuration, split and index give the same problem on every
    machine. `score` and `feedback` accept any text at all and never raise.
    """

    @property
    def name(self) -> str:
        """The name that selects the task in a config."""
        ...

    @property
    def family(self) -> Family:
        """Which prompt an LLM judge gets."""
        ...

    def size(self, split: Split) -> int:
        """How many problems a split has."""
        ...

    def problem(self, split: Split, index: int) -> Problem:
        """Problem `index` of a split, `0 <= index < size(split)`."""
        ...

    def score(self, problem: Problem, text: str) -> Score:
        """The verdict on an attempt's text."""
        ...

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """What is wrong with the attempt, in English, without giving the answer."""
        ...

    def write_answer(self, answer: str) -> str:
        """An attempt, as a model would write it, whose extracted answer is `answer`."""
        ...

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """Well-formed answers near the gold one that must not score 1 (for `rltf validate`)."""
        ...

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """Whether a feedback text contains the gold answer in any form the task knows."""
        ...


@runtime_checkable
class ScoresMany(Protocol):
    """A task whose scorer is slow, and quicker with many attempts at once."""

    def score_many(self, attempts: Sequence[tuple[Problem, str]]) -> list[Score]:
        """The verdict on each attempt's text."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """How a judge is to score an attempt: whole numbers, whose mean becomes the reward."""

    criteria: tuple[str, ...] = ()
    """What each number is for; empty for one number on the whole."""
    lowest: int = 1
    highest: int = 10
    passing: float
    """The mean from which an attempt counts as correct."""

    @property
    def scores(self) -> int:
        """How many numbers are asked for."""
        return max(1, len(self.criteria))

    def reward(self, mean: float) -> float:
        """The mean as a reward in [0, 1]."""
        return (mean - self.lowest) / (self.highest - self.lowest)


@runtime_checkable
class ScoredByJudge(Protocol):
    """A task without a verifier, at least for some of its problems. Their attempts never reach `score`."""

    def rubric(self, problem: Problem) -> Rubric | None:
        """How a judge scores attempts at the problem; None where `score` does."""
        ...


def criticism_at(level: FeedbackLevel, score: Score) -> str:
    """Feedback on an attempt that a judge has scored: what the judge said, or at the level `count` its score alone."""
    if level == "count" or score.criticism is None:
        return f"Your answer scores {1 + 9 * score.reward:.1f} of 10."
    return score.criticism


@runtime_checkable
class KnowsItsGolds(Protocol):
    """A task whose gold answers come from elsewhere, and may be none that an attempt can give."""

    def gold_fault(self, problem: Problem) -> str:
        """Why no attempt can meet the gold answer; empty where one can."""
        ...


def rubric_of(task: Task, problem: Problem) -> Rubric | None:
    """How a judge scores attempts at the problem; None where the task does."""
    return in_calling_thread(lambda: task.rubric(problem)) if isinstance(task, ScoredByJudge) else None


def score_all(task: Task, attempts: Sequence[tuple[Problem, str]]) -> list[Score]:
    """The task's verdict on each attempt, in order."""
    if isinstance(task, ScoresMany):
        return task.score_many(attempts)
    return [task.score(problem, text) for problem, text in attempts]
