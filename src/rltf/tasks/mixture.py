"""Several tasks as one. A problem bears its task's label, and has that task's own index."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from random import Random

from rltf.support.errors import UserError
from rltf.tasks.base import Family, FeedbackLevel, Rubric, Task, rubric_of, score_all
from rltf.tasks.listed import LeftOut
from rltf.types import Problem, Score, Split

_LONGEST_PASS = 10_000_000
"""Training problems of a pass, whose order is drawn at once."""


class Mixture:
    """Draws training problems by weight; the other splits hold every problem of every part once.

    A pass over the training split is as long as it must be for each part's problems to come at least once; those of a
    part that is smaller than its weight come again within it. Test and validation problems alternate evenly, so that
    the first n of them have about the parts' proportions.
    """

    name = "mixture"
    family: Family = "general"

    def __init__(self, parts: Mapping[str, tuple[Task, float]]) -> None:
        """By label, each part with its weight."""
        self.parts: Mapping[str, Task] = {label: task for label, (task, _) in parts.items()}
        self._labels = list(parts)
        self._weights = [weight for _, weight in parts.values()]

    def size(self, split: Split) -> int:
        """Problems of a split; for training, of a pass, with those that come again."""
        return self._bounds[-1] if split == "train" else len(self._alternating(split))

    def problem(self, split: Split, index: int) -> Problem:
        """Problem `index` of the mixture, whose own `index` is that in its part."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"{split} problem {index} of {self.size(split)}")
        if split != "train":
            label, own = self._alternating(split)[index]
            return self.part_problem(label, split, own)
        number = bisect_right(self._bounds, index)
        label = self._labels[number]
        own = index - (self._bounds[number - 1] if number else 0)
        return self.part_problem(label, split, own % self.parts[label].size("train"))

    def part_problem(self, label: str, split: Split, index: int) -> Problem:
        """Problem `index` of a part, with the part's label."""
        return replace(self.parts[label].problem(split, index), task=label)

    def score(self, problem: Problem, text: str) -> Score:
        """The part's verdict."""
        part, own = self._own(problem)
        return part.score(own, text)

    def score_many(self, attempts: Sequence[tuple[Problem, str]]) -> list[Score]:
        """Each part's verdicts on its own attempts."""
        scores: dict[int, Score] = {}
        for label, part in self.parts.items():
            mine = [i for i, (problem, _) in enumerate(attempts) if problem.task == label]
            asked = [(self._own(attempts[i][0])[1], attempts[i][1]) for i in mine]
            scores |= zip(mine, score_all(part, asked) if asked else [], strict=True)
        return [scores[i] for i in range(len(attempts))]

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """The part's feedback."""
        part, own = self._own(problem)
        return part.feedback(own, text, score, level)

    def rubric(self, problem: Problem) -> Rubric | None:
        """How a judge scores attempts at the problem; None where the part does."""
        part, own = self._own(problem)
        return rubric_of(part, own)

    def write_answer(self, answer: str) -> str:
        """As the first part writes it: an answer alone does not say whose it is. See `parts`."""
        return self.parts[self._labels[0]].write_answer(answer)

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """The part's."""
        part, own = self._own(problem)
        return part.perturbations(own, rng)

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """Whether the part knows the text to give the answer away."""
        part, own = self._own(problem)
        return part.reveals_answer(own, text)

    def _own(self, problem: Problem) -> tuple[Task, Problem]:
        """The part that a problem comes from, and the problem as that part knows it."""
        part = self.parts[problem.task]
        return part, replace(problem, task=part.name)

    @cached_property
    def _bounds(self) -> list[int]:
        """Where each part's share of the training split ends."""
        total = sum(self._weights)
        shares = [weight / total for weight in self._weights]
        sizes = [part.size("train") for part in self.parts.values()]
        whole = max(size / share for size, share in zip(sizes, shares, strict=True))
        if whole > _LONGEST_PASS:
            raise UserError(
                f"task.tasks: with these weights a pass over all parts takes {whole:.2g} problems; "
                "raise the smallest weight"
            )
        return list(accumulate(max(size, round(whole * share)) for size, share in zip(sizes, shares, strict=True)))

    def _alternating(self, split: Split) -> list[tuple[str, int]]:
        if split not in self._orders:
            sizes = {label: part.size(split) for label, part in self.parts.items()}
            places = sorted(
                ((own + 0.5) / size, number, label, own)
                for number, (label, size) in enumerate(sizes.items())
                for own in range(size)
            )
            self._orders[split] = [(label, own) for _, _, label, own in places]
        return self._orders[split]

    @cached_property
    def _orders(self) -> dict[Split, list[tuple[str, int]]]:
        return {}


def parts_of(task: Task) -> Mapping[str, Task]:
    """The tasks of a mixture by their labels, or the one task by its name."""
    return task.parts if isinstance(task, Mixture) else {task.name: task}


def left_out_of(task: Task) -> dict[str, LeftOut]:
    """By label, the problems of files that a task, or a part of a mixture, makes no use of; reads the files."""
    found = {label: getattr(part, "left_out", None) for label, part in parts_of(task).items()}
    return {label: left_out for label, left_out in found.items() if isinstance(left_out, LeftOut) and str(left_out)}


def problem_of(task: Task, label: str, split: Split, index: int) -> Problem:
    """The problem that a record names by its task's label; raises KeyError for another task, IndexError for no such."""
    if isinstance(task, Mixture):
        return task.part_problem(label, split, index)
    if label != task.name:
        raise KeyError(label)
    return task.problem(split, index)
