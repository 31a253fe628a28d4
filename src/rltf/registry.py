"""From settings to objects: the one place that knows every task, judge and engine by name."""

from __future__ import annotations

from collections.abc import Callable

from rltf.config import (
    BinaryMatrixConfig,
    KnightsAndKnavesConfig,
    PuzzleConfig,
    RunConfig,
    ShortestPathConfig,
    TaskConfig,
)
from rltf.engines.base import Engine
from rltf.errors import UserError
from rltf.judges import (
    AnswerJudge,
    ConstantJudge,
    Judge,
    OtherProblemJudge,
    RuleJudge,
    SelfJudge,
    SharedJudge,
    ShuffledJudge,
)
from rltf.run_dir import RunDir
from rltf.tasks import BinaryMatrix, KnightsAndKnaves, ShortestPath, Task
from rltf.trainer import Observer, Trainer
from rltf.types import SamplingParams

TASKS: dict[str, tuple[type[PuzzleConfig], Callable[..., Task]]] = {
    "binary_matrix": (BinaryMatrixConfig, BinaryMatrix),
    "knights_and_knaves": (KnightsAndKnavesConfig, KnightsAndKnaves),
    "shortest_path": (ShortestPathConfig, ShortestPath),
}
"""Each task's settings and its class."""


def check_task_name(name: str) -> None:
    """Refuses a name that no task has."""
    if name not in TASKS:
        raise UserError(f"task {name!r} is unknown; known tasks: {', '.join(sorted(TASKS))}")


def build_task(config: TaskConfig) -> Task:
    """The task that the settings describe."""
    _, task = TASKS[config.name]
    return task(**config.model_dump(exclude={"name"}))


def build_judge(config: RunConfig, task: Task, engine: Engine) -> Judge:
    """The source of feedback that the settings describe. Of the engine it gets what it may know: how to generate."""
    feedback = config.feedback
    judge = _source(config, task, engine)
    match feedback.about:
        case "shuffled":
            judge = ShuffledJudge(judge)
        case "other_problem":
            judge = OtherProblemJudge(judge)
        case "attempt":
            pass
    own = round(feedback.self_share * config.trainer.group_size)
    return SharedJudge(_self_judge(config, engine), judge, own) if own else judge


def _source(config: RunConfig, task: Task, engine: Engine) -> Judge:
    match config.feedback.source:
        case "rules":
            return RuleJudge(task, config.feedback.level)
        case "constant":
            return ConstantJudge(config.feedback.constant_text)
        case "answer":
            return AnswerJudge()
        case "self":
            return _self_judge(config, engine)


def _self_judge(config: RunConfig, engine: Engine) -> SelfJudge:
    # At the temperature that is trained, so that the log-probabilities are those of the policy.
    sampling = SamplingParams(max_tokens=config.feedback.self_max_tokens, temperature=config.rollout.temperature)
    return SelfJudge(engine.generate, engine.renderer, sampling, engine.max_tokens)


def build_engine(config: RunConfig) -> Engine:
    """The engine that the settings describe, with its model loaded."""
    # Imported here: torch and transformers take seconds to import, and settings are checked without them.
    from rltf.engines.torch_engine import TorchEngine

    return TorchEngine(config.engine, config.trainer, config.rollout.temperature)


def build_trainer(
    config: RunConfig,
    *,
    run_dir: RunDir,
    engine: Engine,
    task: Task,
    observer: Observer,
    stop_requested: Callable[[], bool] = lambda: False,
) -> Trainer:
    """A run's trainer with its sources of feedback."""
    return Trainer(
        config=config,
        run_dir=run_dir,
        engine=engine,
        task=task,
        judge=build_judge(config, task, engine),
        evaluation_judge=build_judge(without_self_share(config), task, engine),
        observer=observer,
        stop_requested=stop_requested,
    )


def without_self_share(config: RunConfig) -> RunConfig:
    """For evaluation: later attempts are to follow one kind of feedback."""
    return config.model_copy(update={"feedback": config.feedback.model_copy(update={"self_share": 0.0})})
