from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from rltf.runs.directory import RunDir
from rltf.support.errors import UserError

LOCKER = (
    "import sys, pathlib; from rltf.runs.directory import RunDir; from rltf.support.errors import UserError\n"
    "run = RunDir(pathlib.Path(sys.argv[1]))\n"
    "try:\n    run.lock()\n"
    "except UserError as error:\n    print('refused:', error, flush=True)\n"
    "else:\n    print('locked', flush=True)\n    sys.stdin.read()\n"
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run")


def write_checkpoint(run: RunDir, step: int, keep: int = 2, text: str = "state") -> None:
    with run.new_checkpoint(step, keep) as path:
        path.mkdir()
        (path / "weights").write_text(text)


def steps(run: RunDir) -> list[int]:
    return [step for step, _ in run.checkpoints()]


def append_half_a_line(run: RunDir, name: str) -> None:
    with (run.path / name).open("a") as file:
        file.write('{"step": 3, "loss": 0.')


def test_a_new_run_may_use_a_new_or_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "deep/down/new", "empty"):
        assert RunDir.create(tmp_path / name).path.is_dir()


def test_a_new_run_refuses_a_directory_that_holds_anything_and_leaves_it_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="exists already") as caught:
        RunDir.create(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_new_run_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="exists already"):
        RunDir.create(tmp_path / "file")


def test_a_new_run_refuses_the_directory_of_another_run(run: RunDir) -> None:
    with pytest.raises(UserError, match="exists already"):
        RunDir.create(run.path)
    run.write_text("config.json", "{}")
    with pytest.raises(UserError, match=r"rltf train --resume .*, or rltf\.Run\.resume in Python"):
        RunDir.create(run.path)


