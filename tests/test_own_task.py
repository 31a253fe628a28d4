"""A task in a Python file: the short class, the check against the protocol, bugs that stop a run, `rltf new-task`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
from command_line import SMALL, jsonl, rltf

from rltf.config import PythonConfig, RunConfig
from rltf.config.load import (
    apply_override,
    config_from_json,
    config_to_json,
    load_config,
    validate_config,
    with_absolute_paths,
)
from rltf.feedback import load_function
from rltf.feedback.llm import Endpoints
from rltf.runs.build import build_engine, build_task, build_trainer
from rltf.runs.directory import RunDir
from rltf.runs.observers import Observer
from rltf.runs.trainer import Interrupted
from rltf.support.errors import Stopped, TaskFailed, UserError
from rltf.tasks import FeedbackLevel, SimpleTask, load_task
from rltf.tasks.base import score_all
from rltf.tasks.own.near import neighbours
from rltf.tasks.puzzle import tag_answer
from rltf.tasks.validate import validate
from rltf.types import Problem

SMALL_RUN = [setting for setting in SMALL if not setting.startswith("task.")]
EXAMPLES = Path(__file__).parent.parent / "examples"
BACKWARDS = """
from rltf.tasks import SimpleTask

class Backwards(SimpleTask):
    letters = 5

    def generate(self, rng):
        word = "".join(rng.choice("abcdefg") for _ in range(self.letters))
        return f"Write {word} backwards.", word[::-1], {"word": word}

    def check(self, answer, problem):
        if len(answer) != self.letters:
            return f"The answer must have as many letters as {problem.metadata['word']}."
        wrong = [i for i, (a, b) in enumerate(zip(answer, problem.answer), start=1) if a != b]
        return "\\n".join(f"Letter {i} is another one." for i in wrong) or None
"""
# The protocol itself, without the short class.
PLAIN = """
from rltf.types import Problem, Score

class Plain:
    name = "plain"
    family = "general"
    def __init__(self, offset=0): self.offset = offset
    def size(self, split): return 4
    def problem(self, split, index):
        prompt = f"{split} {index + self.offset}?"
        return Problem(task="plain", split=split, index=index, prompt=prompt, answer=str(index))
    def score(self, problem, text):
        right = text == problem.answer
        return Score(reward=float(right), correct=right, well_formed=True, answer=text, explanation="Compared.")
    def feedback(self, problem, text, score, level): return "Try again."
    def write_answer(self, answer): return answer
    def perturbations(self, problem, rng): yield problem.answer + "!"
    def reveals_answer(self, problem, text): return problem.answer in text
