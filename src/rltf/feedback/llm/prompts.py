"""What an LLM judge is asked: a file with the text, filled in with untrusted parts that cannot leave their places."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import Path

from rltf.config.feedback import JudgeConfig
from rltf.support.errors import UserError
from rltf.support.templates import fields, substitute
from rltf.tasks.base import Family, Rubric
from rltf.types import Feedback, FeedbackRequest, Message, Problem

_DIVIDER = "\n---\n"
_FIELDS = {"tells", "max_words", "form", "question", "attempt", "verdict", "answer", "history", "criteria"}
_TELLS = {
    "hint": "Say where the answer goes wrong and give a hint how to go on.",
    "location": "Say where the answer goes wrong and in what way, but not how to mend it.",
    "correctness": "Say only whether the answer is right.",
}
_FORMS = {
    "tags": "Write the feedback between <feedback> and </feedback>, once, and nothing behind it.",
    "json_schema": 'Answer with one JSON object, {"feedback": "..."}.',
}
_SCORE_FORMS = {
    "tags": "Write the feedback between <feedback> and </feedback>, once; then {what} between <score> and </score>.",
    "json_schema": 'Answer with one JSON object, {{"feedback": "...", "scores": [...]}}, with {what} in the list.',
}
# Tags of ours, also as one who wants to be taken for them might write them.
_TAG = re.compile(
    r"(?:[<\uff1c\u2039]|&(?:lt|#0*60|#x0*3c);)"
    r"(\s*[/\uff0f]?\s*(?:question|attempt|feedback|answer_key|earlier|score|criteria)\b)",
    re.IGNORECASE,
)
# The fields of ours in JSON: a judge that quotes an attempt must not seem to answer.
_FIELD = re.compile(r"\\*[\"'](\s*(?:feedback|scores?)\s*)\\*[\"'](\s*:)", re.IGNORECASE)
_CONTROL_TOKEN = re.compile(
    r"<[|\uff5c][^<>\n]{1,60}[|\uff5c]>|\[/?(?:INST|SYS)\]|<</?SYS>>|</?s>|<(?:bos|eos|pad|unk|start_of_turn|end_of_turn)>"
)
# Letters that are drawn as nothing: variation selectors, fillers, the joiner of graphemes.
_BLANK = re.compile("[\u034f\u115f\u1160\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_LONGEST_PART = 20_000


class JudgePrompt:
    """The text of one kind of judge."""

    def __init__(self, config: JudgeConfig, family: Family, *, scores: bool = False) -> None:
        """Reads the file of the settings, or that of the family of tasks; `scores`: for a judge that scores.

        Raises `UserError` where it is missing or names a field that there is not.
        """
        own = Path(__file__).parent / "prompts" / ("scored" if scores else "") / f"{family}.txt"
        path = Path(config.prompt).expanduser() if config.prompt else own
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"judge.prompt={path}: cannot be read ({error})") from error
        unknown = sorted(fields(text) - _FIELDS)
        if unknown:
            raise UserError(f"judge.prompt={path}: no field {{{unknown[0]}}}; known: {', '.join(sorted(_FIELDS))}")
        for needed in ("question", "attempt", "form", *(("criteria",) if scores else ())):
            if f"{{{needed}}}" not in text:
                raise UserError(f"judge.prompt={path}: holds no {{{needed}}}, without which no judge can answer")
        used = {
            "answer": config.show_answer,
            "tells": config.tells != JudgeConfig.model_fields["tells"].default,
            "max_words": config.max_words != JudgeConfig.model_fields["max_words"].default,
        }
        for name, is_set in used.items():
            if is_set and f"{{{name}}}" not in text:
                setting = "show_answer" if name == "answer" else name
                reason = f"holds no {{{name}}}, so judge.{setting} has no effect; add it there"
                raise UserError(f"judge.prompt={path}: {reason}")
        self._system, divided, self._user = text.partition(_DIVIDER)
        if not divided:
            self._system, self._user = "", text
        self._config = config

    def messages(self, request: FeedbackRequest) -> tuple[Message, ...]:
        """The conversation that asks for feedback on one attempt."""
        config, problem = self._config, request.problem
        verdict = (
            "The answer was checked: it is right." if request.score.correct else "The answer was checked: it is wrong."
        )
        earlier = [
            f"<earlier>\n{harmless(turn.text)}\n\nFeedback on it: {harmless(turn.feedback.text)}\n</earlier>"
            for turn in request.history
            if isinstance(turn.feedback, Feedback)
        ]
        return self._filled(
            problem,
            request.attempt,
            form=_FORMS[config.format],
            verdict=verdict,
            history="\n\nEarlier attempts:\n\n" + "\n\n".join(earlier) if earlier else "",
        )

    def for_scores(self, problem: Problem, attempt: str, rubric: Rubric) -> tuple[Message, ...]:
        """The conversation that asks for scores, and for the criticism that goes with them."""
        numbers = f"a whole number from {rubric.lowest} to {rubric.highest}"
        what = f"for each of the {rubric.scores} criteria, in their order, {numbers}" if rubric.criteria else numbers
        criteria = "".join(f"\n{i}. {harmless(text)}" for i, text in enumerate(rubric.criteria, start=1))
        return self._filled(
            problem,
            attempt,
            form=_SCORE_FORMS[self._config.format].format(what=what),
            criteria=f"\n\n<criteria>{criteria}\n</criteria>" if criteria else "",
        )

    def _shown(self, problem: Problem) -> str:
        if not self._config.show_answer or not problem.answer:
            return ""
        return f"\n\n<answer_key>\n{harmless(problem.answer)}\n</answer_key>"

    def _filled(self, problem: Problem, attempt: str, **fields: str) -> tuple[Message, ...]:
        fields = dict.fromkeys(_FIELDS, "") | fields
        fields |= {
            "tells": _TELLS[self._config.tells],
            "max_words": str(self._config.max_words),
            "question": harmless(problem.prompt),
            "attempt": harmless(attempt),
            "answer": self._shown(problem),
        }
        user = Message(role="user", content=substitute(self._user, fields).strip())
        if not self._system:
            return (user,)
        return (Message(role="system", content=substitute(self._system, fields).strip()), user)


def second_chance(messages: tuple[Message, ...], reason: str) -> tuple[Message, ...]:
    """The conversation once more, with what was wrong with the judge's first answer."""
    last = messages[-1]
    note = f"An earlier answer to this could not be used: {reason}. Answer again, as asked."
    return (*messages[:-1], Message(role=last.role, content=f"{last.content}\n\n{note}"))


@lru_cache(maxsize=1024)  # A group's attempts share their question.
def harmless(text: str) -> str:
    """Untrusted text that can close none of our tags and holds neither control tokens nor invisible characters."""
    visible = "".join(
        c for c in text[:_LONGEST_PART] if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co")
    )
    visible = _BLANK.sub("", visible)
    while _CONTROL_TOKEN.search(visible):
        visible = _CONTROL_TOKEN.sub("", visible)
    while _FIELD.search(visible):
        visible = _FIELD.sub(r"(\1\2", visible)
    return _TAG.sub(r"(\1", visible)
