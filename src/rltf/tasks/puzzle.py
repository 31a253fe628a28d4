"""What the generated puzzles share: disjoint splits of a generator, and an answer between tags."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import cached_property

from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK, Family, FeedbackLevel
from rltf.tasks.splits import DisjointSplits
from rltf.types import Problem, Score, Split

NO_ANSWER = "There is no answer between <answer> and </answer>."
EMPTY_ANSWER = "The answer is empty."
# An opening tag inside the block begins it anew, so that an unclosed one before it does no harm.
_ANSWER_BLOCK = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL)


def last_answer(text: str) -> str | None:
    """What stands in the last `<answer>` block of an attempt; None without one."""
    blocks = _ANSWER_BLOCK.findall(text)
    return str(blocks[-1]) if blocks else None


def tag_answer(answer: str) -> str:
    """An attempt that is nothing but its answer."""
    return f"<answer>\n{answer}\n</answer>"


def malformed(reason: str, answer: str | None = None) -> Score:
    """The score of an attempt that holds no answer to judge."""
    return Score(reward=0.0, correct=False, well_formed=False, answer=answer, explanation=reason)


class Puzzle(ABC):
    """A puzzle whose problems a generator draws from a seed."""

    name: str
    family: Family = "puzzle"

    def __init__(self, *, train_size: int, validation_size: int, test_size: int, data_seed: int) -> None:
        self._sizes: dict[Split, int] = {"train": train_size, "validation": validation_size, "test": test_size}
        self._data_seed = data_seed

    def size(self, split: Split) -> int:
        """How many problems a split has."""
        return self._sizes[split]

    def problem(self, split: Split, index: int) -> Problem:
        """Problem `index` of a split."""
        return self._splits.problem(split, index)

    def glance(self) -> list[Problem]:
        """Some training problems, drawn without the others."""
        return self._splits.glance("train")

    def write_answer(self, answer: str) -> str:
        """The answer as a model would write it."""
        return tag_answer(answer)

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """What is wrong with the attempt, as far as the level lets it be said."""
        if score.correct:
            return CORRECT_FEEDBACK
        return INCORRECT_FEEDBACK if level == "correctness" else self._criticise(problem, text, level)

    @abstractmethod
    def _criticise(self, problem: Problem, text: str, level: FeedbackLevel) -> str:
        """Feedback on an attempt that is wrong, at any level but `correctness`."""

    @cached_property
    def _splits(self) -> DisjointSplits:
        return DisjointSplits(self._draw, self._sizes, self._data_seed)

    @abstractmethod
    def _draw(self, split: Split, index: int, seed: int, position: int) -> Problem | None:
        """The problem at `position` of the stream that `seed` begins; None if the settings do not admit it."""
