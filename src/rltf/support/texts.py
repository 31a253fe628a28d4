"""What is done to text from outside before it is kept."""

from __future__ import annotations


def sound(text: str) -> str:
    """The text with a mark in place of what no file can hold: half a surrogate pair, which JSON can spell."""
    return text.encode("utf-8", "replace").decode("utf-8")
