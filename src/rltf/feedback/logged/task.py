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

    def __init__(
        self,
        entries: Sequence[LogEntry],
        *,
        scored: bool,
        rubric: Rubric | None = None,
        validation: Sequence[LogEntry] = (),
        test: Sequence[LogEntry] = (),
    ) -> None:
        """`validation` and `test` are entries whose questions evaluations ask.

        Scored are entries with an answer. Not `scored`, and without a rubric for a judge, none is right or wrong.
        """
        self._entries: dict[Split, Sequence[LogEntry]] = {"train": entries, "validation": validation, "test": test}
        self._scored, self._rubric = scored, rubric

    def size(self, split: Split) -> int:
        """How many entries a split has."""
        return len(self._entries[split])

    def problem(self, split: Split, index: int) -> Problem:
        """The problem of an entry: its prompt is the conversation's last message, after the others."""
        entry = self._entries[split][index]
        *before, last = entry.messages
        return Problem(
            task=self.name,
            split=split,
            index=index,
            prompt=last.content,
            answer=entry.answer or "",
            before=tuple(before),
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


def problem_of_entry(entry: LogEntry, task: Task) -> Problem:
    """The task's problem that an entry names; raises `UserError` where it names none or another."""
    parts, place = parts_of(task), entry.problem
    if place is None or place.task not in parts:
        raise UserError(
            f"it names no problem of {' or '.join(parts)}, which log.score=task asks for; set log.score=answer, or the "
            "task that the log is about"
        )
    if place.split != "train":
        raise UserError(f"it is about a {place.split} problem, which no training may see; remove it")
    try:
        problem = problem_of(task, place.task, place.split, place.index)
    except IndexError:
        raise UserError(f"{place.task} has no train problem {place.index}") from None
    if not any(problem.prompt in message.content for message in entry.messages):
        raise UserError(
            f"it holds another question than train problem {place.index} of {place.task}; use the task's settings with "
            "which the log was made"
        )
    return problem


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()
