"""What an endpoint's body says: the answer, why it ended, what it took, or what went wrong. Endpoints differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Ending: TypeAlias = Literal["whole", "cut", "filtered"]
"""Why an answer ends: by itself, at the token limit, or as a filter of the endpoint's took it away."""

_REASONS = ("finish_reason", "native_finish_reason", "finishReason", "stop_reason", "done_reason")
"""A gateway may call every answer stopped, and pass on what the endpoint behind it said."""
_CUT = {"length", "max_tokens", "max_output_tokens", "max_completion_tokens", "model_length", "token_limit"}
_FILTERED = {
    "content_filter", "content-filter", "contentfilter", "safety", "blocklist", "prohibited_content", "recitation",
    "spii", "sensitive", "refusal",
}  # fmt: skip
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
_MOST_TOKENS = 10**9
"""What is counted beyond is no count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What matters of a chat completion."""

    text: str
    """Empty where there is none."""
    ending: Ending
    refusal: str | None
    """What the model said in place of an answer, where the endpoint tells it apart."""
    only_thoughts: bool
    """There is no answer, but thinking in a field of its own."""
    prompt_tokens: int | None
    """As the endpoint counts them; None where it does not."""
    completion_tokens: int | None


class NoAnswer(Exception):
    """A body with HTTP status 200 that is no chat completion, with the endpoint's message where it has one."""

    def __init__(self, reason: str, code: str = "", *, served: bool = True) -> None:
        super().__init__(reason)
        self.code = code
        """The endpoint's own word or number for what went wrong; often an HTTP status."""
        self.served = served
        """Whether the endpoint may have begun to answer, and charge for it."""


def read_body(text: str) -> Completed:
    """Reads the body of an answer with HTTP status 200; raises `NoAnswer` where it holds none, with what it says."""
    try:
        body = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        begins = " ".join(text.split())[:60]
        raise NoAnswer(f"the body is no JSON, it begins {begins!r}" if begins else "the body is empty") from None
    if not isinstance(body, Mapping):
        raise NoAnswer("the body is no chat completion")
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        told, code = error_told(body)
        raise NoAnswer(told or "the body is no chat completion", code, served=not told)
    finish = choice.get("finish_reason")
    if finish == "error" or choice.get("error"):
        raise _no_answer(choice if choice.get("error") else body, "the endpoint broke the answer off")
    message: object = choice.get("message")
    if not isinstance(message, Mapping):
        # The older endpoint for completions has the text here.
        if not isinstance(choice.get("text"), str):
            raise _no_answer(body, "the body is no chat completion")
        message = {"content": choice["text"]}
    content, refusal = _content(message)
    prompt_tokens, completion_tokens = read_usage(body.get("usage"))
    return Completed(
        text=content,
        ending=_ending(choice, body),
        refusal=refusal,
        only_thoughts=not content.strip() and any(message.get(name) for name in _THOUGHTS),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )


def read_usage(usage: object) -> tuple[int | None, int | None]:
    """Tokens of prompt and answer, under either of their names, each None where it is not counted."""
    if not isinstance(usage, Mapping):
        return None, None
    prompt, completion = (
        next((count for name in names if (count := _count(usage.get(name))) is not None), None)
        for names in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
    )
    total = _count(usage.get("total_tokens"))
    if total is not None and prompt is not None and completion is None and total > prompt:
        completion = total - prompt
    if total is not None and completion is not None and prompt is None and total > completion:
        prompt = total - completion
    return prompt, completion


def error_told(body: object) -> tuple[str, str]:
    """The message and the code of an error's body, as the one endpoint or the other writes them; empty where none."""
    if isinstance(body, str):
        return body, ""
    if isinstance(body, list):
        return next((told for item in body if (told := error_told(item))[0]), ("", ""))
    if not isinstance(body, Mapping):
        return "", ""
    code = next((str(body[name]) for name in ("code", "status", "type") if _is_code(body.get(name))), "")
    for name in ("error", "errors", "message", "msg", "detail", "details", "error_description", "error_message"):
        message, inner = error_told(body.get(name))
        if message.strip():
            return message, inner or code
    return "", code


def _is_code(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _no_answer(body: Mapping[str, Any], otherwise: str) -> NoAnswer:
    message, code = error_told(body)
    return NoAnswer(message or otherwise, code)


def _ending(*told: Mapping[str, Any]) -> Ending:
    """Why an answer ended, by whichever field says that it did not end by itself."""
    details = [each["incomplete_details"] for each in told if isinstance(each.get("incomplete_details"), Mapping)]
    reasons = [each.get(name) for each in told for name in _REASONS] + [each.get("reason") for each in details]
    words = {reason.strip().lower() for reason in reasons if isinstance(reason, str)}
    return "cut" if words & _CUT else "filtered" if words & _FILTERED else "whole"


def _content(message: Mapping[str, Any]) -> tuple[str, str | None]:
    """The text of a message, without what is marked as thinking, and what it says in place of an answer."""
    content = message.get("content")
    refusal = message.get("refusal")
    if content is None and isinstance(message.get("parsed"), Mapping):
        content = message["parsed"]
    if isinstance(content, Mapping):
        # One part, or a structured answer that the endpoint has read already.
        content = [content] if "text" in content else json.dumps(content, ensure_ascii=False)
    if isinstance(content, list):
        refusals = [part["refusal"] for part in content if isinstance(part, Mapping) and part.get("refusal")]
        refusal = refusal or next(iter(refusals), None)
        content = "".join(map(_part, content))
    if not isinstance(content, str | None):
        raise NoAnswer("its content is no text")
    return content or "", refusal if isinstance(refusal, str) and refusal.strip() else None


def _part(part: object) -> str:
    """The text of one part of a message: of thoughts, images and calls of tools there is none."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or part.get("type", "text") not in ("text", "output_text"):
        return ""
    text = part.get("text")
    # Some wrap it once more.
    text = text.get("value") if isinstance(text, Mapping) else text
    return text if isinstance(text, str) else ""


def _count(value: object) -> int | None:
    """A number of tokens, however it is written."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_TOKENS:
        return None
    return int(value)
