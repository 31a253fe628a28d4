"""Looks at a model, or at the model that a run has trained: settings for it, and its accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import TypeAdapter, ValidationError

from rltf.config import FeedbackConfig, RunConfig, TaskConfig
from rltf.config.load import config_from_json, set_value, validate_config
from rltf.config.log import LogConfig
from rltf.engines.base import Engine
from rltf.feedback import FeedbackSource
from rltf.feedback.function import Function
from rltf.feedback.llm import Endpoints
from rltf.rollouts.collector import RolloutCollector
from rltf.rollouts.evaluate import evaluate as evaluate_with
from rltf.rollouts.records import Evaluation
from rltf.runs.build import (
    STORE,
    build_engine,
    build_evaluation_collector,
    build_second_opinion,
    build_task,
    check_sources,
    open_endpoints,
    task_settings,
)
from rltf.runs.defaults import settle
from rltf.runs.directory import RunDir
from rltf.runs.inputs import check_code, named_files
from rltf.runs.run import Run, refuse_without, source_of
from rltf.support.errors import UserError
from rltf.tasks import Task
from rltf.types import Split


def evaluate(
    model: Run | Path | str,
    changes: Mapping[str, Any] | None = None,
    *,
    task: Task | str | None = None,
    split: Split = "test",
    engine: Engine | None = None,
    feedback: FeedbackSource | Function | None = None,
    accept_changed_files: bool = False,
) -> Evaluation:
    """Accuracy of first attempts and of attempts after feedback. Nothing is written down.

    Args:
        model: a run, for the model that it has trained with its own settings; or what `engine.model` takes.
        changes: settings by `section.field`, such as `{"evaluation.samples": 8}`.
        task: a task, or its name, file or recipe; that of the run by default, else Binary Matrix.
        split: `test`, `validation` or `train`.
        engine: one that is loaded already, in place of `model`.
        feedback: a source, or a function of problem, attempt, score and history, in place of `feedback.source`.
        accept_changed_files: use a run's task although its file has changed, or was never run on this machine.
    """
    named = model.path if isinstance(model, Run) else model
    given = None if isinstance(task, str) else task
    name = task if isinstance(task, str) else None
    config = settings_for(
        str(named),
        name,
        changes or {},
        given=given,
        feedback_given=feedback is not None,
        accept_changed_files=accept_changed_files,
    )
    with collecting(config, engine=engine, task=given, feedback=source_of(feedback)) as (collector, endpoints):
        return evaluation_of(config, collector, split, endpoints)


@contextmanager
def collecting(
    config: RunConfig,
    horizon: int | None = None,
    *,
    engine: Engine | None = None,
    task: Task | None = None,
    feedback: FeedbackSource | None = None,
) -> Iterator[tuple[RolloutCollector, Endpoints]]:
    """What rolls out the model of some settings on their task, and what asks their judges; closed at the end."""
    task = build_task(config.task) if task is None else task
    if engine is None:
        config = settle(config, task).config
    with open_endpoints(config, None) as endpoints:
        check_sources(config, task)
        loaded = build_engine(config) if engine is None else engine
        try:
            yield build_evaluation_collector(config, task, loaded, endpoints, horizon, feedback=feedback), endpoints
        finally:
            if engine is None:
                loaded.close()


def evaluation_of(config: RunConfig, collector: RolloutCollector, split: Split, endpoints: Endpoints) -> Evaluation:
    """The figures of what a collector rolls out."""
    settings = config.evaluation
    evaluation, _ = evaluate_with(
        collector,
        split,
        samples=settings.samples,
        temperature=settings.temperature,
        problems=settings.problems,
        seed=config.seed,
        second_opinion=build_second_opinion(config, collector.task, endpoints),
    )
    return evaluation


def settings_for(
    model: str,
    task: str | None,
    changes: Mapping[str, Any],
    *,
    given: Task | None = None,
    feedback_given: bool = False,
    accept_changed_files: bool = False,
) -> RunConfig:
    """A run brings its own settings; a model the defaults. Whichever, the model named is the one that is used.

    `given` is a task handed in as an object; `feedback_given` says whether a source of feedback is. Raises
    `UserError`, also where a run's settings name code that this machine has not seen begin, or that has changed.
    """
    path = Path(model)
    run = RunDir.open(path) if (path / "config.json").is_file() and (path / "environment.json").is_file() else None
    if run is None:
        data = {} if task is None else task_settings(task)
        data["engine"] = {**data.get("engine", {}), "model": model}
    else:
        data = _settings_of(run, task, given)
        if not feedback_given and "feedback.source" not in changes:
            _refuse_other_feedback(run)
    named = data["engine"]["model"]
    for name, value in changes.items():
        set_value(data, name, value)
    config = validate_config(data)
    if config.engine.model != named:
        raise UserError(f"engine.model={config.engine.model}: the model is named first; remove the setting")
    if run is not None and not accept_changed_files:
        # What is named here and now was asked for; what the run's directory names was not.
        check_code(run, config, named_files(config_from_json(run.config_text(), str(run.path / "config.json"))))
    return config


def _settings_of(run: RunDir, task: str | None, given: Task | None) -> dict[str, Any]:
    """A run's settings, with the model that it has trained, and without what is for training alone."""
    if not run.model.is_dir():
        raise UserError(f"{run.path}: the run has no trained model yet; finish it with rltf train --resume {run.path}")
    if task is None and given is None:
        refuse_without(run, {"engine": ..., "objective": ..., "feedback": ...})
    data = run.config()
    if data["engine"]["name"] == "tinker":
        raise UserError(
            f"{run.path}: its model is adapters on {data['engine']['model']}, which a server has; docs/tinker.md says "
            "how to put them onto that model here, to be named in place of the run"
        )
    if data["engine"].get("lora") is not None:
        # What adapters changed would be lost in rounding (`engines/torch/adapters.merged`).
        data["engine"]["dtype"] = "float32"
    data["engine"] |= {"model": str(run.model), "lora": None, "quantize": None, "chat_template": None}
    # Of a log, held-out questions alone are asked.
    if task is not None or given is not None or not LogConfig.model_validate(data["log"]).may_be_evaluated_on:
        data["log"] = {}
        # Nor is a method needed to look at its model; what it asks of a run's settings is for training.
        data["objective"] = {"name": "grpo_multi", "policy_coefficient": 0.0}
        data["rollout"]["horizon"] = max(2, data["rollout"]["horizon"])
    if task is not None and task != data["task"]["name"]:
        data["task"] = task_settings(task).get("task", {})
    _settle_judges(data, run.path / STORE)
    return data


