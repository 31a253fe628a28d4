"""Rows of a file as a task: reading, scoring, feedback, refusals."""

from __future__ import annotations

import json
import socket
import time
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
from command_line import SMALL, jsonl, rltf
from hypothesis import given
from hypothesis import strategies as st

from rltf.config import JudgeConfig, RowsConfig
from rltf.config.load import config_from_json, config_to_json, load_config, validate_config, with_absolute_paths
from rltf.feedback.llm.prompts import JudgePrompt
from rltf.runs.build import build_task
from rltf.support.errors import UserError
from rltf.support.guarded import Failed
from rltf.support.hub import reachable
from rltf.support.rows import load_rows, text_of
from rltf.tasks import FeedbackLevel, RowsTask, Task
from rltf.tasks.base import INCORRECT_FEEDBACK, Rubric, rubric_of, score_all
from rltf.tasks.own.leaks import names_answer, names_number
from rltf.tasks.own.maths_scorer import UNCHECKED, MathsScorer
from rltf.tasks.own.numbers import parse_number
from rltf.tasks.own.scorers import NumericScorer
from rltf.tasks.puzzle import tag_answer
from rltf.tasks.validate import GARBAGE, validate
from rltf.types import Problem, Split

ROWS = [{"question": f"Question {word}?", "answer": word} for word in ("one two", "three", "Four", "five six seven")]
SUMS = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(40)]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def make(path: str, **settings: Any) -> RowsTask:
    config = RowsConfig.model_validate({"name": "rows", "path": path, **settings})
    return RowsTask(**config.model_dump(exclude={"name"}))


def one(tmp_path: Path, answer: str, **settings: Any) -> tuple[RowsTask, Problem]:
    """A task, and its problem with this answer."""
    sample = settings.pop("sample", answer)
    rows = [{"question": f"Question {n}?", "answer": answer, "sample": sample} for n in "abc"]
    task = make(write(tmp_path / "one.jsonl", rows), **settings)
    return task, task.problem("test", 0)


def correct(task: Task, problem: Problem, text: str) -> bool:
    score = task.score(problem, text)
    assert score.reward == float(score.correct)
    return score.correct


def feedback(task: Task, problem: Problem, answer: str, level: FeedbackLevel = "located") -> str:
    text = task.write_answer(answer)
    return task.feedback(problem, text, task.score(problem, text), level)


def test_rows_become_problems_with_the_form_of_the_answer_behind_them(tmp_path: Path) -> None:
    task = make(write(tmp_path / "capitals.jsonl", SUMS))
    assert task.name == "capitals"
    problem = task.problem("train", 0)
    assert problem.task == "capitals"
    assert problem.prompt.endswith("?\n\nWrite the answer between <answer> and </answer>.")
    assert [task.size(split) for split in ("train", "validation", "test")] == [29, 3, 8]
    whole = make(str(tmp_path / "capitals.jsonl"), answer_in="whole").problem("train", 0)
    assert whole.prompt.endswith("Write the answer and nothing else.")
    own = make(str(tmp_path / "capitals.jsonl"), instruction="Say it in French.").problem("train", 0)
    assert own.prompt.endswith("?\n\nSay it in French.")
    bare = make(str(tmp_path / "capitals.jsonl"), instruction="").problem("train", 0)
    assert bare.prompt.endswith("?")


def test_a_hub_that_cannot_be_reached_is_found_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nothing listens
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"hub:nobody/nothing: cannot be loaded: 127\.0\.0\.1 cannot be reached"):
        list(load_rows("hub:nobody/nothing"))
    assert time.monotonic() - begun < 20  # most of it to import datasets
    assert not constants.HF_HUB_OFFLINE
    assert not datasets.config.HF_HUB_OFFLINE
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert reachable()
        monkeypatch.setenv("HF_ENDPOINT", "http://a.name.that.is.none.invalid")
        assert not reachable()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert reachable()  # the proxy leads there, as far as can be told
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert not reachable()


