"""Binary Matrix: the taxicab distance from each cell to the nearest 0.

Problems come from reasoning-gym's generator. The scorer is ours: reasoning-gym's passes the answer to `eval`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from random import Random
from typing import Any, TypeAlias

from rltf.tasks.base import FeedbackLevel
from rltf.tasks.puzzle import EMPTY_ANSWER, NO_ANSWER, Puzzle, last_answer, malformed
from rltf.types import Problem, Score, Split

Matrix: TypeAlias = tuple[tuple[int, ...], ...]

ANSWER_FORMAT = (
    "Write the distance matrix between <answer> and </answer>, one row per line, with a space between numbers."
)
DRAFT_FORMAT = "Write a draft, what is wrong with it, and the answer."
_ROW = re.compile(r"[0-9]{1,3}(?:[ \t]+[0-9]{1,3})*")
_MAX_ROWS = 100


def parse_matrix(text: str) -> Matrix | str:
    """Reads a matrix of small numbers, one row per line; returns what is wrong as a sentence otherwise."""
    lines = text.strip().split("\n")
    if not lines[0].strip():
        return EMPTY_ANSWER
    if len(lines) > _MAX_ROWS:
        return "The answer has too many lines."
    rows: list[tuple[int, ...]] = []
    for number, line in enumerate(lines, start=1):
        if not _ROW.fullmatch(line.strip()):
            return f"Line {number} of the answer is not a row of numbers."
        rows.append(tuple(int(cell) for cell in line.split()))
    return tuple(rows)


def extract_matrix(text: str) -> Matrix | str:
    """The matrix in the last `<answer>` block of an attempt; what is wrong as a sentence otherwise."""
    block = last_answer(text)
    return NO_ANSWER if block is None else parse_matrix(block)


def write_matrix(matrix: Matrix) -> str:
    """The normal form: one row per line, numbers separated by one space."""
    return "\n".join(" ".join(str(cell) for cell in row) for row in matrix)


def pose(matrix: Matrix, draft: bool = False) -> str:
    """The full prompt for a matrix; with `draft` it also asks for a draft and its faults before the answer."""
    # Imported here: reasoning-gym takes seconds to import, and scoring does not need it.
    from reasoning_gym.algorithmic.binary_matrix import QUESTION_TEMPLATE

    question = QUESTION_TEMPLATE.format(matrix=write_matrix(matrix)).strip()
    return "\n\n".join((question, ANSWER_FORMAT, *([DRAFT_FORMAT] if draft else [])))


def distances(matrix: Matrix) -> Matrix:
    """The solution: taxicab distance of each cell to the nearest 0."""
    side = len(matrix)
    far = 2 * side
    found = [[0 if cell == 0 else far for cell in row] for row in matrix]
    # Two sweeps, down-right and up-left, suffice for taxicab distances (Rosenfeld and Pfaltz, 1966).
    for step, order in ((-1, range(side)), (1, range(side - 1, -1, -1))):
        for r in order:
            for c in order:
                beside = (
                    found[r + step][c] if 0 <= r + step < side else far,
                    found[r][c + step] if 0 <= c + step < side else far,
                )
                found[r][c] = min(found[r][c], 1 + min(beside))
    return _freeze(found)


class BinaryMatrix(Puzzle):
    """The task with its settings; `config.BinaryMatrixConfig` says what each means."""

    name = "binary_matrix"

    def __init__(
        self,
        *,
        min_side: int,
        max_side: int,
        p_zero: float,
        min_distance: int,
        draft: bool,
        **sizes: int,
    ) -> None:
        super().__init__(**sizes)
        self._sides = (min_side, max_side)
        self._p_zero = p_zero
        self._min_distance = min_distance
        self._asks_for_draft = draft

    def _draw(self, split: Split, index: int, seed: int, position: int) -> Problem | None:
        matrix = _freeze(_dataset(self._sides, self._p_zero, seed)[position]["metadata"]["matrix"])
        solution = distances(matrix)
        if max(map(max, solution)) < self._min_distance:
            return None
        return Problem(
            task=self.name,
            split=split,
            index=index,
            prompt=pose(matrix, self._asks_for_draft),
            answer=write_matrix(solution),
            metadata={"matrix": matrix, "solution": solution},
        )

    def score(self, problem: Problem, text: str) -> Score:
        """1 where every cell is right, else 0. Accepts any text."""
        matrix = extract_matrix(text)
        if isinstance(matrix, str):
            return malformed(matrix)
        answer = write_matrix(matrix)
        mismatch = _shape_mismatch(problem, matrix)
        if mismatch:
            return malformed(mismatch, answer)
        wrong = len(_wrong_cells(problem, matrix))
        explanation = "Every cell is right." if wrong == 0 else f"{wrong} of {_cells(problem)} cells are wrong."
        return Score(
            reward=float(wrong == 0), correct=wrong == 0, well_formed=True, answer=answer, explanation=explanation
        )

    def _criticise(self, problem: Problem, text: str, level: FeedbackLevel) -> str:
        """Says what is wrong with the attempt; `located` names the cells and the direction, never the value.

        `marks` says the same of every cell, right ones too, in the answer's own layout.
        """
        matrix = extract_matrix(text)
        if isinstance(matrix, str):
            return matrix
        mismatch = _shape_mismatch(problem, matrix)
        if mismatch:
            return mismatch
        wrong = _wrong_cells(problem, matrix)
        if level == "count":
            return count_wrong(len(wrong))
        if level == "marks":
            return mark(matrix, problem.metadata["solution"])
        return "\n".join(locate(row, column, too_small) for row, column, too_small in wrong)

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """One cell off by one, a row missing, a row too long, the question's own matrix."""
        solution: Matrix = problem.metadata["solution"]
        side = len(solution)
        for _ in range(8):
            changed = [list(row) for row in solution]
            row, column = rng.randrange(side), rng.randrange(side)
            changed[row][column] += 1 if changed[row][column] == 0 else rng.choice((-1, 1))
            yield self.write_answer(write_matrix(_freeze(changed)))
        if side > 1:
            yield self.write_answer(write_matrix(solution[:-1]))
        yield self.write_answer(write_matrix((*solution[:-1], (*solution[-1], 0))))
        if problem.metadata["matrix"] != solution:
            yield self.write_answer(write_matrix(problem.metadata["matrix"]))

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """True where the numbers of the gold matrix stand in the text one after another, in any layout."""
        numbers = re.findall(r"[0-9]+", text)
        gold = problem.answer.split()
        return any(numbers[start : start + len(gold)] == gold for start in range(len(numbers) - len(gold) + 1))


