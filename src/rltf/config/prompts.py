"""Settings of what the policy is told around questions, attempts and feedback."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationInfo, field_validator, model_validator

from rltf.config.section import Section
from rltf.support.templates import fields

REQUIRED = {"revision": {"feedback"}, "single_message": {"question", "feedback"}, "lesson_request": {"question"}}
"""The fields that a template must have."""
OPTIONAL = {"revision": {"question"}, "single_message": {"attempt"}, "lesson_request": set[str]()}
"""The fields that it may have as well."""


# TOML has dates of its own, JSON has not.
_ISO = BeforeValidator(lambda value: value.isoformat() if type(value) is datetime.date else value)


class PromptsConfig(Section):
    """What the policy is told. A text that begins with `@` names a file, whose text is taken when the settings are
    read, without line breaks at its end; the run's record holds the text."""

    system: str | None = None
    """The system prompt: it stands before the first message of the user in every prompt, a conversation of a log
    included unless that has a system message of its own. Unset: none."""
    revision: str = (
        "{feedback}\n\nAnswer the original question afresh, as if for the first time, without mentioning this feedback."
    )
    """The message that asks for another attempt, behind the attempt, where `rollout.conversation` is `continued` or
    `newest`. `{feedback}` is required, `{question}` may be there."""
    single_message: str = (
        "{question}\n\nYour previous answer:\n{attempt}\n\nFeedback on it:\n{feedback}\n\n"
        "Answer the original question afresh, as if for the first time, without mentioning this feedback."
    )
    """The whole prompt for another attempt, where `rollout.conversation` is `single_message`. `{question}` and
    `{feedback}` are required; without `{attempt}`, question and feedback alone often serve small models best."""
    feedback_request: str = "Say what is wrong with this answer, without giving the right one."
    """The message behind an attempt that asks the policy for feedback on it: what feedback modelling learns to answer,
    and what `feedback.source = self` asks."""

    lesson_request: str = "{question}\n\nDo not answer yet: say what an answer to this has to mind."
    """In place of the question, what asks the policy for the feedback that answers to it will get: what feedback
    modelling with `objective.fm.given = question` learns to answer. `{question}` is required."""
    thinking: Literal["template", "kept", "unscored"] = "template"
    """What becomes of the block in which a model thinks before it answers (`<think>`). `template`: the scorer and
    sources of feedback read it, and later prompts hold what the chat template leaves of it. `kept`: later prompts hold
    it whole. `unscored`: nobody reads it, and no later prompt holds it; it is trained and recorded all the same."""
    date: Annotated[str | None, _ISO] = None
    """The day, such as 2026-11-27, that a chat template with today's date shows from a run's first prompt to its last.
    Unset: the day on which the run begins, which its record then holds."""

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        """The word none brings back the default, for settings laid over others."""
        return {k: v for k, v in data.items() if v != "none"} if isinstance(data, dict) else data

    @field_validator("system", "revision", "single_message", "feedback_request", "lesson_request")
    @classmethod
    def _text(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is None:
            return None
        if text.startswith("@"):
            text = _text_of(text[1:])
        if not text.strip():
            raise ValueError("holds no text; write one or leave the setting out")
        name = str(info.field_name)
        if name in REQUIRED:
            what = "request" if name == "lesson_request" else "revision"
            _check_fields(text, REQUIRED[name], OPTIONAL[name], what)
        elif found := fields(text) & {"question", "attempt", "feedback"}:
            raise ValueError(f"has no fields, so {{{min(found)}}} would stay as it is written; remove it")
        return text

    @field_validator("date")
    @classmethod
    def _day(cls, day: str | None) -> str | None:
        try:
            return None if day is None else datetime.date.fromisoformat(day).isoformat()
        except ValueError as error:
            raise ValueError(f"{day!r} is no day; write it as 2026-11-27") from error

    @property
    def day(self) -> datetime.date | None:
        """The day that templates show, if it is settled."""
        return None if self.date is None else datetime.date.fromisoformat(self.date)


def _text_of(file: str) -> str:
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"the file {file} cannot be read ({reason}); give @ and the path of a text file") from error
    if text.startswith("@"):
        # Once it stands in the run's record it would be taken for the name of another file.
        raise ValueError(f"the text of {file} begins with @, which names a file; begin it with another character")
    return text


def _check_fields(text: str, required: set[str], optional: set[str], what: str) -> None:
    found = fields(text)
    known = required | optional
    if unknown := sorted(found - known):
        name, listed = unknown[0], ", ".join(f"{{{field}}}" for field in sorted(known))
        raise ValueError(f"no field {{{name}}}; known here: {listed}; for braces as text write {{{{{name}}}}}")
    if missing := sorted(required - found):
        raise ValueError(f"holds no {{{missing[0]}}}, which every {what} needs; add it")
