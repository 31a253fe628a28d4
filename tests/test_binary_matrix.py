from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rltf.config import BinaryMatrixConfig
from rltf.support.errors import UserError
from rltf.tasks import BinaryMatrix, FeedbackLevel
from rltf.tasks.binary_matrix import DRAFT_FORMAT, Matrix, distances, pose, write_matrix
from rltf.types import Problem, Score

SENTENCE = re.compile(r"Row (\d+), column (\d+) should be (larger|smaller)\.")


def make_task(**settings: Any) -> BinaryMatrix:
    sizes = {"train_size": 60, "validation_size": 20, "test_size": 20}
    return BinaryMatrix(**BinaryMatrixConfig(**{**sizes, **settings}).model_dump(exclude={"name"}))


def make_problem(matrix: Matrix) -> Problem:
    solution = distances(matrix)
    return Problem(
        task="binary_matrix",
        split="test",
        index=0,
        prompt=pose(matrix),
        answer=write_matrix(solution),
        metadata={"matrix": matrix, "solution": solution},
    )


TASK = make_task()
# Its solution is 0 1 2 / 1 2 3 / 2 3 4.
CORNER = make_problem(((0, 1, 1), (1, 1, 1), (1, 1, 1)))
GOLD = CORNER.answer
SIZES = [
    {"min_side": 1, "max_side": 2, "min_distance": 0, "train_size": 4, "validation_size": 2, "test_size": 2},
    {"min_side": 3, "max_side": 5, "p_zero": 0.25, "min_distance": 0},
    {},
    {"min_side": 7, "max_side": 7, "p_zero": 0.1},
    {"min_side": 12, "max_side": 12, "p_zero": 0.02, "train_size": 10},
]


def score(text: str, problem: Problem = CORNER) -> Score:
    return TASK.score(problem, text)


def answer(text: str) -> str:
    return f"<answer>{text}</answer>"


@pytest.mark.parametrize("settings", SIZES)
def test_the_gold_answer_is_reasoning_gyms_own(settings: dict[str, Any]) -> None:
    from reasoning_gym.algorithmic.binary_matrix import BinaryMatrixConfig as Config
    from reasoning_gym.algorithmic.binary_matrix import BinaryMatrixDataset

    section = BinaryMatrixConfig(**settings)
    config = Config(min_n=section.min_side, max_n=section.max_side, p_zero=section.p_zero, seed=5, size=30)
    for entry in BinaryMatrixDataset(config):
        matrix = tuple(map(tuple, entry["metadata"]["matrix"]))
        assert write_matrix(distances(matrix)) == entry["answer"]
        assert pose(matrix).startswith(entry["question"].strip())


def test_distances_are_taxicab_distances_to_the_nearest_zero() -> None:
    assert distances(((0, 1, 1), (1, 1, 1), (1, 1, 1))) == ((0, 1, 2), (1, 2, 3), (2, 3, 4))
    assert distances(((1, 1, 0), (1, 1, 1), (0, 1, 1))) == ((2, 1, 0), (1, 2, 1), (0, 1, 2))
    assert distances(((0,),)) == ((0,),)


def test_the_prompt_shows_the_question_its_matrix_and_the_form_of_the_answer() -> None:
    assert "\n0 1 1\n1 1 1\n1 1 1\n" in CORNER.prompt
    assert "<answer>" in CORNER.prompt
    assert "{" not in CORNER.prompt