def test_a_recipe_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes(b"\xef\xbb\xbfseed = 3\n")
    assert load_config([tmp_path / "recipe.toml"], []).seed == 3


@given(st.floats(allow_nan=False, allow_infinity=False) | st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_a_number_keeps_its_value_as_text(value: Any) -> None:
    text = text_of({"answer": value}, "answer", "here")
    assert Fraction(text) == Fraction(repr(value) if isinstance(value, float) else value)
    if 1e-20 < abs(float(value)) < 1e20:
        assert "e" not in text.lower()


def test_a_test_file_gives_the_test_problems_in_its_order(tmp_path: Path) -> None:
    path, test = write(tmp_path / "train.jsonl", SUMS), write(tmp_path / "test.jsonl", ROWS)
    task = make(path, test_path=test)
    assert [task.problem("test", i).answer for i in range(task.size("test"))] == [row["answer"] for row in ROWS]
    assert task.size("train") + task.size("validation") == len(SUMS)


def test_problems_that_share_words_with_the_test_are_left_out_of_training(tmp_path: Path) -> None:
    words = "the quick brown fox jumps over the lazy dog and runs far away"
    test = write(tmp_path / "test.jsonl", [{"question": f"Say that {words} today.", "answer": "yes"}])
    path = write(tmp_path / "train.jsonl", [{"question": f"Did {words}?", "answer": "no"}, *SUMS])
    task = make(path, test_path=test)
    assert task.size("train") + task.size("validation") == len(SUMS)
    assert task.left_out.contaminated == 1
    assert make(path, test_path=test, shared_words=0).left_out.contaminated == 0
    assert make(path, test_path=test, shared_words=14).left_out.contaminated == 0


def test_the_seed_of_the_data_and_the_sizes_choose_the_problems(tmp_path: Path) -> None:
    path = write(tmp_path / "sums.jsonl", SUMS)
    sizes = {"train_size": 20, "validation_size": 5, "test_size": 6}
    one, again, other = (make(path, data_seed=seed, **sizes) for seed in (0, 0, 1))
    chosen = [[task.problem("test", i).prompt for i in range(task.size("test"))] for task in (one, again, other)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert [one.size(split) for split in ("train", "validation", "test")] == [20, 5, 6]
    with pytest.raises(UserError, match=r"too few train problems: .*lower task.train_size=30"):
        make(path, train_size=30, test_size=10).size("train")
    with pytest.raises(UserError, match=r"too few train problems: .*give more"):
        make(write(tmp_path / "two.jsonl", SUMS[:2])).size("train")


def test_fields_may_be_nested_and_parquet_is_read(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    rows = [{"prompt": [{"content": f"Is it {n}?"}], "truth": {"value": n}} for n in range(10)]
    write_table(pyarrow.Table.from_pylist(rows), tmp_path / "nested.parquet")
    task = make(
        str(tmp_path / "nested.parquet"),
        question_field="prompt.0.content",
        answer_field="truth.value",
        scorer="numeric",
    )
    problem = task.problem("test", 0)
    assert problem.prompt.startswith(f"Is it {problem.answer}?")


@pytest.mark.parametrize(
    ("settings", "row", "message"),
    [
        ({}, {"question": "Who?"}, r"rows.jsonl, line 4: has no field answer; its fields: question$"),
        ({"question_field": "q"}, ROWS[0], r"rows.jsonl, line 1: has no field q; its fields: question, answer$"),
        ({}, {"question": "Who?", "answer": " "}, r"rows.jsonl, line 4: answer: must be a text that is not empty"),
        ({}, {"question": "Who?", "answer": [1]}, r"rows.jsonl, line 4: answer: must be a text that is not empty"),
        ({"scorer": "numeric"}, ROWS[0], r"rows.jsonl, line 1: answer: 'one two' is not a number"),
        (
            {"scorer": "regex"},
            {"question": "Who?", "answer": "(a"},
            r"line 4: answer: '\(a' is not a regular expression",
        ),
        (
            {"scorer": "regex", "example_field": "e"},
            {"question": "Who?", "answer": "a+", "e": "b"},
            r"line 4: answer: 'a\+' does not match the example 'b'",
        ),
    ],
)
def test_what_is_wrong_with_a_row_is_one_line(
    settings: dict[str, Any], row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    good = [{**row, "e": row["answer"]} if "example_field" in settings else row for row in ROWS[:3]]
    task = make(write(tmp_path / "rows.jsonl", [*good, row]), **settings)
    with pytest.raises(UserError, match=message) as raised:
        task.size("train")
    assert "\n" not in str(raised.value)


def test_an_empty_file_and_a_missing_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"empty.jsonl: holds no rows"):
        make(write(tmp_path / "empty.jsonl", [])).size("train")
    with pytest.raises(UserError, match=r"none.jsonl: cannot be read"):
        make(str(tmp_path / "none.jsonl")).size("train")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "rows.csv"}, "path='rows.csv' is no .jsonl or .parquet file, nor hub:OWNER/NAME"),
        ({"path": "a.jsonl", "test_path": "b.txt"}, "test_path='b.txt' is no .jsonl"),
        ({"path": "a.jsonl", "tolerance": 0.1}, "tolerance is read by scorer=numeric alone"),
        ({"path": "a.jsonl", "scorer": "numeric", "ignore": "nothing"}, "ignore is read by scorer=exact alone"),
        ({"path": "a.jsonl", "example_field": "e"}, "example_field is read by scorer=regex alone"),
        ({"path": "a.jsonl", "scorer": "sense"}, "task.scorer='sense': input should be"),
        ({"name": "rows"}, "task.path: field required"),
        ({"path": "a.jsonl", "answr_field": "x"}, "task.answr_field: unknown setting; did you mean answer_field?"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        validate_config({"task": settings})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_maths_answers_are_compared_by_value(tmp_path: Path) -> None:
    task, problem = one(tmp_path, "\\frac{1}{2}", scorer="maths")
    right = ["0.5", "1/2", "\\frac12", "$\\frac{1}{2}$"]
    wrong = ["2", "0.51", "1/3", "", "\\frac{", "half a dozen"]
    attempts = [(problem, task.write_answer(answer)) for answer in (*right, *wrong)]
    assert [score.correct for score in score_all(task, attempts)] == [True] * 4 + [False] * 6
    text = task.write_answer("0.25")
    said = task.feedback(problem, text, task.score(problem, text), "located")
    assert said != INCORRECT_FEEDBACK
    assert not task.reveals_answer(problem, said)
    assert task.reveals_answer(problem, "It is 0.5.")


def test_a_judge_scores_rows_with_or_without_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(
            json.dumps({"question": f"Why {i}?"} | ({"answer": "Because."} if i % 2 else {})) + "\n" for i in range(12)
        )
    )
    config = load_config([], [f"task.path={path}", "task.scorer=judge", "task.passing_score=7.5", "judge.model=j"])
    assert config.judge_scores
    task = build_task(config.task)
    problems = [task.problem("train", i) for i in range(task.size("train"))]
    assert {problem.answer for problem in problems} == {"", "Because."}
    assert all(rubric_of(task, problem) == Rubric(passing=7.5) for problem in problems)
    prompt = JudgePrompt(JudgeConfig(model="j", show_answer=True), task.family, scores=True)
    for problem in problems:
        (_, user) = prompt.for_scores(problem, "So.", Rubric(passing=7.5))
        assert ("<answer_key>" in user.content) == bool(problem.answer)
    with pytest.raises(UserError, match=r"judge\.model is not set"):
        load_config([], [f"task.path={path}", "task.scorer=judge"])
    with pytest.raises(UserError, match="passing_score is read by scorer=judge alone"):
        load_config([], [f"task.path={path}", "task.passing_score=7.5"])


@pytest.mark.parametrize(
    ("ignore", "right", "wrong"),
    [
        ("spaces_and_case", ["New York", "new  york", " NEW\nYORK "], ["NewYork", "New York City", "New"]),
        ("spaces", ["New York", "New  York"], ["new york"]),
        ("nothing", ["New York"], ["New  York", "new york"]),
    ],
)
def test_exact_answers(ignore: str, right: list[str], wrong: list[str], tmp_path: Path) -> None:
    task, problem = one(tmp_path, "New York", ignore=ignore)
    assert all(correct(task, problem, task.write_answer(answer)) for answer in right)
    assert not any(correct(task, problem, task.write_answer(answer)) for answer in wrong)


def test_exact_feedback_names_the_first_word_that_differs_by_its_place(tmp_path: Path) -> None:
    task, problem = one(tmp_path, "red green blue")
    assert feedback(task, problem, "red yellow blue") == "Word 2 of the answer is wrong."
    assert feedback(task, problem, "red") == "The answer is right as far as it goes, and ends too early, after word 1."
    assert (
        feedback(task, problem, "red green blue white")
        == "The answer is right up to word 3, and what follows is too much."
    )
    assert feedback(task, problem, "red yellow", "count") == "Your previous answer was incorrect."
    assert feedback(task, problem, "red yellow", "correctness") == "Your previous answer was incorrect."
    assert feedback(task, problem, " ", "count") == "The answer is empty."
    assert feedback(task, problem, "Red Green Blue") == "Your previous answer was correct."
    text = "red green blue"
    assert (
        task.feedback(problem, text, task.score(problem, text), "count")
        == "There is no answer between <answer> and </answer>."
    )
    strict, problem = one(tmp_path, "red green", ignore="nothing")
    text = tag_answer("red  green")
    assert (
        strict.feedback(problem, text, strict.score(problem, text), "located")
        == "The spaces or line breaks of the answer are wrong."
    )


@pytest.mark.parametrize(
    ("answer_in", "text", "answer"),
    [
        ("tags", "I think <answer>7</answer>, no, <answer> 8\n</answer>.", "8"),
        ("tags", "8", None),
        ("whole", " 8\n", "8"),
        ("whole", "It is 8", "It is 8"),
        ("last_line", "Let me think.\n7 + 1\n8\n\n", "8"),
        ("last_line", "", ""),
    ],
)
def test_where_the_answer_stands(answer_in: str, text: str, answer: str | None, tmp_path: Path) -> None:
    task, problem = one(tmp_path, "8", answer_in=answer_in, scorer="numeric")
    score = task.score(problem, text)
    assert (score.answer, score.correct) == (answer, answer == "8")
    assert score.well_formed == (answer == "8")
    assert correct(task, problem, task.write_answer("8"))


NUMBERS = [
    ("3", Fraction(3)),
    ("-3", Fraction(-3)),
    ("\u22123", Fraction(-3)),
    ("+3.", Fraction(3)),
    (".5", Fraction(1, 2)),
    ("2.50", Fraction(5, 2)),
    ("1,000", Fraction(1000)),
    ("1,234,567.5", Fraction(2469135, 2)),
    ("1e3", Fraction(1000)),
    ("2.5E-2", Fraction(1, 40)),
    ("3/4", Fraction(3, 4)),
    ("-1.5 / 2", Fraction(-3, 4)),
    ("50%", Fraction(1, 2)),
    ("12.5 %", Fraction(1, 8)),
    ("$18", Fraction(18)),
    (" 007 ", Fraction(7)),
    ("1e999", Fraction(10) ** 999),
]
NO_NUMBERS = [
    "", "-", ".", "1,00", "1,0000", "10,00", "1 000", "1e", "1e9999", "1/0", "1//2", "3/4/5", "nan", "inf", "0x10",
    "1_000", "\u0663", "\u2460", "five", "5 apples", "x = 5", "2**3", "9" * 201, "__import__('os')", "1.2.3", "--3",
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_numbers_are_read_exactly(text: str, value: Fraction) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_anything_else_is_no_number(text: str) -> None:
    assert parse_number(text) is None


@given(st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**6))
def test_every_fraction_can_be_written_and_read(value: Fraction) -> None:
    assert parse_number(str(value)) == value


@given(st.integers(-(10**15), 10**15))
def test_every_whole_number_is_read_with_and_without_commas(value: int) -> None:
    assert parse_number(str(value)) == parse_number(f"{value:,}") == value


@given(st.text(max_size=40))
def test_no_text_raises(text: str) -> None:
    parse_number(text)
    names_answer(text, text)
    names_number(Fraction(7), text)


def test_numeric_answers_and_their_feedback(tmp_path: Path) -> None:
    task, problem = one(tmp_path, "1,250", scorer="numeric")
    assert all(correct(task, problem, task.write_answer(a)) for a in ("1250", "1.25e3", "2500/2", "125000%"))
    assert feedback(task, problem, "1249.9") == "The answer is too small."
    assert feedback(task, problem, "12500") == "The answer is too large."
    assert feedback(task, problem, "many") == feedback(task, problem, "many", "count") == "The answer is not a number."
    assert feedback(task, problem, "12500", "count") == "Your previous answer was incorrect."
    assert not task.score(problem, task.write_answer("many")).well_formed


def test_the_tolerance_is_a_share_of_the_value(tmp_path: Path) -> None:
    task, problem = one(tmp_path, "-200", scorer="numeric", tolerance=0.01)
    assert [correct(task, problem, task.write_answer(a)) for a in ("-202", "-198", "-202.1", "-197.9", "200")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    exact, problem = one(tmp_path, "1/3", scorer="numeric")
    assert not correct(exact, problem, exact.write_answer("0.3333"))


def test_a_pattern_must_match_the_whole_answer(tmp_path: Path) -> None:
    task, problem = one(tmp_path, r"(?i)colou?r|hue\d{2}", scorer="regex")
    assert all(correct(task, problem, task.write_answer(a)) for a in ("color", "COLOUR", "hue42"))
    assert not any(correct(task, problem, task.write_answer(a)) for a in ("colors", "a color", "hue4", "hue423"))
    assert feedback(task, problem, "hue4") == "The answer fits as far as it goes, and ends too early."
    assert feedback(task, problem, "huge") == "The answer does not fit from character 3 on."
    assert feedback(task, problem, "xyz") == "The answer does not fit from character 1 on."
    assert feedback(task, problem, "xyz", "count") == "Your previous answer was incorrect."


def test_an_example_stands_for_the_answer_where_the_answer_is_a_pattern(tmp_path: Path) -> None:
    task, problem = one(tmp_path, "[ab]+c", scorer="regex", example_field="sample", sample="abac")
    assert problem.answer == "abac"
    assert correct(task, problem, task.write_answer(problem.answer))
    assert task.reveals_answer(problem, "Try abac.")
    assert task.reveals_answer(problem, "It must match [ab]+c.")
    assert not task.reveals_answer(problem, "It must match something else.")


def test_kinds_of_rows(tmp_path: Path) -> None:
    given: list[Any] = ["algebra", ["algebra", 5], None, []]
    rows = [{"question": f"{n}?", "answer": str(n), "about": {"kind": kind}} for n, kind in enumerate(given)]
    task = make(write(tmp_path / "rows.jsonl", rows), kind_field="about.kind", validation_size=1, test_size=1)
    splits: tuple[Split, ...] = get_args(Split)
    found = [task.problem(split, i) for split in splits for i in range(task.size(split))]
    assert {problem.answer: problem.kinds for problem in found} == {
        "0": ("algebra",),
        "1": ("algebra", "5"),
        "2": (),
        "3": (),
    }
    rows[1]["about"] = {"kind": [{"no": "kind"}]}
    with pytest.raises(
        UserError, match=r"rows\.jsonl, line 2: about\.kind: must be a text, a number, or a list of them"
    ):
        make(write(tmp_path / "rows.jsonl", rows), kind_field="about.kind").size("train")
    rows[1]["about"] = {}
    with pytest.raises(UserError, match=r"line 2: has no field about\.kind"):
        make(write(tmp_path / "rows.jsonl", rows), kind_field="about.kind").size("train")


@pytest.mark.parametrize("pattern", ["(a|aa)+$", "((a{1,50}){1,50}){1,50}$", "(a|a?)+$"])
def test_a_catastrophic_pattern_is_a_wrong_answer_in_bounded_time(pattern: str, tmp_path: Path) -> None:
    task, problem = one(tmp_path, pattern, scorer="regex")
    text = task.write_answer("a" * 5000 + "b")
    start = time.monotonic()
    score = task.score(problem, text)
    said = task.feedback(problem, text, score, "located")
    assert time.monotonic() - start < 10
    assert not score.correct
    assert said
    assert task.score(problem, task.write_answer("a" * 100_000)).explanation == "The answer is too long."


def test_an_answer_that_could_not_be_compared_says_so(tmp_path: Path) -> None:
    task, problem = one(tmp_path, "(a|aa)+$", scorer="regex")
    score = task.score(problem, task.write_answer("a" * 5000 + "b"))
    assert score.explanation == "The answer could not be compared within 0.25 seconds and counts as wrong."


@pytest.mark.parametrize(
    ("answer", "text", "reveals"),
    [
        ("Johann Goethe", "It was johann\nGOETHE, not him.", True),
        ("Johann Goethe", "It was Johann von Goethe.", False),
        ("2", "In step 2 you went wrong.", False),
        ("2", "The answer is 2.", True),
        ("2", "It should be 2, not 3.", True),
        ("2", "x = 2", True),
        ("2", "2", True),
        ("2", "It is 23.", False),
        ("2", "It is 2.5 metres.", False),
        ("no", "There is no answer.", False),
        ("no", 'Say "no".', True),
        ("12345", "See 12345 there", True),
        ("+", "use + here", True),
    ],
)
def test_what_gives_an_answer_away(answer: str, text: str, reveals: bool) -> None:
    assert names_answer(answer, text) is reveals


def test_a_number_is_given_away_in_any_writing(tmp_path: Path) -> None:
    task, problem = one(tmp_path, "0.75", scorer="numeric")
    assert task.reveals_answer(problem, "You want 3/4 of it: the answer is 3/4.")
    assert task.reveals_answer(problem, "That makes 0.7500 in all.")
    assert task.reveals_answer(problem, "The result: 75%")
    assert not task.reveals_answer(problem, "That makes 0.76 in all, and 7 is not 5.")


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        (SUMS, {"scorer": "numeric"}),
        (SUMS, {"scorer": "numeric", "tolerance": 0.2, "answer_in": "last_line"}),
        ([{"question": f"Is {n} odd?", "answer": "yes" if n % 2 else "no"} for n in range(40)], {}),
        ([{"question": f"Spell {n}.", "answer": f"word {n} it is"} for n in range(40)], {"answer_in": "whole"}),
        (
            [{"question": f"Like {n}?", "answer": rf"a{{{n}}}\d+", "e": "a" * n + "1"} for n in range(1, 40)],
            {"scorer": "regex", "example_field": "e"},
        ),
    ],
)
def test_rows_hold_what_every_task_must(rows: list[dict[str, Any]], settings: dict[str, Any], tmp_path: Path) -> None:
    checks = validate(make(write(tmp_path / "rows.jsonl", rows), **settings), 10)
    assert [failure for check in checks for failure in check.failures] == []
    assert len(checks) == 7 and all(check.passed for check in checks)
    # Of what a pattern does not match, nobody knows an example.
    empty = ["a perturbed answer scores below 1"] if settings.get("scorer") == "regex" else []
    assert [check.name for check in checks if not check.checked] == empty