"""


def save(tmp_path: Path, text: str, name: str = "my_task.py") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def feedback(task: Any, problem: Problem, answer: str, level: FeedbackLevel = "located") -> str:
    text = task.write_answer(answer)
    return str(task.feedback(problem, text, task.score(problem, text), level))


def test_two_methods_make_a_task(tmp_path: Path) -> None:
    task = load_task(save(tmp_path, BACKWARDS), {})
    assert task.name == "backwards"
    assert task.family == "general"
    assert [task.size(split) for split in ("train", "validation", "test")] == [10_000, 200, 200]
    problem = task.problem("train", 3)
    assert re.fullmatch(
        r"Write [a-g]{5} backwards\.\n\nWrite the answer between <answer> and </answer>\.", problem.prompt
    )
    assert problem.task == "backwards"
    gold = task.score(problem, task.write_answer(problem.answer))
    assert (gold.reward, gold.correct, gold.well_formed, gold.answer) == (1.0, True, True, problem.answer)
    assert task.score(problem, "nothing").explanation == "There is no answer between <answer> and </answer>."
    assert not task.score(problem, "<answer> </answer>").well_formed
    wrong = ("b" if problem.answer[0] == "a" else "a") + problem.answer[1:]
    assert task.score(problem, task.write_answer(wrong)).reward == 0.0
    assert feedback(task, problem, wrong) == feedback(task, problem, wrong, "hint") == "Letter 1 is another one."
    assert feedback(task, problem, wrong, "count") == "1 thing is wrong."
    assert feedback(task, problem, "hhhhh", "count") == "5 things are wrong."
    assert feedback(task, problem, wrong, "correctness") == "Your previous answer was incorrect."
    assert feedback(task, problem, problem.answer) == "Your previous answer was correct."
    assert feedback(task, problem, " ", "count") == "The answer is empty."
    assert task.reveals_answer(problem, f"You want {problem.answer.upper()}!")
    assert not task.reveals_answer(problem, "Letter 1 is another one.")


def test_it_holds_what_every_task_must(tmp_path: Path) -> None:
    checks = validate(load_task(save(tmp_path, BACKWARDS), {"test_size": 20}), 20)
    assert [check.failures for check in checks] == [()] * 6
    assert all(check.passed for check in checks)


def test_the_problems_follow_from_their_seed_and_the_splits_share_none(tmp_path: Path) -> None:
    path = save(tmp_path, BACKWARDS)
    sizes = {"train_size": 50, "validation_size": 30, "test_size": 30}
    once, again, other = (load_task(path, {**sizes, "data_seed": seed}) for seed in (0, 0, 1))
    splits = ("train", "validation", "test")
    all_of = [[t.problem(s, i).prompt for s in splits for i in range(t.size(s))] for t in (once, again, other)]  # type: ignore[arg-type]
    assert all_of[0] == all_of[1] != all_of[2]
    assert len(set(all_of[0])) == 110


def test_settings_reach_the_class_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, BACKWARDS)
    assert len(load_task(path, {"letters": 7}).problem("test", 0).answer) == 7
    config = validate_config({"task": {"path": str(path), "settings": {"letters": 7}}})
    assert len(build_task(config.task).problem("test", 0).answer) == 7
    with pytest.raises(
        UserError, match=r"task.settings.leters: Backwards has no such setting, but answer_in, data_seed, .*letters"
    ):
        load_task(path, {"leters": 7})
    with pytest.raises(UserError, match=r"task.settings.letters='7': must be of type int"):
        load_task(path, {"letters": "7"})
    with pytest.raises(UserError, match=r"task.settings.check: Backwards has no such setting"):
        load_task(path, {"check": "7"})


def test_given_problems_in_place_of_generated_ones(tmp_path: Path) -> None:
    class Capitals(SimpleTask):
        def problems(self) -> list[tuple[str, str]]:
            return [(f"Capital {n}?", f"city {n}") for n in range(20)] + [("Capital 3?", "city 3")]

        def check(self, answer: str, problem: Problem) -> str | None:
            return None if answer == problem.answer else "Another city."

    task = Capitals()
    assert [task.size(split) for split in ("train", "validation", "test")] == [15, 1, 4]
    prompts = {task.problem("train", i).prompt for i in range(15)}
    assert len(prompts) == 15
    assert task.problem("test", 0).answer.startswith("city ")
    with pytest.raises(IndexError):
        task.problem("test", 4)
    assert Capitals(test_size=2).size("test") == 2


def test_any_class_that_follows_the_protocol_is_a_task(tmp_path: Path) -> None:
    task = load_task(save(tmp_path, PLAIN), {"offset": 5})
    problem = task.problem("train", 1)
    assert problem.prompt == "train 6?"
    scores = score_all(task, [(problem, "1"), (problem, "2")])
    assert [score.reward for score in scores] == [1.0, 0.0]
    assert list(task.perturbations(problem, Random(0))) == ["1!"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "the file defines no task: a class that extends SimpleTask, or has problem, score and feedback"),
        ("def f(:", "the file raised SyntaxError"),
        ("\n1 / 0", r"the file raised ZeroDivisionError: division by zero \(line 2\)"),
        ("import sys; sys.exit(0)", "the file raised SystemExit"),
        (PLAIN + BACKWARDS, r"the file defines several tasks \(Plain, Backwards\); let all names but one begin with _"),
        (
            PLAIN.replace("def feedback", "def feed_back"),
            r"Plain has no method feedback\(problem, text, score, level\)",
        ),
        (
            PLAIN.replace("def score(self, problem, text)", "def score(self, text)"),
            r"Plain has a method score\(text\), which must take score\(problem, text\)",
        ),
        (PLAIN.replace('name = "plain"', ""), "Plain has no name"),
        (PLAIN.replace('"general"', '"sums"'), "Plain has no family, one of puzzle, maths"),
        (
            PLAIN.replace("return 4", "return 0"),
            "size of the task plain, on train: returned 0, not a number of problems",
        ),
        (PLAIN.replace("return 4", "return '4'"), "returned '4', not a number of problems above 0"),
        (
            PLAIN.replace("right = text", "right = int(text)"),
            r"score of the task plain, on test problem 0 with the attempt '': raised ValueError: .* \(line 13\)",
        ),
        (PLAIN.replace("reward=float(right)", "reward=2.0"), "not a Score whose reward lies between 0 and 1"),
        (PLAIN.replace("reward=float(right)", "reward=float('nan')"), "not a Score whose reward lies between 0 and 1"),
        (PLAIN.replace('"Try again."', "None"), "feedback of the task plain, .* returned None, not a text"),
        (PLAIN.replace('task="plain"', 'task="other"'), "not a Problem whose task is 'plain', the name of the task"),
        (PLAIN.replace("offset=0", "offset"), "Plain cannot be built with task.settings: TypeError"),
        (
            BACKWARDS.replace("def generate", "def make"),
            r"NotImplementedError: define generate\(self, rng\) or problems",
        ),
        (BACKWARDS.replace("def check", "def verify"), "NotImplementedError: define check"),
        (
            BACKWARDS.replace("        wrong =", "        answer.split('=')[1]\n        wrong ="),
            r"score of the task backwards, on test problem 0 .*: raised IndexError: list index out of range",
        ),
        (BACKWARDS.replace("rng.choice", "rng.choice([]) or rng.choice"), "problem of the task .*: raised IndexError"),
        (
            BACKWARDS.replace("    letters = 5", "    letters = 5\n    def __init__(self): pass"),
            "Backwards has no name, .*must call super",
        ),
        (BACKWARDS.replace("rng.choice", "__import__('random').choice"), "gives other problems each time"),
        (BACKWARDS.replace('word[::-1], {"word": word}', "5"), "question and answer must be texts that are not empty"),
        (BACKWARDS.replace(" or None", ""), "check must return None or a text that is not empty, not ''"),
        (BACKWARDS.replace("letters = 5", "letters = 1"), "settings give only 7 distinct problems"),
    ],
)
def test_what_a_file_lacks_is_said_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as raised:
        load_task(save(tmp_path, text), {}).problem("train", 0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "leave", ["sys.exit(0)", "sys.exit()", "os._exit(0)", "raise SystemExit", "raise BaseException"]
)
def test_a_file_that_would_end_the_program_fails_in_one_line_with_a_status(leave: str, tmp_path: Path) -> None:
    imports = "import os, sys\n"
    cases = {
        "the file raised": imports + leave,
        "Backwards cannot be built": imports
        + BACKWARDS.replace("    letters = 5", f"    letters = 5\n    def __init__(self, **s):\n        {leave}"),
        "problem of the task backwards, on": imports
        + BACKWARDS.replace("        word =", f"        {leave}\n        word ="),
        "score of the task backwards, on": imports
        + BACKWARDS.replace("        if len", f"        {leave}\n        if len"),
    }
    for number, (place, text) in enumerate(cases.items()):
        with pytest.raises(UserError, match=f"{place}.*(SystemExit|BaseException).*line") as raised:
            load_task(save(tmp_path, text, f"task{number}.py"), {})
        assert "\n" not in str(raised.value)


def test_validate_and_train_say_so_and_end_with_a_status(tmp_path: Path) -> None:
    # Not at once: only the problems of training, which loading does not try.
    late = "        if problem.split == 'train':\n            __import__('sys').exit(0)\n        if len"
    save(tmp_path, BACKWARDS.replace("        if len", late))
    done = rltf("validate", "my_task.py", "--problems", "3", cwd=tmp_path, status=2)
    assert re.search(
        r"score of the task backwards, on train problem 0 .*: raised SystemExit: 0 \(line 13\)", one_line(done.stderr)
    )


HANGS = {
    "loading the file took longer than 1 seconds (line 1)": "while True: pass\n" + BACKWARDS,
    "building Backwards took longer than 1 seconds (line 7)": BACKWARDS.replace(
        "    letters = 5", "    letters = 5\n    def __init__(self, **s):\n        while True: pass"
    ),
    "problem of the task backwards, on test 0: took longer than 1 seconds (line 8)": BACKWARDS.replace(
        "        word =", "        while True: pass\n        word ="
    ),
    "score of the task backwards, on train problem 0": BACKWARDS.replace(
        "        if len", "        while problem.split == 'train': pass\n        if len"
    ),
    "feedback of the task backwards, on test problem 0": BACKWARDS
    + "    def feedback(self, *given):\n        __import__('time').sleep(100)\n",
    # What catches everything is interrupted again.
    "perturbations of the task backwards": BACKWARDS
    + "    def perturbations(self, *given):\n        while True:\n            try:\n"
    + "                while True: pass\n            except BaseException:\n                pass\n",
}


@pytest.mark.parametrize("place", HANGS)
def test_a_task_that_hangs_is_named_with_problem_method_and_line(place: str, tmp_path: Path) -> None:
    save(tmp_path, HANGS[place])
    done = rltf("validate", "my_task.py", "--problems", "2", "--seconds", "1", cwd=tmp_path, status=2)
    said = one_line(done.stderr)
    assert place in said
    assert "took longer than 1 seconds (line" in said
    assert said.endswith("; --seconds allows more than 1")


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("place", "instruction", "attempt"),
    [
        ("tags", "Write the answer between <answer> and </answer>.", "<answer>\nabc\n</answer>"),
        ("whole", "Write the answer and nothing else.", "abc"),
        ("last_line", "Write the answer on the last line, with nothing else on that line.", "abc"),
    ],
)
def test_the_answer_stands_where_answer_in_says(place: str, instruction: str, attempt: str, tmp_path: Path) -> None:
    task = load_task(save(tmp_path, BACKWARDS), {"answer_in": place, "test_size": 20})
    problem = task.problem("test", 0)
    assert problem.prompt.endswith(f"\n\n{instruction}")
    assert task.write_answer("abc") == attempt
    assert task.score(problem, f" {task.write_answer(problem.answer)} \n").correct
    assert task.score(problem, f"So it is\n{problem.answer}").correct is (place == "last_line")
    assert task.score(problem, " ").explanation in (
        "The answer is empty.",
        "There is no answer between <answer> and </answer>.",
    )
    assert all(check.passed for check in validate(task, 20))


def test_an_instruction_of_ones_own_stays_and_another_place_is_refused(tmp_path: Path) -> None:
    own = BACKWARDS.replace(
        "    letters = 5", "    letters = 5\n    answer_in = 'whole'\n    instruction = 'Only the word.'"
    )
    assert load_task(save(tmp_path, own), {}).problem("test", 0).prompt.endswith("\n\nOnly the word.")
    with pytest.raises(UserError, match=r"Backwards.answer_in='body': must be one of tags, whole, last_line"):
        load_task(save(tmp_path, BACKWARDS, "other.py"), {"answer_in": "body"})


@pytest.mark.parametrize(
    "methods",
    [
        "    def extract(self, text): return text.strip()\n",
        "    def extract(self, text): return text\n    def write_answer(self, answer): return answer\n",
        "    def extract(self, text): return text.strip() or None\n    def write_answer(self, answer): return answer\n",
        "    def extract(self, text): return text.rpartition('####')[2].strip()\n"
        "    def write_answer(self, answer): return f'So:\\n#### {answer}'\n",
    ],
)
def test_a_task_that_reads_its_answers_elsewhere_validates(methods: str, tmp_path: Path) -> None:
    task = load_task(save(tmp_path, BACKWARDS + methods), {"test_size": 10})
    assert [check.failures for check in validate(task, 10)] == [()] * 6


def test_a_helper_with_a_field_of_that_name_is_no_task(tmp_path: Path) -> None:
    helper = "from dataclasses import dataclass\n@dataclass\nclass Entry:\n    score: float = 0.0\n"
    assert load_task(save(tmp_path, helper + BACKWARDS), {}).name == "backwards"


def test_ctrl_c_while_a_file_is_imported_is_no_fault_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        load_task(save(tmp_path, "from rltf.support.errors import Stopped\nraise Stopped"), {})


def test_too_few_problems_are_told_with_the_settings_to_change(tmp_path: Path) -> None:
    given = "from rltf.tasks import SimpleTask\nclass Few(SimpleTask):\n    train_size = 50\n"
    given += "    def problems(self): return [(f'{n}?', f'{n}') for n in range(9)]\n"
    given += "    def check(self, answer, problem): return None if answer == problem.answer else 'no'\n"
    with pytest.raises(UserError, match=r"too few train problems: there are .*; lower task.settings.train_size=50"):
        load_task(save(tmp_path, given), {})


def test_problems_that_repeat_are_told_and_two_answers_to_one_refused(tmp_path: Path) -> None:
    given = "from rltf.tasks import SimpleTask\nclass Few(SimpleTask):\n"
    given += "    def problems(self): return [(f'{n % 9}?', f'{n % MODULUS}') for n in range(12)]\n"
    given += "    def check(self, answer, problem): return None if answer == problem.answer else 'no'\n"
    for name in ("same", "other"):
        (tmp_path / name).mkdir()
    assert str(load_task(save(tmp_path / "same", given.replace("MODULUS", "9")), {}).left_out) == "3 repeated"
    with pytest.raises(UserError, match=r"'0[?]' has two answers"):
        load_task(save(tmp_path / "other", given.replace("MODULUS", "10")), {})


def test_a_missing_file_and_a_file_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task.path=.*none.py: there is no file"):
        load_task(str(tmp_path / "none.py"), {})
    with pytest.raises(UserError, match=r"task: path='a.jsonl' is no .py file; rows of a file are task.name=rows"):
        validate_config({"task": {"name": "python", "path": "a.jsonl"}})
    with pytest.raises(UserError, match=r"task.path: field required"):
        validate_config({"task": {"name": "python"}})


def test_a_bug_that_only_some_attempts_meet_is_named_with_file_line_and_problem(tmp_path: Path) -> None:
    text = BACKWARDS.replace(
        "        wrong =", "        int(answer[0], 36) and answer[0] == 'z' and 1 / 0\n        wrong ="
    )
    path = save(tmp_path, text)
    task = load_task(path, {})
    problem = task.problem("train", 2)
    task.score(problem, tag_answer("aaaaa"))
    message = (
        re.escape(path)
        + r": score of the task backwards, on train problem 2 with the attempt '<answer>\\nzzzzz\\n.*': "
        r"raised ZeroDivisionError: division by zero \(line 14\)"
    )
    with pytest.raises(TaskFailed, match=message):
        task.score(problem, tag_answer("zzzzz"))
    with pytest.raises(TaskFailed, match="score of the task"):
        task.score_many([(problem, tag_answer("zzzzz"))])


def test_files_named_alike_or_like_a_library_do_not_meet(tmp_path: Path) -> None:
    import json as library

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = load_task(save(tmp_path / "a", PLAIN.replace('"Try again."', '"A"'), "json.py"), {})
    second = load_task(save(tmp_path / "b", PLAIN.replace('"Try again."', '"B"'), "json.py"), {})
    problem = first.problem("test", 0)
    assert [feedback(task, problem, "x") for task in (first, second)] == ["A", "B"]
    import json

    assert json is library
    assert callable(json.loads)
    both = save(
        tmp_path, "from helper_beside import say\ndef f(problem, attempt, score, history): return say()", "f.py"
    )
    save(tmp_path, "def say(): return 'hello'", "helper_beside.py")
    assert load_function(f"{both}:f")(problem, "", first.score(problem, ""), ()) == "hello"


def test_neighbours_differ_from_the_answer_and_follow_from_the_seed() -> None:
    for answer in ("7", "red green", "a", "1 2 3", "x = 10", "0"):
        found = neighbours(answer, Random(0))
        assert found
        assert answer not in found
        assert found == neighbours(answer, Random(0))


def test_the_name_follows_from_the_path_and_settings_survive_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = with_absolute_paths(validate_config({"task": {"path": "my.py", "settings": {"n": 3, "deep": {"a": [1]}}}}))
    assert isinstance(config.task, PythonConfig)
    assert config.task.path == str(tmp_path / "my.py")
    assert config.task.settings == {"n": 3, "deep": {"a": [1]}}
    assert config_from_json(config_to_json(config)) == config
    assert hash(config) == hash(config_from_json(config_to_json(config)))
    assert load_config([], ["task.path=my.py", "task.settings.n=4"]).task.settings == {"n": 4}  # type: ignore[union-attr]
    assert validate_config({"task": {"path": "my.py"}, "feedback": {"level": "hint"}}).feedback.level == "hint"
    with pytest.raises(UserError, match=r"task.path: is no setting of task.name=binary_matrix, but of rows, python"):
        validate_config({"task": {"name": "binary_matrix", "path": "my.py"}})


def test_the_example_of_the_tutorial_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    config: RunConfig = load_config([Path("examples/run_lengths.toml")], [])
    task = build_task(config.task)
    assert all(check.passed for check in validate(task, 30))
    problem = task.problem("test", 0)
    assert problem.prompt.startswith("Count along each row:\n\n")
    answer = [[int(cell) for cell in row.split()] for row in problem.answer.splitlines()]
    answer[1][2] += 1
    text = tag_answer("\n".join(" ".join(map(str, row)) for row in answer))
    said = task.feedback(problem, text, task.score(problem, text), "located")
    assert said == "Row 2, column 3 should be smaller."
    assert len((EXAMPLES / "run_lengths.py").read_text().splitlines()) < 80


def test_tasks_lists_the_settings_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    shown = rltf("tasks", cwd=tmp_path).stdout
    assert "hub:OWNER/NAME[/SUBSET][@SPLIT]" in shown
    assert '[{name="binary_matrix", weight=2.0}, {path="my_task.py"}]' in shown
    assert all(f"task.{name}" in shown for name in ("scorer", "settings", "tasks", "shared_words", "min_side"))


@pytest.mark.parametrize("rows", [False, True])
def test_new_task_writes_files_that_validate_and_overwrites_none(rows: bool, tmp_path: Path) -> None:
    flag = ["--rows"] if rows else []
    done = rltf("new-task", "my_sums", *flag, cwd=tmp_path)
    names = {"my_sums.jsonl", "my_sums.toml"} if rows else {"my_sums.py", "my_sums.toml"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert all(name in done.stdout for name in names)
    rltf("validate", "my_sums.toml", "--problems", "10", cwd=tmp_path)
    assert "problems: good" in rltf("train", "my_sums.toml", "--dry-run", cwd=tmp_path).stdout
    if not rows:
        assert "class MySums(SimpleTask)" in (tmp_path / "my_sums.py").read_text()
        rltf("validate", "my_sums.py", "task.settings.highest=20", "task.settings.train_size=30", cwd=tmp_path)
        few = rltf("train", "my_sums.toml", "task.settings.highest=50", "--dry-run", cwd=tmp_path, status=1)
        assert "problems: task.settings.train_size=10000" in few.stdout
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    refused = rltf("new-task", "my_sums", cwd=tmp_path, status=2)
    assert "exists already; choose another name or remove it" in refused.stderr
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert "begins with a letter" in rltf("new-task", "../evil", cwd=tmp_path, status=2).stderr


def test_a_run_on_a_python_file_resumes_from_elsewhere_but_not_with_another_file(
    tiny_model: Path, tmp_path: Path
) -> None:
    save(tmp_path, BACKWARDS)
    (tmp_path / "elsewhere").mkdir()
    rltf(
        "train", "task.path=my_task.py", "task.settings.letters=6", *SMALL_RUN, f"engine.model={tiny_model}",
        "trainer.save_every=1", "--run-dir", "run", cwd=tmp_path,
    )  # fmt: skip
    run = tmp_path / "run"
    rollouts = (run / "rollouts.jsonl").read_bytes()
    assert {record["task"] for record in jsonl(run / "rollouts.jsonl")} == {"backwards"}
    assert list(json.loads((run / "inputs.json").read_text())) == [str(tmp_path / "my_task.py")]
    # As if killed after the first step.
    (run / "summary.json").unlink()
    shutil.rmtree(run / "checkpoints" / "step-000002")
    save(tmp_path, BACKWARDS + "\n# a changed file")
    refused = rltf("train", "--resume", str(run), cwd=tmp_path / "elsewhere", status=2)
    assert "my_task.py has changed since" in refused.stderr
    assert "--accept-changed-files" in refused.stderr
    save(tmp_path, BACKWARDS)
    rltf("train", "--resume", str(run), cwd=tmp_path / "elsewhere")
    assert (run / "rollouts.jsonl").read_bytes() == rollouts


def test_a_scorer_that_raises_in_a_step_is_no_reward_but_the_end_of_the_run(tiny_model: Path, tmp_path: Path) -> None:
    bug = """
    def score(self, problem, text):
        if problem.split == "train":
            raise RuntimeError("no verdict")
        return super().score(problem, text)
