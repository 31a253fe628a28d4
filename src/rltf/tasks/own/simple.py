"""A task of the user's in Python: the short way to write one, and what checks it.

from rltf.tasks import SimpleTask

class Backwards(SimpleTask):
    def generate(self, rng):
        word = "".join(rng.choice("abc") for _ in range(5))
        return f"Write {word} backwards.", word[::-1]

    def check(self, answer, problem):
        if answer == problem.answer:
            return None
        return f"The answer has {len(answer)} letters." if len(answer) != 5 else "The letters are out of order."
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from random import Random
from typing import Any, TypeAlias

from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK, Family, FeedbackLevel
from rltf.tasks.glance import spread_over
from rltf.tasks.listed import Item, LeftOut, split_items
from rltf.tasks.own import places
from rltf.tasks.own.leaks import names_answer
from rltf.tasks.own.near import neighbours
from rltf.tasks.puzzle import EMPTY_ANSWER, NO_ANSWER, malformed
from rltf.tasks.splits import DisjointSplits
from rltf.types import Problem, Score, Split

Posed: TypeAlias = tuple[str, str] | tuple[str, str, Mapping[str, Any]]
"""A question, its answer, and what else `check` is to know; `kinds` in that, a list of texts, are the problem's."""

INSTRUCTION = places.INSTRUCTIONS["tags"]


class SimpleTask:
    """A task that needs two methods: `generate` (or `problems`) and `check`. All others have defaults to override.

    What a class sets as attributes, `task.settings` of a recipe sets anew, of the same type; these are there already:
    """

    name: str = ""
    """What its problems are called. Empty: the class's name, `WallsTask` as `walls_task`."""
    family: Family = "general"
    """Which prompt an LLM judge gets: puzzle, maths, writing, code or general."""
    answer_in: str = "tags"
    """Where the answer stands: between `<answer>` tags (`tags`), as the `whole` attempt, or on its `last_line`."""
    instruction: str = INSTRUCTION
    """What is said behind each question about the form of the answer. Left as it is, it follows `answer_in`."""
    train_size: int = 0
    """Training problems. 0: of `generate` 10,000; of `problems` all that are left."""
    validation_size: int = 0
    """0: of `generate` 200, of `problems` a tenth, 200 at most."""
    test_size: int = 0
    """0: of `generate` 200, of `problems` a fifth, 200 at most."""
    data_seed: int = 0
    """Seed of the problems, apart from the run's seed."""

    def __init__(self, **settings: Any) -> None:
        """Sets the attributes that `task.settings` names; raises `UserError` for one that the class does not have."""
        cls = type(self)
        known = {name for name in dir(cls) if not name.startswith("_") and _is_setting(getattr(cls, name))}
        for name, value in settings.items():
            if name not in known:
                raise UserError(
                    f"task.settings.{name}: {cls.__name__} has no such setting, but {', '.join(sorted(known))}"
                )
            default = getattr(cls, name)
            if isinstance(default, float) and type(value) is int:
                value = float(value)
            if type(value) is not type(default):
                raise UserError(f"task.settings.{name}={value!r}: must be of type {type(default).__name__}")
            setattr(self, name, value)
        if self.answer_in not in places.INSTRUCTIONS:
            raise UserError(
                f"{cls.__name__}.answer_in={self.answer_in!r}: must be one of {', '.join(places.INSTRUCTIONS)}"
            )
        if self.instruction == INSTRUCTION:
            self.instruction = places.INSTRUCTIONS[self.answer_in]
        if not self.name:
            self.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def generate(self, rng: Random) -> Posed | None:
        """A problem made with `rng` alone: question and answer, and a dictionary of what `check` needs besides.

        None where what was drawn will not do.
        """
        raise NotImplementedError("define generate(self, rng) or problems(self)")

    def problems(self) -> Iterable[Posed]:
        """All problems, in place of `generate`, where they are given."""
        raise NotImplementedError("define generate(self, rng) or problems(self)")

    def check(self, answer: str, problem: Problem) -> str | None:
        """None where an answer is right; else what is wrong with it, one fault per line, without giving the answer.

        Gets any text at all, without spaces around it. The dictionary of `generate` is `problem.metadata`.
        """
        raise NotImplementedError("define check(self, answer, problem)")

    def extract(self, text: str) -> str | None:
        """The answer in an attempt, where `answer_in` says; None without one."""
        return places.answer_in(text, self.answer_in)

    def size(self, split: Split) -> int:
        """How many problems a split has."""
        return self._store.size(split)

    def problem(self, split: Split, index: int) -> Problem:
        """Problem `index` of a split."""
        return self._store.problem(split, index)

    def glance(self) -> list[Problem]:
        """Some training problems; of `generate`, drawn without the others."""
        return self._store.glance()

    def score(self, problem: Problem, text: str) -> Score:
        """1 where `check` has no complaint, else 0."""
        answer = self.extract(text)
        if not answer:
            return malformed(NO_ANSWER if answer is None else EMPTY_ANSWER)
        complaint = self.check(answer, problem)
        _check_complaint(complaint)
        return Score(
            reward=float(complaint is None),
            correct=complaint is None,
            well_formed=True,
            answer=answer,
            explanation=complaint or "The answer is right.",
        )

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """`located`: the complaint; `count`: how many lines it has; `correctness`: only that the answer is wrong."""
        if score.correct:
            return CORRECT_FEEDBACK
        if level == "correctness":
            return INCORRECT_FEEDBACK
        answer = self.extract(text)
        complaint = self.check(answer, problem) if answer else score.explanation
        if complaint is None or level != "count" or not answer:
            return complaint or INCORRECT_FEEDBACK
        faults = sum(bool(line.strip()) for line in complaint.splitlines())
        return "1 thing is wrong." if faults == 1 else f"{faults} things are wrong."

    def write_answer(self, answer: str) -> str:
        """An attempt whose extracted answer is `answer`."""
        # An `extract` of the class's own may look elsewhere: what is written is to be read.
        written = [places.attempt_with(answer, place) for place in (self.answer_in, *places.INSTRUCTIONS)]
        return next((text for text in written if self.extract(text) == answer.strip()), written[0])

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """Wrong answers near the right one. Override this where one of these is right as well."""
        for near in neighbours(problem.answer, rng):
            yield self.write_answer(near)

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """Whether the words of the answer stand in the text one after another; a short one, as an answer."""
        return names_answer(problem.answer, text)

    @property
    def left_out(self) -> LeftOut:
        """What `problems` gives and no split has."""
        return self._store.left_out if isinstance(self._store, _Given) else LeftOut(repeated=0, contaminated=0)

    @cached_property
    def _store(self) -> _Generated | _Given:
        listed = type(self).problems is not SimpleTask.problems
        return _Given(self) if listed else _Generated(self)

    def _posed(self, posed: Posed) -> Item:
        if not isinstance(posed, tuple) or not 2 <= len(posed) <= 3:
            raise TypeError(f"a problem is (question, answer) or (question, answer, dictionary), not {posed!r:.80}")
        question, answer, *rest = posed
        if not isinstance(question, str) or not isinstance(answer, str) or not question.strip() or not answer.strip():
            raise TypeError(
                f"question and answer must be texts that are not empty, not {question!r:.40}, {answer!r:.40}"
            )
        prompt = f"{question}\n\n{self.instruction}" if self.instruction else question
        known = rest[0] if rest else {}
        kinds = known.get("kinds", ())
        if not isinstance(kinds, list | tuple) or not all(isinstance(kind, str) for kind in kinds):
            raise TypeError(f"kinds of a problem must be a list of texts, not {kinds!r:.40}")
        return Item(prompt=prompt, question=question, answer=answer, metadata=known, kinds=tuple(kinds))