def test_a_pattern_without_an_example_is_told_what_it_lacks(tmp_path: Path) -> None:
    rows = [{"question": f"Like {n}?", "answer": rf"a{{{n}}}\d+"} for n in range(1, 40)]
    gold, *_ = validate(make(write(tmp_path / "rows.jsonl", rows), scorer="regex"), 2)
    assert not gold.passed and "task.example_field" in gold.failures[0]


@pytest.mark.parametrize(("tolerance", "gold", "edge"), [(0.3, "10", "13"), (0.15, "100", "85"), (0.35, "100", "135")])
def test_the_edge_of_the_tolerance_is_within_it(tolerance: float, gold: str, edge: str) -> None:
    scorer = NumericScorer(tolerance)
    assert scorer.verdict(edge, gold).correct
    beyond = str(float(edge) + (0.001 if float(edge) > float(gold) else -0.001))
    assert not scorer.verdict(beyond, gold).correct


def test_rows_that_differ_by_case_are_two_where_their_answers_differ(tmp_path: Path) -> None:
    rows = [{"question": f"Which case: {c}?", "answer": "lower" if c.islower() else "upper"} for c in "abcdeABCDE"]
    task = make(write(tmp_path / "rows.jsonl", [*rows, {"question": "WHICH CASE: a?", "answer": "lower"}]))
    assert sum(task.size(split) for split in get_args(Split)) == 10
    assert str(task.left_out) == "1 repeated"