@pytest.mark.parametrize(
    "text",
    [
        answer(GOLD),
        TASK.write_answer(GOLD),
        f"Thinking of it, 0 1 2 it is.\n{answer(GOLD)}\nDone.",
        answer(f"\n\n  {GOLD}  \n\n"),
        answer(GOLD.replace(" ", "\t")),
        answer(GOLD.replace(" ", "   ")),
        answer(GOLD.replace("\n", " \r\n ")),
        answer("9 9\n9 9") + answer(GOLD),
        answer("nonsense") + answer(GOLD),
        f"<answer>9 9\n{answer(GOLD)}",
        f"<answer><answer><answer>{GOLD}</answer></answer></answer>",
        f"</answer>{answer(GOLD)}</answer><answer>",
        f"```\n{answer(GOLD)}\n```",
    ],
)
def test_the_right_answer_counts_however_it_is_laid_out(text: str) -> None:
    verdict = score(text)
    assert (verdict.reward, verdict.answer) == (1.0, GOLD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        GOLD,
        "<answer>",
        "</answer>",
        f"<answer>{GOLD}",
        f"{GOLD}</answer>",
        f"</answer>{GOLD}<answer>",
        f"<ANSWER>{GOLD}</ANSWER>",
        "<answer></answer>",
        answer(" \n\t\n "),
        answer(GOLD) + answer(""),
        answer(GOLD) + answer("I am not sure"),
        answer(f"```\n{GOLD}\n```"),
        answer(str([[0, 1, 2], [1, 2, 3], [2, 3, 4]])),
        answer(GOLD.replace(" ", ",")),
        answer(GOLD.replace(" ", "")),
        answer(GOLD.replace(" ", "\u00a0")),
        answer(GOLD.replace(" ", "\u2003")),
        answer(GOLD.replace("\n", " ")),
        answer(GOLD.replace("\n", "\n\n")),
        answer(GOLD.replace("\n", "\r")),
        answer(GOLD.replace("\n", "\u2028")),
        answer(GOLD + "\n9 9 9"),
        answer(GOLD + " 0"),
        answer("-0" + GOLD[1:]),
        answer("+" + GOLD),
        answer("0.0" + GOLD[1:]),
        answer("0x0" + GOLD[1:]),
        answer("0_0" + GOLD[1:]),
        answer("0000" + GOLD[1:]),
        # Digits to str.isdigit and to int, or to str.isdigit alone: no answer, and no crash.
        answer("\u0660 \u0661 \u0662\n\u0661 \u0662 \u0663\n\u0662 \u0663 \u0664"),
        answer("\uff10 \uff11 \uff12\n\uff11 \uff12 \uff13\n\uff12 \uff13 \uff14"),
        answer("0 1 \u00b2\n1 \u00b2 \u00b3\n\u00b2 \u00b3 4"),
        answer("\u2460 1 2\n1 2 3\n2 3 4"),
        answer(GOLD + "\x00"),
        answer("\ufeff" + GOLD),
        answer("__import__('os').abort()"),
    ],
)
def test_what_is_not_an_answer_of_the_right_shape_is_malformed_and_scores_zero(text: str) -> None:
    verdict = score(text)
    assert (verdict.reward, verdict.correct, verdict.well_formed) == (0.0, False, False)
    assert verdict.explanation


@pytest.mark.parametrize(
    ("text", "explanation"),
    [
        ("no answer", "There is no answer between <answer> and </answer>."),
        (answer(" "), "The answer is empty."),
        (answer("0 1 2\none two three\n2 3 4"), "Line 2 of the answer is not a row of numbers."),
        (answer("0 1 2\n1 2 3"), "The answer has 2 rows; the matrix has 3."),
        (answer("0 1 2\n1 2 3 4\n2 3 4"), "Row 2 of the answer has 4 numbers; the matrix has 3 columns."),
        (answer("0\n" * 500), "The answer has too many lines."),
        (answer("0 1 2\n1 2 3\n2 3 5"), "1 of 9 cells are wrong."),
        (answer(GOLD), "Every cell is right."),
    ],
)
def test_a_score_explains_itself(text: str, explanation: str) -> None:
    assert score(text).explanation == explanation


@pytest.mark.parametrize(
    "text",
    [
        "<answer>" * 200_000,
        "</answer>" * 200_000,
        "<answer>" + "0 " * 500_000,
        answer("0 " * 500_000),
        answer("0\n" * 500_000),
        answer("0" * 1_000_000),
        answer(" " * 1_000_000),
        answer("\t \t" * 300_000 + "x"),
        answer("0 1\t" * 200_000 + "x"),
        answer("<" * 1_000_000),
        (answer("1 2") + "<answer") * 60_000,
    ],
    ids=lambda text: f"{text[:20]!r}",
)
def test_a_huge_attempt_is_scored_at_once(text: str) -> None:
    start = time.process_time()
    verdict = score(text)
    feedback = TASK.feedback(CORNER, text, verdict, "located")
    assert time.process_time() - start < 3.0
    assert verdict.reward == 0.0
    assert len(feedback) < 1000


