"""The entries of a log: a conversation, the response it got, feedback on it, and what else is known.

A JSONL file (or parquet, with pyarrow) with one entry per line:

    {"messages": [{"role": "user", "content": "..."}], "response": "...", "feedback": "...",
     "revision": "...", "reward": 0.0, "answer": "...", "problem": {"task": "...", "split": "train", "index": 3}}

The first three are required. Any other field of ours may be missing, and fields that are not ours are let be. Messages
may also be written as `messages.py` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rltf.feedback.logged.messages import messages_of, text_of_content, under_system
from rltf.feedback.logged.tally import Tally, UnusableRow
from rltf.support.errors import UserError
from rltf.support.rows import read_rows
from rltf.types import Message, Split


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


def read_log(path: Path, tally: Tally | None = None) -> list[LogEntry]:
    """All entries of a file that can be used; raises `UserError` with line and field where one is malformed.

    With a tally, entries that cannot be used are counted there, and only too many of them are an error.
    """
    return [entry for _, entry in numbered_entries(path, Tally(str(path)) if tally is None else tally)]


def numbered_entries(path: Path, tally: Tally) -> list[tuple[int, LogEntry]]:
    """The entries that can be used, each with the number of its row."""
    found = list(_entries(path, tally))
    if not tally.rows:
        raise UserError(f"{path}: holds no entries")
    tally.check()
    return found


def _entries(path: Path, tally: Tally) -> Iterator[tuple[int, LogEntry]]:
    for number, row in read_rows(path, tally.unread):
        place = f"{path}, line {number}"
        with tally.row(place):
            yield number, read_entry(row, place)


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


def read_entry(row: Mapping[str, Any], place: str, *, with_feedback: bool = True) -> LogEntry:
    """A row as an entry; raises `UnusableRow` at `place`. Not `with_feedback`: it is yet to be written."""
    messages = under_system(row, place, messages_of(row.get("messages"), f"{place}: messages"))
    if messages[-1].role != "user":
        raise UnusableRow(f"{place}: messages", "must end with a message of the user, which the response answers")
    texts: dict[str, str | None] = {}
    for name in ("response", "feedback", "revision", "answer"):
        value = row.get(name)
        if isinstance(value, Mapping | list):  # a message, or parts of its content
            value = text_of_content(value, f"{place}: {name}")
        required = name == "response" or (name == "feedback" and with_feedback)
        if name == "feedback" and not with_feedback:
            texts[name] = ""
        elif value is None and not required:
            texts[name] = None
        elif not isinstance(value, str) or (required and not value.strip()):
            raise UnusableRow(f"{place}: {name}", "must be a text" + " that is not empty" * required)
        else:
            texts[name] = text_of_content(value, place)
    reward = row.get("reward")
    number = isinstance(reward, int | float) and not isinstance(reward, bool)
    if reward is not None and not (number and 0 <= reward <= 1):
        raise UnusableRow(f"{place}: reward", "must be a number from 0 to 1")
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
    """The problem that an entry names; raises `UnusableRow` at `place`."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        task, index = value.get("task"), value.get("index")
        split = next((known for known in get_args(Split) if known == value.get("split")), None)
        if isinstance(task, str) and isinstance(index, int) and split is not None:
            return ProblemPlace(task=task, split=split, index=index)
    raise UnusableRow(place, 'must be {"task": "...", "split": "train", "index": 3}')
