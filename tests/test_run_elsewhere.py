"""Runs from elsewhere: begun with changed files, by somebody else, by version 0.1, or damaged on the way."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import jsonl
from command_line import rltf as command

import rltf

OLD = Path(__file__).parent / "data" / "version_0_1"
"""What a run of version 0.1 wrote, but for its weights; the attempt without a score was added by hand."""
TINY: dict[str, Any] = {
    "trainer.steps": 1,
    "trainer.groups_per_batch": 2,
    "trainer.group_size": 2,
    "trainer.warmup_steps": 0,
    "evaluation.problems": 1,
    "evaluation.samples": 1,
    "rollout.max_new_tokens": 4,
    "engine.device": "cpu",
}
MARK = "from pathlib import Path\n(Path(__file__).parent / 'ran').touch()\n"
"""The first lines of a file whose code leaves a trace when it runs."""
TASK = """
from rltf.tasks import SimpleTask

class Sums(SimpleTask):
    def generate(self, rng):
        a = rng.randrange(10**9)
        return f"What is {a} plus 1?", str(a + 1)

    def check(self, answer, problem):
        return None if answer == problem.answer else "No."
"""
METHOD = """
import rltf
from rltf.objectives.policy_gradient import PolicyGradient

class Settings(rltf.Section):
    pass

def method(settings: Settings, context: rltf.Context) -> list:
    return [PolicyGradient(rltf.RunConfig().objective)]
"""
FEEDBACK = """
def criticise(problem, attempt, score, history):
    return "No."
"""
CODE: dict[str, tuple[str, dict[str, Any]]] = {
    "task": (TASK, {"task.path": "code.py"}),
    "method": (METHOD, {"objective.path": "code.py:method", "rollout.horizon": 2}),
    "feedback": (FEEDBACK, {"feedback.source": "function", "feedback.function": "code.py:criticise"}),
}


def begun(directory: Path, model: Path, settings: dict[str, Any]) -> Path:
    """A finished run in `directory`."""
    with rltf.Run.begin(
        rltf.configure(changes=TINY | {"engine.model": str(model)} | settings), directory / "run"
    ) as run:
        run.train()
    return run.path


@pytest.fixture
def other_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Goes to a machine, or rather to what it knows of the runs that were begun on it."""
    return lambda name: monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / f"state of {name}"))


