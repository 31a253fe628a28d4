"""The command line as a user runs it: real processes, small models."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from command_line import RECIPES, SMALL, jsonl, rltf, start, wait_for_lines
from safetensors.torch import load_file

from rltf.builtin import builtin_directory

PUZZLES = ("binary_matrix", "knights_and_knaves", "shortest_path")


@pytest.mark.parametrize(
    "recipe",
    [recipe for puzzle in PUZZLES for recipe in sorted((RECIPES / puzzle).glob("*.toml"))],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_each_recipe_trains(recipe: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = rltf("train", str(recipe), *SMALL, f"engine.model={tiny_model}", "--run-dir", "run", cwd=tmp_path)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["method"] == recipe.stem
    assert summary["task"] == recipe.parent.name
    assert (summary["steps"], summary["rollouts"], summary["seed"]) == (2, 8, 0)
    assert summary["tokens"] > 0
    assert summary["seconds"] > 0
    for when in ("before", "after"):
        assert 0.0 <= summary[when]["first_turn"] <= 1.0
        assert 0.0 <= summary[when]["second_turn"] <= 1.0
    assert [record["step"] for record in jsonl(tmp_path / "run" / "metrics.jsonl")] == [1, 2]
    rollouts = jsonl(tmp_path / "run" / "rollouts.jsonl")
    assert len(rollouts) == 8
    turn = rollouts[0]["turns"][0]
    assert {"prompt", "text", "score", "feedback", "status", "prompt_tokens", "completion_tokens", "weights"} <= set(
        turn
    )
    assert turn["score"]["explanation"]
    assert "first attempts that are right" in done.stdout
    assert "time left" in done.stdout
    assert "In run:\n model " in done.stdout


def test_there_is_a_recipe_for_each_puzzle_and_method_and_all_are_valid() -> None:
    from rltf.config.load import load_config

    methods = {"grpo", "grpo_multi", "rejection_sampling", "rltf_fm", "rltf_sd", "rltf_sd_fm"}
    for task in PUZZLES:
        named = {recipe.stem: load_config([recipe], []) for recipe in (RECIPES / task).glob("*.toml")}
        assert set(named) == methods
        assert all(config.task.name == task and config.objective.name == name for name, config in named.items())
    assert load_config([RECIPES / "hf_lora.toml"], []).engine.lora is not None


def test_the_trained_model_can_be_evaluated_and_shown(tiny_model: Path, tmp_path: Path) -> None:
    rltf("train", *SMALL, f"engine.model={tiny_model}", "--run-dir", "run", cwd=tmp_path)
    done = rltf("eval", "run", "--task", "binary_matrix", "-k", "2", "--json", cwd=tmp_path)
    figures = json.loads(done.stdout)
    assert figures["samples"] == 2
    assert figures["problems"] == 4
    assert 0.0 <= figures["first_turn"] <= figures["pass_at_k"] <= 1.0
    table = rltf("eval", str(Path("run") / "model"), "--task", "binary_matrix", *SMALL[4:], cwd=tmp_path)
    assert "first attempts that are right" in table.stdout
    shown = rltf("rollout", "run", "-n", "1", cwd=tmp_path)
    assert "Find the distance to the nearest 0" in shown.stdout
    assert "feedback (rules:located)" in shown.stdout


def test_a_model_can_refine_its_own_attempts(tiny_model: Path, tmp_path: Path) -> None:
    sizes = ("task.test_size=4", "task.validation_size=2", "task.train_size=9", "rollout.max_new_tokens=8")
    arguments = ("refine", str(tiny_model), *sizes, "feedback.self_max_tokens=6", "--rounds", "2", "-k", "2")
    figures = json.loads(rltf(*arguments, "--json", cwd=tmp_path).stdout)
    assert set(figures) == {"task", "model", "self", "rules"}
    for source in ("self", "rules"):
        assert len(figures[source]["by_turn"]) == len(figures[source]["by_turn_interval"]) == 3
        assert figures[source]["reached"] == [1, 1, 1]
    # A run that was trained on the feedback of others is asked about its own attempts all the same.
    shuffled = json.loads(rltf(*arguments, "--json", "feedback.about=shuffled", cwd=tmp_path).stdout)
    assert shuffled["self"] == figures["self"]
    # The first attempts are the same, whoever criticises them.
    assert figures["self"]["by_turn"][0] == figures["rules"]["by_turn"][0]
    table = rltf(*arguments, cwd=tmp_path).stdout
    assert "own feedback" in table
    assert "feedback: rules" in table
    assert "ended early" not in table
    endless = rltf(*arguments, "--rounds", "60", "-n", "1", cwd=tmp_path).stdout
    assert "ended early" in endless
    assert " 60 " in endless


EVEN = """
from rltf.tasks import SimpleTask

