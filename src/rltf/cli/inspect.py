"""`rltf eval`, `refine`, `rollout` and `tasks`, and the checks of `validate`: look at models and tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rltf.config import FeedbackConfig, RunConfig
from rltf.config.load import apply_override, parse_override, validate_config
from rltf.rollouts.recording import group_records
from rltf.rollouts.records import Evaluation
from rltf.runs.build import build_engine, build_task, known_tasks, task_settings
from rltf.runs.defaults import settle
from rltf.runs.look import collecting, evaluation_of, settings_for, split_named
from rltf.runs.report import percent, plain, transcript
from rltf.support.seeds import derive_seed
from rltf.tasks.base import Task
from rltf.tasks.glance import glance
from rltf.tasks.mixture import left_out_of, parts_of
from rltf.tasks.validate import Check, validate


def eval_command(
    model: str,
    task: str | None,
    split: str,
    samples: int | None,
    problems: int | None,
    settings: Sequence[str],
    *,
    json_output: bool,
    accept_changed_files: bool,
) -> None:
    """Evaluates a model or a run's trained model on a split."""
    config = _settings_for(model, task, settings, samples, problems, accept_changed_files)
    which = split_named(split)
    with collecting(config) as (collector, endpoints):
        evaluation = evaluation_of(config, collector, which, endpoints)
        name = collector.task.name
    if json_output:
        print(json.dumps({"task": name, "model": model, **evaluation.to_json()}, allow_nan=False))
        return
    table = Table(title=plain(f"{model} on {name}, {split}"), title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_row("first attempts that are right", percent(evaluation.first_turn, evaluation.first_turn_interval))
    if evaluation.reward != evaluation.first_turn:
        table.add_row("mean reward of first attempts", percent(evaluation.reward, evaluation.reward_interval))
        table.add_row("its correlation with their length", _number(evaluation.reward_by_length))
        table.add_row("mean reward of second attempts", percent(evaluation.second_reward))
    if evaluation.other_reward is not None:
        table.add_row(
            "mean reward by the second judge", percent(evaluation.other_reward, evaluation.other_reward_interval)
        )
    for label, figures in evaluation.by_task.items():
        cell = percent(figures["first_turn"], figures["first_turn_interval"])
        table.add_row(plain(f"first attempts that are right, {label}"), cell)
    for label, figures in evaluation.by_kind.items():
        cell = percent(figures["first_turn"], figures["first_turn_interval"])
        table.add_row(plain(f"the same, {label} (problems: {figures['problems']:.0f})"), cell)
    table.add_row(f"pass@{evaluation.samples}, first attempts", percent(evaluation.pass_at_k))
    turns = zip(evaluation.by_turn, evaluation.by_turn_interval, strict=True)
    for turn, (share, interval) in list(enumerate(turns, start=1))[1:]:
        table.add_row(f"attempt {turn}, where it was needed", percent(share, interval))
    table.add_row("solved at any turn", percent(evaluation.solved))
    table.add_row("malformed first attempts", percent(evaluation.malformed))
    table.add_row("first attempts cut at the limit", percent(evaluation.truncated))
    if evaluation.score_failed:
        table.add_row("attempts without a score", percent(evaluation.score_failed))
    table.add_row("tokens of a first attempt", f"{evaluation.tokens:.1f}")
    table.add_row("problems x samples", f"{evaluation.problems} x {evaluation.samples}")
    Console().print(table)


def refine_command(
    model: str,
    task: str | None,
    split: str,
    rounds: int,
    samples: int | None,
    problems: int | None,
    settings: Sequence[str],
    *,
    json_output: bool,
    accept_changed_files: bool,
) -> None:
    """Accuracy after each round of revision: on the model's own feedback, and on the task's for comparison.

    Every rollout goes through every round, right or wrong: at test time nobody says when to stop. One whose prompt
    outgrows the model's context, or that gets no feedback, ends before; a round's accuracy is that of the attempts
    made in it.
    """
    config = _settings_for(model, task, settings, samples, problems, accept_changed_files)
    which = split_named(split)
    config = settle(config, build_task(config.task)).config
    going_on = {"early_termination": False, "feedback_on_correct": True, "feedback_on_last": False}
    config = config.model_copy(update={"rollout": config.rollout.model_copy(update=going_on)})
    engine = build_engine(config)
    curves: dict[str, Evaluation] = {}
    for source in ("self", config.feedback.source if config.feedback.source != "self" else "rules"):
        # One source for all tasks of a mixture, and on the attempt itself, whatever a run was trained with.
        plain_feedback = {"source": source, "per_task": FeedbackConfig().per_task, "about": "attempt"}
        asked = config.model_copy(update={"feedback": config.feedback.model_copy(update=plain_feedback)})
        with collecting(asked, rounds + 1, engine=engine) as (collector, endpoints):
            curves[source] = evaluation_of(config, collector, which, endpoints)
    engine.close()
    if json_output:
        records = {source: evaluation.to_json() for source, evaluation in curves.items()}
        print(json.dumps({"task": config.task.name, "model": model, **records}, allow_nan=False))
        return
    table = Table(title=plain(f"{model} on {config.task.name}, {split}"), title_justify="left")
    table.add_column("round", justify="right")
    for source in curves:
        table.add_column("own feedback" if source == "self" else f"feedback: {source}", justify="right")
    for number in range(rounds + 1):
        table.add_row(str(number), *(_round(evaluation, number) for evaluation in curves.values()))
    console = Console()
    console.print(table)
    if any(evaluation.reached[-1] < 1 or len(evaluation.reached) <= rounds for evaluation in curves.values()):
        console.print(
            "Some rollouts ended early, as they got no feedback or their conversation outgrew the model's context; "
            "rollout.conversation=newest keeps it short.",
            highlight=False,
        )


def _round(evaluation: Evaluation, number: int) -> str:
    """The accuracy in a round, with the share of rollouts that came to it where some did not."""
    if number >= len(evaluation.by_turn):
        return percent(None)
    accuracy = percent(evaluation.by_turn[number], evaluation.by_turn_interval[number])
    reached = evaluation.reached[number]
    return accuracy if reached == 1 else f"{accuracy} of {percent(reached)}"


def rollout_command(
    model: str, task: str | None, split: str, count: int, settings: Sequence[str], *, accept_changed_files: bool
) -> None:
    """Prints one transcript per problem."""
    config = _settings_for(model, task, settings, None, None, accept_changed_files)
    which = split_named(split)
    with collecting(config) as (collector, _):
        problems = [collector.task.problem(which, i) for i in range(min(count, collector.task.size(which)))]
        groups = collector.collect(problems, 1, config.rollout.temperature, derive_seed(config.seed, "transcripts"))
    console = Console()
    for record in group_records(groups):
        console.print(transcript(record))


def tasks_command() -> None:
    """Lists the tasks and their settings."""
    table = Table("task", "setting", "default", "meaning")
    for name, section in sorted(known_tasks().items()):
        table.add_row(name, "", "", section.__doc__ or "")
        fields = {field: info for field, info in section.model_fields.items() if field != "name"}
        own = {field: info for field, info in fields.items() if field in vars(section).get("__annotations__", {})}
        for field, info in (own | fields).items():
            default = "" if info.is_required() else "none" if info.default is None else str(info.default)
            table.add_row("", f"task.{field}", escape(default), escape(info.description or ""))
        table.add_section()
    Console().print(table)


def print_checks_of(name: str, problems: int, settings: Sequence[str]) -> bool:
    """Prints the outcome of each check of a task; whether all hold. The tasks of a mixture are checked one by one.

    Raises `UserError` for settings that give fewer problems than they say, as training does.
    """
    data = task_settings(name)
    for setting in settings:
        apply_override(data, setting)
    config = validate_config(data)
    console = Console()
    checks: list[Check] = []
    parts = parts_of(build_task(config.task))
    for label, task in parts.items():
        if len(parts) > 1:
            console.print(plain(label, "bold"))
        print_left_out(console, task)
        glance(task)
        found = validate(task, problems)
        _print_checks(console, found)
        checks += found
    return all(check.passed for check in checks)


def print_left_out(console: Console, task: Task) -> None:
    """One line for each task that leaves problems of its files out."""
    for label, left_out in left_out_of(task).items():
        console.print(plain(f"{label}: problems left out: {left_out}"), soft_wrap=True)


def _print_checks(console: Console, checks: Sequence[Check]) -> None:
    for check in checks:
        verdict = "[green]holds[/green]" if check.passed else "[red]FAILS[/red]"
        if check.passed and not check.checked:
            verdict = "[yellow]nothing to check[/yellow]"
        console.print(
            f"{verdict}  {check.name}  ({check.checked:,} checked, {len(check.failures)} failed)", highlight=False
        )
        for failure in check.failures[:5]:
            console.print(plain(f"    {failure}"))


def _settings_for(
    model: str,
    task: str | None,
    settings: Sequence[str],
    samples: int | None,
    problems: int | None,
    accept_changed_files: bool,
) -> RunConfig:
    changes = dict(parse_override(setting) for setting in settings)
    options = {"evaluation.samples": samples, "evaluation.problems": problems}
    changes |= {name: value for name, value in options.items() if value is not None}
    return settings_for(model, task, changes, accept_changed_files=accept_changed_files)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