def test_a_question_of_the_test_file_is_not_trained_on_whatever_its_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", SUMS)
    test = write(tmp_path / "test.jsonl", [{**row, "answer": row["answer"] + ".0"} for row in SUMS[:3]])
    task = make(path, test_path=test, scorer="numeric", shared_words=0)
    assert task.left_out.contaminated == 3


def test_one_question_with_two_answers_is_refused(tmp_path: Path) -> None:
    rows = [
        {"question": "Up?", "answer": "yes"},
        {"question": "Down?", "answer": "no"},
        {"question": "Up?", "answer": "no"},
    ]
    with pytest.raises(UserError, match=r"line 3: asks the same as .*line 1, with another answer"):
        make(write(tmp_path / "rows.jsonl", rows)).size("train")


def test_spaces_around_a_gold_answer_do_not_count(tmp_path: Path) -> None:
    rows = [{"question": f"Say {n}.", "answer": f" w{n}  z\n"} for n in range(20)]
    task = make(write(tmp_path / "rows.jsonl", rows), ignore="nothing")
    problem = task.problem("test", 0)
    assert task.score(problem, task.write_answer(problem.answer)).correct


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in SUMS), encoding="utf-8-sig")
    assert make(str(path)).size("test")


@given(st.text(max_size=60))
def test_any_text_can_be_scored_and_criticised(text: str) -> None:
    for scorer, gold in (("exact", "a b"), ("numeric", "3"), ("regex", "a+b")):
        task = RowsTask(
            **RowsConfig.model_validate({"name": "rows", "path": "x.jsonl", "scorer": scorer}).model_dump(
                exclude={"name"}
            )
        )
        problem = Problem(task="x", split="test", index=0, prompt="?", answer=gold, metadata={"gold": gold})
        for attempt in (text, tag_answer(text)):
            score = task.score(problem, attempt)
            assert score.explanation
            assert task.feedback(problem, attempt, score, "located").strip()
    assert GARBAGE


