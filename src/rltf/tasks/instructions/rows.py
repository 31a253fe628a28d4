"""Prompts with constraints from files: IFEval's columns, and those of the sets made for training on it."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from random import Random
from typing import Any

from rltf.support.errors import UserError
from rltf.support.rows import field_of, load_rows, text_of
from rltf.support.seeds import derive_seed
from rltf.tasks.base import Family, FeedbackLevel
from rltf.tasks.instructions.grading import criticise, grade, reveals
from rltf.tasks.instructions.kinds import Kind
from rltf.tasks.instructions.names import Unchecked, kind_of, kind_of_function
from rltf.tasks.instructions.witness import build
from rltf.tasks.listed import Item, LeftOut, ListedTask
from rltf.types import Problem, Score, Split

_LONGEST = 200_000
_TOLD = 8


class InstructionRows(ListedTask):
    """The task with its settings; `config.IfevalConfig` says what each means."""

    name = "ifeval"
    family: Family = "general"

    def __init__(self, *, train: str, test: str | None, partial_reward: bool, **sizes: Any) -> None:
        super().__init__(**sizes)
        self._train, self._test = train, test
        self._partial = partial_reward
        self._answers: dict[tuple[Split, int], str] = {}
        self._unchecked: Counter[str] = Counter()
        self._rows_left_out = 0

    @cached_property
    def unchecked(self) -> Mapping[str, int]:
        """The constraints that cannot be checked, and how many prompts were left out for each."""
        self.size("train")
        return dict(self._unchecked.most_common())

    @property
    def left_out(self) -> LeftOut:
        """What was read and is in no split."""
        because = f"with constraints that cannot be checked: {self._named_unchecked()}"
        return replace(super().left_out, unusable=self._rows_left_out, unusable_for=because)

    def _named_unchecked(self) -> str:
        named = [f"{name} ({count})" for name, count in self._unchecked.most_common(_TOLD)]
        more = f" and {len(self._unchecked) - _TOLD} more" if len(self._unchecked) > _TOLD else ""
        return f"{', '.join(named)}{more}"

    def problem(self, split: Split, index: int) -> Problem:
        """Problem `index` of a split. Its answer is one that meets all constraints, empty where none was found."""
        problem = super().problem(split, index)
        place = (split, index)
        if place not in self._answers:
            rng = Random(derive_seed(0, "ifeval", problem.prompt))
            self._answers[place] = build(problem.metadata["said"], rng) or ""
        return replace(problem, answer=self._answers[place])

    def score(self, problem: Problem, text: str) -> Score:
        """1 where all constraints are met, else 0 or their share. Accepts any text."""
        return grade(problem.metadata["said"], text, partial=self._partial)

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """What is wrong with the attempt, as far as the level lets it be said."""
        return criticise(problem.metadata["said"], (), text, level, "fault")

    def gold_fault(self, problem: Problem) -> str:
        """That no answer was found which meets all constraints; empty where one was."""
        return "" if problem.answer else "was not found: no answer built met all constraints at once"

    def write_answer(self, answer: str) -> str:
        """An attempt is its own answer."""
        return answer

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """The answer that meets all constraints, changed so that it breaks one of them, for each."""
        for kind in problem.metadata["said"] if problem.answer else ():
            yield kind.spoil(problem.answer)

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """Whether a feedback holds the answer that is known to be right. Of others there is no end."""
        return reveals(problem.answer, text)

    def _read(self) -> tuple[list[Item], list[Item] | None]:
        return self._items(self._train), None if self._test is None else self._items(self._test)

    def _items(self, source: str) -> list[Item]:
        items: list[Item] = []
        for place, row in load_rows(source):
            prompt = _prompt_of(row, place)
            try:
                said = tuple(_constraints_of(row, place))
            except Unchecked as error:
                self._unchecked[str(error)] += 1
                self._rows_left_out += 1
                continue
            except UserError:
                raise
            except ValueError as error:
                raise UserError(f"{place}: {error}") from None
            if not said:
                raise UserError(f"{place}: names no constraint")
            kinds = tuple(kind.name for kind in said)
            items.append(Item(prompt=prompt, question=prompt, answer="", metadata={"said": said}, kinds=kinds))
        if not items:
            without = f"prompt whose constraints can be checked: {self._named_unchecked()}"
            raise UserError(f"{source}: holds no {without if self._unchecked else 'rows'}")
        return items


def _prompt_of(row: Mapping[str, Any], place: str) -> str:
    if "prompt" in row:
        return text_of(row, "prompt", place)
    messages = field_of(row, "messages", place)
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        raise UserError(f"{place}: messages: must be a list of messages with role and content")
    asked = [i for i, message in enumerate(messages) if message.get("role") == "user"]
    if len(asked) != 1 or asked[0] != 0:
        raise UserError(f"{place}: messages: must be one question of the user's, with or without an answer behind it")
    return text_of(row, "messages.0.content", place)


def _constraints_of(row: Mapping[str, Any], place: str) -> Iterator[Kind]:
    if "instruction_id_list" in row:
        yield from _by_name(row["instruction_id_list"], _loaded(row.get("kwargs"), "kwargs"))
        return
    truth = _loaded(field_of(row, "ground_truth", place), "ground_truth")
    for entry in truth if isinstance(truth, list) else [truth]:
        if not isinstance(entry, Mapping):
            raise ValueError("ground_truth: must hold constraints with their arguments")
        if "func_name" in entry:
            arguments = {key: value for key, value in entry.items() if key != "func_name"}
            yield kind_of_function(str(entry["func_name"]), arguments)
        else:
            yield from _by_name(entry.get("instruction_id"), entry.get("kwargs"))


def _by_name(names: Any, arguments: Any) -> Iterator[Kind]:
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple):
        raise ValueError("names of constraints must be a list of texts")
    arguments = arguments if isinstance(arguments, list) else [arguments or {}] * len(names)
    if len(names) != len(arguments):
        raise ValueError("must have as many kwargs as names of constraints")
    for name, given in zip(names, arguments, strict=True):
        given = _loaded(given, "kwargs") or {}
        if not isinstance(given, Mapping):
            raise ValueError("kwargs: must be objects with the arguments of each constraint")
        yield kind_of(str(name), given)


def _loaded(value: Any, name: str) -> Any:
    """A value that may be written as text, in JSON or as Python writes lists and dictionaries."""
    if not isinstance(value, str):
        return value
    if len(value) > _LONGEST:
        raise ValueError(f"{name}: is longer than {_LONGEST} characters")
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        # Constants alone: nothing is called.
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"{name}: {value[:60]!r} is no JSON") from None
