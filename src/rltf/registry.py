"""From settings to objects: the one place that knows every task, judge and engine by name."""

from __future__ import annotations

from rltf.config import BinaryMatrixConfig, FeedbackConfig, RunConfig, TaskConfig
from rltf.engines.base import Engine
from rltf.errors import UserError
from rltf.judges import Judge, RuleJudge
from rltf.tasks import BinaryMatrix, Task

TASKS: dict[str, type[BinaryMatrixConfig]] = {"binary_matrix": BinaryMatrixConfig}


def default_task_config(name: str) -> TaskConfig:
    """The default settings of a task; an unknown name is the user's error."""
    if name not in TASKS:
        raise UserError(f"task {name!r} is unknown; known tasks: {', '.join(sorted(TASKS))}")
    return TASKS[name]()


def build_task(config: TaskConfig) -> Task:
    """The task that the settings describe."""
    return BinaryMatrix(**config.model_dump(exclude={"name"}))


def build_judge(config: FeedbackConfig, task: Task) -> Judge:
    """The source of feedback that the settings describe."""
    return RuleJudge(task, config.level)


def build_engine(config: RunConfig) -> Engine:
    """The engine that the settings describe, with its model loaded."""
    # Imported here: torch and transformers take seconds to import, and settings are checked without them.
    from rltf.engines.torch_engine import TorchEngine

    return TorchEngine(config.engine, config.trainer, config.rollout.temperature)
