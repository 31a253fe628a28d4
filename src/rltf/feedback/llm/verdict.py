"""From what a judge wrote to feedback, or to the reason why it is none. Nothing is guessed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from rltf.tasks.base import Rubric, Task
from rltf.types import FailureCause, Problem

BLANK = "[...]"
_BLOCK = re.compile(r"<feedback>(.*?)</feedback>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?feedback>", re.IGNORECASE)
_SCORE = re.compile(r"<score>(.*?)</score>", re.DOTALL | re.IGNORECASE)
_SCORE_TAG = re.compile(r"</?score>", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[0-9]{1,4}(?:\.[0-9]{1,4})?\s*")
_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a judge's text is no feedback."""

    cause: FailureCause
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said."""

    feedback: str
    mean: float | None
    """Of the numbers that were asked for; None where none were."""


def json_schema(rubric: Rubric | None) -> dict[str, Any]:
    """The form of a structured answer."""
    properties: dict[str, Any] = {"feedback": {"type": "string"}}
    if rubric is not None:
        properties["scores"] = {"type": "array", "items": {"type": "number"}}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def parse(text: str, form: Literal["tags", "json_schema"], rubric: Rubric | None = None) -> Verdict | Unusable:
    """The feedback in a judge's text, exactly one, and the numbers that a rubric asks for."""
    text = _THINKING.sub("", text)
    if not text.strip():
        return Unusable("empty", "it was empty")
    read = _from_json(text, rubric) if form == "json_schema" else _from_tags(text, rubric)
    if isinstance(read, Unusable):
        return read
    feedback, numbers = read
    if not feedback.strip():
        return Unusable("empty", "the feedback was empty")
    if rubric is None:
        return Verdict(feedback.strip(), None)
    if len(numbers) != rubric.scores:
        return Unusable("unparseable", f"it held {len(numbers)} scores and not {rubric.scores}")
    if not all(rubric.lowest <= number <= rubric.highest for number in numbers):
        return Unusable("unparseable", f"a score was not from {rubric.lowest} to {rubric.highest}")
    return Verdict(feedback.strip(), sum(numbers) / len(numbers))


def _from_json(text: str, rubric: Rubric | None) -> tuple[str, list[float]] | Unusable:
    fields = set(json_schema(rubric)["properties"])
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Unusable("unparseable", "it was no JSON")
    if not isinstance(value, dict) or set(value) != fields or not isinstance(value["feedback"], str):
        return Unusable("unparseable", f"it was no object with {' and '.join(sorted(fields))}")
    numbers = value.get("scores", [])
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        return Unusable("unparseable", "its scores were no list of numbers")
    return value["feedback"], numbers


def _from_tags(text: str, rubric: Rubric | None) -> tuple[str, list[float]] | Unusable:
    blocks = _BLOCK.findall(text)
    if len(blocks) != 1 or len(_TAG.findall(text)) != 2:
        return Unusable("unparseable", "it did not hold exactly one <feedback> ... </feedback>")
    if rubric is None:
        return blocks[0], []
    # A score within the feedback may be a quotation of the attempt.
    if _SCORE_TAG.search(blocks[0]):
        return Unusable("unparseable", "a <score> stood within the feedback")
    scores = _SCORE.findall(text)
    if len(_SCORE_TAG.findall(text)) != 2 * len(scores) or not all(map(_NUMBER.fullmatch, scores)):
        return Unusable("unparseable", "a <score> ... </score> held no number")
    return blocks[0], [float(score) for score in scores]


def check(feedback: str, problem: Problem, task: Task, max_words: int, leak: str) -> str | Unusable:
    """The feedback as it may be shown to the policy, or why it may not be."""
    words = len(feedback.split())
    if words > 2 * max_words or len(feedback) > 40 * max_words:
        return Unusable("too_long", f"the feedback had {words} words, more than twice the {max_words} allowed")
    script, asked = _script(feedback), _script(problem.prompt)
    if script and asked and script != asked:
        return Unusable(
            "language", f"the feedback was written in {script.title()} letters, the question in {asked.title()}"
        )
    if leak == "allow" or not task.reveals_answer(problem, feedback):
        return feedback
    if leak == "redact":
        blanked = redact(feedback, problem.answer)
        if not task.reveals_answer(problem, blanked):
            return blanked
    return Unusable("leak", "the feedback gave the right answer away")


def redact(feedback: str, answer: str) -> str:
    """The feedback with the gold answer blanked, however its words are spaced and written."""
    words = re.findall(r"\w+|[^\w\s]", answer)
    if not words:
        return feedback
    pattern = r"[\s,]*".join(re.escape(word) for word in words)
    return re.sub(rf"(?<!\w){pattern}(?!\w)", BLANK, feedback, flags=re.IGNORECASE)


@lru_cache(maxsize=1024)
def _script(text: str) -> str | None:
    """The script of most letters: LATIN, CYRILLIC, CJK, ...; None for less than five letters."""
    letters = [c for c in text[:4000] if c.isalpha()]
    if len(letters) < 5:
        return None
    names = (unicodedata.name(letter, "UNKNOWN").split()[0] for letter in letters)
    # Japanese is written in three scripts at once.
    counts = Counter("CJK" if name in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA") else name for name in names)
    return counts.most_common(1)[0][0]