def test_only_a_directory_with_a_config_is_a_run(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        RunDir.open(run.path)
    with pytest.raises(UserError, match=r"config\.json"):
        RunDir.open(tmp_path / "missing")
    run.write_text("config.json", "{}")
    assert RunDir.open(run.path).read_text("config.json") == "{}"


def test_records_come_back_as_they_were_appended(run: RunDir) -> None:
    first = {"step": 1, "text": "né\n\u2028\x85\x0b\U0001f600 <|end|>", "value": 0.1, "none": None, "deep": [{"a": 1}]}
    run.append("rollouts.jsonl", [first, {"step": 1}])
    run.append("rollouts.jsonl", [])
    run.append("rollouts.jsonl", iter([{"step": 2}]))
    assert run.records("rollouts.jsonl") == [first, {"step": 1}, {"step": 2}]
    assert len((run.path / "rollouts.jsonl").read_text().splitlines()) == 3


def test_a_file_that_is_not_there_has_no_records(run: RunDir) -> None:
    assert run.records("metrics.jsonl") == []
    run.cut_after("metrics.jsonl", 5)
    assert not run.has("metrics.jsonl")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_json_does_not_know_is_refused_before_anything_is_written(run: RunDir, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.append("metrics.jsonl", [{"step": 1}, {"step": 2, "loss": value}])
    assert run.records("metrics.jsonl") == []


def test_a_line_that_a_kill_cut_short_is_not_read(run: RunDir) -> None:
    run.append("metrics.jsonl", [{"step": 1}, {"step": 2}])
    append_half_a_line(run, "metrics.jsonl")
    assert run.records("metrics.jsonl") == [{"step": 1}, {"step": 2}]


def test_a_line_that_is_whole_but_for_its_line_break_is_not_read(run: RunDir) -> None:
    (run.path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}')
    assert run.records("metrics.jsonl") == [{"step": 1}]


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize(("step", "kept"), [(0, []), (1, [1, 1]), (2, [1, 1, 2]), (3, [1, 1, 2, 3]), (9, [1, 1, 2, 3])])
def test_cutting_removes_later_steps_and_torn_lines_and_nothing_else(
    run: RunDir, torn: bool, step: int, kept: list[int]
) -> None:
    run.append("metrics.jsonl", [{"step": number, "text": "é\u2028"} for number in (1, 1, 2, 3)])
    before = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    if torn:
        append_half_a_line(run, "metrics.jsonl")
    run.cut_after("metrics.jsonl", step)
    assert (run.path / "metrics.jsonl").read_text() == "".join(before[: len(kept)])
    assert [record["step"] for record in run.records("metrics.jsonl")] == kept
    assert [path.name for path in run.path.iterdir() if path.suffix == ".tmp"] == []


def test_what_is_appended_after_a_cut_follows_the_last_whole_line(run: RunDir) -> None:
    run.append("metrics.jsonl", [{"step": 1}, {"step": 2}])
    append_half_a_line(run, "metrics.jsonl")
    run.cut_after("metrics.jsonl", 1)
    run.append("metrics.jsonl", [{"step": 2, "again": True}])
    assert run.records("metrics.jsonl") == [{"step": 1}, {"step": 2, "again": True}]


def test_a_file_is_replaced_as_a_whole(run: RunDir) -> None:
    run.write_text("summary.json", "a" * 1000)
    run.write_text("summary.json", "né")
    assert run.read_text("summary.json") == "né"
    assert sorted(path.name for path in run.path.iterdir()) == [".lock", "summary.json"]


def test_a_replacement_that_fails_leaves_the_old_file(run: RunDir) -> None:
    run.write_text("summary.json", "old")
    with pytest.raises(UnicodeEncodeError):
        run.write_text("summary.json", "new \ud800")
    assert run.read_text("summary.json") == "old"


def test_checkpoints_are_listed_oldest_first_with_what_was_written(run: RunDir) -> None:
    assert run.checkpoints() == []
    for step in (1, 5, 20):
        write_checkpoint(run, step, keep=9, text=f"state {step}")
    assert steps(run) == [1, 5, 20]
    assert [(path / "weights").read_text() for _, path in run.checkpoints()] == ["state 1", "state 5", "state 20"]


@pytest.mark.parametrize(("keep", "kept"), [(1, [4]), (2, [3, 4]), (9, [1, 2, 3, 4])])
def test_only_the_newest_checkpoints_stay(run: RunDir, keep: int, kept: list[int]) -> None:
    for step in (1, 2, 3, 4):
        write_checkpoint(run, step, keep)
    assert steps(run) == kept
    assert len(list((run.path / "checkpoints").iterdir())) == len(kept)


def test_the_newest_checkpoint_is_that_of_the_last_step_however_many_digits_it_has(run: RunDir) -> None:
    for step in (999_998, 999_999, 1_000_000):
        write_checkpoint(run, step, keep=2)
    assert steps(run) == [999_999, 1_000_000]


def test_a_checkpoint_that_fails_half_way_is_none_and_costs_no_older_one(run: RunDir) -> None:
    write_checkpoint(run, 1, keep=1)
    with pytest.raises(RuntimeError, match="disk full"), run.new_checkpoint(2, keep=1) as path:
        path.mkdir()
        (path / "weights").write_text("half")
        raise RuntimeError("disk full")
    assert steps(run) == [1]
    write_checkpoint(run, 2, keep=1, text="whole")
    ((step, path),) = run.checkpoints()
    assert (step, (path / "weights").read_text()) == (2, "whole")


def test_a_checkpoint_is_none_while_it_is_being_written(run: RunDir) -> None:
    with run.new_checkpoint(1, keep=1) as path:
        path.mkdir()
        (path / "weights").write_text("state")
        assert run.checkpoints() == []
    assert steps(run) == [1]


def test_what_a_killed_checkpoint_left_is_no_part_of_the_next_one(run: RunDir) -> None:
    with contextlib.suppress(KeyboardInterrupt), run.new_checkpoint(1, keep=1) as path:
        path.mkdir()
        (path / "leftover").write_text("half")
        raise KeyboardInterrupt
    write_checkpoint(run, 1)
    ((_, path),) = run.checkpoints()
    assert [file.name for file in path.iterdir()] == ["weights"]


def test_a_step_can_be_saved_again(run: RunDir) -> None:
    write_checkpoint(run, 1, text="old")
    write_checkpoint(run, 1, text="new")
    ((_, path),) = run.checkpoints()
    assert (path / "weights").read_text() == "new"


def start_locker(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_second_process_cannot_claim_a_run_until_the_first_has_died(tmp_path: Path) -> None:
    with start_locker(tmp_path) as holder:
        assert first_line(holder) == "locked"
        with pytest.raises(UserError, match="another process is working here"):
            RunDir(tmp_path).lock()
        with start_locker(tmp_path) as second:
            assert first_line(second).startswith(f"refused: {tmp_path}: another process")
        holder.kill()
        holder.wait()
    RunDir(tmp_path).lock()


def test_the_creator_of_a_run_holds_it(run: RunDir) -> None:
    with start_locker(run.path) as second:
        assert first_line(second).startswith("refused:")


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    runs = [RunDir.create_unused(tmp_path / "runs", "run") for _ in range(3)]
    assert [run.path.name for run in runs] == ["run", "run-2", "run-3"]


@pytest.mark.parametrize("line", ["{", "[]", '{"loss": 1.0}', "3", "\\x00"])
def test_a_damaged_line_is_named(run: RunDir, line: str) -> None:
    run.append("metrics.jsonl", [{"step": 1}])
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2"):
        run.records("metrics.jsonl")
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2"):
        run.cut_after("metrics.jsonl", 1)


def test_records_are_one_line_of_ascii_json_each(run: RunDir) -> None:
    run.append("rollouts.jsonl", [{"step": 1, "text": "é\u2028"}])
    (line,) = (run.path / "rollouts.jsonl").read_bytes().splitlines()
    assert line.isascii()
    assert json.loads(line) == {"step": 1, "text": "é\u2028"}
