"""Settings of competition maths."""

from __future__ import annotations

from typing import ClassVar, Literal

from rltf.config.tasks.listed import ListedConfig


class MathsConfig(ListedConfig):
    """Maths problems with a short final answer, which is compared by value."""

    implementation: ClassVar[str] = "rltf.tasks.maths:Maths"
    local_files: ClassVar[tuple[str, ...]] = ("train", "test")

    name: Literal["maths"]
    train: str = "builtin"
    """Problems for training and validation: a known set (`builtin`, `dapo`, `deepmath`, `math500`, `aime24`), a known
    set's name before another place of its rows (`dapo:copy.parquet`), or rows of your own: a JSONL or parquet file or
    `hub:OWNER/NAME[/SUBSET][@SPLIT]`."""
    test: str | None = "builtin"
    """Problems for the final figures, named like those of `train`. "none": taken from `train`."""
    question_field: str = "question"
    """Where rows of your own have the question; `a.b` leads into nested fields."""
    answer_field: str = "answer"
    """Where rows of your own have the answer, in LaTeX or plain."""
