"""Settings of the generated puzzles."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from rltf.config.section import NonNegative, Positive, Section
from rltf.config.tasks.base import TaskSection


class PuzzleConfig(TaskSection):
    """What every generated puzzle has."""

    train_size: Positive = 10_000
    """Distinct training problems."""
    validation_size: Positive = 200
    """Distinct problems for choosing settings and checkpoints; disjoint from the others."""
    test_size: Positive = 200
    """Distinct problems for the final figures; disjoint from the others."""
    data_seed: int = 0
    """Seed of the problems. Apart from the run's seed, so that runs with different seeds share one test."""


class BinaryMatrixConfig(PuzzleConfig):
    """Binary Matrix: distance of each cell to the nearest 0."""

    implementation: ClassVar[str] = "rltf.tasks.binary_matrix:BinaryMatrix"
    special_levels: ClassVar[frozenset[str]] = frozenset({"marks"})
    name: Literal["binary_matrix"] = "binary_matrix"
    min_side: Annotated[int, Field(ge=1, le=100)] = 4
    """Smallest side of the matrix."""
    max_side: Annotated[int, Field(ge=1, le=100)] = 4
    """Largest side of the matrix."""
    p_zero: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability that a cell is 0."""
    min_distance: NonNegative = 2
    """Only matrices with at least one distance this large; below 2, a copy of the question is often right."""

    draft: bool = False
    """Ask for a draft and what is wrong with it before the answer: an attempt whose work reads like feedback. Scored is
    the last answer. It takes three times the tokens (rollout.max_new_tokens=64 at side 4) and a model that knows the
    form: the built-in one does after `rltf build-builtin --drafts`."""

    @model_validator(mode="after")
    def _sides(self) -> BinaryMatrixConfig:
        _check_order(self, "min_side", "max_side")
        return self


class ShortestPathConfig(PuzzleConfig):
    """Shortest Path: directions through a grid around blocked cells."""

    implementation: ClassVar[str] = "rltf.tasks.shortest_path:ShortestPath"
    name: Literal["shortest_path"]
    min_rows: Annotated[int, Field(ge=1, le=100)] = 4
    """Fewest rows of the grid."""
    max_rows: Annotated[int, Field(ge=1, le=100)] = 4
    """Most rows of the grid."""
    min_columns: Annotated[int, Field(ge=1, le=100)] = 4
    """Fewest columns of the grid."""
    max_columns: Annotated[int, Field(ge=1, le=100)] = 4
    """Most columns of the grid."""
    p_blocked: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Probability that a cell is blocked."""
    min_steps: Positive = 4
    """Only grids whose shortest path has at least so many steps; below 4, a guess is often right."""
    keep_infeasible: bool = False
    """Keep grids without a path, whose answer is `infeasible`: one answer that is right for many problems."""

    @model_validator(mode="after")
    def _sizes(self) -> ShortestPathConfig:
        _check_order(self, "min_rows", "max_rows")
        _check_order(self, "min_columns", "max_columns")
        if self.max_rows * self.max_columns < 2:
            raise ValueError("max_rows=1 and max_columns=1 leave no cell for a destination; raise one of them")
        return self


class KnightsAndKnavesConfig(PuzzleConfig):
    """Knights and Knaves: who tells the truth and who lies."""

    implementation: ClassVar[str] = "rltf.tasks.knights_and_knaves:KnightsAndKnaves"
    special_levels: ClassVar[frozenset[str]] = frozenset({"hint"})
    name: Literal["knights_and_knaves"]
    people: Annotated[int, Field(ge=2, le=12)] = 3
    """People in a puzzle."""
    depth: Annotated[int, Field(ge=1, le=6)] = 2
    """How deep a statement nests."""
    width: Annotated[int, Field(ge=2, le=6)] = 2
    """Most parts of an `and` or an `or`."""


def _check_order(section: Section, low: str, high: str) -> None:
    least, most = getattr(section, low), getattr(section, high)
    if least > most:
        raise ValueError(f"{low}={least} is above {high}={most}; lower {low}")
