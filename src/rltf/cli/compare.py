"""`rltf compare`: trains every arm with every seed, some at the same time, and puts the outcome in tables."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rltf.cli.ending import stop_at_once
from rltf.comparisons.comparison import Comparison, PlannedRun, load_comparison, outcome
from rltf.comparisons.report import OUTCOME, TABLE, draw_curves, side_by_side, table
from rltf.config.load import begun_on, config_from_json
from rltf.runs.defaults import read_defaults, with_defaults
from rltf.runs.directory import RunDir
from rltf.runs.report import plain
from rltf.support.errors import UserError

COMPARISONS = Path("runs") / "compare"
_THREADS = "OMP_NUM_THREADS"
_POLL_SECONDS = 0.5


@dataclass(slots=True)
class _Job:
    """A run that is being trained by a process of its own."""

    run: PlannedRun
    process: subprocess.Popen[str]
    started: float


def compare_command(arguments: Sequence[str], out: Path | None, processes: int) -> None:
    """Checks all comparisons, then runs what is missing and writes table, figures and outcome of each.

    With several, a table of them side by side goes beside their directories.
    """
    files = [Path(text) for text in arguments if "=" not in text]
    settings = [text for text in arguments if "=" in text]
    if not files:
        raise UserError("rltf compare needs a comparison, such as comparisons/binary_matrix.toml")
    above = out if out is not None else COMPARISONS
    directories = [out] if out is not None and len(files) == 1 else [above / file.stem for file in files]
    if len(set(directories)) < len(directories):
        raise UserError("two comparisons have the same name, and so the same directory; rename one of the files")
    comparisons = [load_comparison(file, settings) for file in files]
    for comparison, directory in zip(comparisons, directories, strict=True):
        _check_directories(comparison, directory)
    claimed = [RunDir(directory) for directory in directories]  # For as long as they live.
    for claim in claimed:
        claim.path.mkdir(parents=True, exist_ok=True)
        claim.lock()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_at_once)
    console = Console()
    outcomes = [
        _compare(comparison, directory, processes, shlex.join(["rltf", "compare", str(file), *settings]), console)
        for file, comparison, directory in zip(files, comparisons, directories, strict=True)
    ]
    if len(outcomes) > 1:
        text = side_by_side(outcomes, shlex.join(["rltf", "compare", *map(str, files), *settings]))
        (above / TABLE).write_text(text, encoding="utf-8")
        print(text)
        console.print(plain(f"wrote {above / TABLE}"), soft_wrap=True)


def _compare(comparison: Comparison, directory: Path, processes: int, command: str, console: Console) -> dict[str, Any]:
    """One comparison, from its missing runs to its files; returns the outcome."""
    console.print(
        plain(f"{comparison.title}: {len(comparison.arms)} arms x {len(comparison.seeds)} seeds in {directory}"),
        soft_wrap=True,
    )
    _train_missing(comparison, directory, processes, console)
    found = outcome(comparison, directory)
    (directory / OUTCOME).write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    text = table(found, command)
    (directory / TABLE).write_text(text, encoding="utf-8")
    drawn = draw_curves(found, directory)
    print(text)
    for path in (directory / OUTCOME, directory / TABLE, *drawn):
        console.print(plain(f"wrote {path}"), soft_wrap=True)
    return found


def _check_directories(comparison: Comparison, directory: Path) -> None:
    """Refuses runs of other settings under the same names before anything is trained."""
    for run in comparison.runs:
        path = directory / run.name
        if (path / "config.json").is_file():
            stored = config_from_json(RunDir.open(path).config_text(), str(path / "config.json"))
            planned = with_defaults(run.config, read_defaults(RunDir(path)))
            if stored.prompts.day is not None:
                planned = begun_on(planned, stored.prompts.day)
            if stored != planned:
                raise UserError(
                    f"{path}: was made with other settings than the comparison now has for it; remove it, or give "
                    "another --out"
                )
        elif path.exists() and any(path.iterdir()):
            raise UserError(f"{path}: is in the way, and no run; remove it, or give another --out")


def _train_missing(comparison: Comparison, directory: Path, processes: int, console: Console) -> None:
    waiting = [run for run in comparison.runs if not (directory / run.name / "summary.json").is_file()]
    done = len(comparison.runs) - len(waiting)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, auto_refresh=False)
    task = bar.add_task("runs", total=len(comparison.runs), completed=done)
    running: list[_Job] = []
    try:
        with _shown(bar, console):
            while waiting or running:
                while waiting and len(running) < processes:
                    running.append(_start(waiting.pop(0), directory, processes))
                for job in [job for job in running if job.process.poll() is not None]:
                    running.remove(job)
                    _check_end(job, directory)
                    done += 1
                    seconds = time.monotonic() - job.started
                    console.print(plain(f"{job.run.name}: done in {seconds:.0f} s ({done}/{len(comparison.runs)})"))
                bar.update(task, completed=done, description=", ".join(job.run.name for job in running) or "runs")
                time.sleep(_POLL_SECONDS)
    finally:
        _stop_all(running)


def _stop_all(running: list[_Job]) -> None:
    """Each saves its state and stops, and the next call goes on; a second Ctrl-C does not wait for that."""
    try:
        for job in running:
            job.process.terminate()
        for job in running:
            job.process.wait()
    except BaseException:
        for job in running:
            job.process.kill()
        raise


@contextlib.contextmanager
def _shown(bar: Progress, console: Console) -> Iterator[None]:
    if not console.is_terminal:
        yield
        return
    with Live(bar, console=console, refresh_per_second=2, transient=True):
        yield


def _start(run: PlannedRun, directory: Path, processes: int) -> _Job:
    path = directory / run.name
    if (path / "config.json").is_file():
        arguments = ["--resume", str(path)]
    else:
        recipe = directory / f"{run.name}.json"
        # What is not set is settled when the run begins.
        recipe.write_text(run.config.model_dump_json(indent=2, exclude_unset=True) + "\n", encoding="utf-8")
        arguments = [str(recipe), "--run-dir", str(path)]
    # Side by side, processes share the cores; more threads than cores would wait for each other.
    threads = os.environ.get(_THREADS) or str(max(1, (os.cpu_count() or 1) // processes))
    errors = directory / f"{run.name}.err"
    with (directory / f"{run.name}.log").open("a", encoding="utf-8") as log, errors.open("w", encoding="utf-8") as err:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rltf", "train", *arguments],
            stdout=log,
            stderr=err,
            stdin=subprocess.DEVNULL,
            text=True,
            env=os.environ | {_THREADS: threads},
            start_new_session=True,
        )
    return _Job(run=run, process=process, started=time.monotonic())


def _check_end(job: _Job, directory: Path) -> None:
    if job.process.returncode:
        errors = directory / f"{job.run.name}.err"
        lines = [line for line in errors.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        reason = lines[-1].removeprefix("rltf: ") if lines else f"exit status {job.process.returncode}"
        raise UserError(f"{job.run.name} failed: {reason} (see {errors}); start the comparison again to go on")