def test_perturbations_of_a_tolerant_number_lie_beyond_the_tolerance(tmp_path: Path) -> None:
    task, problem = one(tmp_path, "40", scorer="numeric", tolerance=0.5)
    texts = list(task.perturbations(problem, Random(0)))
    assert texts
    assert not any(correct(task, problem, text) for text in texts)


def test_paths_are_made_absolute_and_settings_survive_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = with_absolute_paths(validate_config({"task": {"path": "a.jsonl", "test_path": "hub:owner/name@test"}}))
    assert isinstance(config.task, RowsConfig)
    assert config.task.path == str(tmp_path / "a.jsonl")
    assert config.task.test_path == "hub:owner/name@test"
    assert config_from_json(config_to_json(config)) == config
    assert config.task.label == "a"
    assert RowsConfig(name="rows", path="hub:owner/gsm/main@train").label == "gsm"


def test_a_run_on_rows(tiny_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "sums.jsonl", SUMS)
    overrides = [setting for setting in SMALL if not setting.startswith("task.")]
    rltf(
        "train", "task.path=sums.jsonl", "task.scorer=numeric", *overrides, f"engine.model={tiny_model}",
        "--run-dir", "run", cwd=tmp_path,
    )  # fmt: skip
    records = jsonl(tmp_path / "run" / "rollouts.jsonl")
    assert len(records) == 8
    assert {record["task"] for record in records} == {"sums"}
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["task"] == "sums"
    assert list(json.loads((tmp_path / "run" / "inputs.json").read_text())) == [str(tmp_path / "sums.jsonl")]
    shown = rltf("rollout", "run", "-n", "1", cwd=tmp_path)
    assert "What is" in shown.stdout
    figures = json.loads(rltf("eval", "run", "-k", "1", "--json", "evaluation.problems=2", cwd=tmp_path).stdout)
    assert figures["task"] == "sums"


