from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rltf.config import ShortestPathConfig
from rltf.tasks import FeedbackLevel, ShortestPath
from rltf.tasks.puzzle import tag_answer
from rltf.tasks.shortest_path import INFEASIBLE, STEPS, Grid, extract_path, faults, pose
from rltf.types import Problem, Score, Split

SPLITS: tuple[Split, ...] = get_args(Split)
PAPER = {
    "min_rows": 5,
    "max_rows": 6,
    "min_columns": 5,
    "max_columns": 6,
    "p_blocked": 0.4,
    "min_steps": 1,
    "keep_infeasible": True,
}
GRID: Grid = (
    ("*", "O", "X"),
    ("X", "O", "O"),
    ("O", "O", "#"),
)
WALLED: Grid = (("*", "X"), ("X", "#"))


def make_task(**settings: Any) -> ShortestPath:
    sizes = {"name": "shortest_path", "train_size": 40, "validation_size": 20, "test_size": 20}
    return ShortestPath(**ShortestPathConfig(**{**sizes, **settings}).model_dump(exclude={"name"}))


def make_problem(grid: Grid, answer: str) -> Problem:
    steps = None if answer == "infeasible" else len(answer.split())
    return Problem(
        task="shortest_path",
        split="test",
        index=0,
        prompt=pose(grid),
        answer=answer,
        metadata={"grid": grid, "steps": steps},
    )


TASK = make_task()
OPEN = make_problem(GRID, "right down right down")
CLOSED = make_problem(WALLED, "infeasible")


def score(answer: str, problem: Problem = OPEN) -> Score:
    return TASK.score(problem, tag_answer(answer))


def feedback(answer: str, level: FeedbackLevel = "located", problem: Problem = OPEN) -> str:
    text = tag_answer(answer)
    return TASK.feedback(problem, text, TASK.score(problem, text), level)


def relaxed(grid: Grid) -> int | None:
    """Length of a shortest path, by relaxing every cell until nothing changes."""
    far = 10_000
    cost = {(r, c): 0 if cell == "*" else far for r, row in enumerate(grid) for c, cell in enumerate(row)}
    for _ in cost:
        for (r, c), here in list(cost.items()):
            for dr, dc in STEPS.values():
                if (r + dr, c + dc) in cost and grid[r + dr][c + dc] != "X":
                    cost[r + dr, c + dc] = min(cost[r + dr, c + dc], here + 1)
    (end,) = [cell for cell in cost if grid[cell[0]][cell[1]] == "#"]
    return None if cost[end] == far else cost[end]


def test_the_generators_answers_are_shortest_paths() -> None:
    task = make_task(**PAPER)
    infeasible = 0
    for index in range(40):
        problem = task.problem("train", index)
        steps = problem.metadata["steps"]
        assert steps == relaxed(problem.metadata["grid"])
        assert problem.answer == "infeasible" if steps is None else len(problem.answer.split()) == steps
        infeasible += problem.metadata["steps"] is None
    assert 0 < infeasible < 30


def test_the_default_keeps_only_grids_that_a_short_guess_does_not_solve() -> None:
    for split in SPLITS:
        for index in range(20):
            assert TASK.problem(split, index).metadata["steps"] >= 3


def test_any_shortest_path_is_right() -> None:
    for path in ("right down right down", "right down down right", " RIGHT  Down\nright\tdown "):
        assert score(path).correct
        assert feedback(path) == "Your previous answer was correct."
    assert score("infeasible", CLOSED).correct


@pytest.mark.parametrize(
    ("path", "located", "errors"),
    [
        ("down right right down", "Step 1 enters a blocked cell.", 1),
        (
            "up right down down",
            "Step 1 leaves the grid.\nThe path ends 1 row above and 1 column left of the destination.",
            3,
        ),
        ("right right down down", "Step 2 enters a blocked cell.", 1),
        ("right down", "The path ends 1 row above and 1 column left of the destination.", 1),
        ("right down right down left", "The path ends 1 column left of the destination.", 1),
        ("right", "The path ends 2 rows above and 1 column left of the destination.", 1),
        ("right down right", "The path ends 1 row above the destination.", 1),
        ("right left right down right down", "The path is valid but 2 steps too long.", 1),
        ("right down right down down", "Step 5 leaves the grid.\nThe path ends 1 row below the destination.", 2),
        ("infeasible", "There is a path to the destination.", 1),
    ],
)
def test_feedback_names_the_first_bad_step_and_the_end_or_counts_or_denies(
    path: str, located: str, errors: int
) -> None:
    assert not score(path).correct
    assert score(path).explanation == located.split("\n")[0]
    assert feedback(path) == located
    assert feedback(path, "count") == f"The answer has {errors} error{'s' * (errors > 1)}."
    assert feedback(path, "correctness") == "Your previous answer was incorrect."


def test_a_path_where_there_is_none_gets_feedback_on_the_path_alone() -> None:
    assert feedback("right down", problem=CLOSED).split("\n")[0] == "Step 1 enters a blocked cell."
    assert feedback("down up", problem=CLOSED).split("\n")[0] == "Step 1 enters a blocked cell."


@pytest.mark.parametrize(
    ("answer", "explanation"),
    [
        ("", "The answer is empty."),
        ("right, down", "Word 1 of the answer is no direction."),
        ("right north", "Word 2 of the answer is no direction."),
        ("infeasible infeasible", "Word 1 of the answer is no direction."),
        ("[up]", "Word 1 of the answer is no direction."),
        ("up " * 1001, "The answer has too many words."),
    ],
)
def test_what_is_no_path_is_malformed_and_says_why(answer: str, explanation: str) -> None:
    verdict = score(answer)
    assert (verdict.reward, verdict.well_formed, verdict.answer, verdict.explanation) == (0.0, False, None, explanation)
    assert feedback(answer) == explanation


def test_the_prompt_shows_the_grid_and_the_form_of_the_answer() -> None:
    assert "\n* O X\nX O O\nO O #\n" in OPEN.prompt
    assert "<answer>" in OPEN.prompt


def test_the_answer_is_found_out_in_any_text() -> None:
    assert TASK.reveals_answer(OPEN, "Go Right, down, right, down.")
    assert not TASK.reveals_answer(OPEN, "right right down down")
    assert TASK.reveals_answer(CLOSED, "It is INFEASIBLE.")
    assert not TASK.reveals_answer(CLOSED, "right down")


@given(st.lists(st.sampled_from(tuple(STEPS)), max_size=8))
def test_a_path_without_faults_ends_at_the_destination_over_open_cells(path: list[str]) -> None:
    row, column, good = 0, 0, True
    for step in path:
        row, column = row + STEPS[step][0], column + STEPS[step][1]
        good = good and 0 <= row < 3 and 0 <= column < 3 and GRID[row][column] != "X"
    assert (not faults(GRID, path)) == (good and (row, column) == (2, 2))


def test_extraction_takes_the_last_block() -> None:
    assert extract_path("<answer>up</answer> or <answer>left down</answer>") == ("left", "down")
    assert extract_path("<answer>infeasible</answer>") == INFEASIBLE
