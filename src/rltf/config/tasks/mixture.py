"""Settings of several tasks in one run."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator

from rltf.config.section import FROM_LIST, Section
from rltf.config.tasks.base import TaskSection
from rltf.config.tasks.own import default_name
from rltf.config.tasks.single import SingleTaskConfig


class PartConfig(Section):
    """One task of a mixture. In a recipe its settings stand beside `weight` and `label`, in one table."""

    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """How often training draws a problem of it, relative to the others."""
    label: Annotated[str, Field(pattern=r"^[\w.:-]{1,80}$")] | None = None
    """What its problems and figures are called. Unset: the task's name, or that of its file."""
    task: SingleTaskConfig

    @model_validator(mode="before")
    @classmethod
    def _from_one_table(cls, data: Any) -> Any:
        if not isinstance(data, dict) or isinstance(data.get("task"), Section):
            return data
        settings = {"name": default_name(data)} | {k: v for k, v in data.items() if k not in ("weight", "label")}
        if settings["name"] == "mixture":
            raise ValueError("a mixture within a mixture; list its tasks themselves")
        if settings["name"] is None:
            raise ValueError("names no task; set name or path")
        return {k: data[k] for k in ("weight", "label") if k in data} | {"task": settings}

    @model_validator(mode="after")
    def _has_label(self) -> PartConfig:
        if self.label is None:
            name = str(getattr(self.task, "label", self.task.name))
            object.__setattr__(self, "label", re.sub(r"[^\w.:-]", "_", name)[:80])
        return self

    @model_serializer
    def _as_one_table(self) -> dict[str, Any]:
        return {"weight": self.weight, "label": self.label, **self.task.model_dump(mode="json")}


class MixtureConfig(TaskSection):
    """Several tasks in one run."""

    name: Literal["mixture"]
    tasks: Annotated[tuple[PartConfig, ...], FROM_LIST]
    """Its tasks: `[{name="binary_matrix", weight=2.0}, {path="my_task.py"}]`."""

    @model_validator(mode="after")
    def _distinct(self) -> MixtureConfig:
        if not self.tasks:
            raise ValueError('tasks is empty; list tasks, such as [{name="binary_matrix"}, {path="my_task.py"}]')
        labels = self.labels
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two tasks are called {label}; give one of them another label, such as {label}-2")
        return self

    @property
    def judged(self) -> bool:
        """Whether a judge scores one of its tasks."""
        return any(part.task.judged for part in self.tasks)

    @property
    def labels(self) -> list[str]:
        """What the tasks are called."""
        return [str(part.label) for part in self.tasks]
