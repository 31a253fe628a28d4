"""The entries of a log: a conversation, the response it got, feedback on it, and what else is known.

A JSONL file (or parquet, with pyarrow) with one entry per line:

    {"messages": [{"role": "user", "content": "..."}], "response": "...", "feedback": "...",
     "revision": "...", "reward": 0.0, "answer": "...", "problem": {"task": "...", "split": "train", "index": 3}}

The first three are required. Any other field of ours may be missing, and fields that are not ours are let be.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rltf.support.errors import UserError
from rltf.support.rows import read_rows
from rltf.support.texts import sound
from rltf.types import Message, Role, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemPlace:
    """Which problem of which task an entry is about, for its scorer."""

    task: str
    split: Split
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One response and the feedback on it."""

    messages: tuple[Message, ...]
    """The conversation that the response answers; it ends with the user."""
    response: str
    feedback: str
    revision: str | None = None
    """A better response, where somebody wrote one."""
    reward: float | None = None
    """What the response was worth, in [0, 1]."""
    answer: str | None = None
    """The gold answer."""
    problem: ProblemPlace | None = None


def read_log(path: Path) -> list[LogEntry]:
    """All entries of a file; raises `UserError` with line and field where one is malformed."""
    entries = [read_entry(row, f"{path}, line {number}") for number, row in read_rows(path)]
    if not entries:
        raise UserError(f"{path}: holds no entries")
    return entries


def write_log(path: Path, entries: Iterable[LogEntry]) -> int:
    """Writes a JSONL file and returns how many entries it has."""
    lines = [json.dumps(entry_record(entry), ensure_ascii=False) + "\n" for entry in entries]
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)


def entry_record(entry: LogEntry) -> dict[str, Any]:
    """An entry as plain JSON values, without what is not known."""
    record: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.content} for message in entry.messages],
        "response": entry.response,
        "feedback": entry.feedback,
        "revision": entry.revision,
        "reward": entry.reward,
        "answer": entry.answer,
    }
    if entry.problem is not None:
        place = entry.problem
        record["problem"] = {"task": place.task, "split": place.split, "index": place.index}
    return {name: value for name, value in record.items() if value is not None}


def messages_of(value: object, place: str) -> tuple[Message, ...]:
    """A list of `{"role", "content"}` as messages; raises `UserError` that begins with `place`."""
    if not isinstance(value, list) or not value:
        raise UserError(f"{place}: must be a list of messages")
    found: list[Message] = []
    for number, item in enumerate(value):
        role = item.get("role") if isinstance(item, Mapping) else None
        content = item.get("content") if isinstance(item, Mapping) else None
        known = next((known for known in get_args(Role) if known == role), None)
        if known is None:
            raise UserError(f"{place}[{number}].role: {role!r} is none of {', '.join(get_args(Role))}")
        if not isinstance(content, str):
            raise UserError(f"{place}[{number}].content: must be a text")
        found.append(Message(role=known, content=sound(content)))
    return tuple(found)


def read_entry(row: Mapping[str, Any], place: str, *, with_feedback: bool = True) -> LogEntry:
    """A row as an entry; raises `UserError` that begins with `place`. Not `with_feedback`: it is yet to be written."""
    messages = messages_of(row.get("messages"), f"{place}: messages")
    if messages[-1].role != "user":
        raise UserError(f"{place}: messages: must end with a message of the user, which the response answers")
    texts: dict[str, str | None] = {}
    for name in ("response", "feedback", "revision", "answer"):
        value = row.get(name)
        required = name == "response" or (name == "feedback" and with_feedback)
        if name == "feedback" and not with_feedback:
            texts[name] = ""
        elif value is None and not required:
            texts[name] = None
        elif not isinstance(value, str) or (required and not value.strip()):
            raise UserError(f"{place}: {name}: must be a text" + " that is not empty" * required)
        else:
            texts[name] = sound(value)
    reward = row.get("reward")
    number = isinstance(reward, int | float) and not isinstance(reward, bool)
    if reward is not None and not (number and 0 <= reward <= 1):
        raise UserError(f"{place}: reward: must be a number from 0 to 1")
    return LogEntry(
        messages=messages,
        response=str(texts["response"]),
        feedback=str(texts["feedback"]),
        revision=texts["revision"],
        reward=None if reward is None else float(reward),
        answer=texts["answer"],
        problem=problem_place(row.get("problem"), f"{place}: problem"),
    )


def problem_place(value: object, place: str) -> ProblemPlace | None:
    """The problem that an entry names; raises `UserError` that begins with `place`."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        task, index = value.get("task"), value.get("index")
        split = next((known for known in get_args(Split) if known == value.get("split")), None)
        if isinstance(task, str) and isinstance(index, int) and split is not None:
            return ProblemPlace(task=task, split=split, index=index)
    raise UserError(f'{place}: must be {{"task": "...", "split": "train", "index": 3}}')
