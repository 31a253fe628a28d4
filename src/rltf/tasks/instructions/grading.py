"""From an attempt and its constraints to a score and to feedback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK, FeedbackLevel
from rltf.tasks.instructions.kinds import Kind
from rltf.tasks.instructions.styles import lesson
from rltf.tasks.instructions.text import counted, fold, words
from rltf.tasks.puzzle import malformed
from rltf.types import Score

StyleFeedback: TypeAlias = Literal["lesson", "fault", "both"]
_NO_WORD = "There is no word in your answer."


def grade(kinds: Sequence[Kind], text: str, *, partial: bool) -> Score:
    """1 where all constraints are met. Otherwise 0, or, with `partial`, the share of them that are.

    Of constraints that any text meets, such as "no comma", none earns a share alone: one that is anchored must be met
    too, if there is any.
    """
    if not words(text):
        return malformed(_NO_WORD)
    faults = [kind.fault(text) for kind in kinds]
    met = [kind for kind, fault in zip(kinds, faults, strict=True) if not fault]
    correct = len(met) == len(kinds)
    earns = any(kind.anchored for kind in met) or not any(kind.anchored for kind in kinds)
    share = len(met) / len(kinds) if partial and earns else 0.0
    told = [f"{kind.name}: {fault or 'met'}" for kind, fault in zip(kinds, faults, strict=True)]
    return Score(
        reward=1.0 if correct else share,
        correct=correct,
        well_formed=True,
        answer=text.strip(),
        explanation="; ".join(told),
    )


def criticise(
    said: Sequence[Kind], style: Sequence[Kind], text: str, level: FeedbackLevel, style_feedback: StyleFeedback
) -> str:
    """What is wrong with an attempt, as far as the level lets it be said.

    `located`: a sentence for each constraint that is not met, first those that the question tells.
    """
    faults = [fault for kind in said if (fault := kind.fault(text))]
    broken = [(rule, fault) for rule in style if (fault := rule.fault(text))]
    if not words(text):
        return INCORRECT_FEEDBACK if level == "correctness" else _NO_WORD
    if not faults and not broken:
        return CORRECT_FEEDBACK
    if level == "correctness":
        return INCORRECT_FEEDBACK
    if level == "count":
        number = len(faults) + len(broken)
        return f"{number} of {counted(len(said) + len(style), 'requirement')} {'is' if number == 1 else 'are'} not met."
    for rule, fault in broken:
        faults += [fault] if style_feedback != "lesson" else []
        faults += [lesson(rule)] if style_feedback != "fault" else []
    return " ".join(faults)


def reveals(answer: str, text: str) -> bool:
    """Whether a text holds an answer, spaces and case aside."""
    known = " ".join(fold(answer).split())
    return len(known) > 3 and f" {known} " in f" {' '.join(fold(text).split())} "
