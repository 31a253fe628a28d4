"""The language of Shortest Path, for the built-in model's corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK
from rltf.tasks.puzzle import NO_ANSWER, tag_answer
from rltf.tasks.shortest_path import (
    INFEASIBLE,
    STEPS,
    THERE_IS_A_PATH,
    blocked,
    count_errors,
    ends,
    extract_path,
    leaves,
    mistakes,
    pose,
    shortest,
    too_long,
)
from rltf.types import Problem

DIRECTIONS = tuple(STEPS)
MOST_SIDE, MOST_STEPS = 6, 12
SIDES, SIDE_WEIGHTS = (2, 3, 4), ((8, 1, 1), (1, 8, 2), (1, 3, 8), (0, 2, 8))
"""How often each number of rows and of columns comes, at four stages of rising difficulty."""
GUESSED_STEPS, STEP_WEIGHTS = (1, 2, 3, 4), (40, 35, 20, 5)
INFEASIBLE_SHARE = 0.03


class PathSpeaker:
    """Grids of any kind, random walks, random changes and their description."""

    def question(self, rng: Random, difficulty: float) -> Problem:
        """A random grid, with or without a path."""
        rows, columns = rng.choices(SIDES, SIDE_WEIGHTS[min(3, int(4 * difficulty))], k=2)
        p_blocked = rng.uniform(0.0, 0.5)
        cells = ["X" if rng.random() < p_blocked else "O" for _ in range(rows * columns)]
        start, end = rng.sample(range(rows * columns), 2)
        cells[start], cells[end] = "*", "#"
        grid = tuple(tuple(cells[first : first + columns]) for first in range(0, rows * columns, columns))
        return Problem(
            task="shortest_path",
            split="train",
            index=0,
            prompt=pose(grid),
            answer="",
            metadata={"grid": grid, "steps": shortest(grid)},
        )

    def ignorant_attempt(self, problem: Problem, rng: Random) -> str:
        """A few steps in any direction, without a look at the grid; seldom the claim that there is no path."""
        while True:
            if rng.random() < INFEASIBLE_SHARE:
                path: tuple[str, ...] = INFEASIBLE
            else:
                (length,) = rng.choices(GUESSED_STEPS, STEP_WEIGHTS)
                path = tuple(rng.choices(DIRECTIONS, k=length))
            if mistakes(problem, path):
                return tag_answer(" ".join(path))

    def random_revision(self, problem: Problem, attempt: str, rng: Random) -> tuple[str, str]:
        """A step changed, steps added or left out; the feedback says what a judge would say before such a change."""
        path = extract_path(attempt)
        assert not isinstance(path, str)
        while True:
            feedback, revision = self._change(problem, path, rng)
            if mistakes(problem, revision):
                return feedback, tag_answer(" ".join(revision))

    def _change(self, problem: Problem, path: tuple[str, ...], rng: Random) -> tuple[str, tuple[str, ...]]:
        kind = rng.random()
        if kind < 0.04:
            return CORRECT_FEEDBACK, path
        if kind < 0.08 or path == INFEASIBLE:
            denial = THERE_IS_A_PATH if path == INFEASIBLE else INCORRECT_FEEDBACK
            again = extract_path(self.ignorant_attempt(problem, rng))
            assert not isinstance(again, str)
            return denial, again
        if kind < 0.14:
            changed = rng.sample(range(len(path)), rng.randint(1, min(3, len(path))))
            return count_errors(len(changed)), _other_steps(path, changed, rng)
        if kind < 0.50:
            place = rng.randrange(len(path))
            sentence = rng.choice((leaves, blocked))(place + 1)
            return sentence, _other_steps(path, [place], rng)
        if kind < 0.90 and len(path) <= MOST_STEPS // 2:
            rows, columns = _offset(rng)
            moves = ["down" if rows < 0 else "up"] * abs(rows) + ["right" if columns < 0 else "left"] * abs(columns)
            rng.shuffle(moves)
            return ends(rows, columns), (*path, *moves)
        surplus = rng.randint(1, max(1, len(path) - 1))
        kept = sorted(rng.sample(range(len(path)), max(1, len(path) - surplus)))
        return too_long(surplus), tuple(path[i] for i in kept)

    def vocabulary(self) -> Iterator[str]:
        """A question, the cells, the directions and every kind of feedback."""
        yield from pose((("*", "#"),)).split("* #")
        for cell in "*#OX":
            yield cell
            yield f" {cell}"
        for word in (*DIRECTIONS, *INFEASIBLE):
            yield word
            yield f" {word}"
        sentences = [CORRECT_FEEDBACK, INCORRECT_FEEDBACK, NO_ANSWER, THERE_IS_A_PATH]
        sentences += [sentence(number) for number in range(1, MOST_STEPS + 1) for sentence in (leaves, blocked)]
        sentences += [too_long(number) for number in range(1, MOST_STEPS)]
        sentences += [count_errors(number) for number in range(1, MOST_STEPS + 1)]
        offsets = range(1 - MOST_SIDE, MOST_SIDE)
        sentences += [ends(rows, columns) for rows in offsets for columns in offsets if (rows, columns) != (0, 0)]
        for sentence in sentences:
            yield sentence
            # Before a blank line, as in a prompt that goes on.
            yield sentence + "\n\n" + NO_ANSWER


def _other_steps(path: Sequence[str], places: Sequence[int], rng: Random) -> tuple[str, ...]:
    changed = list(path)
    for place in places:
        changed[place] = rng.choice([step for step in DIRECTIONS if step != path[place]])
    return tuple(changed)


def _offset(rng: Random) -> tuple[int, int]:
    while True:
        rows, columns = rng.choices((-3, -2, -1, 0, 1, 2, 3), (1, 3, 5, 5, 5, 3, 1), k=2)
        if rows or columns:
            return rows, columns
