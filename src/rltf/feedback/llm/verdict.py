"""From what a judge wrote to feedback, or to the reason why it is none. Nothing is guessed."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from rltf.feedback.llm.json_answer import mended, objects, whole
from rltf.feedback.llm.thinking import without_thinking
from rltf.support.side_by_side import in_calling_thread
from rltf.support.texts import sound
from rltf.tasks.base import Rubric, Task
from rltf.types import FailureCause, Problem

BLANK = "[...]"
_OPEN = r"<\s*feedback(?:\s[^<>]*)?>"
_TAG = re.compile(rf"{_OPEN}|<\s*/\s*feedback\s*>", re.IGNORECASE)
_BLOCK = re.compile(rf"{_OPEN}((?:(?!{_OPEN}).)*?)<\s*/\s*feedback\s*>", re.DOTALL | re.IGNORECASE)
_SCORE_TAG = re.compile(r"<\s*score(?:\s[^<>]*)?>|<\s*/\s*score\s*>", re.IGNORECASE)
_SCORE = re.compile(r"<\s*score(?:\s[^<>]*)?>(.*?)<\s*/\s*score\s*>(\s*/\s*[0-9]+)?", re.DOTALL | re.IGNORECASE)
_BOLD_TAG = re.compile(r"\*\*\s*(<\s*/?\s*(?:feedback|score)\b[^<>]*>)\s*\*\*", re.IGNORECASE)
_ESCAPED_TAG = re.compile(r"&lt;\s*feedback\b", re.IGNORECASE)
# The name of what is given, which the tag or the field has said already.
_LABEL = re.compile(
    r"(?:(?:my|your|the|overall|final|total)\s+)?(?:score|rating|grade)[\s*_`]*(?:(?:is\s*)?[:=]|is\b)", re.IGNORECASE
)
_SCORE_LINE = re.compile(r"[\s*_#]*score[\s*_]*[:=](.*)", re.DOTALL | re.IGNORECASE)
# Spelled in letters, as `prompts.harmless` keeps it out of what a judge may quote.
_FIELD = re.compile(r"[\"']\s*feedback\s*\\?[\"']\s*:", re.IGNORECASE)
_SCORES_FIELD = re.compile(r"[\"']\s*scores?\s*\\?[\"']\s*:", re.IGNORECASE)
_DRESSED_TAG = re.compile(
    r"\\?[<\uff1c]\s*([/\uff0f]?)\s*(feedback|score)\b([^<>\uff1c\uff1e\\]*)\\?[>\uff1e]", re.IGNORECASE
)
_CDATA = re.compile(r"\s*<!\[CDATA\[(.*)\]\]>\s*", re.DOTALL)
_NUMBER = re.compile(r"\+?([0-9]{1,4}(?:\.[0-9]{1,4})?)\.?(?:\s*(?:/|(?:out\s+)?of)\s*([0-9]{1,4})\.?)?", re.IGNORECASE)


_SWALLOWERS = {"\a": "a", "\b": "b", "\v": "v", "\f": "f", "\r": "r"}
_SWALLOWED = re.compile(r"[\a\b\v\f\r](?=[A-Za-z])")


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


def parse(
    text: str, form: Literal["tags", "json_schema"], rubric: Rubric | None = None, *, cut: bool = False
) -> Verdict | Unusable:
    """The feedback in a judge's text, exactly one, and the numbers that a rubric asks for.

    `cut`: the token limit ended the text. Then it counts only if, the thinking aside, it is what was asked for from its
    first to its last character: anything else may be a draft.
    """
    text = text.strip().lstrip("\ufeff")
    if form == "json_schema":
        text = mended(text)
        answers = [(found.start, found.end) for found in objects(text) if "feedback" in found.value]
    else:
        text = _with_plain_tags(text)
        answers = [match.span() for match in _BLOCK.finditer(text)]
    answer, unfinished = without_thinking(text, answers)
    read = _read(answer, form, rubric, cut)
    if not isinstance(read, Unusable) and not (cut and unfinished):
        return read
    if cut:
        return Unusable("token_limit", "the token limit, judge.max_tokens, cut it")
    if unfinished:
        return Unusable("unparseable", "it ended within its thinking")
    return read


def _read(text: str, form: Literal["tags", "json_schema"], rubric: Rubric | None, cut: bool) -> Verdict | Unusable:
    if not text.strip():
        return Unusable("empty", "it was empty")
    read = _from_json(text, rubric, cut) if form == "json_schema" else _from_tags(text, rubric, cut)
    if isinstance(read, Unusable):
        return read
    feedback, numbers = _visible(read[0]), read[1]
    if not feedback:
        return Unusable("empty", "the feedback was empty")
    if rubric is None:
        return Verdict(feedback, None)
    if len(numbers) != rubric.scores:
        return Unusable("unparseable", f"it held {len(numbers)} scores and not {rubric.scores}")
    if not all(rubric.lowest <= number <= rubric.highest for number in numbers):
        return Unusable("unparseable", f"a score was not from {rubric.lowest} to {rubric.highest}")
    return Verdict(feedback, sum(numbers) / len(numbers))


def _from_json(text: str, rubric: Rubric | None, cut: bool) -> tuple[str, list[float]] | Unusable:
    fields = " and ".join(sorted(json_schema(rubric)["properties"]))
    try:
        value = whole(text, complete=not cut)
    except (ValueError, RecursionError):
        found = [] if cut else [found.value for found in objects(text) if "feedback" in found.value]
        if not found:
            return Unusable("unparseable", "it was no JSON")
        if any(other != found[0] for other in found):
            return Unusable("unparseable", "it held several objects with feedback")
        if len(_SCORES_FIELD.findall(text)) > sum("scores" in each or "score" in each for each in found):
            # What looks like the end of the object may be a quotation of the attempt within it.
            return Unusable("unparseable", "it held scores outside the object with feedback")
        value = found[0]
    if not isinstance(value, dict) or not isinstance(value.get("feedback"), str) or not _FIELD.search(text):
        return Unusable("unparseable", f"it was no object with {fields}")
    if rubric is None:
        return value["feedback"], []
    given = [value[name] for name in ("scores", "score") if name in value]
    if len(given) != 1:
        return Unusable("unparseable", f"it was no object with {fields}")
    numbers = [_number(number, rubric) for number in (given[0] if isinstance(given[0], list) else given)]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return Unusable("unparseable", "its scores were no list of numbers")
    return value["feedback"], known


def _from_tags(text: str, rubric: Rubric | None, cut: bool) -> tuple[str, list[float]] | Unusable:
    blocks = _BLOCK.findall(text)
    said = {block.strip() for block in blocks}
    # A single word beside the feedback stands between tags that are spoken of: "between <feedback> and </feedback>".
    said = {block for block in said if len(block.split()) > 1} or said
    if len(said) != 1 or len(_TAG.findall(text)) != 2 * len(blocks):
        return Unusable("unparseable", "it did not hold exactly one <feedback> ... </feedback>")
    if cut and _SCORE.sub("", _BLOCK.sub("", text)).strip():
        return Unusable("unparseable", "it went on behind the feedback")
    (feedback,) = said
    if cdata := _CDATA.fullmatch(feedback):
        feedback = cdata[1]
    if rubric is None:
        return feedback, []
    # A score within the feedback may be a quotation of the attempt.
    if _SCORE_TAG.search(feedback):
        return Unusable("unparseable", "a <score> stood within the feedback")
    written = ["".join(score) for score in _SCORE.findall(text)]
    line = _SCORE_LINE.fullmatch(_BLOCK.split(text)[-1])
    if not written and line and rubric.scores == 1:
        written = [line[1]]
    scores = [_number(score, rubric) for score in written]
    known = [score for score in scores if score is not None]
    if len(known) < len(scores) or len(_SCORE_TAG.findall(text)) != 2 * len(_SCORE.findall(text)):
        return Unusable("unparseable", "a <score> ... </score> held no number")
    return feedback, known


def _with_plain_tags(text: str) -> str:
    """The text with tags as they were asked for, where a judge or its endpoint dressed them up."""
    if _ESCAPED_TAG.search(text) and not _TAG.search(text):
        text = html.unescape(text)
    text = _DRESSED_TAG.sub(lambda tag: f"<{'/' if tag[1] else ''}{tag[2]}{tag[3]}>", text)
    return _BOLD_TAG.sub(r"\1", text)


_AROUND = " \t\n*_`()[]\"'$"
_NO_DIGIT_FORMS = ("<super>", "<sub>", "<circle>")


def _number(value: object, rubric: Rubric) -> float | None:
    """A score as judges write it: 8, 8.5, "8", 8/10, 8 out of 10, 8 of 10, **8**, Score: 8; None where it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return None
    # Digits of full width are digits; raised, lowered or circled ones are no part of a number as it is written.
    if any(unicodedata.decomposition(character).startswith(_NO_DIGIT_FORMS) for character in value):
        return None
    written = unicodedata.normalize("NFKC", value).strip(_AROUND)
    label = _LABEL.match(written)
    match = _NUMBER.fullmatch(written[label.end() :].strip(_AROUND) if label else written)
    if match is None or (match[2] is not None and int(match[2]) != rubric.highest):
        return None
    return float(match[1])


def _visible(text: str) -> str:
    """Feedback without control characters, which no judge means and no terminal or page should meet.

    Those that stand before letters are what an endpoint made of a backslash and the first of them: LaTeX.
    """
    lines = sound(text).replace("\r\n", "\n")
    lines = _SWALLOWED.sub(lambda match: "\\" + _SWALLOWERS[match[0]], lines)
    return "".join(c for c in lines if c in "\n\t" or unicodedata.category(c) != "Cc").strip()


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
    if leak == "allow" or not _leaks(task, problem, feedback):
        return feedback
    if leak == "redact":
        blanked = redact(feedback, problem.answer)
        if not _leaks(task, problem, blanked):
            return blanked
    return Unusable("leak", "the feedback gave the right answer away")


def _leaks(task: Task, problem: Problem, feedback: str) -> bool:
    return in_calling_thread(lambda: task.reveals_answer(problem, feedback))


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
