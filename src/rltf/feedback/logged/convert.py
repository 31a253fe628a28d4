"""Between our log and others: chats in, a run's rollouts in, pairs for other trainers out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rltf.feedback.logged.entries import LogEntry
from rltf.feedback.logged.forms import CONVERSATIONS, PAIR_FEEDBACK, entries_of_row
from rltf.feedback.logged.messages import Said, conversation_of, under_system
from rltf.feedback.logged.tally import Tally, UnusableRow
from rltf.support.errors import UserError
from rltf.support.rows import HUB, check_is_text, is_parquet, load_rows
from rltf.types import Message

_SATISFIED = ("Satisfaction",)
_DISSATISFIED = ("Disatisfaction", "Dissatisfaction")
_TRUE = {"true", "yes", "1", "y", "sat", "dsat"}
_NEUTRAL = {"NEU"}


@dataclass(slots=True)
class Chats:
    """The entries of a source of conversations, and what else was found there."""

    source: str
    """A JSONL, JSON or parquet file, or `hub:OWNER/NAME[/SUBSET][@SPLIT]`."""
    tally: Tally
    pair_feedback: str = PAIR_FEEDBACK
    """What stands for the feedback of a preference pair, which holds none."""
    without_feedback: int = 0
    """Conversations in which the user comes back to no answer."""
    pairs: int = 0
    """Entries whose feedback is `pair_feedback`."""

    def entries(self) -> Iterator[LogEntry]:
        """Every entry; raises `UserError` where the source is none of rows or too many of them cannot be used."""
        for place, rows in _conversations(_records(self.source, self.tally)):
            found: list[LogEntry] = []
            with self.tally.row(place):
                found = self._entries(rows, place)
                self.without_feedback += not found
            self.pairs += sum(entry.feedback == self.pair_feedback for entry in found)
            yield from found
        if not self.tally.rows:
            raise UserError(f"{self.source}: holds no rows")
        self.tally.check()

    def _entries(self, rows: Sequence[Mapping[str, Any]], place: str) -> list[LogEntry]:
        if len(rows) > 1 or _is_utterance(rows[0]):
            return list(_of_conversation(conversation_of(list(rows), f"{place}: utterance")))
        row = rows[0]
        found = entries_of_row(row, place, self.pair_feedback)
        if found is not None:
            return found
        name = next((name for name in CONVERSATIONS if name in row), None)
        if name is None:
            raise UnusableRow(
                place,
                f"has neither a conversation ({', '.join(CONVERSATIONS)}) nor a question with a response and feedback; "
                f"its fields: {', '.join(map(str, row)) or 'none'}",
            )
        if row[name] in ([], None):
            return []
        said = under_system(row, place, conversation_of(row[name], f"{place}: {name}"))
        return list(_of_conversation(said, _feedback_texts(row)))


def from_chats(source: Path | str, tally: Tally | None = None) -> Iterator[LogEntry]:
    """Entries from whole conversations, and from rows that hold feedback in a field of its own (`forms.py`).

    A row has its conversation under `messages`, `conversation`, `conversations` or the like; a conversation may also be
    spread over rows with one utterance each, as in WildFeedback's annotations. Each message of the user that follows
    one of the assistant is taken as feedback on that, and the assistant's next message as the revision. Whether it is
    feedback or another question the log does not say, unless its annotators did: choose the rows beforehand. A message
    of the user's with `"feedback": false` beside its content is left out.

    Without a tally, the first row that cannot be used is an error.
    """
    return Chats(str(source), Tally(str(source)) if tally is None else tally).entries()


def _records(source: str, tally: Tally) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place and fields of each row, also of a file that is one JSON list of them."""
    path = Path(source).expanduser()
    if source.startswith(HUB) or is_parquet(path) or not _is_list(path):
        yield from load_rows(source, tally.unread)
        return
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid JSON: {error}") from error
    for number, row in enumerate(rows, start=1):
        place = f"{path}, entry {number}"
        if isinstance(row, Mapping):
            yield place, row
        else:
            tally.unread(place, "is not an object with fields")


def _is_list(path: Path) -> bool:
    """Whether a file is one JSON list, over one line or many, and not a line for each row."""
    check_is_text(path)
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        first = next((line.strip() for line in lines if line.strip()), "")
    # A line that is a list of its own is a row that is none.
    return first.startswith("[") and (path.suffix.lower() == ".json" or not first.endswith("]"))


def _is_utterance(row: Mapping[str, Any]) -> bool:
    return "UtteranceId" in row


def _conversations(
    rows: Iterator[tuple[str, Mapping[str, Any]]],
) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Rows one by one, and those that are utterances together with the others of their conversation."""
    place, together = "", list[Mapping[str, Any]]()
    for at, row in rows:
        goes_on = bool(together) and _is_utterance(row) and _number(row) > _number(together[-1])
        if together and not goes_on:
            yield place, together
            together = []
        if not _is_utterance(row):
            yield at, [row]
            continue
        place = place if together else at
        together.append(row)
    if together:
        yield place, together


def _number(row: Mapping[str, Any]) -> float:
    try:
        return float(row["UtteranceId"])
    except (TypeError, ValueError):
        return 0.0


def _of_conversation(said: Sequence[Said], feedback: set[str] | None = None) -> Iterator[LogEntry]:
    """An entry for each answer that the user comes back to. `feedback`: of the user's messages, those that are some."""
    annotated = any(name in one.notes for one in said for name in (*_SATISFIED, *_DISSATISFIED))
    for turn in range(2, len(said)):
        asked, response, comment = said[turn - 2 : turn + 1]
        roles = (asked.role, response.role, comment.role)
        if roles != ("user", "assistant", "user") or not (response.content.strip() and comment.content.strip()):
            continue
        good, bad = (any(_is_true(comment.notes.get(name)) for name in names) for names in (_SATISFIED, _DISSATISFIED))
        if not comment.by_user or comment.notes.get("feedback") is False or (annotated and not (good or bad)):
            continue
        if feedback is not None and comment.content.strip() not in feedback:
            continue
        following = said[turn + 1] if turn + 1 < len(said) else None
        revised = following is not None and following.role == "assistant" and following.content.strip()
        yield LogEntry(
            messages=tuple(Message(role=one.role, content=one.content) for one in said[: turn - 1]),
            response=response.content,
            feedback=comment.content,
            revision=following.content if revised and following is not None else None,
            reward=float(good) if good != bad else None,
        )


def _feedback_texts(row: Mapping[str, Any]) -> set[str] | None:
    """Of a conversation whose annotators copied out each message that is feedback, these; None of another."""
    texts, kinds = row.get("user_feedback_text"), row.get("user_feedback_category")
    if not (isinstance(texts, list) and isinstance(kinds, list) and len(texts) == len(kinds)):
        return None
    return {str(text).strip() for text, kind in zip(texts, kinds, strict=True) if kind not in _NEUTRAL}


def _is_true(value: object) -> bool:
    return value is True or str(value).strip().lower() in _TRUE


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
