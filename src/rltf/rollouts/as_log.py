"""A run's rollouts as a log of feedback, which others can be trained from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rltf.feedback.logged.entries import LogEntry, ProblemPlace
from rltf.rollouts.records import RolloutRecord, TurnRecord
from rltf.types import Message


def from_rollouts(records: Iterable[RolloutRecord]) -> Iterator[LogEntry]:
    """Every first attempt that got feedback, with the attempt that followed.

    An attempt that got no score stands in no turn, and got no feedback.
    """
    for record in records:
        entry = first_attempt(record)
        if entry is None or not entry.response.strip():
            continue
        feedback, later = record.turns[0].feedback, record.turns[1:]
        if feedback is not None and feedback.text is not None:
            yield replace(entry, feedback=feedback.text, revision=_whole(later[0]) if later else None)


def first_attempt(record: RolloutRecord) -> LogEntry | None:
    """The first attempt of a rollout, without feedback; None where it got no score."""
    if not record.turns:
        return None
    first = record.turns[0]
    return LogEntry(
        messages=tuple(Message(role=m.role, content=m.content) for m in first.prompt),
        response=_whole(first),
        feedback="",
        reward=min(1.0, max(0.0, first.score.reward)),
        answer=record.answer,
        problem=ProblemPlace(task=record.task, split=record.split, index=record.problem),
    )


def _whole(turn: TurnRecord) -> str:
    """The attempt as the policy wrote it, with the thinking that stood before its text."""
    return (turn.thinking or "") + turn.text
