"""A look at a task's training problems that does not take as long as drawing all of them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from rltf.tasks.base import Task
from rltf.tasks.mixture import parts_of
from rltf.types import Problem

_LOOKED_AT = 32


@runtime_checkable
class Glances(Protocol):
    """A task that draws its problems one by one, which may take long."""

    def glance(self) -> list[Problem]:
        """Some training problems. Raises `UserError` where the settings clearly give fewer than they say."""
        ...


def glance(task: Task) -> list[Problem]:
    """Some training problems, of each part of a mixture.

    Raises:
        UserError: the settings give fewer problems than they say, which of a generator is found where they are far
            fewer.
    """
    return [problem for part in parts_of(task).values() for problem in _glance(part)]


def _glance(task: Task) -> list[Problem]:
    if isinstance(task, Glances):
        return task.glance()
    return [task.problem("train", index) for index in spread_over(task.size("train"))]


def spread_over(size: int) -> list[int]:
    """Some places among `size`, the first and the last among them."""
    return sorted({i * size // _LOOKED_AT for i in range(_LOOKED_AT)} | {size - 1})
