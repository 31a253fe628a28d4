"""Blocks in which a model thinks before it answers."""

from __future__ import annotations

TAGS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
"""How families of models open and close such a block."""
CHANNEL = "<|channel|>"
"""With what gpt-oss begins a part of its answer instead: what it thinks, or what it says."""
SAID, THOUGHT = "final", "analysis"
"""The names of these channels."""


def split_thinking(text: str) -> tuple[str, str]:
    """The thinking block at a text's start, with its tags and the white space around it, and the rest.

    A block that never closes is all there is: its rest is empty. Tags further on are text.
    """
    start = len(text) - len(text.lstrip())
    for opening, closing in TAGS:
        if text.startswith(opening, start):
            _, found, rest = text.partition(closing)
            answer = rest.lstrip() if found else ""
            return text[: len(text) - len(answer)], answer
    return "", text


def thoughts_of(block: str) -> str:
    """What stands in a thinking block between its tags."""
    text = block.strip()
    for opening, closing in TAGS:
        if text.startswith(opening):
            return text.removeprefix(opening).removesuffix(closing).strip()
    return text


def left_open(text: str) -> str:
    """The end of a text from where it opens a thinking block that it does not close; empty where it opens none."""
    for opening, closing in TAGS:
        _, found, inside = text.rpartition(opening)
        if found and closing not in inside:
            return opening + inside
    return ""


def closed(opened: str) -> str:
    """What closes a block that was left open, without a thought in it."""
    return next((f"\n{closing}\n\n" for opening, closing in TAGS if opened.startswith(opening)), "")
