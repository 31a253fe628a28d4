"""Where in an attempt its answer stands, for tasks of the user's own."""

from __future__ import annotations

from typing import Literal, TypeAlias

from rltf.tasks.puzzle import last_answer, tag_answer

Place: TypeAlias = Literal["tags", "whole", "last_line"]
"""Between `<answer>` and `</answer>`; the whole text; its last line."""

INSTRUCTIONS: dict[str, str] = {
    "tags": "Write the answer between <answer> and </answer>.",
    "whole": "Write the answer and nothing else.",
    "last_line": "Write the answer on the last line, with nothing else on that line.",
}
"""What is said about the form of the answer behind a question."""


def answer_in(text: str, place: str) -> str | None:
    """What an attempt gives as its answer, without spaces around it; None without one, empty where it is blank."""
    match place:
        case "tags":
            block = last_answer(text)
            return None if block is None else block.strip()
        case "whole":
            return text.strip()
        case _:
            return text.strip().rpartition("\n")[2].strip()


def attempt_with(answer: str, place: str) -> str:
    """An attempt that is nothing but its answer."""
    return tag_answer(answer) if place == "tags" else answer
