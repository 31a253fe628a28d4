"""The language of Shortest Path, for the built-in model's corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK
from rltf.tasks.puzzle import NO_ANSWER, tag_answer
from rltf.tasks.shortest_path import (
    BLOCKED,
    END,
    INFEASIBLE,
    START,
    STEPS,
    THERE_IS_A_PATH,
    Grid,
    Path,
    blocked,
    count_errors,
    ends,
    extract_path,
    find,
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
MOST_GUESSED = 3
ASIDE = 0.3
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
        """Sees in which direction the destination lies, not how far, and no wall but beside the start.

        Seldom the claim that there is no path.
        """
        grid: Grid = problem.metadata["grid"]
        while True:
            path = INFEASIBLE if rng.random() < INFEASIBLE_SHARE else _towards(grid, rng)
            if mistakes(problem, path):
                return tag_answer(" ".join(path))

    def random_revision(self, problem: Problem, attempt: str, rng: Random) -> tuple[str, str]:
        """Steps changed, added or left out; the feedback says what a judge would say before such a change."""
        path = extract_path(attempt)
        assert not isinstance(path, str)
        while True:
            feedback, revision = self._change(problem, path, rng)
            if mistakes(problem, revision):
                return feedback, tag_answer(" ".join(revision))

    def _change(self, problem: Problem, path: Path, rng: Random) -> tuple[str, Path]:
        kind = rng.random()
        if kind < 0.04:
            return CORRECT_FEEDBACK, path
        if kind < 0.08 or path == INFEASIBLE:
            denial = THERE_IS_A_PATH if path == INFEASIBLE else INCORRECT_FEEDBACK
            again = extract_path(self.ignorant_attempt(problem, rng))
            assert not isinstance(again, str)
            return denial, again
        if kind < 0.12:
            changed = rng.sample(range(len(path)), rng.randint(1, min(3, len(path))))
            return count_errors(len(changed)), _other_steps(path, changed, rng)
        if kind < 0.20 and len(path) > 1:
            surplus = rng.randint(1, len(path) - 1)
            return too_long(surplus), _shorten(path, surplus, rng)
        place = rng.randrange(len(path)) if kind < 0.60 else None
        offset = _offset(rng) if place is None or kind < 0.40 else (0, 0)
        sentences = [] if place is None else [rng.choice((leaves, blocked))(place + 1)]
        sentences += [ends(*offset)] if offset != (0, 0) else []
        return "\n".join(sentences), follow(path, place, offset, rng)

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
        offsets = [offset for offset in range(1 - MOST_SIDE, MOST_SIDE) if offset]
        sentences += [ends(offset, 0) for offset in offsets] + [ends(0, offset) for offset in offsets]
        # Rows and columns at once: a token for each half.
        yield from (ends(offset, 0).removesuffix(" the destination.") for offset in offsets)
        yield from (ends(1, offset).removeprefix("The path ends 1 row below") for offset in offsets)
        for sentence in sentences:
            yield sentence
            # Before a blank line, as in a prompt that goes on.
            yield sentence + "\n\n" + NO_ANSWER
            yield sentence + "\n" + NO_ANSWER


def follow(path: Path, place: int | None, offset: tuple[int, int], rng: Random) -> Path:
    """What one who does not see the grid makes of feedback on a path.

    Args:
        path: the path that the feedback is about.
        place: the step that leaves the grid or enters a blocked cell, from 0; None if there is none.
        offset: rows and columns from the destination to the end of the path.
        rng: where there is a choice.
    """
    steps = list(path)
    if place is not None:
        # A later step that is different comes first; where there is none, the step is another one.
        later = [i for i in range(place + 1, len(steps)) if steps[i] != steps[place]]
        if later:
            other = rng.choice(later)
            steps[place], steps[other] = steps[other], steps[place]
        else:
            steps[place] = rng.choice([step for step in DIRECTIONS if step != steps[place]])
    for amount, (forth, back) in zip(offset, (("down", "up"), ("right", "left")), strict=True):
        surplus, missing = (forth, back) if amount > 0 else (back, forth)
        for _ in range(abs(amount)):
            # The last step too many is left out, but none before the place that is spoken of.
            behind = [i for i, step in enumerate(steps) if step == surplus and (place is None or i > place)]
            if behind and len(steps) > 1:
                del steps[behind[-1]]
            else:
                steps.append(missing)
    return tuple(steps)


def _towards(grid: Grid, rng: Random) -> Path:
    """So many steps in the direction of the destination, in any order that does not begin against a wall."""
    (row, column), (end_row, end_column) = find(grid, START), find(grid, END)
    steps: list[str] = []
    for offset, (forth, back) in ((end_row - row, ("down", "up")), (end_column - column, ("right", "left"))):
        if offset:
            steps += [forth if offset > 0 else back] * rng.randint(1, MOST_GUESSED)
        elif rng.random() < ASIDE:
            steps.append(rng.choice((forth, back)))
    if not steps:
        steps.append(rng.choice(DIRECTIONS))
    rng.shuffle(steps)
    open_steps = [i for i, step in enumerate(steps) if _is_open(grid, row, column, step)]
    if open_steps:
        first = rng.choice(open_steps)
        steps[0], steps[first] = steps[first], steps[0]
    return tuple(steps)


def _is_open(grid: Grid, row: int, column: int, step: str) -> bool:
    row, column = row + STEPS[step][0], column + STEPS[step][1]
    return 0 <= row < len(grid) and 0 <= column < len(grid[0]) and grid[row][column] != BLOCKED


def _shorten(path: Path, surplus: int, rng: Random) -> Path:
    kept = sorted(rng.sample(range(len(path)), len(path) - surplus))
    return tuple(path[i] for i in kept)


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
