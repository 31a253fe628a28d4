"""Competition maths: a question, and a final answer in `\\boxed{}` that is compared by value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

from rltf.support.errors import UserError
from rltf.support.guarded import Failed
from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK, Family, FeedbackLevel
from rltf.tasks.listed import Item, ListedTask
from rltf.tasks.maths.boxed import box
from rltf.tasks.maths.decide import Verdict
from rltf.tasks.maths.golds import normal_answer
from rltf.tasks.maths.leaks import names_answer
from rltf.tasks.maths.remarks import (
    FAULTS_OF_FORM,
    UNCHECKED,
    UNREADABLE,
    WRONG,
    extract,
    fault_of_form,
    locate,
)
from rltf.tasks.maths.sets import RowForm, is_own, read_problems
from rltf.tasks.maths.values import shape_of
from rltf.tasks.maths.verdicts import Verdicts, check_installed
from rltf.tasks.puzzle import malformed
from rltf.types import Problem, Score

ANSWER_FORMAT = "Write the final answer in \\boxed{} at the end."
_DEFAULT_FORM = RowForm(question="question", answer="answer")
_DIGITS = re.compile(r"\d+")


class Maths(ListedTask):
    """The task with its settings; `config.MathsConfig` says what each means."""

    name = "maths"
    family: Family = "maths"

    def __init__(
        self,
        *,
        train: str,
        test: str | None,
        question_field: str,
        answer_field: str,
        train_size: int | None,
        validation_size: int | None,
        test_size: int | None,
        data_seed: int,
        shared_words: int,
    ) -> None:
        """Raises UserError where math-verify is missing or settings have no effect. Files are read when asked for."""
        super().__init__(
            train_size=train_size,
            validation_size=validation_size,
            test_size=test_size,
            data_seed=data_seed,
            shared_words=shared_words,
        )
        check_installed()
        self._train, self._test = train, test
        self._own_form = RowForm(question=question_field, answer=answer_field)
        if self._own_form != _DEFAULT_FORM and not any(is_own(name) for name in (train, test) if name is not None):
            raise UserError(
                "task.question_field and task.answer_field are for rows of your own, and task.train and task.test are "
                "known sets; remove them"
            )
        self._verdicts = Verdicts()

    def _read(self) -> tuple[Sequence[Item], Sequence[Item] | None]:
        return self._items(self._train, "train"), None if self._test is None else self._items(self._test, "test")

    def _items(self, name: str, half: str) -> list[Item]:
        # One object for a row that a file has many times, as DAPO's has each a hundred times.
        known: dict[str, Item] = {}
        items = []
        for question, answer in read_problems(name, half, self._own_form):
            item = known.get(question)
            if item is None:
                item = known[question] = Item(
                    prompt=f"{question}\n\n{ANSWER_FORMAT}", question=question, answer=normal_answer(answer)
                )
            items.append(item)
        return items

    def score(self, problem: Problem, text: str) -> Score:
        """1 where the boxed answer has the value of the gold one, else 0. Accepts any text."""
        return self.score_many([(problem, text)])[0]

    def score_many(self, attempts: Sequence[tuple[Problem, str]]) -> list[Score]:
        """The verdict on each attempt; answers are compared in parallel, and the same ones once."""
        faults = [fault_of_form(text) for _, text in attempts]
        answers = [extract(text) or "" for _, text in attempts]
        pairs = [(answer, problem.answer) for answer, (problem, _) in zip(answers, attempts, strict=True)]
        verdicts = iter(self._verdicts([pair for pair, fault in zip(pairs, faults, strict=True) if not fault]))
        return [
            malformed(fault) if fault else _score(pair[0], pair[1], next(verdicts))
            for pair, fault in zip(pairs, faults, strict=True)
        ]

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """What is wrong with the attempt: its form, what kind of answer is asked for, in which direction it is off."""
        if score.correct:
            return CORRECT_FEEDBACK
        if level == "correctness":
            return INCORRECT_FEEDBACK
        fault = fault_of_form(text)
        if fault or score.explanation in FAULTS_OF_FORM:
            return fault or score.explanation
        if level == "count":
            return WRONG
        remark = locate(text, extract(text) or "", problem.answer)
        # An answer in words may stand in a remark by chance.
        return INCORRECT_FEEDBACK if self.reveals_answer(problem, remark) else remark

    def gold_fault(self, problem: Problem) -> str:
        """Why no attempt can meet the gold answer, but by its very text; empty where one can."""
        return self._verdicts.gold_fault(problem.answer)

    def write_answer(self, answer: str) -> str:
        """The answer in its box."""
        return box(answer)

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """A number of the answer raised by one, an entry left out, the sign changed, the answer without its box."""
        gold = problem.answer
        yield gold
        yield box("")
        numbers = list(_DIGITS.finditer(gold))
        if not numbers:
            yield box(f"{gold} + 1")
            return
        for match in rng.sample(numbers, min(3, len(numbers))):
            raised = str(int(match[0]) + 1) if len(match[0]) < 1000 else "1"
            # A decimal's last digits may be less than the comparison sees: only numbers before the point.
            if gold[: match.start()].endswith((".", "{,}")) or re.search(r"\.\d+,?$", gold[: match.start()]):
                continue
            yield box(gold[: match.start()] + raised + gold[match.end() :])
        shape = shape_of(gold)
        if shape.kind == "number" and any(match[0].strip("0") for match in numbers):
            yield box(gold.removeprefix("-") if gold.startswith("-") else f"-{gold}")
        if shape.kind == "list" and shape.ends and len(shape.entries) > 1:
            yield box(shape.ends[0] + ", ".join(shape.entries[:-1]) + shape.ends[1])

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """Whether the answer stands in the text, a number in any form; `leaks.names_answer` says what counts."""
        return names_answer(problem.answer, text)


def _score(answer: str, gold: str, verdict: Verdict | Failed) -> Score:
    if isinstance(verdict, Failed):
        return malformed(UNCHECKED, answer)
    if verdict == "unreadable":
        return malformed(UNREADABLE, answer)
    correct = verdict == "equal"
    says = {"equal": "is right", "different": f"is not equal to {gold}", "not worked out": "is not worked out"}[verdict]
    return Score(
        reward=float(correct), correct=correct, well_formed=True, answer=answer, explanation=f"The answer {says}."
    )
