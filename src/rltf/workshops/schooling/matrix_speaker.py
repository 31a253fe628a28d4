"""The language of Binary Matrix, for the built-in model's corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Literal

from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK
from rltf.tasks.binary_matrix import Matrix, count_wrong, distances, extract_matrix, locate, mark, pose, write_matrix
from rltf.tasks.puzzle import NO_ANSWER, tag_answer
from rltf.types import Problem

SIDES = (2, 3, 4)
SIDE_WEIGHTS = ((8, 1, 1), (1, 8, 2), (1, 2, 12), (0, 1, 12))
"""How often each side comes, at four stages of rising difficulty."""
GUESSES, GUESS_WEIGHTS = (1, 2, 3, 4), (60, 33, 6, 1)
"""What the model guesses, blindly, for a cell that the question shows as 1."""
MOST_CHANGES = 0.7
"""Share of the cells that a revision may change."""
MOST_FAULTS = 0.5
"""Share of a draft's cells that may differ from its answer."""
KEPT_FIRST, KEPT_LATER = 0.3, 0.8
"""How many first and later attempts keep their draft: what follows feedback needs no second change."""
LOCATED_SIDE = 5


class MatrixSpeaker:
    """Questions with matrices of any density, blind guesses, random changes and their description.

    A change is described by `located` feedback, or by `marks`. With `drafts`, each attempt is a draft, marks on it and
    the answer that they lead to.
    """

    def __init__(self, level: Literal["located", "marks"] = "located", *, drafts: bool = False) -> None:
        self._marks = level == "marks"
        self._drafts = drafts

    def question(self, rng: Random, difficulty: float) -> Problem:
        """A random matrix with at least one 0 and one 1: without a 1, there is nothing to be ignorant of."""
        side = rng.choices(SIDES, SIDE_WEIGHTS[min(3, int(4 * difficulty))])[0]
        p_zero = rng.uniform(0.2, 0.6)
        cells = [0, 1] + [int(rng.random() >= p_zero) for _ in range(side * side - 2)]
        rng.shuffle(cells)
        matrix = _rows(cells, side)
        return Problem(
            task="binary_matrix",
            split="train",
            index=0,
            prompt=pose(matrix, self._drafts),
            answer=write_matrix(distances(matrix)),
            metadata={"matrix": matrix},
        )

    def ignorant_attempt(self, problem: Problem, rng: Random) -> str:
        """Copies each 0 and guesses every other cell without a look at its neighbours."""
        matrix: Matrix = problem.metadata["matrix"]
        while True:
            cells = [cell and rng.choices(GUESSES, GUESS_WEIGHTS)[0] for row in matrix for cell in row]
            if _text(cells, len(matrix)) != problem.answer:
                return self._attempt(problem, cells, len(matrix), KEPT_FIRST, rng)

    def random_revision(self, problem: Problem, attempt: str, rng: Random) -> tuple[str, str]:
        """Changes a few random cells; most often the feedback locates them, sometimes it only counts or denies."""
        matrix = extract_matrix(attempt)
        assert not isinstance(matrix, str)
        side = len(matrix)
        kind = rng.random()
        if kind < 0.04:
            return CORRECT_FEEDBACK, attempt
        if kind < 0.08:
            return INCORRECT_FEEDBACK, self.ignorant_attempt(problem, rng)
        most = max(1, round(MOST_CHANGES * side * side))
        while True:
            cells = [cell for row in matrix for cell in row]
            changed = _change_cells(cells, rng.randint(1, most), rng)
            if _text(cells, side) != problem.answer:
                break
        if kind < 0.12:
            feedback = count_wrong(len(changed))
        elif self._marks:
            feedback = mark(matrix, _rows(cells, side))
        else:
            old = [cell for row in matrix for cell in row]
            feedback = "\n".join(locate(i // side, i % side, cells[i] > old[i]) for i in changed)
        return feedback, self._attempt(problem, cells, side, KEPT_LATER, rng)

    def _attempt(self, problem: Problem, cells: Sequence[int], side: int, kept: float, rng: Random) -> str:
        """The cells as an answer; with drafts, behind a draft that differs in random cells unless it is kept."""
        if not self._drafts:
            return _answer(cells, side)
        while True:
            draft = list(cells)
            if rng.random() >= kept:
                _change_cells(draft, rng.randint(1, max(1, round(MOST_FAULTS * side * side))), rng)
            if _text(draft, side) != problem.answer:
                break
        faults = mark(_rows(draft, side), _rows(cells, side))
        return "\n".join((_answer(draft, side), faults, _answer(cells, side)))

    def vocabulary(self) -> Iterator[str]:
        """A question, an answer and every kind of feedback."""
        # Every digit at the start of a row and within one.
        yield pose(tuple((digit, digit) for digit in range(10)))
        yield _answer([0, 1, 2, 3], 2)
        for row in range(LOCATED_SIDE):
            for column in range(LOCATED_SIDE):
                for too_small in (True, False):
                    # Inside a list of sentences, and as its last one before a blank line.
                    yield locate(row, column, too_small) + "\n" + NO_ANSWER
                    yield locate(row, column, too_small) + "\n\n" + NO_ANSWER
                    yield locate(row, column, too_small)
        counts = [count_wrong(cells) for cells in range(1, LOCATED_SIDE**2 + 1)]
        for text in (*counts, CORRECT_FEEDBACK, INCORRECT_FEEDBACK, NO_ANSWER):
            yield text
            yield text + "\n\n" + NO_ANSWER
        yield "Line 1 of the answer is not a row of numbers."
        yield "The answer has 1 rows; the matrix has 2."
        yield "Row 1 of the answer has 1 numbers; the matrix has 2 columns."


def _change_cells(cells: list[int], count: int, rng: Random) -> list[int]:
    """Changes so many random cells in place; returns which, in reading order."""
    changed = sorted(rng.sample(range(len(cells)), count))
    for i in changed:
        cells[i] = _changed(cells[i], rng)
    return changed


def _changed(cell: int, rng: Random) -> int:
    """Another value nearby: one more or less mostly, sometimes two."""
    step = rng.choices((1, 2), (6, 1))[0]
    down = cell > 0 and rng.random() < 0.5
    return max(0, cell - step) if down else min(9, cell + step)


def _rows(cells: Sequence[int], side: int) -> Matrix:
    return tuple(tuple(cells[start : start + side]) for start in range(0, side * side, side))


def _text(cells: Sequence[int], side: int) -> str:
    return write_matrix(_rows(cells, side))


def _answer(cells: Sequence[int], side: int) -> str:
    return tag_answer(_text(cells, side))