class Even(SimpleTask):
    def generate(self, rng):
        return f"Say {rng.randrange(10**9)}.", "xx"

    def extract(self, text):
        return text

    def check(self, answer, problem):
        return f"The answer has an odd number of letters, {len(answer)}." if len(answer) % 2 else None
"""
"""A task of which a model with random weights is right now and then."""


def test_the_best_model_on_the_validation_split_is_kept(terse_model: Path, tmp_path: Path) -> None:
    (tmp_path / "even.py").write_text(EVEN)
    done = rltf(
        "train", *(setting for setting in SMALL if not setting.startswith("task.")), "task.path=even.py",
        f"engine.model={terse_model}", "objective.name=rltf_sd_fm", "trainer.steps=4", "trainer.save_every=1",
        "trainer.learning_rate=0.02", "trainer.keep_checkpoints=9", "evaluation.every=1",
        "evaluation.problems=12", "evaluation.samples=2",
        "evaluation.usefulness=true", "--run-dir", "run", cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.count("points of the second by what the feedback says") == 6
    run = tmp_path / "run"
    evaluations = jsonl(run / "evaluations.jsonl")
    assert all("usefulness" in record for record in evaluations)
    found = {record["step"]: record["first_turn"] for record in evaluations if record["split"] == "validation"}
    assert list(found) == [1, 2, 3, 4]
    assert len(set(found.values())) > 1
    best = max(found, key=lambda step: found[step])
    summary = json.loads((run / "summary.json").read_text())
    assert summary["best"] == {"step": best, "validation_first_turn": found[best]}
    kept = load_file(run / "best" / "model.safetensors")
    saved = {step: load_file(run / "checkpoints" / f"step-{step:06d}" / "weights.safetensors") for step in found}
    same = [step for step, weights in saved.items() if all(torch.equal(kept[name], weights[name]) for name in kept)]
    assert same == [best]
    figures = json.loads(rltf("eval", str(Path("run") / "best"), "--task", "even.py", "--json", cwd=tmp_path).stdout)
    assert 0.0 < figures["first_turn"] < 1.0


def test_the_model_to_look_at_is_named_once(tiny_model: Path, tmp_path: Path) -> None:
    done = rltf("eval", str(tiny_model), "engine.model=builtin", cwd=tmp_path, status=2)
    assert "engine.model=builtin: the model is named first" in done.stderr


def test_a_run_that_never_made_a_step_is_no_model(tiny_model: Path, tmp_path: Path) -> None:
    process = start("train", *SMALL, f"engine.model={tiny_model}", "--run-dir", "run", cwd=tmp_path)
    while not (tmp_path / "run" / "config.json").is_file():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    done = rltf("eval", "run", cwd=tmp_path, status=2)
    assert "the run has no trained model yet; finish it with rltf train --resume run" in done.stderr


def test_a_run_with_a_relative_model_resumes_from_elsewhere(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "tiny")
    rltf("train", *SMALL, "engine.model=tiny", "--run-dir", "run", cwd=tmp_path)
    (tmp_path / "run" / "summary.json").unlink()
    (tmp_path / "deep").mkdir()
    rltf("train", "--resume", str(Path("..") / "run"), cwd=tmp_path / "deep")
    assert (tmp_path / "run" / "summary.json").is_file()


def test_a_damaged_checkpoint_is_one_clear_line_and_the_one_before_it_serves(tiny_model: Path, tmp_path: Path) -> None:
    rltf("train", *SMALL, "trainer.save_every=1", f"engine.model={tiny_model}", "--run-dir", "run", cwd=tmp_path)
    metrics = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    (tmp_path / "run" / "summary.json").unlink()
    newest = tmp_path / "run" / "checkpoints" / "step-000002"
    for name in ("weights.safetensors", "optimizer.pt"):
        intact = (newest / name).read_bytes()
        (newest / name).write_bytes(intact[: len(intact) // 2])
        done = rltf("train", "--resume", "run", cwd=tmp_path, status=2)
        assert "step-000002: this checkpoint cannot be read" in done.stderr
        assert done.stderr.count("\n") == 1
        (newest / name).write_bytes(intact)
    shutil.rmtree(newest)
    rltf("train", "--resume", "run", cwd=tmp_path)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == metrics


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "[]", "cannot be loaded"),
        ("model.safetensors", "", "cannot be loaded"),
        ("tokenizer.json", '{"a": 1}', "its tokenizer cannot be loaded"),
        ("chat_template.jinja", "{% broken", "the chat template fails"),
        ("chat_template.jinja", "no message in it", "leaves out a message's text"),
    ],
)
def test_a_broken_model_directory_is_one_clear_line(
    file: str, content: str, message: str, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "broken")
    (tmp_path / "broken" / file).write_text(content)
    done = rltf("train", "engine.model=./broken", *SMALL, cwd=tmp_path, status=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_model_whose_weights_are_not_all_there_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "deeper")
    config = json.loads((tmp_path / "deeper" / "config.json").read_text())
    (tmp_path / "deeper" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    done = rltf("train", "engine.model=./deeper", *SMALL, cwd=tmp_path, status=2)
    assert "of its weights are missing" in done.stderr


def test_gradient_checkpointing_trains_from_the_command_line(tiny_model: Path, tmp_path: Path) -> None:
    rltf(
        "train", *SMALL, f"engine.model={tiny_model}", "engine.gradient_checkpointing=true",
        "--run-dir", "run", cwd=tmp_path,
    )  # fmt: skip
    assert (tmp_path / "run" / "summary.json").is_file()


@pytest.mark.parametrize(
    ("file", "content"),
    [("summary.json", b""), ("summary.json", b"{}"), ("config.json", b"\xff\xfe"), ("metrics.jsonl", b"\xff\x00\n")],
)
def test_a_damaged_file_of_a_run_is_one_clear_line(file: str, content: bytes, tiny_model: Path, tmp_path: Path) -> None:
    rltf("train", *SMALL, f"engine.model={tiny_model}", "--run-dir", "run", cwd=tmp_path)
    if file == "metrics.jsonl":
        (tmp_path / "run" / "summary.json").unlink()
    (tmp_path / "run" / file).write_bytes(content)
    done = rltf("train", "--resume", "run", cwd=tmp_path, status=2)
    assert file in done.stderr
    assert done.stderr.count("\n") == 1


def test_ctrl_c_in_an_evaluation_gives_it_up_and_a_resumed_run_makes_it(tiny_model: Path, tmp_path: Path) -> None:
    settings = (*KILL, "task.test_size=2000", "evaluation.problems=2000", "evaluation.every=0", "trainer.steps=2")
    arguments = ("train", *settings, f"engine.model={tiny_model}", "--run-dir", "run")
    process = start(*arguments, cwd=tmp_path)
    while not (tmp_path / "run" / "environment.json").is_file():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped after step 0, all saved; go on with: rltf train --resume run" in stderr
    assert not (tmp_path / "run" / "evaluations.jsonl").exists()


def test_lora_trains_from_the_command_line(tiny_model: Path, tmp_path: Path) -> None:
    rltf(
        "train", *SMALL, f"engine.model={tiny_model}", "engine.lora.rank=2", "engine.lora.alpha=2", "--run-dir", "run",
        cwd=tmp_path,
    )  # fmt: skip
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["model_type"] == "llama"


KILL = (
    *SMALL[1:],
    "trainer.steps=8",
    "trainer.save_every=3",
    "trainer.minibatches=2",
    "evaluation.every=4",
    "objective.name=rltf_sd_fm",
)


def outcome(run: Path) -> dict[str, bytes]:
    names = ("metrics.jsonl", "rollouts.jsonl", "evaluations.jsonl", "model/model.safetensors")
    return {name: (run / name).read_bytes() for name in names}


def test_killed_runs_resume_to_the_same_last_bit(tiny_model: Path, tmp_path: Path) -> None:
    settings = (*KILL, f"engine.model={tiny_model}")
    rltf("train", *settings, "--run-dir", "whole", cwd=tmp_path)
    process = start("train", *settings, "--run-dir", "killed", cwd=tmp_path)
    rng = random.Random(time.time_ns())
    for lines in (1, 4, 6):
        wait_for_lines(tmp_path / "killed" / "metrics.jsonl", lines, process)
        time.sleep(rng.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = start("train", "--resume", "killed", cwd=tmp_path)
    assert process.wait(timeout=300) == 0, process.communicate()
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")
    again = rltf("train", "--resume", "killed", cwd=tmp_path)
    assert "finished already" in again.stdout


def test_ctrl_c_saves_and_says_how_to_go_on(tiny_model: Path, tmp_path: Path) -> None:
    settings = (*KILL, f"engine.model={tiny_model}")
    rltf("train", *settings, "--run-dir", "whole", cwd=tmp_path)
    process = start("train", *settings, "--run-dir", "stopped", cwd=tmp_path)
    wait_for_lines(tmp_path / "stopped" / "metrics.jsonl", 2, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "rltf train --resume stopped" in stderr
    rltf("train", "--resume", "stopped", cwd=tmp_path)
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


def test_two_processes_cannot_work_on_one_run(tiny_model: Path, tmp_path: Path) -> None:
    process = start("train", *KILL, "trainer.steps=500", f"engine.model={tiny_model}", "--run-dir", "run", cwd=tmp_path)
    wait_for_lines(tmp_path / "run" / "metrics.jsonl", 1, process)
    done = rltf("train", "--resume", "run", cwd=tmp_path, status=2)
    process.kill()
    process.communicate()
    assert "another process" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trainer.step=1",), "trainer.step: unknown setting; did you mean steps?"),
        (("records.trackers=wandb",), """records.trackers=wandb: is a list; write 'records.trackers=["wandb"]'"""),
        (("trainer.steps=many",), "trainer.steps='many': input should be a valid integer"),
        (("trainer.steps=0",), "trainer.steps=0: input should be greater than 0"),
        (("trainer.learning_rate=nan",), "trainer.learning_rate"),
        (("trainer.steps=5", "trainer.warmup_steps=6"), "trainer: warmup_steps=6 is above steps=5"),
        (("trainer.minibatches=5",), "choose a divisor"),
        (("trainer.group_size=1",), "trainer.group_size=1"),
        (("rollout.horizon=1",), "rollout.horizon=1 leaves rltf_sd nothing to learn from"),
        (("objective.name=grpo", "rollout.horizon=2"), "grpo is single-turn"),
        (("objective.name=grpo", "objective.sd.coefficient=1"), "objective.sd: is no setting of objective.name=grpo"),
        (
            ("objective.name=rejection_sampling", "objective.sd.floor_for=negative"),
            "objective.sd.floor_for: is no setting of objective.name=rejection_sampling, but of rltf_sd, rltf_sd_fm;",
        ),
        (("objective.name=rltf",), "objective.name='rltf': unknown"),
        (("objective.sd.ratio=full",), "ratio_denominator=feedback_conditioned"),
        (("rollout.early_termination=false",), "rollout.feedback_on_correct=true"),
        (("engine.model=./missing",), "engine.model=./missing: no such directory"),
        (("task.name=chess",), "task.name"),
        (("task=shortest_path",), "task='shortest_path': is a section; write task.name=shortest_path"),
        (("trainer.steps=true",), "trainer.steps=True: input should be a valid integer"),
        (('seed="3"',), "seed='3': input should be a valid integer"),
        (("objective.kl_coefficient=1", "objective.policy_coefficient=0"), "policy_coefficient=0 turns off"),
        (("engine.model=runs/nosuch",), "engine.model=runs/nosuch"),
        (("engine.model=~nosuchuser/x",), "engine.model=~nosuchuser/x"),
        (("rollout.max_new_tokens=5000",), "exceeds the model's 1024; lower rollout.max_new_tokens"),
        (("--run-dir", "/proc/x"), "/proc/x: No such file or directory"),
        (("task.min_side=2", "task.max_side=2"), "task.test_size=200: these task settings give only"),
        (("task.min_distance=9",), "task: no problem can be made"),
        (("missing.toml",), "missing.toml: cannot be read"),
        (("steps",), "steps: cannot be read"),
        (("=5",), "section.field=value"),
        (("seed.x=1",), "seed"),
        (("--resume", "nowhere"), "nowhere: is no run directory"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    if "engine.model=runs/nosuch" in arguments:
        (tmp_path / "runs").mkdir()
    done = rltf("train", *arguments, cwd=tmp_path, status=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not [path for path in tmp_path.rglob("*") if path.name != "runs"], "nothing was started"


def test_a_broken_recipe_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[trainer\nsteps = 1")
    assert "is not valid TOML" in rltf("train", "bad.toml", cwd=tmp_path, status=2).stderr


def test_a_used_run_directory_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").write_text("keep")
    done = rltf("train", *SMALL, f"engine.model={tiny_model}", "--run-dir", "run", cwd=tmp_path, status=2)
    assert "exists already" in done.stderr
    assert (tmp_path / "run" / "precious.txt").read_text() == "keep"


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root to mount a small disk")
def test_a_full_disk_is_one_clear_line_and_the_run_resumes(tiny_model: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        settings = (*KILL, f"engine.model={tiny_model}")
        done = rltf("train", *settings, "--run-dir", str(disk / "run"), cwd=tmp_path, status=2)
        assert "No space left on device" in done.stderr
        assert done.stderr.count("\n") == 1
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        rltf("train", "--resume", str(disk / "run"), cwd=tmp_path)
        rltf("train", *settings, "--run-dir", "whole", cwd=tmp_path)
        assert outcome(disk / "run") == outcome(tmp_path / "whole")
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_tasks_and_validate(tmp_path: Path) -> None:
    assert "binary_matrix" in rltf("tasks", cwd=tmp_path).stdout
    done = rltf("validate", "binary_matrix", "--problems", "5", cwd=tmp_path)
    assert done.stdout.count("holds") == 6
    assert "unknown" in rltf("validate", "chess", cwd=tmp_path, status=2).stderr


def test_build_builtin_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rltf("build-builtin", "--out", name, "--steps", "1", cwd=tmp_path)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "model.safetensors" in names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert "exists already" in rltf("build-builtin", "--out", "a", cwd=tmp_path, status=2).stderr


@pytest.mark.parametrize("form", ["--marks", "--drafts"])
def test_build_builtin_schools_the_shipped_model_further(tmp_path: Path, form: str) -> None:
    rltf("build-builtin", form, "--out", "a", "--steps", "1", cwd=tmp_path)
    shipped = Path(builtin_directory())
    for path in sorted((tmp_path / "a").iterdir()):
        assert (path.read_bytes() == (shipped / path.name).read_bytes()) == (path.name != "model.safetensors"), (
            path.name
        )


@pytest.mark.parametrize("command", [("eval",), ("refine",), ("rollout",)])
def test_a_split_that_is_none_is_said_before_a_model_is_looked_for(command: tuple[str], tmp_path: Path) -> None:
    bad = rltf(*command, "./nowhere", "--task", "binary_matrix", "--split", "dev", cwd=tmp_path, status=2)
    assert "--split dev: unknown; choose one of train, validation, test" in bad.stderr