"""
    data: dict[str, Any] = {"engine": {"model": str(tiny_model)}, "task": {"path": save(tmp_path, BACKWARDS + bug)}}
    for override in SMALL_RUN:
        apply_override(data, override)
    config = validate_config(data)
    engine = build_engine(config)
    # A model with random weights hardly ever ends an attempt, and a cut attempt is not scored: let more tokens end it.
    engine.renderer.stop_tokens = (*engine.renderer.stop_tokens, *range(100, 250))
    run = RunDir.create(tmp_path / "run")
    trainer = build_trainer(
        config, run_dir=run, engine=engine, task=build_task(config.task), endpoints=Endpoints(), observer=Observer()
    )
    with pytest.raises(Interrupted) as stopped:
        trainer.run()
    assert stopped.value.step == 0
    assert stopped.value.reason is not None
    assert "my_task.py: score of the task backwards, on train problem" in stopped.value.reason
    assert "raised RuntimeError: no verdict (line 19)" in stopped.value.reason
    assert not run.has("rollouts.jsonl")


def test_a_bug_stops_a_run_and_it_goes_on_with_the_mended_file(tiny_model: Path, tmp_path: Path) -> None:
    bug = """
    def problem(self, split, index):
        if split == "train" and index < 9_999:
            {}["bug"]
        return super().problem(split, index)
"""
    save(tmp_path, BACKWARDS + bug)
    stopped = rltf(
        "train", "task.path=my_task.py", *SMALL_RUN, f"engine.model={tiny_model}", "--run-dir", "run",
        cwd=tmp_path, status=3,
    )  # fmt: skip
    assert "my_task.py: problem of the task backwards, on train" in stopped.stderr
    assert "raised KeyError: 'bug' (line 19)" in stopped.stderr
    assert "stopped after step 0, all saved; go on with: rltf train --resume run" in " ".join(stopped.stderr.split())
    save(tmp_path, BACKWARDS)
    rltf("train", "--resume", "run", "--accept-changed-files", cwd=tmp_path)
    assert len(jsonl(tmp_path / "run" / "rollouts.jsonl")) == 8
    (change,) = jsonl(tmp_path / "run" / "changed_inputs.jsonl")
    assert change["step"] == 0
    assert change["file"] == str(tmp_path / "my_task.py")
    assert change["was"] != change["is"] == json.loads((tmp_path / "run" / "inputs.json").read_text())[change["file"]]
    assert "is for --resume" in rltf("train", "--accept-changed-files", cwd=tmp_path, status=2).stderr
