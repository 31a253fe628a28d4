"""Settings of the code task."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from rltf.config.section import NonNegative, Positive
from rltf.config.tasks.listed import ListedConfig


class CodeConfig(ListedConfig):
    """Code: Python functions and programs that unit tests check in a sandbox."""

    implementation: ClassVar[str] = "rltf.tasks.code:CodeTask"
    local_files: ClassVar[tuple[str, ...]] = ("train", "test")

    name: Literal["code"]
    train: str = "builtin"
    """Problems for training and validation: `builtin`, a JSONL or parquet file, `hub:OWNER/NAME[/SUBSET][@SPLIT]`."""
    test: str | None = None
    """Problems for the final figures, from a source of the same shape. Unset: taken from `train`."""
    shape: Literal["builtin", "mbpp", "apps", "livecodebench"] = "builtin"
    """The columns of the sources: those of which data set."""
    shown_tests: NonNegative = 2
    """Tests that stand in the prompt as examples."""
    most_tests: Positive = 20
    """Only so many tests of a problem are run, the first."""
    cpu_seconds: Positive = 2
    """Computing time of one process: all tests of a function, or one test of a program. A process that takes longer is
    killed, and the tests that it did not come to fail."""
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20.0
    """The same on the clock, for a process that waits. More than `cpu_seconds`, as others use the machine too."""
    megabytes: Annotated[int, Field(ge=64)] = 512
    """Memory of one process."""
    processes: Positive = 4
    """Attempts that run at the same time."""
    partial_reward: bool = False
    """Reward a wrong attempt with the share of the tests that it passes, not with 0."""
    sandbox: Literal["strict", "weak"] = "strict"
    """`weak` also runs attempts where the kernel cannot lock them in: off Linux, or on an old one. See docs/code.md."""

    @model_validator(mode="after")
    def _sources(self) -> CodeConfig:
        for field in ("train", "test"):
            if getattr(self, field) == "builtin" and self.shape != "builtin":
                raise ValueError(f"{field}=builtin has no shape={self.shape}; name a source of that shape")
        if self.seconds < self.cpu_seconds:
            raise ValueError(f"seconds={self.seconds:g} is below cpu_seconds={self.cpu_seconds}; raise it")
        return self