def _refuse_other_feedback(run: RunDir) -> None:
    """A run's second attempts are not to follow another feedback than its own without a word."""
    name = run.given().get("feedback")
    if name is not None:
        raise UserError(
            f"{run.path} was begun from Python with feedback= of its own ({name}); name another source, such as "
            "feedback.source=rules, or hand it in: rltf.evaluate(run, feedback=...)"
        )


def _settle_judges(data: dict[str, Any], store: Path) -> None:
    """Leaves a run's judges where the task or the feedback still asks them, with the run's record of what they said."""
    try:
        judged = TypeAdapter(TaskConfig).validate_python(data["task"]).judged
        asked = judged or "llm" in FeedbackConfig.model_validate(data["feedback"]).asked
        asked = asked or LogConfig.model_validate(data["log"]).score == "judge"
    except ValidationError:  # Checking the whole says it better.
        return
    if not asked:
        data["judge"] = {}
    if not judged:
        data["evaluation"]["judge"] = None
    for judge in (data["judge"], data["evaluation"]["judge"]):
        # What the run's judge has said of an attempt is not paid again.
        if judge and judge["store"] is None:
            judge["store"] = str(store)


def split_named(name: str) -> Split:
    """A split by its name; raises `UserError` for another."""
    if name not in get_args(Split):
        raise UserError(f"--split {name}: unknown; choose one of {', '.join(get_args(Split))}")
    return cast("Split", name)
