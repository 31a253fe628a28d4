"""Settings of the tasks. Each task's class takes them as keyword arguments of the same names."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Discriminator, Tag

from rltf.config.tasks.base import TaskSection
from rltf.config.tasks.code import CodeConfig
from rltf.config.tasks.gym import GymConfig
from rltf.config.tasks.maths import MathsConfig
from rltf.config.tasks.mixture import MixtureConfig, PartConfig
from rltf.config.tasks.own import PythonConfig, RowsConfig, default_name
from rltf.config.tasks.puzzles import BinaryMatrixConfig, KnightsAndKnavesConfig, PuzzleConfig, ShortestPathConfig
from rltf.config.tasks.single import TASK_SECTIONS, SingleTask, SingleTaskConfig, kind
from rltf.config.tasks.writing import WritingConfig

TaskConfig: TypeAlias = Annotated[SingleTask | Annotated[MixtureConfig, Tag("mixture")], Discriminator(kind)]


def single_tasks(task: TaskConfig) -> list[SingleTaskConfig]:
    """The tasks of a mixture, or the one task."""
    return [part.task for part in task.tasks] if isinstance(task, MixtureConfig) else [task]


__all__ = [
    "TASK_SECTIONS",
    "BinaryMatrixConfig",
    "CodeConfig",
    "GymConfig",
    "KnightsAndKnavesConfig",
    "MathsConfig",
    "MixtureConfig",
    "PartConfig",
    "PuzzleConfig",
    "PythonConfig",
    "RowsConfig",
    "ShortestPathConfig",
    "SingleTaskConfig",
    "TaskConfig",
    "TaskSection",
    "WritingConfig",
    "default_name",
    "single_tasks",
]