def count_wrong(cells: int) -> str:
    """Feedback that only counts."""
    return "1 cell is wrong." if cells == 1 else f"{cells} cells are wrong."


def locate(row: int, column: int, too_small: bool) -> str:
    """One sentence of located feedback; row and column count from 0 here and from 1 in the text."""
    return f"Row {row + 1}, column {column + 1} should be {'larger' if too_small else 'smaller'}."


def mark(matrix: Matrix, target: Matrix) -> str:
    """A digit for each cell: 0 where it is as in `target`, 1 where it should be larger, 2 where smaller."""
    return write_matrix(
        tuple(
            tuple(
                0 if cell == wanted else 1 if cell < wanted else 2 for cell, wanted in zip(row, wanted_row, strict=True)
            )
            for row, wanted_row in zip(matrix, target, strict=True)
        )
    )


def _freeze(rows: Iterable[Iterable[int]]) -> Matrix:
    return tuple(tuple(row) for row in rows)


def _cells(problem: Problem) -> int:
    return len(problem.metadata["solution"]) ** 2


def _shape_mismatch(problem: Problem, matrix: Matrix) -> str:
    side = len(problem.metadata["solution"])
    if len(matrix) != side:
        return f"The answer has {len(matrix)} rows; the matrix has {side}."
    for number, row in enumerate(matrix, start=1):
        if len(row) != side:
            return f"Row {number} of the answer has {len(row)} numbers; the matrix has {side} columns."
    return ""


def _wrong_cells(problem: Problem, matrix: Matrix) -> list[tuple[int, int, bool]]:
    """Row, column and whether the cell is too small, for each wrong cell in reading order."""
    solution: Matrix = problem.metadata["solution"]
    return [
        (r, c, cell < gold)
        for r, (row, gold_row) in enumerate(zip(matrix, solution, strict=True))
        for c, (cell, gold) in enumerate(zip(row, gold_row, strict=True))
        if cell != gold
    ]


@cache
def _dataset(sides: tuple[int, int], p_zero: float, seed: int) -> Any:
    from reasoning_gym.algorithmic.binary_matrix import BinaryMatrixConfig, BinaryMatrixDataset

    return BinaryMatrixDataset(BinaryMatrixConfig(min_n=sides[0], max_n=sides[1], p_zero=p_zero, seed=seed, size=1))
