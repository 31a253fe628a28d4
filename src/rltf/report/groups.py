"""Rollout records, which stand one after the other, put together into the groups that they were made in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rltf.rollouts.records import GroupSamples, RolloutRecord


@dataclass(slots=True)
class Group:
    """The rollouts of one problem in one step, in the order of their records."""

    step: int
    number: int
    """Its index in the step."""
    rollouts: list[RolloutRecord]
    """Attempts without a score are among them; they have no turns."""
    samples: GroupSamples | None = field(default=None)
    """Its training samples token by token, where they were recorded."""

    @property
    def task(self) -> str:
        """The name of the task."""
        return self.rollouts[0].task

    @property
    def problem(self) -> int:
        """The index of the problem."""
        return self.rollouts[0].problem


def grouped(records: Iterable[RolloutRecord]) -> Iterator[Group]:
    """Groups in order. Records of version 0.1 name none: a group ends there where problem or step change, or where the
    rollouts are counted from 0 again."""
    group: Group | None = None
    last = -1
    for record in records:
        step = record.step or 0
        if group is not None and not _goes_on(group, record, last):
            yield group
            number = group.number + 1 if group.step == step else 0
            group = None
        elif group is None:
            number = 0
        if group is None:
            group = Group(step, record.group if record.group is not None else number, [])
        group.rollouts.append(record)
        last = record.rollout if record.rollout is not None else last
        if len(group.rollouts) == 1:
            last = record.rollout if record.rollout is not None else -1
    if group is not None:
        yield group


def _goes_on(group: Group, record: RolloutRecord, last: int) -> bool:
    """Whether a record belongs to the group before it; `last` is the newest index of a rollout there."""
    if (group.step, group.task, group.problem) != (record.step or 0, record.task, record.problem):
        return False
    if record.group is not None:
        return record.group == group.number
    # Attempts without a score have no index, and follow the rollouts of their group.
    return record.rollout is None or record.rollout > last
