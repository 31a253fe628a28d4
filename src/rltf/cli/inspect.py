"""`rltf eval`, `refine`, `rollout`, `tasks` and `validate`: look at models and tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rltf.cli.ending import fail
from rltf.config import FeedbackConfig, RunConfig, TaskConfig
from rltf.config.load import apply_override, config_from_json, validate_config
from rltf.config.log import LogConfig
from rltf.engines.base import Engine
from rltf.feedback.llm import Endpoints
from rltf.rollouts.collector import RolloutCollector
from rltf.rollouts.evaluate import Evaluation, evaluate
from rltf.rollouts.metrics import group_records
from rltf.runs.build import (
    STORE,
    TASKS,
    build_engine,
    build_evaluation_collector,
    build_second_opinion,
    build_task,
    check_feedback,
    open_endpoints,
    task_settings,
)
from rltf.runs.directory import RunDir
from rltf.runs.report import percent, plain, transcript
from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.tasks.base import Task
from rltf.tasks.mixture import left_out_of, parts_of
from rltf.tasks.validate import Check, validate
from rltf.types import Split


def eval_command(
    model: str, task: str | None, split: str, samples: int | None, settings: Sequence[str], json_output: bool
) -> None:
    """Evaluates a model or a run's trained model on a split."""
    config = _settings_for(model, task, settings)
    with open_endpoints(config, None) as endpoints:
        collector = _collector(config, build_engine(config), endpoints)
        evaluation = _evaluate(config, collector, split, samples, endpoints)
    if json_output:
        print(json.dumps({"task": collector.task.name, "model": model, **evaluation.record()}, allow_nan=False))
        return
    table = Table(title=plain(f"{model} on {collector.task.name}, {split}"), title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_row("single-turn accuracy", percent(evaluation.single_turn, evaluation.single_turn_interval))
    if evaluation.reward != evaluation.single_turn:
        table.add_row("mean reward of first attempts", percent(evaluation.reward, evaluation.reward_interval))
        table.add_row("its correlation with their length", _number(evaluation.reward_by_length))
        table.add_row("mean reward of second attempts", percent(evaluation.second_reward))
    if evaluation.other_reward is not None:
        table.add_row(
            "mean reward by the second judge", percent(evaluation.other_reward, evaluation.other_reward_interval)
        )
    for name, figures in evaluation.by_task.items():
        cell = percent(figures["single_turn"], figures["single_turn_interval"])
        table.add_row(plain(f"single-turn accuracy, {name}"), cell)
    table.add_row(f"pass@{evaluation.samples}, single turn", percent(evaluation.pass_at_k))
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
    settings: Sequence[str],
    json_output: bool,
) -> None:
    """Accuracy after each round of revision: on the model's own feedback, and on the task's for comparison.

    Every rollout goes through every round, right or wrong: at test time nobody says when to stop. One whose prompt
    outgrows the model's context, or that gets no feedback, ends before; a round's accuracy is that of the attempts
    made in it.
    """
    config = _settings_for(model, task, settings)
    going_on = {"early_termination": False, "feedback_on_correct": True, "feedback_on_last": False}
    config = config.model_copy(update={"rollout": config.rollout.model_copy(update=going_on)})
    engine = build_engine(config)
    curves: dict[str, Evaluation] = {}
    for source in ("self", config.feedback.source if config.feedback.source != "self" else "rules"):
        # One source for all tasks of a mixture, and on the attempt itself, whatever a run was trained with.
        plain_feedback = {"source": source, "per_task": FeedbackConfig().per_task, "about": "attempt"}
        feedback = config.feedback.model_copy(update=plain_feedback)
        given = config.model_copy(update={"feedback": feedback})
        with open_endpoints(given, None) as endpoints:
            collector = _collector(given, engine, endpoints, rounds + 1)
            curves[source] = _evaluate(config, collector, split, samples, endpoints)
    if json_output:
        records = {source: evaluation.record() for source, evaluation in curves.items()}
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


def rollout_command(model: str, task: str | None, split: str, count: int, settings: Sequence[str]) -> None:
    """Prints one transcript per problem."""
    config = _settings_for(model, task, settings)
    which = _split(split)
    with open_endpoints(config, None) as endpoints:
        collector = _collector(config, build_engine(config), endpoints)
        problems = [collector.task.problem(which, i) for i in range(min(count, collector.task.size(which)))]
        groups = collector.collect(problems, 1, config.rollout.temperature, derive_seed(config.seed, "transcripts"))
    console = Console()
    for record in group_records(groups):
        console.print(transcript(record))