class _Generated:
    """Problems of `generate`, each from a seed of its own."""

    def __init__(self, task: SimpleTask) -> None:
        self._task = task
        sizes: dict[Split, int] = {
            "train": task.train_size or 10_000,
            "validation": task.validation_size or 200,
            "test": task.test_size or 200,
        }
        self._splits = DisjointSplits(self._draw, sizes, task.data_seed, "task.settings")

    def size(self, split: Split) -> int:
        return self._splits.size(split)

    def problem(self, split: Split, index: int) -> Problem:
        return self._splits.problem(split, index)

    def glance(self) -> list[Problem]:
        return self._splits.glance("train")

    def _draw(self, split: Split, index: int, seed: int, position: int) -> Problem | None:
        posed = self._task.generate(Random(derive_seed(seed, position)))
        return None if posed is None else self._task._posed(posed).placed(self._task.name, split, index)


class _Given:
    """Problems of `problems`."""

    def __init__(self, task: SimpleTask) -> None:
        self._task = task
        items = [task._posed(posed) for posed in task.problems()]
        sizes = {"train": task.train_size, "validation": task.validation_size, "test": task.test_size}
        # The user's own problems may well be alike; none stands in two splits.
        given = {split: size or None for split, size in sizes.items()}
        self._check_answers(items)
        self._items, self.left_out = split_items(
            items, None, given, task.data_seed, 0, same_by_answer=True, section="task.settings"
        )

    def _check_answers(self, items: Sequence[Item]) -> None:
        answers: dict[str, str] = {}
        for item in items:
            if answers.setdefault(item.question, item.answer) != item.answer:
                raise UserError(f"problems() of {self._task.name}: {item.question!r:.60} has two answers; remove one")

    def size(self, split: Split) -> int:
        return len(self._items[split])

    def problem(self, split: Split, index: int) -> Problem:
        if not 0 <= index < len(self._items[split]):
            raise IndexError(f"{split} problem {index} of {len(self._items[split])}")
        return self._items[split][index].placed(self._task.name, split, index)

    def glance(self) -> list[Problem]:
        return [self.problem("train", index) for index in spread_over(self.size("train"))]


def _is_setting(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | list)


def _check_complaint(complaint: Any) -> None:
    if complaint is not None and (not isinstance(complaint, str) or not complaint.strip()):
        raise TypeError(f"check must return None or a text that is not empty, not {complaint!r:.40}")
