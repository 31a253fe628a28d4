"""A log's entries as problems."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

from rltf.feedback.logged.entries import LogEntry
from rltf.support.errors import UserError
from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK, Family, FeedbackLevel, Rubric, Task
from rltf.tasks.mixture import parts_of, problem_of
from rltf.tasks.puzzle import last_answer, tag_answer
from rltf.types import Problem, Score, Split


class LoggedAnswers:
    """Problems of a log's entries: their scorer is what equals the logged answer, spaces and case aside, or a judge."""

    name = "log"
    family: Family = "general"

    def __init__(self, entries: Sequence[LogEntry], *, scored: bool, rubric: Rubric | None = None) -> None:
        """Raises `UserError` where an entry has no answer to score by.

        Not `scored`, and without a rubric for a judge, no attempt is right or wrong.
        """
        if scored:
            for number, entry in enumerate(entries, start=1):
                if entry.answer is None or not entry.answer.strip():
                    raise UserError(
                        f"log.score=answer: entry {number} of the log has no answer; add it or remove the entry"
                    )
        self._entries, self._scored, self._rubric = entries, scored, rubric

    def size(self, split: Split) -> int:
        """All entries are for training."""
        return len(self._entries) if split == "train" else 0

    def problem(self, split: Split, index: int) -> Problem:
        """The problem of an entry; its prompt is the conversation's last message."""
        entry = self._entries[index]
        return Problem(
            task=self.name, split=split, index=index, prompt=entry.messages[-1].content, answer=entry.answer or ""
        )

    def rubric(self, problem: Problem) -> Rubric | None:
        """How a judge scores, where one does."""
        return self._rubric

    def score(self, problem: Problem, text: str) -> Score:
        """1 for the logged answer."""
        if not self._scored:
            return Score(reward=0.0, correct=False, well_formed=True, answer=None, explanation="Not scored.")
        answer = last_answer(text)
        given = text if answer is None else answer
        correct = _normal(given) == _normal(problem.answer)
        explanation = "The answer is that of the log." if correct else "The answer is not that of the log."
        return Score(
            reward=float(correct), correct=correct, well_formed=True, answer=given.strip(), explanation=explanation
        )

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """What a judge who scored said, else right or wrong: the log's feedback is about the log's own attempts."""
        if score.criticism is not None and level != "correctness":
            return score.criticism
        return CORRECT_FEEDBACK if score.correct else INCORRECT_FEEDBACK

    def write_answer(self, answer: str) -> str:
        """The answer between tags."""
        return tag_answer(answer)

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """None: nothing is known of such answers."""
        yield from ()

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """Whether the logged answer stands in the text."""
        answer = re.escape(_normal(problem.answer))
        return bool(answer) and re.search(rf"(?<!\w){answer}(?!\w)", _normal(text)) is not None


def problems_of(entries: Sequence[LogEntry], task: Task) -> list[Problem]:
    """The problems of a task that entries name; raises `UserError` where one names none or another."""
    found: list[Problem] = []
    parts = parts_of(task)
    for number, entry in enumerate(entries, start=1):
        place = entry.problem
        if place is None or place.task not in parts:
            raise UserError(
                f"log.score=task: entry {number} of the log names no problem of {' or '.join(parts)}; "
                "set log.score=answer, or the task that the log is about"
            )
        if place.split != "train":
            raise UserError(
                f"entry {number} of the log is about a {place.split} problem, which no training may see; remove it"
            )
        try:
            problem = problem_of(task, place.task, place.split, place.index)
        except IndexError:
            raise UserError(f"entry {number} of the log: {place.task} has no train problem {place.index}") from None
        if not any(problem.prompt in message.content for message in entry.messages):
            raise UserError(
                f"entry {number} of the log holds another question than train problem {place.index} of {place.task}; "
                "use the task's settings with which the log was made"
            )
        found.append(problem)
    return found


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()