PIECES = st.sampled_from(
    ["<answer>", "</answer>", GOLD, "0 1 2\n", "1 2 3\n", "2 3 4", "\n", " ", "\t", "9", "```", "-", "\u0661", "x"]
)
GARBAGE = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=12).map("".join),
    st.lists(PIECES, max_size=4).map(lambda pieces: answer("".join(pieces))),
)


def last_block(text: str) -> str | None:
    """What stands between the last <answer> and </answer> that have neither tag between them."""
    end = len(text)
    while (end := text.rfind("</answer>", 0, end)) >= 0:
        start = text.rfind("<answer>", 0, end)
        if start >= 0 and "</answer>" not in text[start:end]:
            return text[start + len("<answer>") : end]
    return None


def plain_form(block: str) -> str:
    """Rows with one space between numbers and without leading zeros."""
    rows = [re.sub(r"[ \t]+", " ", line.strip()) for line in block.strip().split("\n")]
    return re.sub(r"(?<![0-9])0{1,2}(?=[0-9])", "", "\n".join(rows))


@given(GARBAGE)
@example(answer(GOLD) + "</answer>")
@example("<answer>" + answer("00 1\t2\n 1 2 3\n2 3 4"))
def test_any_text_is_scored_without_an_error_and_only_the_answer_scores_one(text: str) -> None:
    verdict = score(text)
    block = last_block(text)
    assert verdict.correct == (block is not None and plain_form(block) == GOLD)
    assert verdict.reward == float(verdict.correct)
    assert verdict.well_formed or not verdict.correct


WRONG = answer("0 1 3\n1 1 3\n2 3 9")


@pytest.mark.parametrize(
    ("level", "text", "feedback"),
    [
        (
            "located",
            WRONG,
            "Row 1, column 3 should be smaller.\nRow 2, column 2 should be larger.\nRow 3, column 3 should be smaller.",
        ),
        ("marks", WRONG, "0 0 2\n0 1 0\n0 0 2"),
        ("marks", answer("0 1 2"), "The answer has 1 rows; the matrix has 3."),
        ("marks", answer(GOLD), "Your previous answer was correct."),
        ("count", WRONG, "3 cells are wrong."),
        ("correctness", WRONG, "Your previous answer was incorrect."),
        ("located", answer("0 1 2\n1 2 3\n2 3 0"), "Row 3, column 3 should be larger."),
        ("count", answer("0 1 2\n1 2 3\n2 3 0"), "1 cell is wrong."),
        ("located", "hm", "There is no answer between <answer> and </answer>."),
        ("count", "hm", "There is no answer between <answer> and </answer>."),
        ("correctness", "hm", "Your previous answer was incorrect."),
        ("located", answer("0 1 2"), "The answer has 1 rows; the matrix has 3."),
        ("count", answer("0 1\n1 2\n2 3"), "Row 1 of the answer has 2 numbers; the matrix has 3 columns."),
        ("located", answer(GOLD), "Your previous answer was correct."),
        ("count", answer(GOLD), "Your previous answer was correct."),
        ("correctness", answer(GOLD), "Your previous answer was correct."),
    ],
)
def test_feedback_says_this_much_at_each_level(level: FeedbackLevel, text: str, feedback: str) -> None:
    assert TASK.feedback(CORNER, text, score(text), level) == feedback


def follow(matrix: Matrix, feedback: str) -> Matrix:
    """The attempt with each named cell moved by one as the feedback says."""
    rows = [list(row) for row in matrix]
    for row, column, direction in SENTENCE.findall(feedback):
        rows[int(row) - 1][int(column) - 1] += 1 if direction == "larger" else -1
    return tuple(map(tuple, rows))


def distance(a: Matrix, b: Matrix) -> int:
    return sum(abs(x - y) for row, other in zip(a, b, strict=True) for x, y in zip(row, other, strict=True))