def tasks_command() -> None:
    """Lists the tasks and their settings."""
    table = Table("task", "setting", "default", "meaning")
    for name, (section, _) in sorted(TASKS.items()):
        table.add_row(name, "", "", section.__doc__ or "")
        fields = {field: info for field, info in section.model_fields.items() if field != "name"}
        own = {field: info for field, info in fields.items() if field in vars(section).get("__annotations__", {})}
        for field, info in (own | fields).items():
            default = "" if info.is_required() else "none" if info.default is None else str(info.default)
            table.add_row("", f"task.{field}", escape(default), escape(info.description or ""))
        table.add_section()
    Console().print(table)


def validate_command(name: str, problems: int, settings: Sequence[str]) -> None:
    """Prints each check's outcome; exit status 1 if one failed. The tasks of a mixture are checked one by one."""
    config = _with_settings(task_settings(name), settings)
    console = Console()
    checks: list[Check] = []
    parts = parts_of(build_task(config.task))
    for label, task in parts.items():
        if len(parts) > 1:
            console.print(plain(label, "bold"))
        print_left_out(console, task)
        found = validate(task, problems)
        _print_checks(console, found)
        checks += found
    if not all(check.passed for check in checks):
        fail(f"{name} is not valid", 1)


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


def _settings_for(model: str, task: str | None, settings: Sequence[str]) -> RunConfig:
    """A run brings its own settings; a model the defaults. Whichever, the model named is the one that is used."""
    path = Path(model)
    if (path / "config.json").is_file() and (path / "environment.json").is_file():
        run = RunDir.open(path)
        if not run.model.is_dir():
            raise UserError(f"{model}: the run has no trained model yet; finish it with rltf train --resume {model}")
        data = config_from_json(run.read_text("config.json")).model_dump(mode="json")
        data["engine"] |= {"model": str(run.model), "lora": None, "chat_template": None}
        # Of a log, held-out questions alone are asked. What the run's judge has said of an attempt is not paid again.
        if task is not None or not LogConfig.model_validate(data["log"]).may_be_evaluated_on:
            data["log"] = {}
        if task is not None and task != data["task"]["name"]:
            data["task"] = task_settings(task).get("task", {})
        _settle_judges(data, run.path / STORE)
    else:
        data = task_settings(task or "binary_matrix")
        data["engine"] = {**data.get("engine", {}), "model": model}
    named = data["engine"]["model"]
    config = _with_settings(data, settings)
    if config.engine.model != named:
        raise UserError(f"engine.model={config.engine.model}: the model is named first; remove the setting")
    return config


def _settle_judges(data: dict[str, Any], store: Path) -> None:
    """Leaves a run's judges where the task or the feedback still asks them, with the run's record of what they said."""
    try:
        judged = TypeAdapter(TaskConfig).validate_python(data["task"]).judged
        judged = judged or LogConfig.model_validate(data["log"]).score == "judge"
        asked = judged or "llm" in FeedbackConfig.model_validate(data["feedback"]).asked
    except ValidationError:  # Checking the whole says it better.
        return
    if not asked:
        data["judge"] = {}
    if not judged:
        data["evaluation"]["judge"] = None
    for judge in (data["judge"], data["evaluation"]["judge"]):
        if judge and judge["store"] is None:
            judge["store"] = str(store)


def _with_settings(data: dict[str, Any], settings: Sequence[str]) -> RunConfig:
    for setting in settings:
        apply_override(data, setting)
    return validate_config(data)


def _collector(config: RunConfig, engine: Engine, endpoints: Endpoints, horizon: int | None = None) -> RolloutCollector:
    task = build_task(config.task)
    check_feedback(config, task)
    return build_evaluation_collector(config, task, engine, endpoints, horizon)


def _evaluate(
    config: RunConfig, collector: RolloutCollector, split: str, samples: int | None, endpoints: Endpoints
) -> Evaluation:
    settings = config.evaluation
    evaluation, _ = evaluate(
        collector,
        _split(split),
        samples=samples or settings.samples,
        temperature=settings.temperature,
        problems=settings.problems,
        seed=config.seed,
        second_opinion=build_second_opinion(config, collector.task, endpoints),
    )
    return evaluation


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _split(name: str) -> Split:
    for split in get_args(Split):
        if split == name:
            known: Split = split
            return known
    raise UserError(f"--split {name}: unknown; choose one of {', '.join(get_args(Split))}")
