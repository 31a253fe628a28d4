"""Settings of creative writing."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rltf.config.tasks.listed import ListedConfig


class WritingConfig(ListedConfig):
    """Creative writing, which a judge scores from 1 to 10 and criticises."""

    implementation: ClassVar[str] = "rltf.tasks.writing:Writing"
    local_files: ClassVar[tuple[str, ...]] = ("train", "test")
    name: Literal["writing"]
    train: str = "builtin"
    """Prompts: `builtin`, a JSONL or parquet file, or `hub:OWNER/NAME[/SUBSET][@SPLIT]`."""
    test: str | None = None
    """Prompts for the final figures, likewise. Unset: some of the training file."""
    prompt_field: str = "prompt"
    """Where a row has its prompt."""
    criteria_field: str | None = "criteria"
    """Where a row has its criteria, each to be scored by itself: texts, or objects of texts. A row without them, and
    every row if this is "none", is scored on the whole."""
    passing_score: Annotated[float, Field(ge=1, le=10)] = 9.0
    """Mean score from which a text counts as right: it gets no further attempt."""

    @property
    def judged(self) -> bool:
        """Always: no program can tell."""
        return True
