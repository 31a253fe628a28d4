"""Answers that a policy finds where a scorer is lenient: constants, hedges, other signs, endless numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_gym import make_task

from rltf.tasks import ReasoningGym
from rltf.tasks.gym import refusals
from rltf.tasks.gym.forms import read_number
from rltf.tasks.gym.near import wrong_in_any_notation
from rltf.tasks.puzzle import tag_answer
from rltf.tasks.validate import CONSTANTS, Check, validate
from rltf.types import Problem, Score

SIZE = 8


def problems(dataset: str) -> list[Problem]:
    task = make_task(dataset, size=SIZE)
    return [task.problem("test", index) for index in range(SIZE)]


def scores(dataset: str, answers: Sequence[str]) -> list[Score]:
    """The verdict on one answer for each problem."""
    attempts = [(problem, tag_answer(answer)) for problem, answer in zip(problems(dataset), answers, strict=True)]
    return make_task(dataset, size=SIZE).score_many(attempts)


def check_of(dataset: str, name: str = "no constant answer is right") -> Check:
    return next(check for check in validate(make_task(dataset, size=6), 6) if check.name == name)


# Numbers that are not finite


@pytest.mark.parametrize("answer", ["nan", "NaN", "-nan", "+ n an", "nani", "1 + nanj", "inf", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_never_reaches_the_scorer(answer: str) -> None:
    # This scorer pays min(1, exp(-nan)), which is 1.
    for score in scores("complex_arithmetic", [answer] * SIZE):
        assert (score.reward, score.correct, score.well_formed) == (0.0, False, True)
        assert score.explanation == "The answer holds a number that is not finite."


@pytest.mark.parametrize("spelling", ["nan", "-NaN", "inf", r"\u006ean", r"\x6ean"])
def test_a_sorted_list_of_no_numbers_is_not_paid(spelling: str) -> None:
    lengths = [problem.answer.count(",") + 1 for problem in problems("number_sorting")]
    answers = ["[" + ", ".join([f"'{spelling}'"] * length) + "]" for length in lengths]
    for score in scores("number_sorting", answers):
        assert (score.reward, score.explanation) == (0.0, refusals.NOT_FINITE)


@pytest.mark.parametrize(
    ("text", "endless"),
    [
        ("nan", True),
        ("[NaN, 1]", True),
        ("2 + INFINITY", True),
        ("zoo", True),
        ("oo*I", True),
        ("9" * 400, True),
        ("1_0e4_00", True),
        ("1e400", True),
        (".1e999", True),
        ("0x1e999", False),  # A whole number to the base 16.
        ("1__0", False),
        ("1e308", False),
        ("banana", False),
        ("information", False),
        ("an answer", False),
        ("finite", False),
        ("", False),
    ],
)
def test_spellings(text: str, endless: bool) -> None:
    assert refusals.not_finite(text) is endless


def test_such_a_word_is_no_number_where_the_right_answer_holds_none() -> None:
    assert refusals.before_scoring("nan", "7") == refusals.NOT_FINITE
    assert refusals.before_scoring("[1, inf]", "[1, nan]") == ""
    assert refusals.before_scoring("CAN,NAN,NAG", "CAN,CAG,NAG") == ""  # A word of a ladder.


# What is not the right answer alone


def denied_and_in_doubt(gold: str) -> Iterator[str]:
    yield from (f"not {gold}", f"{gold} or 7", f"7 or {gold}", f"{gold} {gold}")


@pytest.mark.parametrize("dataset", ["gsm_symbolic", "coin_flip", "chain_sum", "number_format"])
def test_a_number_must_stand_alone_and_have_its_sign(dataset: str) -> None:
    golds = [problem.answer for problem in problems(dataset)]
    assert all(score.correct for score in scores(dataset, golds))
    for wrong in zip(*(list(denied_and_in_doubt(gold)) for gold in golds), strict=True):
        assert not any(score.reward for score in scores(dataset, wrong))
    assert not any(score.correct for score in scores(dataset, [f"-{gold}" for gold in golds]))


def test_the_sign_is_read_where_the_scorer_does_not() -> None:
    first = problems("gsm_symbolic")[0].answer
    assert first == "82"
    tried = scores("gsm_symbolic", ["-82", *["0"] * (SIZE - 1)])[0]
    assert (tried.reward, tried.correct, tried.well_formed) == (0.0, False, True)
    assert tried.explanation == refusals.OTHER_NUMBER


@pytest.mark.parametrize("answer", ["0", "0.", "0/7", "0_0", "00"])
def test_a_prefix_of_a_number_is_another_number(answer: str) -> None:
    # This scorer pays the share of the shorter number that agrees: all of it for 0 and 0.1054.
    golds = [problem.answer for problem in problems("coin_flip")]
    assert sum(gold.startswith("0.") for gold in golds) > SIZE / 2
    assert not any(score.correct for score in scores("coin_flip", [answer] * SIZE))


def test_a_probability_may_be_a_fraction_and_rounded() -> None:
    task = make_task("coin_flip", size=SIZE)
    problem = problems("coin_flip")[1]
    assert problem.answer == "0.1640625"
    assert [task.score(problem, tag_answer(text)).correct for text in ("21/128", "0.164", "0.16")] == [
        True,
        True,
        False,
    ]


def test_a_denied_sequence_is_not_paid() -> None:
    # This scorer reads the letters A to C, and no others.
    golds = [problem.answer for problem in problems("quantum_lock")]
    assert all(score.correct for score in scores("quantum_lock", golds))
    assert all(score.correct for score in scores("quantum_lock", [gold.replace(" → ", "") for gold in golds]))
    for score in scores("quantum_lock", [f"not {gold}" for gold in golds]):
        assert (score.reward, score.explanation) == (0.0, refusals.OTHER_TEXT)


@pytest.mark.parametrize("dataset", ["letter_jumble", "word_sorting"])
def test_words_beyond_the_last_are_not_paid(dataset: str) -> None:
    golds = [problem.answer for problem in problems(dataset)]
    assert all(score.correct for score in scores(dataset, golds))
    assert not any(score.correct for score in scores(dataset, [f"{gold}, more" for gold in golds]))


@pytest.mark.parametrize(
    ("answer", "gold", "several", "reason"),
    [
        ("82", "82", False, ""),
        ("82.0", "82", False, ""),
        ("$82", "82", False, ""),
        ("**82**.", "82", False, ""),
        (".5", "0.5", False, ""),
        ("45%", "45", False, ""),
        ("1/2", "0.5", False, ""),
        ("0", "0", False, ""),
        ("-0", "0", False, ""),
        ("8.2e1", "82", False, ""),
        ("0.505", "0.5078", False, ""),
        ("0.5", "0.5078", False, refusals.OTHER_NUMBER),
        ("1/0", "0.5", False, refusals.NO_LONE_NUMBER),
        ("-82", "82", False, refusals.OTHER_NUMBER),
        ("82", "-82", True, refusals.OTHER_NUMBER),
        ("- 82", "82", False, refusals.OTHER_TEXT),
        ("82 apples", "82", False, refusals.OTHER_TEXT),
        ("eighty-two", "82", False, refusals.NO_LONE_NUMBER),
        ("0.003", "0.0042", True, ""),  # The scorer of such a dataset has a tolerance of its own.
        ("3.0 + 0i", "3.0", True, ""),
        ("3.0 or 4.0", "3.0", True, refusals.OTHER_TEXT),
        ("True", "True", False, ""),
        ("true.", "True", False, ""),
        ("not True", "True", False, refusals.OTHER_TEXT),
        ("True or False", "True", False, refusals.OTHER_TEXT),
        ("untrue", "True", False, ""),
        ("R U U'", "R", True, ""),
        ("not R", "R", True, refusals.OTHER_TEXT),
        ("or fork", "fork", True, refusals.OTHER_TEXT),
        ("down fork down", "fork down", True, ""),
        ("523/1000", "523/1000", True, ""),
        (r"\frac{523}{1000}", "523/1000", True, ""),
        ("A  -> b", "a -> B.", False, ""),
        ("...", "...", False, ""),
    ],
)
def test_what_is_refused_though_the_scorer_takes_it_for_right(
    answer: str, gold: str, several: bool, reason: str
) -> None:
    assert refusals.of_full_reward(answer, gold, several) == reason


@given(st.text(max_size=40), st.text(min_size=1, max_size=20), st.booleans())
@example("1" * 400, "1", False)
@example("/", "1", True)
@example(".1__2_e3_.", "1", True)
@example("[[[[", "1", False)
@example("\ud800", "\ud800 1", True)
def test_no_text_makes_it_raise_and_the_right_answer_is_never_refused(answer: str, gold: str, several: bool) -> None:
    refusals.before_scoring(answer, gold)
    refusals.of_full_reward(answer, gold, several)
    assert refusals.before_scoring(gold, gold) == ""
    assert refusals.of_full_reward(gold.strip(), gold.strip(), several) == ""


def test_answers_that_are_wrong_in_any_notation() -> None:
    assert list(wrong_in_any_notation("0", Random(0))) == ["not 0", "0 or 1"]
    assert list(wrong_in_any_notation("yes", Random(0))) == ["not yes", "yes or No"]
    assert list(wrong_in_any_notation("A → B", Random(0))) == ["not A → B"]
    denied, doubted, flipped = wrong_in_any_notation("-8.5", Random(0))
    assert (denied, flipped) == ("not -8.5", "8.5")
    right, _, other = doubted.partition(" or ")
    assert right == "-8.5"
    assert read_number(other) not in (None, -8.5)


# What `rltf validate` says of constants


@pytest.mark.parametrize(
    "dataset", ["complex_arithmetic", "coin_flip", "gsm_symbolic", "quantum_lock", "syllogism", "circuit_logic", "acre"]
)
def test_mended_datasets_and_those_with_few_answers_pass(dataset: str) -> None:
    assert all(check.passed for check in validate(make_task(dataset, size=6), 6))


def unmended(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every verdict of the scorer were believed."""
    monkeypatch.setattr(refusals, "before_scoring", lambda *_: "")
    monkeypatch.setattr(refusals, "of_full_reward", lambda *_: "")
    make_task(dataset, size=6)._scores.clear()


