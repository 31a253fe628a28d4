"""`rltf judge`: try a judge before a run pays for it, and see what it did in a run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rltf.config import RunConfig
from rltf.config.load import apply_override, read_recipe, validate_config
from rltf.feedback.llm import CallStore, LLMSource
from rltf.rollouts.recording import group_records
from rltf.runs.build import STORE, build_collector, build_engine, build_task, open_endpoints, task_settings
from rltf.runs.defaults import settle
from rltf.runs.directory import RunDir
from rltf.runs.report import plain, transcript
from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed


def try_command(task: str, count: int, settings: Sequence[str]) -> None:
    """Prints attempts of the policy with the judge's feedback, and what is wrong with feedback that fails."""
    config = _config(task, settings)
    problems = build_task(config.task)
    config = settle(config, problems).config
    console = Console()
    with open_endpoints(config, None) as endpoints:
        source = LLMSource(config.judge, problems, endpoints)
        # Every attempt is shown with feedback, right or wrong.
        asking = config.rollout.model_copy(update={"feedback_on_last": True, "feedback_on_correct": True})
        asked = config.model_copy(update={"rollout": asking})
        collector = build_collector(asked, problems, source, build_engine(config), 1, endpoints)
        chosen = [problems.problem("validation", i) for i in range(min(count, problems.size("validation")))]
        groups = collector.collect(chosen, 1, config.rollout.temperature, derive_seed(config.seed, "judge", "try"))
        for record in group_records(groups):
            console.print(transcript(record))
        _print_store(console, endpoints.store(config.judge))


def stats_command(path: Path) -> None:
    """Prints what a run's judge answered, how often it failed and why, and what it took."""
    store = path / STORE if path.is_dir() else path
    if path.is_dir():
        run = RunDir.open(path)
        named = read_recipe(run.path / "config.json").get("judge", {}).get("store")
        store = Path(named) if named else store
    if not store.is_file():
        raise UserError(f"{store}: there are no recorded calls to a judge")
    calls = CallStore(store, to_read=True)
    _print_store(Console(), calls)
    calls.close()


def _config(task: str, settings: Sequence[str]) -> RunConfig:
    """The settings of a recipe, or of a task by its name, with the LLM judge as the source of feedback."""
    data = task_settings(task)
    # Whatever the recipe combines, it is the judge that is tried.
    for setting in ("feedback.source=llm", "feedback.sources=[]", "feedback.shares=[]", "feedback.function=none"):
        apply_override(data, setting)
    for setting in settings:
        apply_override(data, setting)
    return validate_config(data)


def _print_store(console: Console, store: CallStore) -> None:
    outcomes, seconds = store.outcomes(), store.seconds()
    dollars, tokens = store.spent()
    calls = sum(outcomes.values())
    table = Table(title=plain(f"calls to the judge, {store.name}"), title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_row("calls", f"{calls:,}")
    for outcome, number in outcomes.items():
        table.add_row(outcome.replace("_", " "), f"{number:,} ({100 * number / calls:.1f} %)")
    table.add_row("tries again", f"{store.retries():,}")
    for fault, number in store.faults().most_common():
        table.add_row(f"  after: {fault.replace('_', ' ')}", f"{number:,}")
    table.add_row("tokens", f"{tokens:,}")
    table.add_row("dollars", f"{dollars:.4f}")
    if seconds:
        table.add_row("seconds per answer, median", f"{statistics.median(seconds):.2f}")
        table.add_row("seconds per answer, 95th percentile", f"{seconds[int(0.95 * (len(seconds) - 1))]:.2f}")
    console.print(table)
