"""From settings to objects: the one place that knows every task, judge and engine by name."""

from __future__ import annotations

from collections.abc import Callable

from rltf.config import (
    BinaryMatrixConfig,
    FeedbackConfig,
    KnightsAndKnavesConfig,
    PuzzleConfig,
    RunConfig,
    ShortestPathConfig,
    TaskConfig,
)
from rltf.engines.base import Engine
from rltf.errors import UserError
from rltf.judges import Judge, RuleJudge
from rltf.tasks import BinaryMatrix, KnightsAndKnaves, ShortestPath, Task

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


def build_judge(config: FeedbackConfig, task: Task) -> Judge:
    """The source of feedback that the settings describe."""
    return RuleJudge(task, config.level)


def build_engine(config: RunConfig) -> Engine:
    """The engine that the settings describe, with its model loaded."""
    # Imported here: torch and transformers take seconds to import, and settings are checked without them.
    from rltf.engines.torch_engine import TorchEngine

    return TorchEngine(config.engine, config.trainer, config.rollout.temperature)
