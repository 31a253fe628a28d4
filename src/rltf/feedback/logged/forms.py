"""Rows that hold a response with feedback on it, in the forms of published feedback sets and of one's own tables.

Read are WildFB, WildFeedback's pairs, UltraFeedback, HelpSteer3 (feedback, edit), Feedback-Collection, SLF5K, other
preference pairs, and any table with a question, a response and feedback in fields of the usual names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rltf.feedback.logged.entries import LogEntry
from rltf.feedback.logged.messages import conversation_of, messages_of, text_of_content, under_system
from rltf.feedback.logged.tally import UnusableRow
from rltf.types import Message

CONVERSATIONS = ("messages", "conversation", "conversations", "chat", "dialog", "dialogue", "turns", "contents")
"""Where a row may have its conversation."""
_QUESTIONS = (
    *CONVERSATIONS, "context", "orig_instruction", "summary_prompt", "prompt", "instruction", "question", "query",
    "input",
)  # fmt: skip
_RESPONSES = (
    "response", "original_response", "orig_response", "generated_summary_for_feedback", "model_response", "completion",
    "attempt", "rejected", "output",
)  # fmt: skip
_FEEDBACK = ("feedback", "user_feedback", "critique", "orig_feedback")
_MARKS = {"positive", "negative", "neutral", "up", "down", "thumbs_up", "thumbs_down", "like", "dislike", "good", "bad"}
"""Words that a table has for a button which somebody pressed."""
_REVISIONS = (
    "revision",
    "edited_response",
    "revised_response",
    "refinement",
    "ideal_human_summary",
    "orig_reference_answer",
    "chosen",
)
_PAIRS = (("rejected", "chosen"), ("non_preferred_output", "preferred_output"))
PAIR_FEEDBACK = "Another answer was preferred to this one."
"""What stands for the feedback of a preference pair, which holds none."""


def entries_of_row(row: Mapping[str, Any], place: str, pair_feedback: str) -> list[LogEntry] | None:
    """The entries of a row that holds feedback in a field of its own, or a preference pair; None for another row.

    Several texts of feedback on one response are several entries. Raises `UnusableRow` at `place`.
    """
    if _nested(row.get("input"), "messages"):  # OpenAI's preference pairs
        row = {**row, **row["input"]}
    responses = list(_responses(row, place))
    if not responses:
        return None
    question, answered = _question(row, place)
    if not question:
        return None
    found = []
    for response, texts, revision, reward in responses:
        given = answered if response is None else response
        if given is None:
            return None
        found += [
            LogEntry(
                messages=question, response=given, feedback=text or pair_feedback, revision=revision, reward=reward
            )
            for text in texts
            if given.strip()
        ]
    return found


def _responses(row: Mapping[str, Any], place: str) -> Iterator[tuple[str | None, list[str], str | None, float | None]]:
    """Each response (None: the conversation's last), the texts of feedback on it, its revision, its reward.

    An empty text of feedback stands for that of a pair.
    """
    completions = row.get("completions")
    if isinstance(completions, list) and any(_first(each, _FEEDBACK) for each in completions):
        for number, each in enumerate(completions):
            at = f"{place}: completions[{number}]"
            yield _text(each, _RESPONSES, at), _feedback(each, _FEEDBACK, at), None, None
        return
    numbers = [number for number in range(1, 10) if row.get(f"response{number}") and row.get(f"feedback{number}")]
    for number in numbers:
        yield (
            _text(row, (f"response{number}",), place),
            _feedback(row, (f"feedback{number}",), place),
            None,
            None,
        )
    if numbers:
        return
    texts = _feedback(row, _FEEDBACK, place)
    pair = next((names for names in _PAIRS if all(row.get(name) for name in names)), None)
    if pair is not None:
        yield _text(row, pair[:1], place), texts or [""], _text(row, pair[1:], place), None
    elif texts:
        name = _first(row, _RESPONSES)
        yield (
            None if name is None else _text(row, _RESPONSES, place),
            texts,
            _text(row, _REVISIONS, place),
            _reward(row),
        )


def _question(row: Mapping[str, Any], place: str) -> tuple[tuple[Message, ...], str | None]:
    """What was asked, which ends with the user, and the response behind it where the conversation holds it."""
    name = _first(row, _QUESTIONS)
    if name is not None and isinstance(row[name], str) and not row[name].lstrip().startswith("["):
        text = text_of_content(row[name], place)
        if name == "instruction" and isinstance(row.get("input"), str) and row["input"].strip():
            text = f"{text}\n\n{row['input']}"  # what the instruction is about, in a field of its own
        asked = Message(role="user", content=text)
        return under_system(row, place, (asked,)), None
    if name is None:
        # A pair may hold its question in each of its two conversations.
        name = next((name for names in _PAIRS for name in names if isinstance(row.get(name), list)), None)
        if name is None:
            return (), None
    messages = messages_of(row[name], f"{place}: {name}")
    if row.get("history"):  # WildFB has the conversation before its last question apart.
        messages = messages_of(row["history"], f"{place}: history") + messages
    answered = None
    if messages[-1].role == "assistant":
        *before, last = messages
        messages, answered = tuple(before), last.content
    if not messages or messages[-1].role != "user":
        raise UnusableRow(f"{place}: {name}", "must end with a message of the user, which the response answers")
    return under_system(row, place, messages), answered


def _text(row: Mapping[str, Any], names: tuple[str, ...], place: str) -> str | None:
    """The text of the first field that has one; of a conversation, that of its last message."""
    name = _first(row, names)
    if name is None:
        return None
    value = row[name]
    if isinstance(value, list):
        return conversation_of(value, f"{place}: {name}")[-1].content
    return text_of_content(value, f"{place}: {name}")


def _feedback(row: Mapping[str, Any], names: tuple[str, ...], place: str) -> list[str]:
    """The texts of feedback in the first field that has any."""
    name = _first(row, names)
    value = row[name] if name is not None else None
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return [text_of_content(text, place) for text in value if text.strip()]
    if not isinstance(value, str | list | Mapping):  # None, or a number
        return []
    text = text_of_content(value, f"{place}: {name}")
    return [text] if text.strip() and text.strip().lower() not in _MARKS else []


def _reward(row: Mapping[str, Any]) -> float | None:
    """What a response was worth, where the row says so on a scale that is known."""
    reward, label, score = row.get("reward"), row.get("label"), row.get("orig_score")
    if isinstance(reward, int | float) and not isinstance(reward, bool) and 0 <= reward <= 1:
        return float(reward)
    if "user_feedback" in row and label in (1, 2, 3, 4):  # WildFB: from rejection to satisfaction
        return (int(label) - 1) / 3
    if str(score) in ("1", "2", "3", "4", "5"):  # Feedback-Collection
        return (int(str(score)) - 1) / 4
    return None


def _first(row: object, names: tuple[str, ...]) -> str | None:
    """The first of the names under which a row has something."""
    if not isinstance(row, Mapping):
        return None
    return next((name for name in names if row.get(name) not in (None, "", [], {})), None)


def _nested(value: object, name: str) -> bool:
    return isinstance(value, Mapping) and bool(value.get(name))
