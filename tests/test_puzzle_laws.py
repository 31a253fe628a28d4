"""What holds of every puzzle, whatever it asks. What is particular to one stands in its own module."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rltf.config.load import configure
from rltf.runs.build import build_task
from rltf.tasks import FeedbackLevel, Task
from rltf.tasks.puzzle import tag_answer
from rltf.types import Split

SPLITS: tuple[Split, ...] = get_args(Split)
LEVELS: tuple[FeedbackLevel, ...] = get_args(FeedbackLevel)


@dataclass(frozen=True, kw_only=True)
class Puzzle:
    """A puzzle and what a law needs to know of it."""

    name: str
    variants: tuple[dict[str, Any], ...]
    """Settings, from the smallest problems to large ones."""
    words: tuple[str, ...]
    """Of which its answers and things like them are made."""
    made: dict[str, Task] = field(default_factory=dict)

    def task(self, **settings: Any) -> Task:
        """Made once for the same settings, as making problems takes most of the time."""
        sizes = {"train_size": 40, "validation_size": 20, "test_size": 20}
        changes = {"task.name": self.name, **{f"task.{name}": value for name, value in (sizes | settings).items()}}
        if repr(changes) not in self.made:
            self.made[repr(changes)] = build_task(configure(changes=changes).task)
        return self.made[repr(changes)]


PUZZLES = {
    puzzle.name: puzzle
    for puzzle in (
        Puzzle(
            name="binary_matrix",
            variants=(
                {
                    "min_side": 1,
                    "max_side": 2,
                    "min_distance": 0,
                    "train_size": 4,
                    "validation_size": 2,
                    "test_size": 2,
                },
                {"min_side": 3, "max_side": 5, "p_zero": 0.25, "min_distance": 0},
                {},
                {"draft": True},
                {"min_side": 7, "max_side": 7, "p_zero": 0.1},
                {"min_side": 12, "max_side": 12, "p_zero": 0.02, "train_size": 10},
            ),
            words=("0 1 2", "1 2 3\n", "9", "\t", "\u0661", "-"),
        ),
        Puzzle(
            name="shortest_path",
            variants=(
                {},
                {"min_rows": 2, "max_rows": 6, "p_blocked": 0.0},
                {
                    "min_rows": 5,
                    "max_rows": 6,
                    "min_columns": 5,
                    "max_columns": 6,
                    "p_blocked": 0.4,
                    "min_steps": 1,
                    "keep_infeasible": True,
                },
            ),
            words=("up", "down", "left", "Right", "infeasible", "north"),
        ),
        Puzzle(
            name="knights_and_knaves",
            variants=({"people": 2}, {}, {"people": 5, "depth": 3, "width": 3}),
            words=("Ava", "Noah", "is", "a", "an", "knight", "devil", "and"),
        ),
    )
}
VARIANTS = [(puzzle, variant) for puzzle in PUZZLES.values() for variant in puzzle.variants]
each_puzzle = pytest.mark.parametrize("puzzle", PUZZLES.values(), ids=PUZZLES)
each_variant = pytest.mark.parametrize(
    ("puzzle", "settings"), VARIANTS, ids=[f"{puzzle.name}-{puzzle.variants.index(v)}" for puzzle, v in VARIANTS]
)


def prompts(task: Task, split: Split) -> list[str]:
    return [task.problem(split, index).prompt for index in range(task.size(split))]


@each_variant
def test_the_gold_answer_scores_one_and_its_neighbours_score_zero(puzzle: Puzzle, settings: dict[str, Any]) -> None:
    task = puzzle.task(**settings)
    for split in SPLITS:
        for index in range(task.size(split)):
            problem = task.problem(split, index)
            gold = task.score(problem, task.write_answer(problem.answer))
            assert (gold.reward, gold.correct, gold.well_formed, gold.answer) == (1.0, True, True, problem.answer)
            wrong = list(task.perturbations(problem, Random(index)))
            assert len(wrong) >= 3
            for text in wrong:
                verdict = task.score(problem, text)
                assert (verdict.reward, verdict.correct) == (0.0, False)


@each_variant
def test_no_feedback_on_a_near_miss_reveals_the_answer(puzzle: Puzzle, settings: dict[str, Any]) -> None:
    task = puzzle.task(**settings)
    for index in range(min(20, task.size("train"))):
        problem = task.problem("train", index)
        assert task.reveals_answer(problem, task.write_answer(problem.answer))
        if problem.metadata.get("steps") == 1:
            # "1 column right of the destination" holds the whole path.
            continue
        for text in task.perturbations(problem, Random(index)):
            verdict = task.score(problem, text)
            for level in LEVELS:
                feedback = task.feedback(problem, text, verdict, level)
                assert feedback
                assert not task.reveals_answer(problem, feedback)


PIECES = st.sampled_from(
    [
        "<answer>",
        "</answer>",
        "\n",
        " ",
        "```",
        "\x00",
        "x",
        *(word for puzzle in PUZZLES.values() for word in puzzle.words),
    ]
)
GARBAGE = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=12).map(" ".join),
    st.lists(PIECES, max_size=6).map(lambda pieces: tag_answer(" ".join(pieces))),
)


@each_puzzle
@given(text=GARBAGE)
@example("<answer>infeasible</answer>")
@example("<answer>up</answer>" * 50)
@example("__import__('os').abort()")
def test_any_text_is_scored_and_criticised_without_an_error(puzzle: Puzzle, text: str) -> None:
    task = puzzle.task()
    problem = task.problem("test", 0)
    verdict = task.score(problem, text)
    assert verdict.reward == float(verdict.correct)
    assert verdict.well_formed or not verdict.correct
    assert verdict.explanation
    for level in LEVELS:
        feedback = task.feedback(problem, text, verdict, level)
        assert 0 < len(feedback) < 2000
        assert verdict.correct or not task.reveals_answer(problem, feedback)


@each_puzzle
def test_problems_of_all_splits_are_distinct_and_know_their_place(puzzle: Puzzle) -> None:
    task = puzzle.task()
    everything = [prompt for split in SPLITS for prompt in prompts(task, split)]
    assert len(set(everything)) == len(everything) == 80
    for split in SPLITS:
        problem = task.problem(split, 7)
        assert (problem.task, problem.split, problem.index) == (puzzle.name, split, 7)
        assert "<answer>" in problem.prompt
        assert "{" not in problem.prompt


@each_puzzle
def test_problems_do_not_depend_on_the_order_in_which_they_are_asked_for(puzzle: Puzzle) -> None:
    expected = {split: prompts(puzzle.task(), split) for split in SPLITS}
    backwards = Puzzle(name=puzzle.name, variants=(), words=()).task()
    for split in reversed(SPLITS):
        for index in reversed(range(backwards.size(split))):
            assert backwards.problem(split, index).prompt == expected[split][index]


@each_puzzle
def test_a_split_depends_on_no_other_and_a_larger_one_begins_with_the_smaller(puzzle: Puzzle) -> None:
    assert prompts(puzzle.task(train_size=3, validation_size=1), "test") == prompts(puzzle.task(), "test")
    assert prompts(puzzle.task(train_size=70), "train")[:40] == prompts(puzzle.task(), "train")


@each_puzzle
def test_another_data_seed_gives_other_problems(puzzle: Puzzle) -> None:
    one, other = (set(prompts(puzzle.task(data_seed=seed), "test")) for seed in (1, 2))
    assert len(one & other) < len(one) / 4


@each_puzzle
@pytest.mark.parametrize("index", [-1, 20, 10**9])
def test_an_index_outside_the_split_is_an_error(puzzle: Puzzle, index: int) -> None:
    with pytest.raises(IndexError):
        puzzle.task().problem("test", index)
