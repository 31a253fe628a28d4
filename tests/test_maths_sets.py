"""Where maths problems come from: known sets, files and hubs of one's own; and a run from settings to model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rltf.config import MathsConfig
from rltf.config.load import load_config, task_files, with_absolute_paths
from rltf.support.errors import UserError
from rltf.tasks import Maths
from rltf.tasks.maths.sets import KNOWN, RowForm, read_problems

FORM = RowForm(question="question", answer="answer")
DAPO = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\n{}\n\n"
    'Remember to put your answer on its own line after "Answer:".'
)


def make_task(**settings: Any) -> Maths:
    return Maths(**MathsConfig(name="maths", **settings).model_dump(exclude={"name"}))


def write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def shaped(name: str, number: int) -> dict[str, Any]:
    """A row in the shape of a known set."""
    question, answer = f"What is {number} + {number}?", str(2 * number)
    rows: dict[str, dict[str, Any]] = {
        "dapo": {
            "data_source": "math_dapo",
            "prompt": [{"content": DAPO.format(question), "role": "user"}],
            "ability": "MATH",
            "reward_model": {"ground_truth": answer, "style": "rule-lighteval/MATH_v2"},
            "extra_info": {"index": str(number)},
        },
        "deepmath": {
            "question": question,
            "final_answer": answer,
            "difficulty": 4.5,
            "topic": "t",
            "r1_solution_1": "s",
        },
        "math500": {"problem": question, "solution": "s", "answer": f"${answer}$", "subject": "Algebra", "level": 2},
        "aime24": {"id": number, "problem": question, "solution": "s", "answer": answer, "year": "2024"},
    }
    return rows[name]


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_each_known_set_is_read_from_a_copy_in_its_shape(name: str, suffix: str, tmp_path: Path) -> None:
    copy = write(tmp_path / f"copy{suffix}", [shaped(name, number) for number in range(20)])
    task = make_task(train=f"{name}:{copy}", test=None)
    found = [task.problem("train", i) for i in range(task.size("train"))]
    assert (task.size("train"), task.size("validation"), task.size("test")) == (15, 1, 4)
    for problem in found:
        number = int(problem.answer) // 2
        assert problem.prompt == f"What is {number} + {number}?\n\nWrite the final answer in \\boxed{{}} at the end."
    as_test = make_task(test=f"{name}:{copy}")
    assert [as_test.problem("test", i).answer for i in range(as_test.size("test"))] == [str(2 * i) for i in range(20)]


def test_rows_that_stand_a_hundred_times_are_one_problem(tmp_path: Path) -> None:
    rows = [shaped("dapo", number) for _ in range(100) for number in range(30)]
    task = make_task(train=f"dapo:{write(tmp_path / 'dapo.parquet', rows)}")
    assert (task.size("train"), task.size("validation")) == (27, 3)
    assert task.left_out.repeated == 99 * 30


def test_the_hub_names_of_the_known_sets() -> None:
    assert {name: known.source for name, known in KNOWN.items()} == {
        "dapo": "hub:BytedTsinghua-SIA/DAPO-Math-17k@train",
        "deepmath": "hub:zwhe99/DeepMath-103K@train",
        "math500": "hub:HuggingFaceH4/MATH-500@test",
        "aime24": "hub:HuggingFaceH4/aime_2024@train",
    }


def test_rows_of_ones_own(tmp_path: Path) -> None:
    rows = [{"in": {"text": f"Problem {i}"}, "out": i} for i in range(12)]
    task = make_task(
        train=write(tmp_path / "own.jsonl", rows), question_field="in.text", answer_field="out", train_size=5
    )
    assert (task.size("train"), task.size("validation"), task.size("test")) == (5, 1, 101)
    assert {task.problem("train", i).prompt.split("\n")[0] for i in range(5)} < {f"Problem {i}" for i in range(12)}
    plain = [{"question": f"Problem {i}", "answer": [f"{i}"]} for i in range(12)]
    task = make_task(train="builtin", test=write(tmp_path / "test.jsonl", plain))
    assert task.problem("test", 3).answer == "3"


def test_a_training_problem_that_a_test_problem_holds_is_left_out(tmp_path: Path) -> None:
    rows = [shaped("deepmath", number) for number in range(10)]
    train = write(tmp_path / "train.jsonl", rows)
    test = write(tmp_path / "test.jsonl", [shaped("math500", number) for number in (3, 4)])
    task = make_task(train=f"deepmath:{train}", test=f"math500:{test}")
    assert task.left_out.contaminated == 2
    answers = {task.problem("train", i).answer for i in range(task.size("train"))}
    assert not {"6", "8"} & answers


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"train": "builtin:x.jsonl"}, "builtin:x.jsonl: builtin is a set of this package"),
        ({"train": "dapo:"}, "no source after the colon"),
        ({"train": "missing.jsonl"}, "missing.jsonl: cannot be read"),
        ({"train": "hub:nobody"}, "is not of the form hub:OWNER/NAME"),
        ({"train": "{tmp}/other.jsonl"}, "line 1: has no field question; its fields: text, answer"),
        ({"train": "{tmp}/empty.jsonl"}, "line 1: question: must be a text that is not empty"),
        ({"train": "{tmp}/several.jsonl"}, "line 1: answer: must be a text"),
        ({"train": "dapo:{tmp}/hollow.jsonl"}, "holds no question"),
        ({"test": "{tmp}/other.jsonl"}, "line 1: has no field question"),
    ],
)
def test_a_source_that_cannot_be_read_is_named_in_one_line(settings: dict[str, str], says: str, tmp_path: Path) -> None:
    write(tmp_path / "other.jsonl", [{"text": "What?", "answer": "5"}])
    write(tmp_path / "empty.jsonl", [{"question": " ", "answer": "5"}])
    write(tmp_path / "several.jsonl", [{"question": "What?", "answer": ["5", "6"]}])
    hollow = shaped("dapo", 1) | {"prompt": [{"content": DAPO.format(""), "role": "user"}]}
    write(tmp_path / "hollow.jsonl", [hollow])
    with pytest.raises(UserError) as error:
        make_task(**{key: value.format(tmp=tmp_path) for key, value in settings.items()}).size("train")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "gold"),
    [
        ("1e+21", "1" + "0" * 21),
        ("1e16", "1" + "0" * 16),
        ("1e-05", "0.00001"),
        ("2.5e-07", "0.00000025"),
        ("7.0", "7.0"),
        ("0.1", "0.1"),
        ("12", "12"),
        ('"$12$"', "12"),
        ('"\\\\[12\\\\]"', "12"),
        ('"4 and 8 are 4+8=<<4+8=12>>12.\\n#### 12"', "12"),
        ('"So \\\\boxed{12} it is."', "12"),
    ],
)
def test_golds_as_json_and_data_sets_hold_them(value: str, gold: str, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(f'{{"question": "What?", "answer": {value}}}\n')
    assert [answer for _, answer in read_problems(str(tmp_path / "own.jsonl"), "train", FORM)] == [gold]


@pytest.mark.parametrize(
    ("column", "golds"),
    [
        (pa.array([Decimal("8.50"), Decimal("0.00")]), ["8.50", "0.00"]),
        (pa.array([1e-7, 3e22]), ["0.0000001", "3" + "0" * 22]),
    ],
)
def test_golds_in_columns_of_numbers(column: pa.Array, golds: list[str], tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["A?", "B?"], "answer": column}), tmp_path / "own.parquet")
    assert [answer for _, answer in read_problems(str(tmp_path / "own.parquet"), "train", FORM)] == golds


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_marks_a_missing_value_is_no_gold(value: str, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(f'{{"question": "What?", "answer": {value}}}\n')
    with pytest.raises(UserError, match=r"own.jsonl, line 1: answer: is -?(nan|inf)") as error:
        list(read_problems(str(tmp_path / "own.jsonl"), "train", FORM))
    assert "\n" not in str(error.value)


def test_validate_tells_golds_that_no_attempt_could_give(tmp_path: Path) -> None:
    solution = "First we add the {0} apples and the {0} pears, and then we find that there are twice {0} of them."
    rows = [{"question": f"Problem {i}?", "answer": solution.format(i)} for i in range(12)]
    said = rltf("validate", "maths", f"task.train={write(tmp_path / 'own.jsonl', rows)}", cwd=tmp_path, status=1)
    assert "the gold answer is a text of 18 words" in said
    rows = [
        {"question": f"Problem {i}?", "answer": f"{i}+{i}=<<{i}+{i}={2 * i}>>{2 * i}\n#### {2 * i}"} for i in range(12)
    ]
    said = rltf("validate", "maths", f"task.train={write(tmp_path / 'gsm.jsonl', rows)}", cwd=tmp_path)
    assert said.count("holds") == 7


def test_fields_that_no_source_reads_are_refused() -> None:
    with pytest.raises(UserError, match=r"task.question_field and task.answer_field .* remove them"):
        make_task(train="dapo", answer_field="gold")


def test_files_are_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("own.jsonl"), [])
    settings = ["task.name=maths", "task.train=own.jsonl", "task.test=math500:own.jsonl"]
    config = with_absolute_paths(load_config([], settings))
    assert isinstance(config.task, MathsConfig)
    assert (config.task.train, config.task.test) == (f"{tmp_path}/own.jsonl", f"math500:{tmp_path}/own.jsonl")
    assert set(task_files(config.task)) == {f"{tmp_path}/own.jsonl"}
    config = with_absolute_paths(load_config([], ["task.name=maths", "task.train=dapo", "task.test=hub:a/b"]))
    assert isinstance(config.task, MathsConfig)
    assert (config.task.train, config.task.test) == ("dapo", "hub:a/b")
    assert not task_files(config.task)


def rltf(*arguments: str, cwd: Path, status: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "rltf", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_directory_of_a_hub_is_read_without_a_network(tmp_path: Path) -> None:
    (tmp_path / "me" / "sums").mkdir(parents=True)
    write(
        tmp_path / "me" / "sums" / "train.jsonl", [{"question": f"What is {i} + 1?", "answer": i + 1} for i in range(9)]
    )
    write(tmp_path / "me" / "sums" / "test.jsonl", [{"question": "What is 5 + 5?", "answer": "10"}])
    code = (
        "from rltf.config import MathsConfig\n"
        "from rltf.tasks import Maths\n"
        "task = Maths(**MathsConfig(name='maths', train='hub:me/sums', test='hub:me/sums@test')"
        ".model_dump(exclude={'name'}))\n"
        "print(task.size('train') + task.size('validation'), task.problem('test', 0).answer)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
    )
    assert done.stdout.split() == ["9", "10"]


def test_a_run_learns_from_feedback_and_is_evaluated_on_another_set(tiny_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "held.jsonl", [shaped("aime24", number) for number in range(4)])
    settings = (
        "task.name=maths",
        "task.test=aime24:held.jsonl",
        "trainer.steps=2",
        "trainer.groups_per_batch=2",
        "trainer.group_size=2",
        "trainer.warmup_steps=1",
        "evaluation.samples=1",
        "rollout.max_new_tokens=12",
        f"engine.model={tiny_model}",
        "engine.device=cpu",
    )
    rltf("train", *settings, "--run-dir", "run", cwd=tmp_path)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["task"], summary["steps"], summary["rollouts"]) == ("maths", 2, 8)
    records = [json.loads(line) for line in (tmp_path / "run" / "rollouts.jsonl").read_text().splitlines()]
    assert "\\boxed" in json.dumps(records[0])
    assert "The attempt was cut at 12 tokens" in json.dumps(records)
    (evaluation, *_) = [json.loads(line) for line in (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()]
    assert evaluation["problems"] == 4
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["task"]["test"] == f"aime24:{tmp_path}/held.jsonl"


def test_the_task_is_listed_and_valid_and_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    assert "task.question_field" in rltf("tasks", cwd=tmp_path, COLUMNS="200")
    said = rltf("validate", "maths", "--problems", "1", cwd=tmp_path)
    assert said.count("holds") == 7
    assert "task.trian" in rltf("train", "task.name=maths", "task.trian=dapo", cwd=tmp_path, status=2)