@pytest.mark.parametrize("what", CODE)
def test_code_of_somebody_elses_run_is_not_run_unasked(
    what: str,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    other_machine: Callable[[str], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    other_machine("theirs")
    code, settings = CODE[what]
    (tmp_path / "code.py").write_text(MARK + code)
    run = begun(tmp_path, tiny_model, settings)
    trace = tmp_path / "ran"
    assert trace.exists()
    trace.unlink()
    shutil.copytree(run, tmp_path / "received")

    other_machine("mine")
    more = ("train", "--resume", "received", "trainer.steps=2")
    look = [("eval", "received"), ("rollout", "received", "-n", "1"), ("refine", "received", "-k", "1")]
    # To look at a model, nothing of the method that trained it is needed.
    refused = [more] if what == "method" else [more, *look]
    for arguments in refused:
        done = command(*arguments, cwd=tmp_path, status=2)
        assert "received was not begun on this machine, and its settings run the code in" in done.stderr
        assert "code.py: read it, and if you trust it, go on with --accept-changed-files" in done.stderr
        assert done.stderr.count("\n") == 1
    with pytest.raises(rltf.UserError, match="was not begun on this machine"):
        rltf.Run.resume("received")
    with pytest.raises(rltf.UserError, match="was not begun on this machine"):
        assert rltf.Run.open("received").task
    if what == "method":
        command(*look[0], cwd=tmp_path)
    assert list(rltf.Run.open("received").rollouts()) == list(rltf.Run.open("run").rollouts())
    assert not trace.exists()

    command(*more, "--accept-changed-files", cwd=tmp_path)
    assert trace.exists()
    # Whoever has accepted the code once is not asked again.
    command("train", "--resume", "received", "trainer.steps=3", cwd=tmp_path)
    assert rltf.Run.open("received").metrics()["step"] == [1, 2, 3]


def test_a_record_of_digests_that_was_written_by_hand_runs_no_code(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TASK)
    run = begun(tmp_path, tiny_model, {"task.path": "mine.py"})
    (tmp_path / "code.py").write_text(MARK + TASK)
    config = (run / "config.json").read_text().replace("mine.py", "code.py")
    inputs = json.loads((run / "inputs.json").read_text())
    (run / "config.json").write_text(config)
    for digests in ({}, inputs, {"code.py": "0"}, None):
        if digests is None:
            (run / "inputs.json").unlink()
        else:
            (run / "inputs.json").write_text(json.dumps(digests))
        done = command("eval", "run", cwd=tmp_path, status=2)
        assert "code.py is not the code that run began with" in done.stderr
        with pytest.raises(rltf.UserError, match=r"code\.py has changed since run began"):
            rltf.Run.resume("run")
    assert not (tmp_path / "ran").exists()


def test_changed_files_are_refused_or_accepted_and_kept_on_record(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, settings = CODE["feedback"]
    file = tmp_path / "code.py"
    file.write_text(code)
    run = begun(tmp_path, tiny_model, settings)
    began = json.loads((run / "inputs.json").read_text())
    file.write_text(code.replace("No.", "Na."))
    with pytest.raises(rltf.UserError, match=r"code\.py has changed since .*run began; bring it back"):
        rltf.Run.resume(run, {"trainer.steps": 2})
    assert rltf.Run.open(run).config.trainer.steps == 1
    assert not (run / "changed_inputs.jsonl").exists()
    with rltf.Run.resume(run, {"trainer.steps": 2}, accept_changed_files=True) as resumed:
        resumed.train()
    (row,) = jsonl(run / "changed_inputs.jsonl")
    assert row == {
        "step": 1,
        "file": str(file),
        "was": began[str(file)],
        "is": json.loads((run / "inputs.json").read_text())[str(file)],
    }
    assert row["was"] != row["is"]
    said = {
        (rollout.step, rollout.turns[0].feedback.text) for rollout in resumed.rollouts() if rollout.turns[0].feedback
    }
    assert said == {(1, "No."), (2, "Na.")}
    # The changed file is the run's own now.
    rltf.Run.resume(run).close()
    file.unlink()
    with pytest.raises(rltf.UserError, match=r"code\.py, which the settings name, cannot be read: No such file"):
        rltf.Run.resume(run)


def test_a_run_of_version_0_1_is_read_under_todays_names() -> None:
    run = rltf.Run.open(OLD)
    raw = jsonl(OLD / "metrics.jsonl")
    table = run.metrics()
    assert table["step"] == [1, 2]
    for new, name in {
        "accuracy/first_turn": "accuracy/turn0",
        "accuracy/second_turn": "accuracy/turn1",
        "length/first_turn": "length/turn0",
        "rollout/reached_second_turn": "rollout/reached_turn1",
        "tokens/sampled": "tokens/sampled",
    }.items():
        assert table[new] == [row[name] for row in raw]
    assert not [name for name in table if "turn0" in name or "turn1" in name]
    assert run.config.objective.name == "rltf_sd"
    rollouts = list(run.rollouts())
    assert [len(rollout.turns) for rollout in rollouts] == [2] * 8 + [0]
    assert rollouts[0].turns[0].feedback is not None
    assert rollouts[0].turns[0].feedback.source == "rules:located"
    assert rollouts[0].turns[0].version is None
    assert rollouts[-1].failure is not None
    assert (rollouts[-1].status, rollouts[-1].failure.cause, rollouts[-1].turn) == ("score_failed", "timeout", 0)
    old = jsonl(OLD / "evaluations.jsonl")
    assert [record.first_turn for record in run.evaluations()] == [record["single_turn"] for record in old]
    assert [record.examples[0].turns[0].text for record in run.evaluations()] == [
        record["examples"][0]["turns"][0]["text"] for record in old
    ]
    assert [timing.phases.keys() for timing in run.timings()][:2] == [{"evaluation"}, {"rollout", "score", "update"}]
    summary, plain = run.summary, json.loads((OLD / "summary.json").read_text())
    assert summary is not None
    assert summary.before.tokens == plain["before"]["tokens"]
    assert summary.before.first_turn_interval == plain["before"]["single_turn_interval"]
    assert summary.best is not None
    assert summary.best.validation_first_turn == plain["best"]["validation_single_turn"]


def test_a_run_of_version_0_1_with_a_mixture_is_read_under_todays_names(tmp_path: Path) -> None:
    run = shutil.copytree(OLD, tmp_path / "run")
    row = {"step": 3, "accuracy/turn0/gym:turn0_game": 0.5, "accuracy/turn12": 0.25, "rollout/reached_turn2/b": 1.0}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    last = {name: column[-1] for name, column in rltf.Run.open(run).metrics().items() if column[-1] is not None}
    assert set(last.values()) == set(row.values())
    assert "accuracy/first_turn/gym:turn0_game" in last


def test_a_task_with_an_old_name_in_its_label_keeps_its_label(tmp_path: Path) -> None:
    run = shutil.copytree(OLD, tmp_path / "run")
    record = jsonl(OLD / "evaluations.jsonl")[-1]
    figures = {"problems": 2, "single_turn": 0.5, "single_turn_interval": None}
    record["by_task"] = {"single_turn": figures, "by_task": figures}
    with (run / "evaluations.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    today = {"problems": 2, "first_turn": 0.5, "first_turn_interval": None}
    assert rltf.Run.open(run).evaluations()[-1].by_task == {"single_turn": today, "by_task": today}


def test_the_command_line_reads_a_run_of_version_0_1(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "run")
    done = command("train", "--resume", "run", cwd=tmp_path)
    assert "run is finished already" in done.stdout
    assert "first attempts that are right" in done.stdout


def test_a_run_of_a_later_format_is_not_opened(tmp_path: Path) -> None:
    run = shutil.copytree(OLD, tmp_path / "run")
    (run / "run.json").write_text('{"format": 99}')
    with pytest.raises(rltf.UserError, match="was made by a later version of rltf; install that version to open it"):
        rltf.Run.open(run)


READERS: dict[str, Callable[[rltf.Run], object]] = {
    "metrics.jsonl": lambda run: run.metrics(),
    "rollouts.jsonl": lambda run: list(run.rollouts()),
    "evaluations.jsonl": lambda run: run.evaluations(),
    "timings.jsonl": lambda run: run.timings(),
}


@pytest.mark.parametrize("file", READERS)
@pytest.mark.parametrize(
    "line",
    ["{", "[]", "null", "\x00", '{"step": 2', "{}", '{"step": 2, "turns": 3, "single_turn": "x", "seconds": []}'],
)
def test_a_damaged_line_is_named_with_its_file(line: str, file: str, tmp_path: Path) -> None:
    run = shutil.copytree(OLD, tmp_path / "run")
    good, rest = (run / file).read_text().split("\n", 1)
    (run / file).write_text(f"{good}\n{line}\n{rest}")
    with pytest.raises(rltf.UserError) as damaged:
        READERS[file](rltf.Run.open(run))
    assert f"{run / file}, line 2: " in str(damaged.value)
    assert "\n" not in str(damaged.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"after": 3}', '{"format": "two"}', '{"format": null}'])
@pytest.mark.parametrize("file", ["summary.json", "config.json", "run.json"])
def test_a_damaged_file_is_named(content: str, file: str, tmp_path: Path) -> None:
    run = shutil.copytree(OLD, tmp_path / "run")
    (run / file).write_text(content)
    with pytest.raises(rltf.UserError) as damaged:
        assert rltf.Run.open(run).summary
    assert file in str(damaged.value)
    assert "\n" not in str(damaged.value)


def test_a_run_leaves_the_process_as_it_found_it(tiny_model: Path, tmp_path: Path) -> None:
    import matplotlib
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging

    def state() -> tuple[object, ...]:
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.get_num_threads(),
            torch.random.get_rng_state().tolist(),
            torch.is_grad_enabled(),
            logging.is_progress_bar_enabled(),
            are_progress_bars_disabled(),
            logging.get_verbosity(),
            matplotlib.get_backend(),
        )

    matplotlib.use("svg")
    try:
        for bars, strict in ((True, False), (False, True)):
            (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
            torch.use_deterministic_algorithms(strict)
            before = state()
            begun(tmp_path / str(bars), tiny_model, {"objective.name": "rltf_fm"})
            assert state() == before
    finally:
        torch.use_deterministic_algorithms(False)
        logging.enable_progress_bar()


def test_settings_are_made_without_torch() -> None:
    code = (
        "import sys, rltf; dir(rltf); config = rltf.configure(changes={'trainer.steps': 7}); "
        "assert config.trainer.steps == 7; rltf.Observer(); "
        "assert not {'torch', 'transformers', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
