"""Every task but mixtures, chosen by its name."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, get_args

from pydantic import Discriminator, Tag

from rltf.config.tasks.base import TaskSection
from rltf.config.tasks.code import CodeConfig
from rltf.config.tasks.gym import GYM, GymConfig
from rltf.config.tasks.instructions import IfevalConfig, InstructionsConfig
from rltf.config.tasks.maths import MathsConfig
from rltf.config.tasks.own import PythonConfig, RowsConfig
from rltf.config.tasks.puzzles import BinaryMatrixConfig, KnightsAndKnavesConfig, ShortestPathConfig
from rltf.config.tasks.writing import WritingConfig


def kind(value: Any) -> Any:
    """Which of the sections a `name` selects."""
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    return GYM if isinstance(name, str) and name.partition(":")[0] == GYM else name


SingleTask: TypeAlias = (
    Annotated[BinaryMatrixConfig, Tag("binary_matrix")]
    | Annotated[ShortestPathConfig, Tag("shortest_path")]
    | Annotated[KnightsAndKnavesConfig, Tag("knights_and_knaves")]
    | Annotated[CodeConfig, Tag("code")]
    | Annotated[GymConfig, Tag(GYM)]
    | Annotated[IfevalConfig, Tag("ifeval")]
    | Annotated[InstructionsConfig, Tag("instructions")]
    | Annotated[MathsConfig, Tag("maths")]
    | Annotated[RowsConfig, Tag("rows")]
    | Annotated[PythonConfig, Tag("python")]
    | Annotated[WritingConfig, Tag("writing")]
)
SingleTaskConfig: TypeAlias = Annotated[SingleTask, Discriminator(kind)]
"""Any task but a mixture."""


def _sections() -> dict[str, type[TaskSection]]:
    members = (get_args(member) for member in get_args(SingleTask))
    return {tag.tag: section for section, tag in members}


TASK_SECTIONS = _sections()
"""Every task but mixtures by its name: a new one is one more member of `SingleTask`, and nothing else."""
