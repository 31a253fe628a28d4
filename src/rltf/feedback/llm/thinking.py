"""Tells what a judge thought from what it answers. Models and servers mark thinking in many ways.

Marks are opening and closing tags (`<think>`, `<thinking>`, `<seed:think>`, `[THINK]`, `<|begin_of_thought|>`, ...), a
closing tag alone where the chat template has opened it, and the channels of the harmony format. What lies between is
never read: a judge drafts there, and a policy could live off drafts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from rltf.support.texts import THINKING

Span: TypeAlias = tuple[int, int]

_MARK = re.compile(
    rf"<\|?\s*(?P<slash>/?)\s*(?P<name>{THINKING})(?:\s[^<>]*)?\|?>"
    r"|\[(?P<bracket>/?)(?:think|thinking|reasoning)\]"
    r"|\u25c1(?P<triangle>/?)think\u25b7"
    r"|<\|channel>\s*(?:thought|analysis)|(?P<channel><channel\|>)"
    r"|<unused94>|(?P<unused><unused95>)",
    re.IGNORECASE,
)
_ENDS = re.compile(r"(?:^|_)end(?:_|$)", re.IGNORECASE)
_HARMONY = re.compile(
    r"\s*(?:<\|start\|>assistant)?\s*<\|channel\|>"
    r"|\s*analysis(?=[A-Z\s<]).*assistantfinal",  # as it looks once its control tokens are dropped
    re.DOTALL,
)
_FINAL = re.compile(r"<\|channel\|>\s*final\b[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>|assistantfinal")
_MESSAGE_END = re.compile(r"<\|(?:end|return|start|call|channel)\|>")


class Answer(NamedTuple):
    """A judge's text without its thinking."""

    text: str
    unfinished: bool
    """It ends within the thinking."""


def without_thinking(text: str, answers: Sequence[Span]) -> Answer:
    """What stands outside the thinking.

    Args:
        text: all that the judge wrote.
        answers: where something in the form of an answer stands. A mark within is a quotation, not a mark.
    """
    if _HARMONY.match(text):
        finals = list(_FINAL.finditer(text))
        if not finals:
            return Answer("", True)
        return Answer(_MESSAGE_END.split(text[finals[-1].end() :], maxsplit=1)[0], False)
    outside: list[str] = []
    start, thinks = 0, False
    for mark in _MARK.finditer(text):
        if any(begin < mark.start() < end for begin, end in answers) or mark[0].endswith("/>"):
            continue
        if _closes(mark):
            if not thinks:
                # The chat template, or the judge itself, began to think before the first word.
                outside.clear()
            start, thinks = mark.end(), False
        elif not thinks:
            outside.append(text[start : mark.start()])
            thinks = True
    return Answer("".join(outside) if thinks else "".join((*outside, text[start:])), thinks)


def _closes(mark: re.Match[str]) -> bool:
    if mark["name"]:
        return bool(mark["slash"]) or _ENDS.search(mark["name"]) is not None
    return bool(mark["bracket"] or mark["triangle"] or mark["channel"] or mark["unused"])
