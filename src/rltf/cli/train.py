"""`rltf train`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rich.console import Console

from rltf.cli.dry_run import dry_run
from rltf.cli.ending import StopSignal, fail
from rltf.cli.inspect import print_left_out
from rltf.cli.progress import RunProgress
from rltf.config import RunConfig, UserMethodConfig
from rltf.config.load import (
    apply_override,
    config_from_json,
    config_to_json,
    load_config,
    task_files,
    validate_config,
    with_absolute_paths,
)
from rltf.engines.base import Engine
from rltf.rollouts.collector import check_first_prompts
from rltf.rollouts.episodes import LogEpisodes
from rltf.runs.build import build_engine, build_task, build_trainer, check_feedback, open_endpoints
from rltf.runs.directory import RunDir
from rltf.runs.provenance import environment
from rltf.runs.report import plain, run_report
from rltf.runs.trainer import Interrupted
from rltf.support.errors import UserError
from rltf.tasks import Task
from rltf.tasks.mixture import parts_of
from rltf.text.prompts import Prompts

RUNS = Path("runs")
INPUTS = "inputs.json"
"""In a run's directory: SHA-256 of the files of the user's that its settings name."""
CHANGED_INPUTS = "changed_inputs.jsonl"
"""There as well: which of them have changed when the run was resumed, after which step, from what and to what."""
MAY_CHANGE = {
    "judge.base_url",
    "judge.key_env",
    "judge.replay",
    "judge.store",
    "judge.timeout",
    "judge.retries",
    "judge.concurrency",
    "judge.requests_per_minute",
    "judge.tokens_per_minute",
    "judge.max_dollars",
    "judge.max_total_tokens",
    "feedback.stop_after_failures",
}
"""What may be set anew when a run is resumed: how its judge is reached, not what it is asked."""


def train_command(
    settings: list[str], path: Path | None, resume: Path | None, *, accept_changed_files: bool, dry: bool
) -> None:
    """Starts a run or goes on with one, shows its progress and prints its report; `dry`: only says what it would be."""
    if dry:
        if resume is not None:
            raise UserError("--dry-run is for runs that are yet to begin; remove --resume")
        config = _config(settings)
        dry_run(config, config_to_json(config))
        return
    console = Console()
    if accept_changed_files and resume is None:
        raise UserError("--accept-changed-files is for --resume; remove it")
    if resume is not None:
        config, task, run = _resumed(resume, settings, path, accept_changed_files)
        finished = run.summary()
        if finished is not None:
            console.print(plain(f"{run.path} is finished already."))
            console.print(run_report(run, finished))
            return
        engine = build_engine(config)
    else:
        config = _config(settings)
        task = build_task(config.task)
        _check_task(task)
        check_feedback(config, task)
        if path is not None:
            RunDir.check_free(path)
        # A model that cannot be loaded leaves no directory behind.
        engine = build_engine(config)
        _check_prompt(config, task, engine)
        machine = environment()
        name = f"{task.name}-{config.objective.name}-seed{config.seed}"
        run = RunDir.create_unused(RUNS, name) if path is None else RunDir.create(path)
        run.write_text("config.json", config_to_json(config))
        run.write_text("environment.json", json.dumps(machine, indent=2) + "\n")
        run.write_text(INPUTS, json.dumps(input_digests(config), indent=2) + "\n")
    opening = (
        f"{config.objective.name} on {task.name} with {config.engine.model}: {config.trainer.steps} steps of "
        f"{config.trainer.groups_per_batch} x {config.trainer.group_size} rollouts, run directory {run.path}"
    )
    console.print(plain(opening), soft_wrap=True)
    print_left_out(console, task)
    progress = RunProgress(console, config.trainer.steps)
    stop = StopSignal(lambda: progress.phase("stopping as soon as all is saved (again: at once)"))
    stop.install()
    try:
        with open_endpoints(config, run.path) as endpoints:
            trainer = build_trainer(
                config,
                run_dir=run,
                engine=engine,
                task=task,
                endpoints=endpoints,
                observer=progress,
                stop_requested=stop,
            )
            if isinstance(trainer.episodes, LogEpisodes):
                for line in trainer.episodes.log.told():
                    console.print(plain(line), soft_wrap=True)
            with progress.shown():
                summary = trainer.run()
    except Interrupted as interrupted:
        reason = f"{interrupted.reason}; " if interrupted.reason else ""
        saved = f"stopped after step {interrupted.step}, all saved; go on with: rltf train --resume {run.path}"
        fail(reason + saved, 3 if interrupted.reason else 130)
    run.write_text("summary.json", json.dumps(summary, indent=2) + "\n")
    console.print(run_report(run, summary))


def _config(settings: list[str]) -> RunConfig:
    recipes = [Path(text) for text in settings if "=" not in text]
    return with_absolute_paths(load_config(recipes, [text for text in settings if "=" in text]))


def _resumed(
    resume: Path, settings: list[str], path: Path | None, accept_changed_files: bool
) -> tuple[RunConfig, Task, RunDir]:
    others = [text for text in settings if text.partition("=")[0].removeprefix("evaluation.") not in MAY_CHANGE]
    if others or path is not None:
        raise UserError(
            "--resume goes on with a run exactly as it was started; give no --run-dir, and of the settings only "
            f"{', '.join(sorted(MAY_CHANGE))}"
        )
    run = RunDir.open(resume)
    run.lock()
    data = config_from_json(run.read_text("config.json")).model_dump(mode="json")
    for setting in settings:
        apply_override(data, setting)
    config = with_absolute_paths(validate_config(data))
    began_with = json.loads(run.read_text(INPUTS)) if run.has(INPUTS) else {}
    digests = input_digests(config)
    changed = [file for file, digest in digests.items() if began_with.get(file, digest) != digest]
    if changed and not accept_changed_files:
        raise UserError(
            f"{changed[0]} has changed since {run.path} began; bring it back as it was, begin another run, or go on "
            "with --accept-changed-files, which the run keeps a record of"
        )
    task = build_task(config.task)
    check_feedback(config, task, run.path)
    if changed:
        step = max((step for step, _ in run.checkpoints()), default=0)
        was_now = [{"step": step, "file": file, "was": began_with[file], "is": digests[file]} for file in changed]
        run.append(CHANGED_INPUTS, was_now)
        run.write_text(INPUTS, json.dumps(digests, indent=2) + "\n")
    if settings:
        run.write_text("config.json", config_to_json(config))
    return config, task, run


def input_digests(config: RunConfig) -> dict[str, str]:
    """By path, the SHA-256 of each file of the user's: the task's, the log, the judges' prompts, the function."""
    function, other = config.feedback.function, config.evaluation.judge
    named = (
        *task_files(config.task),
        config.objective.path.rpartition(":")[0] if isinstance(config.objective, UserMethodConfig) else None,
        config.log.path,
        config.judge.prompt,
        other.prompt if other else None,
        function.rpartition(":")[0] if function else None,
    )
    return {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in named if path is not None}


def _check_task(task: Task) -> None:
    """Finds settings that give too few problems before a model is loaded or a directory is made."""
    for part in parts_of(task).values():
        # The first step draws from all over the split, so that this makes no problem that would not be made anyway.
        part.problem("train", part.size("train") - 1)


def _check_prompt(config: RunConfig, task: Task, engine: Engine) -> None:
    """Finds an attempt's limit that the model's context cannot hold before a directory is made."""
    problem = task.problem("test", 0)
    prompt = engine.renderer.prompt(Prompts(config.prompts).first_turn(problem))
    check_first_prompts([problem], [prompt], config.rollout.max_new_tokens, engine.max_tokens)
