"""Where an attempt's answer stands: in `\\boxed{...}`, with balanced braces."""

from __future__ import annotations

import re
from collections.abc import Iterator

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)")
# A brace after an odd number of backslashes is a character of the answer, such as in \{1, 2\}.
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_THOUGHT = re.compile(r".*</think(?:ing)?>", re.DOTALL)
_OPEN_THOUGHT = re.compile(r"<think(?:ing)?>.*", re.DOTALL)
# What may stand between boxes that are one answer: The roots are $\boxed{2}$ and $\boxed{3}$.
_BETWEEN = re.compile(r"(?:[\s$,;&]|\\[\[\]()\\]|\\q?quad(?![a-z])|\\(?:text|mbox)\{\s*,?\s*and\s*\}|\band\b)*")


def boxes(text: str) -> list[str]:
    """What stands in each closed box, in order. Of boxes in one another, the inner braces stay without their mark."""
    return [content for content, _, _ in _found(text)]


def last_answer(text: str) -> str | None:
    """What stands in the last closed box behind any thinking; None without one.

    Boxes with nothing but `and` or a comma between them are one answer of several entries.
    """
    text = _answering(text)
    entries: list[str] = []
    start = 0
    for content, begin, end in reversed(list(_found(text))):
        if entries and not _BETWEEN.fullmatch(text, end, start):
            break
        entries.append(content)
        start = begin
    if not entries:
        return None
    return ", ".join(dict.fromkeys(reversed(entries)))


def is_open(text: str) -> bool:
    """Whether some box begins in the text and never ends."""
    text = _answering(text)
    ends = _matching_braces(text)
    return any(match.end() not in ends for match in _BOX.finditer(text))


def box(answer: str) -> str:
    """An attempt that is nothing but its answer."""
    return f"\\boxed{{{answer}}}"


def _answering(text: str) -> str:
    """The text without its thinking, of which no draft is an answer, also where it never ends."""
    if "think" not in text:
        return text
    return _OPEN_THOUGHT.sub("", _THOUGHT.sub("", text, count=1), count=1)


def _found(text: str) -> Iterator[tuple[str, int, int]]:
    """Content, begin and end of each closed box."""
    ends = _matching_braces(text)
    position = 0
    while (match := _BOX.search(text, position)) is not None:
        end = ends.get(match.end())
        position = match.end()
        if end is not None:
            yield _BOX.sub("", text[match.end() + 1 : end]).strip(), match.start(), end + 1
            position = end


def _matching_braces(text: str) -> dict[int, int]:
    """The place of the closing brace for the place of each opening one that has one."""
    # Every brace once, however many boxes begin: a text of nothing but `\boxed{` takes no longer than another.
    opened: list[int] = []
    ends: dict[int, int] = {}
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "}" and opened:
            ends[opened.pop()] = match.start()
    return ends
