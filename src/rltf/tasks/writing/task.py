"""Prompts for writing. No program can verify an attempt: a judge scores it by a rubric and says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from rltf.support.errors import UserError
from rltf.support.rows import load_rows, text_of
from rltf.tasks.base import Family, FeedbackLevel, Rubric, criticism_at
from rltf.tasks.listed import Item, ListedTask
from rltf.types import Problem, Score

GOOD_FEEDBACK = "Your text is good as it is."
POOR_FEEDBACK = "Your text is not good enough yet."
_BUILTIN = Path(__file__).parent / "prompts.jsonl"


class Writing(ListedTask):
    """The task with its settings; `config.WritingConfig` says what each means."""

    name = "writing"
    family: Family = "writing"

    def __init__(
        self,
        *,
        train: str,
        test: str | None,
        prompt_field: str,
        criteria_field: str | None,
        passing_score: float,
        **sizes: Any,
    ) -> None:
        super().__init__(**sizes)
        self._train, self._test = train, test
        self._prompt_field, self._criteria_field = prompt_field, criteria_field
        self._passing_score = passing_score

    def rubric(self, problem: Problem) -> Rubric:
        """The problem's own criteria, or one score on the whole."""
        return Rubric(criteria=problem.metadata["criteria"], passing=self._passing_score)

    def score(self, problem: Problem, text: str) -> Score:
        """Raises `TypeError`: a judge scores this task, by `rubric`."""
        raise TypeError("a judge scores writing")

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """What the judge that scored said; at lower levels its score, or only whether the text is good enough."""
        if level == "correctness":
            return GOOD_FEEDBACK if score.correct else POOR_FEEDBACK
        return criticism_at(level, score)

    def write_answer(self, answer: str) -> str:
        """A text is its own answer."""
        return answer

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """None: no text is known to be wrong."""
        yield from ()

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """There is no answer to reveal."""
        return False

    def _read(self) -> tuple[list[Item], list[Item] | None]:
        return self._items(self._train), None if self._test is None else self._items(self._test)

    def _items(self, source: str) -> list[Item]:
        items: list[Item] = []
        for place, row in load_rows(str(_BUILTIN) if source == "builtin" else source):
            prompt = text_of(row, self._prompt_field, place)
            criteria = self._criteria(row, place)
            items.append(Item(prompt=prompt, question=prompt, answer="", metadata={"criteria": criteria}))
        return items

    def _criteria(self, row: Mapping[str, Any], place: str) -> tuple[str, ...]:
        value = row.get(self._criteria_field) if self._criteria_field else None
        if value is None:
            return ()
        if isinstance(value, list):
            # WritingBench has a name, a description, and what each score means, all texts.
            texts = [
                item if isinstance(item, str) else "; ".join(f"{key}: {text}" for key, text in item.items())
                for item in value
                if isinstance(item, str | Mapping)
            ]
            if len(texts) == len(value) and all(text.strip() for text in texts):
                return tuple(texts)
        raise UserError(f"{place}: {self._criteria_field}: must be a list of texts, or of objects of texts")