class Comparisons:
    """In place of math-verify's processes: counts what is compared, and says the same of each."""

    def __init__(self, task: RowsTask, says: str | Failed) -> None:
        assert isinstance(task._scorer, MathsScorer)
        self.verdicts, self.says, self.asked = task._scorer._verdicts, says, list[str]()
        self.verdicts._compare.map = self._map  # type: ignore[method-assign, assignment]

    def _map(self, pairs: list[tuple[str, str]]) -> list[str | Failed]:
        self.asked += [answer for answer, _ in pairs]
        return [self.says for _ in pairs]


@pytest.mark.parametrize("says", ["different", "unreadable", Failed("it took longer than 5 seconds")])
def test_a_maths_answer_is_compared_once_for_score_and_feedback(tmp_path: Path, says: str | Failed) -> None:
    task, problem = one(tmp_path, "2\\sqrt{3}", scorer="maths")
    comparisons = Comparisons(task, says)
    texts = [task.write_answer(answer) for answer in ("a!", "b!", "a!", "")]
    scores = score_all(task, [(problem, text) for text in texts])
    assert scores == [task.score(problem, text) for text in texts]
    for text, score in zip(texts, scores, strict=True):
        assert all(task.feedback(problem, text, score, level) for level in get_args(FeedbackLevel))
    assert comparisons.asked == ["a!", "b!"]


def test_maths_feedback_goes_by_the_score_that_was_given(tmp_path: Path) -> None:
    task, problem = one(tmp_path, "2\\sqrt{3}", scorer="maths")
    comparisons = Comparisons(task, Failed("it took longer than 5 seconds"))
    text = task.write_answer("a!")
    score = task.score(problem, text)
    comparisons.verdicts._known.clear()
    comparisons.says = "equal"
    assert not score.correct
    assert task.feedback(problem, text, score, "located") == UNCHECKED
    assert task.feedback(problem, text, score, "count") == UNCHECKED
    assert task.feedback(problem, text, score, "correctness") == INCORRECT_FEEDBACK


def test_maths_feedback_is_not_empty_where_a_remark_would_hold_the_answer(tmp_path: Path) -> None:
    task, problem = one(tmp_path, "\\text{number}", scorer="maths")
    assert feedback(task, problem, "8") == INCORRECT_FEEDBACK
