"""Rows of a file as problems: a question, an answer, and a scorer to choose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from rltf.support.errors import UserError
from rltf.support.rows import kinds_in, load_rows, source_label, text_of
from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK, Family, FeedbackLevel, Rubric, criticism_at
from rltf.tasks.golds import fault_of_gold, final_answer
from rltf.tasks.listed import Item, ListedTask
from rltf.tasks.own import places
from rltf.tasks.own.maths_scorer import MathsScorer
from rltf.tasks.own.scorers import ExactScorer, NumericScorer, RegexScorer, Scorer, Verdict, malformed
from rltf.tasks.puzzle import EMPTY_ANSWER, NO_ANSWER
from rltf.types import Problem, Score


class RowsTask(ListedTask):
    """The task with its settings; `config.RowsConfig` says what each means."""

    family: Family = "general"
    same_by_answer = True

    def __init__(
        self,
        *,
        path: str,
        test_path: str | None,
        question_field: str,
        answer_field: str,
        example_field: str | None,
        kind_field: str | None,
        instruction: str | None,
        answer_in: str,
        scorer: str,
        ignore: str,
        tolerance: float,
        passing_score: float,
        **listed: Any,
    ) -> None:
        super().__init__(**listed)
        self.name = source_label(path)
        self._path, self._test_path = path, test_path
        self._question, self._answer, self._example = question_field, answer_field, example_field
        self._kind = kind_field
        self._answer_in = answer_in
        self._instruction = places.INSTRUCTIONS[answer_in] if instruction is None else instruction
        self._judged, self._passing_score = scorer == "judge", passing_score
        self._by_value = scorer in ("numeric", "maths")
        self._scorer = _make_scorer(scorer, ignore=ignore, tolerance=tolerance)

    def _read(self) -> tuple[Sequence[Item], Sequence[Item] | None]:
        return self._items(self._path), None if self._test_path is None else self._items(self._test_path)

    def _items(self, source: str) -> list[Item]:
        items: list[Item] = []
        first: dict[str, tuple[str, str]] = {}
        for place, row in load_rows(source):
            item = self._item(row, place)
            earlier, answer = first.setdefault(item.question, (place, item.answer))
            if answer != item.answer:
                raise UserError(f"{place}: asks the same as {earlier}, with another answer; remove one of them")
            items.append(item)
        if not items:
            raise UserError(f"{source}: holds no rows")
        return items

    def _item(self, row: Any, place: str) -> Item:
        question = text_of(row, self._question, place)
        has_answer = not self._judged or row.get(self._answer.partition(".")[0]) is not None
        # Answers are read without the spaces around them, and so are these.
        gold = text_of(row, self._answer, place).strip() if has_answer else ""
        if self._by_value:
            gold = final_answer(gold)
        example = text_of(row, self._example, place).strip() if self._example else gold
        fault = self._scorer.check_gold(gold, example)
        if fault is not None and has_answer:
            raise UserError(f"{place}: {self._answer}: {fault}")
        prompt = f"{question}\n\n{self._instruction}" if self._instruction else question
        # What is compared with, and what is shown as the right answer: the same but for a pattern.
        kinds = kinds_in(row, self._kind, place) if self._kind else ()
        return Item(prompt=prompt, question=question, answer=example, metadata={"gold": gold}, kinds=kinds)

    def rubric(self, problem: Problem) -> Rubric | None:
        """One score on the whole, where a judge scores."""
        return Rubric(passing=self._passing_score) if self._judged else None

    def score_many(self, attempts: Sequence[tuple[Problem, str]]) -> list[Score]:
        """The verdict on each attempt; what the scorer can do for many at once is done at once."""
        if not isinstance(self._scorer, MathsScorer):
            return [self.score(problem, text) for problem, text in attempts]
        answers = [places.answer_in(text, self._answer_in) for _, text in attempts]
        pairs = [(answer, problem.metadata["gold"]) for answer, (problem, _) in zip(answers, attempts, strict=True)]
        verdicts = iter(self._scorer.verdicts([(answer, gold) for answer, gold in pairs if answer]))
        return [_score(answer, next(verdicts) if answer else _no_answer(answer)) for answer in answers]

    def score(self, problem: Problem, text: str) -> Score:
        """1 where the scorer finds the answer right, else 0. Accepts any text."""
        answer = places.answer_in(text, self._answer_in)
        return _score(answer, self._scorer.verdict(answer, problem.metadata["gold"]) if answer else _no_answer(answer))

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """`located` says all that the scorer can; `count` what is wrong with the form; `correctness` right or wrong.

        The scorer's words are in the score: asked again, it might come to another verdict, as where it took too long.
        """
        if score.correct:
            return CORRECT_FEEDBACK
        if self._judged:
            return INCORRECT_FEEDBACK if level == "correctness" else criticism_at(level, score)
        told = level not in ("count", "correctness") or (level == "count" and not score.well_formed)
        return (score.explanation if told else "") or INCORRECT_FEEDBACK

    def gold_fault(self, problem: Problem) -> str:
        """Why no attempt can meet the gold answer, where that is so."""
        gold = str(problem.metadata["gold"])
        if isinstance(self._scorer, MathsScorer):
            return self._scorer.gold_fault(gold)
        if self._by_value:
            return fault_of_gold(gold)
        if not self._judged and final_answer(gold) != gold:
            return "ends in a line with #### and the answer, as GSM8K's do; scorer=numeric and maths read that alone"
        return ""

    def write_answer(self, answer: str) -> str:
        """The answer where the settings look for it."""
        return places.attempt_with(answer, self._answer_in)

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """What the scorer knows to be wrong."""
        for near in self._scorer.perturbations(problem.answer, rng):
            yield self.write_answer(near)

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """Whether the answer stands in the text, as far as the scorer can tell."""
        return bool(problem.answer) and self._scorer.reveals(problem.metadata["gold"], problem.answer, text)


def _score(answer: str | None, verdict: Verdict) -> Score:
    return Score(
        reward=float(verdict.correct),
        correct=verdict.correct,
        well_formed=verdict.well_formed,
        answer=answer,
        explanation="The answer is right." if verdict.correct else verdict.fault,
    )


def _no_answer(answer: str | None) -> Verdict:
    return malformed(NO_ANSWER if answer is None else EMPTY_ANSWER)


def _make_scorer(name: str, *, ignore: Any, tolerance: float) -> Scorer:
    """The scorer that `task.scorer` names. A judge's answers are compared with nothing, but may be given away."""
    match name:
        case "numeric":
            return NumericScorer(tolerance)
        case "regex":
            return RegexScorer()
        case "maths":
            return MathsScorer()
        case _:
            return ExactScorer(ignore)
