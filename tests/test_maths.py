"""Competition maths: the box, the verdict on an attempt, feedback and leaks, the shipped problems."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rltf.config import MathsConfig
from rltf.tasks import FeedbackLevel, Maths
from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK, score_all
from rltf.tasks.listed import LeftOut
from rltf.tasks.maths.boxed import box, boxes, last_answer
from rltf.tasks.maths.golds import normal_answer
from rltf.tasks.maths.leaks import names_answer
from rltf.tasks.maths.remarks import (
    EMPTY_BOX,
    NO_BOX,
    NOT_WORKED_OUT,
    OPEN_BOX,
    SEVERAL,
    TOO_LONG,
    UNCHECKED,
    UNREADABLE,
    WRONG,
    WRONG_BASE,
    WRONG_UNIT,
)
from rltf.tasks.maths.values import numeral_of, shape_of, value_of
from rltf.tasks.validate import validate
from rltf.types import Problem, Score

LEVELS: tuple[FeedbackLevel, ...] = get_args(FeedbackLevel)


def make_task(**settings: Any) -> Maths:
    return Maths(**MathsConfig(name="maths", **settings).model_dump(exclude={"name"}))


@pytest.fixture(scope="module")
def task() -> Iterator[Maths]:
    made = make_task()
    yield made
    made._verdicts.close()


def problem(answer: str) -> Problem:
    return Problem(task="maths", split="test", index=0, prompt="What?", answer=answer)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It is \\boxed{5}.", ["5"]),
        ("\\boxed{\\frac{1}{2}}", ["\\frac{1}{2}"]),
        ("\\boxed{1}, no, \\boxed{2}", ["1", "2"]),
        ("\\fbox{7}", ["7"]),
        ("\\boxed {7}", ["7"]),
        ("\\boxed{\\{1, 2\\}}", ["\\{1, 2\\}"]),
        ("\\boxed{\\boxed{3}}", ["{3}"]),
        ("\\boxed{x = \\boxed{3}}", ["x = {3}"]),
        ("\\boxed{\n 4 \n}", ["4"]),
        ("\\boxed{}", [""]),
        ("\\boxed{5", []),
        ("\\boxed{5 and \\boxed{6}", ["6"]),
        ("\\boxed 5", []),
        ("boxed{5}", []),
        ("\\boxedx{5}", []),
        ("Answer: 5", []),
        ("}}{{ \\boxed{5} }}", ["5"]),
        ("\\\\boxed{5}", ["5"]),
        ("", []),
    ],
)
def test_the_answer_is_in_closed_boxes_alone(text: str, found: list[str]) -> None:
    assert boxes(text) == found


balanced = st.recursive(
    st.sampled_from(["a", "1", " ", "\\{", "\\}", "\\\\", "\\frac"]),
    lambda inner: st.lists(inner, max_size=4).map("".join) | inner.map(lambda text: f"{{{text}}}"),
)


@given(balanced)
def test_what_is_boxed_comes_back(answer: str) -> None:
    assert boxes(f"so {box(answer)} it is") == [answer.strip()]


@given(st.lists(st.sampled_from(["a", "{", "}", "\\", "\\boxed{", " "]), max_size=30).map("".join))
def test_any_text_has_boxes_that_stand_in_it(text: str) -> None:
    assert len(boxes(text)) <= text.count("\\boxed{")
    assert all(found.replace("{", "") in text.replace("\\boxed{", "").replace("{", "") for found in boxes(text))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The roots are $\\boxed{2}$ and $\\boxed{3}$.", "2, 3"),
        ("\\boxed{2}, \\boxed{3}, \\text{ and } \\boxed{4}", "2, 3, 4"),
        ("\\boxed{2} \\boxed{2}", "2"),
        ("\\boxed{2}, no, \\boxed{3}", "3"),
        ("\\boxed{2} or \\boxed{3}", "3"),
        ("\\boxed{2}, and then \\boxed{3", "2"),
        ("<think>\\boxed{1}</think> \\boxed{2}", "2"),
        ("it may be \\boxed{1}</think> it is \\boxed{2}", "2"),
        ("<think>\\boxed{1}</think> It is one.", None),
        ("<think>\\boxed{1}", None),
        ("\\boxed{2} <think>\\boxed{1}", "2"),
        ("\\boxed5", None),
    ],
)
def test_which_box_is_the_answer(text: str, answer: str | None) -> None:
    assert last_answer(text) == answer


@pytest.mark.parametrize(
    ("gold", "says"),
    [
        ("5", ""),
        ("\\frac{1}{2}", ""),
        ("x = 1, y = 2", ""),
        ("\\text{no solution}", ""),
        ("\\text{June 20}", ""),
        ("(C)", ""),
        ("x \\equiv 3 \\pmod 7", ""),
        ("2516_8", ""),
        ("A spider has 2*4=<<2*4=8>>8 legs.", "holds the working of GSM8K"),
        (
            "It follows from the first of these and then from the second of them that all of them are equal.",
            "is a text of",
        ),
        ("\\frac{1}{", "cannot be read as mathematics"),
        ("1" * 1001, "is longer than an answer may be"),
        ("9^{9^{9^{9}}}", "cannot be worked out"),
    ],
)
def test_what_no_attempt_could_give(task: Maths, gold: str, says: str) -> None:
    found = task.gold_fault(problem(gold))
    assert found.startswith(says) and bool(found) == bool(says)


def test_very_long_attempts_are_read_at_once(task: Maths) -> None:
    for text in ("\\boxed{" * 50_000, "\\boxed{1}" * 50_000, "{" * 300_000, box("9" * 300_000)):
        assert not task.score(problem("5"), text).correct


@pytest.mark.parametrize(
    ("answer", "gold", "correct", "well_formed"),
    [
        ("\\boxed{5}", "5", True, True),
        ("\\boxed{4} and then \\boxed{5}", "5", True, True),
        ("\\boxed{5} and then \\boxed{4}", "5", False, True),
        ("\\boxed{2+3}", "5", False, True),
        ("\\boxed{\\frac{1}", "5", False, False),
        ("The answer is 5.", "5", False, False),
        ("\\boxed{}", "5", False, False),
        ("\\boxed{5", "5", False, False),
        ("\\boxed{" + "5" * 1001 + "}", "5", False, False),
        ("\\boxed{\\frac{1}{2}}", "0.5", True, True),
        ("\\boxed{\\sqrt{12}}", "2\\sqrt{3}", True, True),
        ("\\boxed{\\sqrt{}}", "2\\sqrt{3}", False, False),
    ],
)
def test_the_verdict_on_an_attempt(task: Maths, answer: str, gold: str, correct: bool, well_formed: bool) -> None:
    score = task.score(problem(gold), answer)
    assert (score.reward, score.correct, score.well_formed) == (float(correct), correct, well_formed)
    assert score.explanation


def test_many_attempts_are_scored_like_one_by_one(task: Maths) -> None:
    texts = ["\\boxed{0.5}", "none", "\\boxed{\\frac12}", "\\boxed{2}", "\\boxed{0.5}", "\\boxed{"]
    attempts = [(problem("\\frac{1}{2}"), text) for text in texts] + [(problem("2"), text) for text in texts]
    assert score_all(task, attempts) == [task.score(about, text) for about, text in attempts]
    assert [score.correct for score in score_all(task, attempts)] == [
        *(True, False, True, False, True, False),
        *(False, False, False, True, False, False),
    ]
    assert score_all(task, []) == []


def test_an_answer_that_takes_too_long_is_wrong_and_says_so() -> None:
    task = make_task()
    task._verdicts._compare._seconds = 0.5
    about, text = problem("2\\sqrt{3}"), "\\boxed{9^{9^{9^{9}}}}"
    score = task.score(about, text)
    assert score == Score(reward=0.0, correct=False, well_formed=False, answer="9^{9^{9^{9}}}", explanation=UNCHECKED)
    assert task.feedback(about, text, score, "located") == UNCHECKED
    assert task.feedback(about, text, score, "correctness") == INCORRECT_FEEDBACK
    task._verdicts.close()


@pytest.mark.parametrize(
    ("text", "gold", "count", "located"),
    [
        ("I do not know.", "5", NO_BOX, NO_BOX),
        ("\\boxed{5", "5", OPEN_BOX, OPEN_BOX),
        ("\\boxed{ }", "5", EMPTY_BOX, EMPTY_BOX),
        (box("1" * 1001), "5", TOO_LONG, TOO_LONG),
        (box("\\sqrt{}"), "2\\sqrt{3}", UNREADABLE, UNREADABLE),
        (box("2+3"), "5", WRONG, NOT_WORKED_OUT),
        (box("x"), "5", WRONG, NOT_WORKED_OUT),
        (box("6"), "5", WRONG, "The value is too large."),
        (box("-6"), "5", WRONG, "The value is too small."),
        (box("-5"), "5", WRONG, "The sign is wrong."),
        (box("50"), "5", WRONG, "The digits are right, but the decimal point is not."),
        (box("1001"), "1000", WRONG, "The value is off by less than one per cent. The value is too large."),
        (box("5.5"), "5", WRONG, "A whole number is asked for. The value is too large."),
        (box("\\frac{3}{2}"), "\\frac{2}{3}", WRONG, "Is the fraction upside down?"),
        (box("0.67"), "\\frac{2}{3}", WRONG, "The answer is only an approximation; the exact value is asked for."),
        (box("3.464"), "2\\sqrt{3}", WRONG, "The answer is only an approximation; the exact value is asked for."),
        (box("\\sqrt{3}"), "2\\sqrt{3}", WRONG, "The value is too small."),
        (box("(1, 2)"), "5", WRONG, "The answer is a list of several entries, but a single number is asked for."),
        (box("5"), "(1, 2)", WRONG, "The answer is a single number, but a list of several entries is asked for."),
        (box("5"), "[1, 2]", WRONG, "The answer is a single number, but an interval is asked for."),
        (box("x = 3x"), "[1, 2]", WRONG, "The answer is an equation or inequality, but an interval is asked for."),
        (box("(1, 2)"), "(1, 2, 3)", WRONG, "Three entries are asked for."),
        (box("(1, 3, 3)"), "(1, 2, 3)", WRONG, "Two entries are right."),
        (box("(3, 2, 1)"), "(1, 2, 3)", WRONG, "The entries are right, but not their order."),
        (box("\\{1, 7\\}"), "\\{-3, 7\\}", WRONG, "One entry is right."),
        (box("\\{1\\}"), "\\{-3, 7\\}", WRONG, "Two entries are asked for."),
        (box("[1, 2)"), "[1, 2]", WRONG, "Both ends are right, but not which of them belong to the interval."),
        (box("[1, 3]"), "[1, 2]", WRONG, "The right end is wrong."),
        (box("[0, 3]"), "[1, 2]", WRONG, "Both ends are wrong."),
        (box("x^2 + 1"), "x^2 + 3x", WRONG, WRONG),
        (box("5 \\text{ cm}"), "5 \\text{ m}", WRONG, WRONG_UNIT),
        (box("5\\%"), "5", WRONG, WRONG_UNIT),
        (box("5 \\text{ N}"), "5 \\text{ J}", WRONG, WRONG_UNIT),
        (box("5 \\text{ €}"), "\\$5", WRONG, WRONG_UNIT),
        (box("2516_9"), "2516_{8}", WRONG, WRONG_BASE),
        (box("5 \\text{ million}"), "5", WRONG, "The value is too large."),
        (box("(1, 2)"), "\\{1, 2\\}", WRONG, "The answer is a list of several entries, but a set is asked for."),
        (box("1, 2, 2"), "1, 2", WRONG, "Two entries are asked for."),
        (box("y^2 + 3x"), "x^2 + 3x", WRONG, "The answer has a variable too many."),
        (box("3n"), "3n + k", WRONG, "The answer lacks a variable."),
        (box("6") + " or " + box("7"), "5", WRONG, f"The value is too large. {SEVERAL}"),
    ],
)
def test_feedback_by_level(task: Maths, text: str, gold: str, count: str, located: str) -> None:
    about = problem(gold)
    score = task.score(about, text)
    assert not score.correct
    said = {level: task.feedback(about, text, score, level) for level in LEVELS}
    told = dict.fromkeys(("located", "marks", "hint"), located)
    assert said == {"correctness": INCORRECT_FEEDBACK, "count": count, **told}


def test_a_right_answer_is_called_right(task: Maths) -> None:
    score = task.score(problem("5"), box("5"))
    assert {task.feedback(problem("5"), box("5"), score, level) for level in LEVELS} == {CORRECT_FEEDBACK}


def test_no_remark_has_a_digit(task: Maths) -> None:
    for index in range(0, task.size("test"), 4):
        about = task.problem("test", index)
        for text in task.perturbations(about, Random(index)):
            for level in LEVELS:
                said = task.feedback(about, text, task.score(about, text), level)
                assert not any(character.isdigit() for character in said)


def test_a_remark_that_holds_the_answer_by_chance_is_not_made(task: Maths) -> None:
    score = task.score(problem("\\text{number}"), box("8"))
    assert task.feedback(problem("\\text{number}"), box("8"), score, "located") == INCORRECT_FEEDBACK


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("\\frac{1}{2}", "It should be 0.5."),
        ("\\frac{1}{2}", "Look: $\\frac12$."),
        ("\\frac{1}{2}", "1/2"),
        ("\\frac{1}{2}", "It is 50% of it."),
        ("\\frac{1}{2}", "You need 2/4 here."),
        ("0.5", "\\dfrac{1}{2}"),
        ("0.5", "It is ½."),
        ("5 \\text{ million}", "about 5 million of them"),
        ("5000000", "it is $5 \\text{ million}$"),
        ("\\frac{9}{4}", "so 2 1/4 of them"),
        ("28\\%", "about 28 percent"),
        ("28\\%", "the share is 0.28"),
        ("5", "The answer is 5."),
        ("5", "so x = 5"),
        ("5", "the result: $5$"),
        ("5", "\\boxed{5}"),
        ("5", "5"),
        ("5", "It equals 5.0, not 6."),
        ("5", "it is 10/2"),
        ("-5", "it is -5"),
        ("144", "The 144 paths"),
        ("1,000", "then 1000 of them"),
        ("1000", "then 1,000 of them"),
        ("2\\sqrt{3}", "the side is 2√3 long"),
        ("2\\sqrt{3}", "\\sqrt{12}"),
        ("2\\sqrt{3}", "$2 \\cdot \\sqrt{3}$"),
        ("36\\pi", "so 36π"),
        ("36\\pi", "the area is 36 pi"),
        ("\\sqrt{10} + 4", "it is 4 + \\sqrt{10}"),
        ("(1, 2)", "take x = 1 and y = 2"),
        ("(1, 2)", "(1,2)"),
        ("\\{-3, 5\\}", "The roots are -3 and 5."),
        ("[2, 5]", "from 2 up to 5"),
        ("x^{2} - 10 x + 23", "Write x^2-10x+23."),
        ("x^{2} - 10 x + 23", "Write $x^2 - 10x + 23$ instead"),
        ("\\text{Evelyn}", "It was evelyn, of course."),
        ("C", "The answer is C."),
        ("\\text{even}", "it is even"),
    ],
)
def test_a_leak_is_found_in_any_form(gold: str, text: str) -> None:
    assert names_answer(gold, text)


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("\\frac{1}{2}", "Your second step drops a factor."),
        ("\\frac{1}{2}", "Step 2 divides 1 by 3."),
        ("5", "In step 5 you forgot a sign."),
        ("5", "5) Do not round."),
        ("5", "You must divide by 5 first."),
        ("5000000", "There are 5 thousand."),
        ("5", "The answer is 15."),
        ("5", "The answer is 5.5."),
        ("5", "it is -5"),
        ("-5", "it is 5"),
        ("144", "There are 1440, not 1,144."),
        ("2\\sqrt{3}", "Use \\sqrt{3} and the factor 2."),
        ("(1, 2)", "take x = 2 and y = 1"),
        ("(1, 2)", "from 1 over 7 to 2"),
        ("x^{2} - 10 x + 23", "Compare x^2 - 10x + 2 with it."),
        ("\\text{Evelyn}", "Ask Eve."),
        ("\\text{even}", "In any event it is odd."),
        ("C", "Correct the sign. Compare both. C is a constant here."),
        ("\\emptyset", ""),
        ("5", ""),
    ],
)
def test_what_is_no_leak_is_none(gold: str, text: str) -> None:
    assert not names_answer(gold, text)


@given(st.text(max_size=200), st.sampled_from(["5", "\\frac{1}{2}", "(1, 2)", "x^2", "\\text{a}", ""]))
@example("1" * 30_000, "2")
@example("1+" * 10_000, "5")
@example("\\frac{" * 5_000, "\\frac{1}{2}")
def test_no_text_at_all_makes_the_task_raise(text: str, gold: str) -> None:
    names_answer(gold, text)
    for level in LEVELS:
        about = problem(gold)
        score = Score(reward=0.0, correct=False, well_formed=True, answer=text, explanation="")
        assert TASK.feedback(about, box(text), score, level)
        assert TASK.feedback(about, text, score, level)
    list(TASK.perturbations(problem(text), Random(0)))


TASK = make_task()


pieces = st.sampled_from([*"0123456789.,/-+*^(){}[] x\\=%π", "\\frac", "\\sqrt", "\\pi", "\\text{cm}"])


@given(st.lists(pieces, max_size=20).map("".join))
def test_reading_a_value_never_raises_and_gives_a_finite_number(text: str) -> None:
    value = value_of(text)
    assert value is None or abs(value) < float("inf")
    assert shape_of(text).kind
    numeral_of(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3.0),
        ("-3.5", -3.5),
        ("1,234", 1234.0),
        ("\\frac34", 0.75),
        ("-\\frac{3}{4}", -0.75),
        ("3\\frac{1}{2}", 3.5),
        ("2\\sqrt{4}", 4.0),
        ("\\sqrt[3]{8}", 2.0),
        ("2^{-1}", 0.5),
        ("28\\%", 28.0),
        ("30^\\circ", 30.0),
        ("5\\text{ cm}^2", 5.0),
        ("5\\text{ cm}", 5.0),
        ("5 apples", 5.0),
        ("5 \\text{ million}", 5e6),
        ("2 1/4", 2.25),
        ("½", 0.5),
        ("0.\\overline{3}", 1 / 3),
        ("5\\text{ or }6", None),
        ("2(3+4)", 14.0),
        ("9^{9^{9^9}}", None),
        ("1/0", None),
        ("\\sqrt{-1}", None),
        ("(" * 50 + "1" + ")" * 50, None),
        ("1 2", None),
        ("x", None),
        ("", None),
    ],
)
def test_values(text: str, value: float | None) -> None:
    assert value_of(text) == value


def test_gold_answers_lose_their_wrapping() -> None:
    assert normal_answer("$5$") == "5"
    assert normal_answer("\\boxed{\\frac{1}{2}}") == "\\frac{1}{2}"
    assert normal_answer("$1$ or $2$") == "$1$ or $2$"
    assert normal_answer(" x ") == "x"


def test_the_shipped_problems_are_distinct_and_their_halves_share_no_run_of_words(task: Maths) -> None:
    assert (task.size("train"), task.size("validation"), task.size("test")) == (196, 21, 101)
    assert task.left_out == LeftOut(repeated=0, contaminated=0)
    first = task.problem("test", 0)
    assert first.prompt.endswith("\n\nWrite the final answer in \\boxed{} at the end.")
    with pytest.raises(IndexError):
        task.problem("test", 101)


def test_the_shipped_problems_are_what_their_makers_make() -> None:
    from rltf.workshops.maths_problems.__main__ import FILE, problems

    assert [json.loads(line) for line in FILE.read_text().splitlines()] == problems()


def test_the_task_is_valid(task: Maths) -> None:
    checks = validate(task, 5)
    assert [check.failures for check in checks] == [()] * 7
    assert all(check.checked for check in checks)
