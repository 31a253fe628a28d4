"""`rltf train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from rltf.cli.dry_run import dry_run
from rltf.cli.ending import StopSignal, fail
from rltf.cli.inspect import print_left_out
from rltf.cli.launched import help_out, leading
from rltf.cli.plan import Gpus
from rltf.cli.progress import RunProgress
from rltf.config import RunConfig
from rltf.config.load import load_config, parse_override, with_absolute_paths
from rltf.rollouts.records import Summary
from rltf.runs.report import plain, run_report
from rltf.runs.run import MAY_CHANGE, Run
from rltf.runs.trainer import Interrupted
from rltf.support.errors import UserError
from rltf.support.launched import is_helper


def train_command(
    settings: list[str],
    path: Path | None,
    resume: Path | None,
    accept_changed_files: bool,
    *,
    dry: bool = False,
    gpus: Gpus | None = None,
) -> None:
    """Starts a run or goes on with one, shows its progress and prints its report; `dry`: only says what it would be.

    Of several processes that a launcher started, the first does that, and the others help.
    """
    if is_helper():
        if not dry:
            help_out()
        return
    if dry:
        if resume is not None:
            raise UserError("--dry-run is for runs that are yet to begin; remove --resume")
        dry_run(_config(settings), gpus)
        return
    with leading():
        _run(settings, path, resume, accept_changed_files)


def _run(settings: list[str], path: Path | None, resume: Path | None, accept_changed_files: bool) -> None:
    console = Console()
    if accept_changed_files and resume is None:
        raise UserError("--accept-changed-files is for --resume; remove it")
    if resume is None:
        run = Run.begin(_config(settings), path)
    else:
        if path is not None:
            raise UserError("--resume goes on in the run's own directory; give no --run-dir")
        run = Run.resume(resume, _changes(settings), accept_changed_files=accept_changed_files)
    with run:
        finished = run.summary
        if finished is None:
            finished = _train(console, run)
        else:
            console.print(plain(f"{run.path} is finished already; go on with more steps: trainer.steps=N"))
        console.print(run_report(run.path, finished, run.evaluations()))


def _train(console: Console, run: Run) -> Summary:
    config = run.config
    opening = (
        f"{config.method} on {run.task.name} with {config.engine.model}: {config.trainer.steps} steps of "
        f"{config.trainer.groups_per_batch} x {config.trainer.group_size} rollouts, run directory {run.path}"
    )
    console.print(plain(opening), soft_wrap=True)
    print_left_out(console, run.task)
    progress = RunProgress(console, config.trainer.steps)
    stop = StopSignal(lambda: progress.phase("stopping as soon as all is saved (again: at once)"))
    stop.install()
    try:
        return run.train([progress], stop)
    except Interrupted as interrupted:
        reason = f"{interrupted.reason}; " if interrupted.reason else ""
        saved = f"stopped after step {interrupted.step}, all saved; go on with: rltf train --resume {run.path}"
        fail(reason + saved, 3 if interrupted.reason else 130)


def _config(settings: list[str]) -> RunConfig:
    recipes = [Path(text) for text in settings if "=" not in text]
    return with_absolute_paths(load_config(recipes, [text for text in settings if "=" in text]))


def _changes(settings: list[str]) -> dict[str, Any]:
    recipes = [text for text in settings if "=" not in text]
    if recipes:
        raise UserError(
            f"{recipes[0]}: --resume goes on with a run exactly as it was started; give no recipe, and of the settings "
            f"only {', '.join(sorted(MAY_CHANGE))}"
        )
    return dict(parse_override(text) for text in settings)
