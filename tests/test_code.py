"""Task `code`: which attempts are right, what is said of the others, and problems by the columns of data sets."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rltf.config import CodeConfig, RunConfig
from rltf.config.load import validate_config, with_absolute_paths
from rltf.runs.build import build_task
from rltf.support.errors import UserError
from rltf.tasks import CodeTask, FeedbackLevel
from rltf.tasks.base import ScoresMany
from rltf.tasks.code.blocks import extract_code
from rltf.tasks.code.cases import Case, case_of_assertion, output_passes, passes
from rltf.tasks.code.outputs import Slack
from rltf.tasks.code.shapes import NO_REFERENCE, Listing, read_listings
from rltf.tasks.code.task import EMPTY_CODE, NO_CODE
from rltf.tasks.code.verdict import Verdict, short
from rltf.tasks.validate import validate
from rltf.types import Problem, Split

LEVELS: tuple[FeedbackLevel, ...] = get_args(FeedbackLevel)
SPLITS: tuple[Split, ...] = get_args(Split)


def make_task(**settings: Any) -> CodeTask:
    return CodeTask(**CodeConfig(name="code", **settings).model_dump(exclude={"name"}))


TASK = make_task()
PROBLEMS: dict[str, Problem] = {
    problem.metadata["listing"].function: problem
    for split in SPLITS
    for problem in (TASK.problem(split, index) for index in range(TASK.size(split)))
}
VOWELS = PROBLEMS["count_vowels"]


def configured(**settings: Any) -> RunConfig:
    return validate_config({"task": {"name": "code", **settings}})


def block(code: str, tag: str = "python") -> str:
    return f"```{tag}\n{code}\n```"


def attempts() -> Iterator[tuple[str, str, bool]]:
    """Problem, attempt and whether it is right: references, wrong solutions, and data/code_attempts.txt."""
    for name, problem in PROBLEMS.items():
        listing: Listing = problem.metadata["listing"]
        yield name, block(listing.solution), True
        for wrong in listing.wrong:
            yield name, block(wrong), False
    name = ""
    for line in Path(__file__).with_name("data").joinpath("code_attempts.txt").read_text().splitlines():
        mark, _, body = line.partition(" ")
        if mark == "##":
            name = body
            continue
        begins = PROBLEMS[name].metadata["listing"].begins
        yield name, block(f"{begins}\n    " + body.replace("\\n", "\n").replace("\\\\", "\\")), mark == "+"


TABLE = list(attempts())
CODE = VOWELS.answer
FORMS = {
    f"Let me think. The vowels are few.\n\n{block(CODE)}\n\nThat is all.": True,
    block(CODE, ""): True,
    block(CODE, "py"): True,
    block(CODE, "Python"): True,
    block(CODE, "python3"): True,
    block(CODE).replace("\n", "\r\n"): True,
    f"First:\n{block('def count_vowels(text): return 0')}\nBetter:\n{block(CODE)}": True,
    f"{block(CODE)}\nBetter:\n{block('def count_vowels(text): return 0')}": False,
    f"{block(CODE)}\nIt prints\n{block('3', 'text')}": True,
    f"{block(CODE)}\nand now\n```python\ndef count_vowels(text): ret": True,
    CODE: False,
    f"```python\n{CODE}": False,
    f"`{CODE}`": False,
    block(CODE, "javascript"): False,
    block(""): False,
    block("# " + CODE.replace("\n", "\n# ")): False,
    block(CODE.replace("count_vowels", "count_vowel")): False,
    block(f"import math, sys\nLIMIT = 3\n{CODE}\nassert count_vowels('a') == 1\nprint(count_vowels('e'))"): True,
    block(f"{CODE}\nif __name__ == '__main__':\n    raise SystemExit(1)"): True,
    block(f"{CODE}\nassert count_vowels('a') == 2"): False,
    block("count_vowels = lambda text: sum(map('aeiouAEIOU'.count, text))"): True,
    block("class C:\n  def __call__(self, t): return sum(map(t.lower().count, 'aeiou'))\ncount_vowels = C()"): True,
    block(
        "def count_vowels(text: str) -> int:\n    '''Counts.'''\n    return sum(c in 'aeiou' for c in text.lower())"
    ): True,
    block("async def count_vowels(text): return 3"): False,
    block("def count_vowels(text): yield 3"): False,
    block("def count_vowels(): return 3"): False,
    block("def count_vowels(text):\nreturn 3"): False,
    block("def count_vowels(text): return {'banana': 3, 'Apple': 2}[text]"): False,
    block("def count_vowels(text): return float(sum(c in 'aeiou' for c in text.lower()))"): True,
    block("def count_vowels(text): return str(sum(c in 'aeiou' for c in text.lower()))"): False,
    block("from rltf.tasks.code import *\n" + CODE): False,
}


def test_the_table_of_attempts() -> None:
    table = [*TABLE, *(("count_vowels", text, right) for text, right in FORMS.items())]
    assert len(table) >= 280
    assert sum(right for _, _, right in table) > 100
    assert isinstance(TASK, ScoresMany)
    scores = TASK.score_many([(PROBLEMS[name], text) for name, text, _ in table])
    found = [(name, text, score.correct) for (name, text, _), score in zip(table, scores, strict=True)]
    assert [row for row, wanted in zip(found, table, strict=True) if row != wanted] == []
    for score in scores:
        assert score.reward == float(score.correct)
        assert score.explanation


def test_validation_holds() -> None:
    task = make_task(train_size=3, validation_size=2, test_size=2)
    for check in validate(task, 3):
        assert check.passed, check.failures


def test_a_slow_attempt_is_stopped() -> None:
    text = block("def fibonacci(n): return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)")
    explanation = make_task(cpu_seconds=1).score(PROBLEMS["fibonacci"], text).explanation
    # On a busy machine the clock may be first.
    assert explanation.startswith("Test 6 of 6 fails: fibonacci(90) did not come to its end: it took longer than ")


def feedback(code: str, level: FeedbackLevel = "located", task: CodeTask = TASK, problem: Problem = VOWELS) -> str:
    text = block(code)
    return task.feedback(problem, text, task.score(problem, text), level)


@pytest.mark.parametrize(
    ("code", "located", "count"),
    [
        ("def count_vowels(text): return 3", "Test 2 of 6 fails: count_vowels('Apple') gave 3, expected 2.", 5),
        ("def count_vowels(text): pass", "Test 1 of 6 fails: count_vowels('banana') gave None, expected 3.", 6),
        (
            "def count_vowels(text):\n    return sum(map('aeiouAEIOU'.count, text)) if text else -1",
            "Test 3 of 6 fails: count_vowels('') gave -1, expected 0.",
            1,
        ),
        (
            "def helper(text):\n    return text.lowered()\n\ndef count_vowels(text):\n    return helper(text)",
            "Test 1 of 6 fails: count_vowels('banana') raised AttributeError: 'str' object has no attribute 'lowered'."
            "\n"
            "  line 5, in count_vowels: return helper(text)\n  line 2, in helper: return text.lowered()",
            6,
        ),
        ("def count_vowels(text)\n    return 1", "The code has a syntax error on line 1: expected ':'.", 6),
        ("x = y", "Running the code, before any test, raised NameError: name 'y' is not defined.\n"
         "  line 1, in <module>: x = y", 6),
        ("x = 1", "Test 1 of 6 fails: count_vowels('banana') raised NameError: name 'count_vowels' is not defined."
         , 6),
    ],
)  # fmt: skip
def test_feedback_names_the_first_test_that_fails_or_counts_or_denies(code: str, located: str, count: int) -> None:
    assert feedback(code) == located
    assert feedback(code, "hint") == located
    assert feedback(code, "count") == f"{count} of 6 tests {'fails' if count == 1 else 'fail'}."
    assert feedback(code, "correctness") == "Your previous answer was incorrect."
    assert TASK.score(VOWELS, block(code)).explanation == located


def test_feedback_on_what_is_no_code_and_on_what_is_right() -> None:
    for text, said in (("none", NO_CODE), ("```python\n\n```", EMPTY_CODE), ("```", NO_CODE)):
        score = TASK.score(VOWELS, text)
        assert (score.reward, score.well_formed, score.answer, score.explanation) == (0.0, False, None, said)
        assert [TASK.feedback(VOWELS, text, score, level) for level in ("located", "count")] == [said, said]
    assert {feedback(CODE, level) for level in LEVELS} == {"Your previous answer was correct."}


def test_feedback_is_short_and_clean() -> None:
    long = feedback("def count_vowels(text): return 'x' * 900 + '\\x1b[31m\\u202e'")
    assert len(long) < 400
    assert "..." in long
    raised = feedback("def count_vowels(text):\n    raise ValueError('\\x1b[2J\\ud800 ' * 10000)")
    assert len(raised) < 400
    assert "\x1b" not in raised and raised.encode()
    deep = feedback("def count_vowels(text):\n    return count_vowels(text)")
    assert deep.count("line 2, in count_vowels") == 3


def test_feedback_does_not_give_the_reference_away() -> None:
    problem = PROBLEMS["second_largest"]
    gold = problem.answer
    assert TASK.reveals_answer(problem, f"It should be: {gold.replace('    ', ' ')}")
    assert TASK.reveals_answer(problem, block(gold.replace("\n", "  # so\n")))
    assert TASK.reveals_answer(problem, "\n".join(gold.split("\n")[1:]))
    assert not TASK.reveals_answer(problem, "Test 3 of 6 fails: second_largest([1]) gave 1, expected None.")
    # The attempt has the reference's only line, and it fails for another reason.
    code = "sum = 1\n" + CODE
    assert TASK.reveals_answer(VOWELS, CODE.split("\n")[1].strip())
    said = feedback(code)
    assert said.endswith("raised TypeError: 'int' object is not callable.\n  line 3")
    assert not TASK.reveals_answer(VOWELS, said)


def test_the_prompt_shows_the_signature_and_two_tests_alone() -> None:
    assert VOWELS.prompt == (
        "Write the Python function count_vowels.\n\n"
        "Count the vowels (a, e, i, o, u) in a text. Capital letters count too.\n\n"
        "It begins so:\ndef count_vowels(text):\n\n"
        "For example:\ncount_vowels('banana') gives 3\ncount_vowels('Apple') gives 2\n\n"
        "Give the whole function in one ```python block."
    )
    assert "For example" not in make_task(shown_tests=0).problem("train", 0).prompt


def test_our_problems_are_many_and_each_has_wrong_solutions() -> None:
    assert len(PROBLEMS) >= 60
    for problem in PROBLEMS.values():
        listing: Listing = problem.metadata["listing"]
        assert 5 <= len(listing.cases) <= 8
        assert len(listing.wrong) >= 1
        assert len({case.expression for case in listing.cases}) == len(listing.cases)
    assert TASK.left_out.repeated == 0


def test_settings_have_their_effects() -> None:
    wrong = block("def count_vowels(text): return 3")
    assert make_task(partial_reward=True).score(VOWELS, wrong).reward == pytest.approx(1 / 6)
    assert not make_task(partial_reward=True).score(VOWELS, wrong).correct
    assert make_task(most_tests=1).score(VOWELS, wrong).correct
    hungry = block(
        "def count_vowels(text):\n    kept = bytes(10 ** 8)\n    return sum(c in 'aeiou' for c in text.lower())"
    )
    assert make_task(megabytes=512).score(VOWELS, hungry).correct
    assert "memory limit" in make_task(megabytes=64).score(VOWELS, hungry).explanation
    sleepy = block("import time\ntime.sleep(60)")
    assert "longer than 1 second" in make_task(cpu_seconds=1, seconds=1.0).score(VOWELS, sleepy).explanation
    busy = block("import time\nwhile time.process_time() < 1.5: pass\n" + CODE)
    assert "of computing" in make_task(cpu_seconds=1, seconds=100.0).score(VOWELS, busy).explanation
    assert make_task(cpu_seconds=3, seconds=100.0).score(VOWELS, busy).correct


def test_equal_attempts_run_once_and_several_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading
    import time

    task, running, most, ran = make_task(processes=3), 0, 0, []
    lock = threading.Lock()

    def slow(sandbox: Any, code: str, setup: str, cases: Any, supplied: str) -> Verdict:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            ran.append(code)
        time.sleep(0.05)
        with lock:
            running -= 1
        return Verdict(tests=1, passed=1)

    monkeypatch.setattr("rltf.tasks.code.task.judge_function", slow)
    task.score_many([(VOWELS, block(f"x = {i % 6}")) for i in range(24)])
    assert sorted(ran) == [f"x = {i}" for i in range(6)]
    assert most == 3
    task.score(VOWELS, block("x = 5"))
    assert len(ran) == 6


def test_a_machine_that_cannot_lock_attempts_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rltf.tasks.code.sandbox.seccomp_program", lambda: None)
    with pytest.raises(UserError, match=r"task.sandbox=strict: .* refuses seccomp; set task.sandbox=weak"):
        make_task().size("train")
    assert make_task(sandbox="weak").protections == ("Landlock", "audit hook")
    assert make_task(sandbox="weak").score(VOWELS, block(CODE)).correct


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": "mbpp"}, "train=builtin has no shape=mbpp"),
        ({"seconds": 1.0}, "seconds=1 is below cpu_seconds=2; raise it"),
        ({"megabytes": 1}, "task.megabytes=1"),
        ({"shape": "humaneval"}, "task.shape='humaneval'"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        configured(**settings)


@pytest.mark.parametrize(
    ("assertion", "expression", "accepted", "tolerance"),
    [
        ("assert f(1) == 2", "f(1)", 2, None),
        ("assert f((1, 2), [3])==(1, 'a')", "f((1, 2), [3])", (1, "a"), None),
        ("assert 2 == f(1)", "f(1)", 2, None),
        ("assert set(f([1])) == set([1, 2])", "set(f([1]))", {1, 2}, None),
        ("assert tuple(f(1)) == (1,), 'wrong'", "tuple(f(1))", (1,), None),
        ("assert f(1) is None", "f(1)", None, None),
        ("assert f(1) == -1.5", "f(1)", -1.5, None),
        ("assert f(1) == float('inf')", "f(1)", float("inf"), None),
        ("assert f(1)", "not not f(1)", True, None),
        ("assert not f(1)", "not f(1)", True, None),
        ("assert math.isclose(f(1), 2.5, rel_tol=0.001)", "f(1)", 2.5, (0.001, 0.0)),
        ("assert isclose(2.5, f(1))", "f(1)", 2.5, (1e-9, 0.0)),
        ("assert abs(f(1) - 2.5) < 1e-3", "f(1)", 2.5, (0.0, 0.001)),
        ("assert f(1)[0] == 'a'", "f(1)[0]", "a", None),
    ],
)
def test_assertions_are_split_into_call_and_value(
    assertion: str, expression: str, accepted: Any, tolerance: tuple[float, float] | None
) -> None:
    assert case_of_assertion(assertion, "f") == Case(expression=expression, accepted=(accepted,), tolerance=tolerance)


@pytest.mark.parametrize(
    "assertion",
    [
        "assert f(1) == g(2)",
        "assert f(1) == f(2)",
        "assert f(1) != 2",
        "assert f(1) > 2",
        "assert g(1) == 2",
        "assert all(f(1))",
        "assert f(1) == 2 and f(2) == 3",
        "f(1) == 2",
        "assert f(1) == 2; assert f(2) == 3",
        "assert f(1) == 2 ** 10",
        "assert f(",
        "",
        "assert math.isclose(f(1), 2, rel_tol=x)",
        "assert f(1) == " + "(" * 300,
    ],
)
def test_assertions_whose_value_is_not_written_down_are_not_used(assertion: str) -> None:
    assert case_of_assertion(assertion, "f") is None


@pytest.mark.parametrize(
    ("expected", "encoded", "equal"),
    [
        (2, 2, True),
        (2, 2.0, True),
        (1, True, True),
        (True, 1, True),
        (None, None, True),
        (None, False, False),
        ("2", 2, False),
        ([1], ["list", 1], True),
        ([1], ["tuple", 1], False),
        ((1,), ["list", 1], False),
        ([1], [1], False),
        ([], [], False),
        ([], ["list"], True),
        ({1, (2,)}, ["set", 1, ["tuple", 2]], True),
        ({1, 2}, ["set", 1, 1], False),
        ({frozenset({1})}, ["set", ["set", 1]], True),
        ({1: [2]}, ["dict", [1, ["list", 2]]], True),
        ({1: 2, 3: 4}, ["dict", [3, 4], [1, 2]], True),
        ({1: 2}, ["dict", 1], False),
        ({(1, "a"): 2}, ["dict", [["tuple", 1, "a"], 2]], True),
        (10**30, ["int", hex(10**30)], True),
        (10**30, ["int", "0xg"], False),
        (10**30, ["int", 5], False),
        (1j, ["complex", 0, 1.0], True),
        (b"ab", ["bytes", "6162"], True),
        (1.5, ["other", "Decimal"], False),
        (1, {"value": 1}, False),
        ("list", ["list"], False),
        (float("inf"), float("inf"), True),
    ],
)
def test_values_are_compared_as_python_would(expected: Any, encoded: Any, equal: bool) -> None:
    assert passes(Case(expression="f()", accepted=(expected,)), encoded) is equal


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
@example(["set", ["list", 1]])
@example(["dict", [["list"], 1]])
@example(["set", {}])
@example(["dict", [{}, 1]])
@example(["set", ["tuple", 1, {"a": []}]])
def test_no_forged_value_makes_the_comparison_raise(encoded: Any) -> None:
    for expected in (1, "a", None, 1.5, [1], (1, 2), {1}, {"a": [1]}, {(1, "a")}, b"x", 1j, 10**400):
        assert passes(Case(expression="f()", accepted=(expected,), tolerance=(0.1, 0.1)), encoded) in (True, False)


def test_numbers_within_a_tolerance_and_sequences_of_json() -> None:
    close = Case(expression="f()", accepted=([1.0, 2.0],), tolerance=(0.0, 0.01))
    assert passes(close, ["list", 1.005, 2]) and not passes(close, ["list", 1.02, 2])
    loose = Case(expression="f()", accepted=([[1]],), loose_sequences=True)
    assert passes(loose, ["tuple", ["list", 1]]) and not passes(loose, ["set", ["list", 1]])
    assert output_passes(Case(accepted=("1 2.50\nx",)), "\n 1.0  2.5\nx \n\n")
    assert not output_passes(Case(accepted=("1 2.50\nx",)), "1.0\n2.5 x")
    assert not output_passes(Case(accepted=("1 2",)), "1")
    assert output_passes(Case(accepted=("1e3",)), "1000")
    assert not output_passes(Case(accepted=("1e3",)), "1001")


@given(st.text())
@example("```python\n```python\n```")
@example("````python\n```\nx\n````")
@example("```py" * 1000)
def test_no_text_makes_extraction_raise(text: str) -> None:
    found = extract_code(text)
    assert found is None or found in text


def test_extraction_takes_the_last_closed_python_block() -> None:
    assert extract_code("```python\na\n```\n```\nb\n```\n```sh\nc\n```\n```python\nd") == "b"
    assert extract_code("  ```python\n  a\n  ```") == "a"
    assert extract_code("````python\n```\nx\n````") == "```\nx"
    assert extract_code("```python\na\n``` \n") == "a"
    assert extract_code("```python a = 1```") is None


def test_short_texts_are_one_clean_line() -> None:
    assert short("a\nb\x07") == "a\\nb?"
    assert len(short("x" * 1000)) <= 120


# ---- problems by the columns of data sets ----


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def mbpp_row(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "task_id": number,
        "text": f"Write a function to add {number} to a number.",
        "code": f"import math\r\ndef add(x, y=0):\r\n    return x + {number} + y",
        "test_list": [f"assert add(1) == {number + 1}", f"assert math.isclose(add(0.5), {number}.5)"],
        "test_setup_code": "import math",
        "challenge_test_list": [f"assert add(1, 2) == {number + 3}"],
    }
    return {**row, **changes}


def test_mbpp(tmp_path: Path) -> None:
    rows = [mbpp_row(i) for i in range(10)]
    # The sanitized set names its columns otherwise.
    rows[3] = {
        "prompt": "Add three.",
        "code": "def add(x): return x + 3",
        "test_imports": ["import math"],
        "test_list": ["assert add(1) == 4"],
    }
    rows += [
        mbpp_row(20, test_list=["assert add(1) == add(1)"]),
        mbpp_row(21, test_list=[], challenge_test_list=[]),
        mbpp_row(22, code="print 'Python 2'"),
    ]
    task = make_task(train=write(tmp_path / "mbpp.jsonl", rows), shape="mbpp", test_size=2, validation_size=1)
    assert sum(task.size(split) for split in SPLITS) == 10
    assert task.left_out.unusable == 3
    for check in validate(task, 2):
        assert check.passed, check.failures
    prompts = {task.problem(s, i).prompt for s in SPLITS for i in range(task.size(s))}
    assert any("def add(x, y=0):" in prompt and "add(1) gives 8" in prompt for prompt in prompts)


def test_a_test_file_of_its_own(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [mbpp_row(i) for i in range(4)])
    test = write(tmp_path / "test.jsonl", [mbpp_row(i) for i in range(3, 6)])
    task = make_task(train=train, test=test, shape="mbpp")
    assert [task.size(split) for split in SPLITS] == [2, 1, 3]
    assert task.left_out.contaminated == 1
    config = configured(train=train, test=test, shape="mbpp")
    assert build_task(with_absolute_paths(config).task).size("test") == 3


def test_relative_paths_are_stored_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mine.jsonl", [mbpp_row(1)])
    monkeypatch.chdir(tmp_path)
    config = configured(train="mine.jsonl", shape="mbpp")
    stored = with_absolute_paths(config).task
    assert isinstance(stored, CodeConfig)
    assert (stored.train, stored.test) == (str(tmp_path / "mine.jsonl"), None)
    assert with_absolute_paths(configured()).task == configured().task


def apps_rows() -> list[dict[str, Any]]:
    program = {
        "question": "Double the number.",
        "solutions": json.dumps(["print(int(input()) * 2)", "other"]),
        "input_output": json.dumps({"inputs": ["1\n", ["2", ""]], "outputs": ["2\n", ["4"]]}),
        "starter_code": "",
        "difficulty": "interview",
    }
    function = {
        "question": "Pair it.",
        "solutions": json.dumps(["class Solution:\n    def pair(self, a, b):\n        return (a, b)"]),
        "input_output": json.dumps(
            {"fn_name": "pair", "inputs": [[1, 2], ["a", None]], "outputs": [[[1, 2]], ["a", None]]}
        ),
        "starter_code": "class Solution:\n    def pair(self, a, b):\n",
    }
    plain = {
        "question": "Negate.",
        "solutions": json.dumps(["def neg(x):\n    return not x"]),
        "input_output": json.dumps({"fn_name": "neg", "inputs": [[True]], "outputs": [[False]]}),
        "starter_code": "def neg(x):\n\t",
    }
    empty = {**program, "question": "No tests.", "input_output": ""}
    huge = {**program, "question": "Huge.", "input_output": '{"inputs": ["1"], "outputs": [' + "9" * 5000 + "]}"}
    return [program, function, plain, empty, huge, {**program, "question": "No solution.", "solutions": ""}]


def test_apps(tmp_path: Path) -> None:
    source = write(tmp_path / "apps.jsonl", apps_rows())
    listings, left_out = read_listings(source, "apps")
    assert ([listing.function for listing in listings], left_out) == (["", "pair", "neg", ""], 2)
    assert listings[3].solution == NO_REFERENCE
    task = make_task(train=source, shape="apps", test_size=1, validation_size=1, sandbox="strict")
    problems = {
        p.metadata["listing"].text: p for s in SPLITS for i in range(task.size(s)) for p in [task.problem(s, i)]
    }
    for text in ("Double the number.", "Pair it.", "Negate."):
        problem = problems[text]
        assert task.score(problem, task.write_answer(problem.answer)).correct
        for wrong in task.perturbations(problem, Random(0)):
            assert not task.score(problem, wrong).correct
    double = problems["Double the number."]
    assert double.prompt == (
        "Write a Python program that reads standard input and writes to standard output.\n\nDouble the number.\n\n"
        "For example:\nInput:\n1\n\nOutput:\n2\n\nInput:\n2\n\nOutput:\n4\n\n"
        "Give the whole program in one ```python block."
    )
    text = block("print(2)")
    assert task.feedback(double, text, task.score(double, text), "located") == (
        "Test 2 of 2 fails: on the input '2\\n' the program wrote '2', expected '4'."
    )
    assert not task.reveals_answer(problems["No solution."], "anything " + NO_REFERENCE)


def lcb_row(private: str, **changes: Any) -> dict[str, Any]:
    row = {
        "question_title": "Sum",
        "question_content": "Add up.",
        "starter_code": "class Solution:\n    def total(self, a: List[int], b: int) -> int:\n        ",
        "public_test_cases": json.dumps([{"input": "[1, 2]\n3", "output": "6", "testtype": "functional"}]),
        "private_test_cases": private,
        "metadata": json.dumps({"func_name": "total"}),
    }
    return {**row, **changes}


def pack(value: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def test_livecodebench(tmp_path: Path) -> None:
    private = json.dumps([{"input": "[]\n0", "output": "0", "testtype": "functional"}])
    program = lcb_row(
        json.dumps([]),
        question_content="Echo.",
        starter_code="",
        metadata="{}",
        public_test_cases=json.dumps([{"input": "a b\n", "output": "a b\n", "testtype": "stdin"}]),
    )
    rows = [lcb_row(private), lcb_row(pack(private), question_content="Packed."), program]
    source = write(tmp_path / "lcb.jsonl", [*rows, lcb_row(private, metadata="{}", question_content="No name.")])
    listings, left_out = read_listings(source, "livecodebench")
    assert left_out == 1
    assert [len(listing.cases) for listing in listings] == [2, 2, 1]
    assert listings[1].cases[1] == Case(
        expression="Solution().total([], 0)", accepted=(0,), loose_sequences=True, slack=Slack()
    )
    task = make_task(train=source, shape="livecodebench", test_size=1, validation_size=1)
    problems = {
        p.metadata["listing"].text: p for s in SPLITS for i in range(task.size(s)) for p in [task.problem(s, i)]
    }
    right = block("class Solution:\n    def total(self, a, b):\n        return sum(a) + b")
    assert task.score(problems["Packed."], right).correct
    assert not task.score(problems["Packed."], right.replace("+ b", "- b")).correct
    assert task.score(problems["Echo."], block("print(input())")).correct


class _Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("/tmp/rltf_unpickled"),))


@pytest.mark.parametrize("value", [_Evil(), {"a": 1}, ["[]", "[]"], b"[]", 5])
def test_a_pickle_that_is_more_than_a_text_is_refused(value: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "lcb.jsonl", [lcb_row(pack(value))])
    with pytest.raises(UserError, match=r"lcb.jsonl, line 1: private_test_cases: cannot be unpacked: its pickle holds"):
        read_listings(source, "livecodebench")
    assert not Path("/tmp/rltf_unpickled").exists()


@pytest.mark.parametrize(
    ("shape", "row", "message"),
    [
        ("mbpp", {"text": "x", "test_list": ["assert f(1) == 1"]}, "has no field code"),
        ("mbpp", mbpp_row(1, test_list="assert add(1) == 2"), "test_list: must be a list of texts"),
        ("apps", {"question": "x", "input_output": "{", "solutions": "[]"}, "input_output: is not valid JSON"),
        ("livecodebench", {"question_content": "x"}, "has no field public_test_cases"),
        ("livecodebench", lcb_row("not packed"), "private_test_cases: cannot be unpacked"),
        ("builtin", {"signature": "def f(x):", "tests": [["f(1)", "g(2)"]]}, "'g\\(2\\)' is no literal"),
        ("builtin", {"signature": "f(x)", "tests": [["f(1)", "2"]]}, "must begin with def NAME"),
        ("builtin", {"signature": "def f(x):", "tests": [["f(1)"]]}, "each is a call and the literal"),
        ("builtin", {"signature": "def f(x):", "tests": []}, "needs tests"),
        ("mbpp", mbpp_row(1, test_list=[], challenge_test_list=[]), "holds no problem with tests"),
    ],
)
def test_a_broken_file_is_named_with_its_line(shape: Any, row: dict[str, Any], message: str, tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", [row])
    with pytest.raises(UserError, match=message):
        read_listings(source, shape)


def test_training_end_to_end(tiny_model: Path, tmp_path: Path) -> None:
    settings = [
        "task.name=code",
        f"engine.model={tiny_model}",
        "engine.device=cpu",
        "trainer.steps=2",
        "trainer.groups_per_batch=2",
        "trainer.group_size=2",
        "rollout.max_new_tokens=8",
        "evaluation.problems=2",
        "evaluation.samples=1",
    ]
    command = [sys.executable, "-m", "rltf", "train", *settings, "--run-dir", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    assert "Write the Python function" in (tmp_path / "run" / "rollouts.jsonl").read_text()