@given(st.integers(0, 59), st.data())
def test_following_located_feedback_to_the_letter_ends_at_the_answer(index: int, data: st.DataObject) -> None:
    problem = TASK.problem("train", index)
    solution: Matrix = problem.metadata["solution"]
    row = st.lists(st.integers(0, 6), min_size=len(solution), max_size=len(solution)).map(tuple)
    attempt: Matrix = tuple(data.draw(st.lists(row, min_size=len(solution), max_size=len(solution))))
    farthest = max(abs(x - y) for a, b in zip(attempt, solution, strict=True) for x, y in zip(a, b, strict=True))
    for _ in range(farthest):
        text = TASK.write_answer(write_matrix(attempt))
        feedback = TASK.feedback(problem, text, TASK.score(problem, text), "located")
        nearer = follow(attempt, feedback)
        assert distance(nearer, solution) == distance(attempt, solution) - len(feedback.splitlines())
        attempt = nearer
    assert attempt == solution


@pytest.mark.parametrize(
    "text",
    [
        GOLD,
        "It is [[0, 1, 2], [1, 2, 3], [2, 3, 4]].",
        "First row 0 1 2, then 1 2 3, then 2 3 4 and that is all 9.",
        "7 7 " + GOLD.replace("\n", " ") + " 7",
    ],
)
def test_the_answer_in_any_layout_is_a_revelation(text: str) -> None:
    assert TASK.reveals_answer(CORNER, text)


@pytest.mark.parametrize("text", ["", "0 1 2", "0 1 2 1 2 3 2 3", "0 1 2 1 2 3 2 3 5", GOLD.replace("0", "10")])
def test_a_part_of_the_answer_or_another_one_is_no_revelation(text: str) -> None:
    assert not TASK.reveals_answer(CORNER, text)


def test_every_problem_has_a_distance_of_at_least_min_distance() -> None:
    for minimum in (0, 3):
        task = make_task(min_distance=minimum, test_size=40)
        largest = [max(map(max, task.problem("test", i).metadata["solution"])) for i in range(40)]
        assert min(largest) >= minimum
        assert minimum or min(largest) < 2


def test_sides_stay_within_their_bounds_and_reach_them() -> None:
    task = make_task(min_side=3, max_side=5)
    sides = {len(task.problem("train", index).metadata["matrix"]) for index in range(60)}
    assert sides == {3, 4, 5}


@pytest.mark.parametrize(
    ("sizes", "field"),
    [
        ({"train_size": 10_000, "validation_size": 20, "test_size": 20}, "task.train_size=10000"),
        ({"train_size": 10, "validation_size": 5_000, "test_size": 20}, "task.validation_size=5000"),
        ({"train_size": 10, "validation_size": 10, "test_size": 5_000}, "task.test_size=5000"),
    ],
)
def test_settings_with_too_few_distinct_problems_are_the_users_error_and_name_the_field(
    sizes: dict[str, int], field: str
) -> None:
    task = make_task(min_side=2, max_side=3, **sizes)
    with pytest.raises(UserError, match=field) as caught:
        task.problem("train", sizes["train_size"] - 1)
    assert "\n" not in str(caught.value)


def test_settings_that_allow_no_problem_at_all_are_the_users_error() -> None:
    with pytest.raises(UserError, match=r"no problem can be made"):
        make_task(min_side=2, max_side=2, min_distance=50).problem("test", 0)


def test_of_an_attempt_with_a_draft_the_last_answer_counts() -> None:
    task, plain = make_task(draft=True), make_task()
    problem, same = task.problem("test", 0), plain.problem("test", 0)
    assert problem.prompt == f"{same.prompt}\n\n{DRAFT_FORMAT}"
    assert problem.answer == same.answer
    draft = answer(write_matrix(problem.metadata["matrix"]))
    assert task.score(problem, f"{draft}\n0 0 0\n{answer(problem.answer)}").correct
    judged = task.score(problem, f"{answer(problem.answer)}\n0 0 0\n{draft}")
    assert judged.well_formed
    assert not judged.correct
