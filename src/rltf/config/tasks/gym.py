"""Settings of the datasets of reasoning-gym."""

from __future__ import annotations

from typing import ClassVar

from pydantic import JsonValue, field_validator

from rltf.config.section import Positive
from rltf.config.table import Table
from rltf.config.tasks.puzzles import PuzzleConfig

GYM = "reasoning_gym"


class GymConfig(PuzzleConfig):
    """Any dataset of reasoning-gym, as reasoning_gym:NAME: docs/reasoning_gym.md lists them."""

    implementation: ClassVar[str] = "rltf.tasks.gym:ReasoningGym"
    names_begin_with: ClassVar[str] = GYM

    name: str
    train_size: Positive = 2000
    """Distinct training problems. Some generators have fewer, and some take a tenth of a second for each."""
    options: Table[JsonValue] = Table()
    """The generator's own settings, each as `task.options.NAME=value`."""

    @field_validator("name")
    @classmethod
    def _names_a_dataset(cls, name: str) -> str:
        family, _, dataset = name.partition(":")
        if family != GYM or not dataset.replace("_", "").isalnum():
            raise ValueError(f"name a dataset of reasoning-gym: {GYM}:chain_sum, for example")
        return name

    @property
    def dataset(self) -> str:
        """The name that reasoning-gym knows it by."""
        return self.name.partition(":")[2]
