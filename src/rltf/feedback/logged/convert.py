"""Between our log and others: chats in, a run's rollouts in, pairs for other trainers out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rltf.feedback.logged.entries import LogEntry, ProblemPlace, messages_of
from rltf.support.errors import UserError
from rltf.support.rows import read_rows
from rltf.types import Message

_CHAT_FIELDS = ("messages", "conversation")


def from_chats(path: Path) -> Iterator[LogEntry]:
    """Entries from whole conversations, as OpenAI's logs and WildFeedback have them.

    A row has its conversation under `messages` or `conversation`. Each message of the user that follows one of the
    assistant is taken as feedback on that, and the assistant's next message as the revision. Whether it is feedback
    or another question the log does not say: choose the rows beforehand. A message of the user's with
    `"feedback": false` beside its content is left out.
    """
    for number, row in read_rows(path):
        field = next((name for name in _CHAT_FIELDS if name in row), None)
        if field is None:
            raise UserError(f"{path}, line {number}: has neither {' nor '.join(_CHAT_FIELDS)}")
        messages = messages_of(row[field], f"{path}, line {number}: {field}")
        for turn in range(2, len(messages)):
            response, feedback = messages[turn - 1], messages[turn]
            if response.role != "assistant" or feedback.role != "user" or messages[turn - 2].role != "user":
                continue
            if row[field][turn].get("feedback") is False or not (response.content.strip() and feedback.content.strip()):
                continue
            following = messages[turn + 1] if turn + 1 < len(messages) else None
            revised = following is not None and following.role == "assistant"
            yield LogEntry(
                messages=messages[: turn - 1],
                response=response.content,
                feedback=feedback.content,
                revision=following.content if revised and following is not None else None,
            )


def from_rollouts(records: list[dict[str, Any]]) -> Iterator[LogEntry]:
    """Entries from a run's `rollouts.jsonl`: every first attempt that got feedback, with the attempt that followed.

    An attempt that got no score stands in no turn, and got no feedback.
    """
    for record in records:
        if not record["turns"]:
            continue
        entry, later = first_attempt(record), record["turns"][1:]
        feedback = record["turns"][0]["feedback"]
        if feedback and "text" in feedback and entry.response.strip():
            yield replace(entry, feedback=feedback["text"], revision=later[0]["text"] if later else None)


def first_attempt(record: Mapping[str, Any]) -> LogEntry:
    """The first attempt of a rollout record that has one, without feedback."""
    first = record["turns"][0]
    return LogEntry(
        messages=tuple(Message(role=m["role"], content=m["content"]) for m in first["prompt"]),
        response=first["text"],
        feedback="",
        reward=min(1.0, max(0.0, first["score"]["reward"])),
        answer=record["answer"],
        problem=ProblemPlace(task=record["task"], split=record["split"], index=record["problem"]),
    )


def to_pair(entry: LogEntry) -> Mapping[str, Any] | None:
    """`prompt`, `rejected`, `feedback`, `chosen`, as SFT and DPO trainers read them; None without a revision."""
    if entry.revision is None:
        return None
    return {
        "prompt": [{"role": message.role, "content": message.content} for message in entry.messages],
        "rejected": [{"role": "assistant", "content": entry.response}],
        "feedback": entry.feedback,
        "chosen": [{"role": "assistant", "content": entry.revision}],
    }