@pytest.mark.parametrize(("dataset", "constant"), [("complex_arithmetic", "nan"), ("coin_flip", "0")])
def test_validation_finds_a_constant_that_is_paid(dataset: str, constant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unmended(dataset, monkeypatch)
    assert any(failure.startswith(repr(constant)) for failure in check_of(dataset).failures)


def test_validation_finds_signs_and_denials_that_are_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    for dataset in ("gsm_symbolic", "quantum_lock"):
        unmended(dataset, monkeypatch)
        assert not check_of(dataset, "a perturbed answer scores below 1").passed


def test_an_answer_that_is_right_on_every_problem_is_found_among_the_gold_ones() -> None:
    # This scorer asks for 24 of any four numbers, not of those given.
    failed = check_of("puzzle24")
    assert failed.checked > len(CONSTANTS)
    assert all("scores 1 on" in failure for failure in failed.failures)
    assert failed.failures


class Lenient(ReasoningGym):
    """Takes "yes" for right on some problems whose answer is "No"."""

    takes: int = 0

    def score_many(self, attempts: Sequence[tuple[Problem, str]]) -> list[Score]:
        found = super().score_many(attempts)
        return [
            Score(reward=1.0, correct=True, well_formed=True, answer="yes", explanation="lenient")
            if "yes" in text and problem.answer == "No" and problem.index < self.takes
            else score
            for (problem, text), score in zip(attempts, found, strict=True)
        ]


@pytest.mark.parametrize(("takes", "passes"), [(0, True), (20, False)])
def test_one_of_two_answers_may_be_right_on_its_own_problems_alone(takes: int, passes: bool) -> None:
    sizes = {"train_size": 6, "validation_size": 6, "test_size": 6, "data_seed": 0}
    task = Lenient(dataset="syllogism", options={}, **sizes)
    task.takes = takes
    found = next(check for check in validate(task, 6) if check.name == "no constant answer is right")
    assert found.passed is passes
