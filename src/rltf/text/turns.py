"""What a chat template writes around an assistant's message, found by rendering one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rltf.text.thinking import closed, left_open
from rltf.types import Message

QUESTION, ANSWER, NEXT_QUESTION = "first question", "some answer", "second question"
DIALOGUE = (
    Message(role="user", content=QUESTION),
    Message(role="assistant", content=ANSWER),
    Message(role="user", content=NEXT_QUESTION),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnMarks:
    """The texts that stand around an answer."""

    opening: str = ""
    """What stands between a question and where its answer begins: the end of one turn and the beginning of another."""
    opened: str = ""
    """The thinking block that a prompt leaves open for the answer, from its opening tag on."""
    lead: str = ""
    """What stands between a prompt's end and a finished answer, such as an empty thinking block."""
    tail: str = ""
    """White space between an answer and the token that ends it."""
    end: str | None = None
    """The spelling of the token that ends an answer; None where the template has none."""


def turn_marks(render: Callable[[Sequence[Message], bool], str], control: re.Pattern[str]) -> TurnMarks:
    """The marks of a template.

    `render` renders messages, with or without the opening of an answer behind them; `control` matches every control
    token. A template that fails, or drops a message, has no marks: whoever loads it refuses it.
    """
    try:
        prompt = render(DIALOGUE[:1], True)
        finished = render(DIALOGUE[:2], False)
        before, after = _around(finished, ANSWER)
        opening = _around(prompt, QUESTION)[1]
        opened = left_open(opening)
        tail, end = _end(after, control)
        if end is None:
            tail, end = _end_before_another_turn(render(DIALOGUE, False), control)
    except Exception:
        return TurnMarks()
    lead = before[len(prompt) :] if before.startswith(prompt) else closed(opened)
    return TurnMarks(opening=opening, opened=opened, lead=lead, tail=tail if end else "", end=end)


def _around(text: str, part: str) -> tuple[str, str]:
    """What stands before and behind the last place of a part; raises `ValueError` where there is none."""
    place = text.rindex(part)
    return text[:place], text[place + len(part) :]


def _end(after: str, control: re.Pattern[str]) -> tuple[str, str | None]:
    tail = after[: len(after) - len(after.lstrip())]
    found = control.match(after, len(tail))
    return tail, found.group() if found else None


def _end_before_another_turn(dialogue: str, control: re.Pattern[str]) -> tuple[str, str | None]:
    """Where a template leaves the last turn open: what ends a turn with another behind it.

    A control token that opens the user's first turn as well ends nothing.
    """
    opening = control.findall(_around(dialogue, QUESTION)[0])[-1:]
    between = _around(_around(dialogue, NEXT_QUESTION)[0], ANSWER)[1]
    tail, end = _end(between, control)
    return (tail, None) if [end] == opening else (tail, end)
