"""Conversations as chat products and data sets write them, as messages of system, user and assistant.

Understood are OpenAI's messages (also parts of content, tool calls, refusals), ShareGPT's `from` and `value`,
Anthropic's blocks, Gemini's `parts`, WildFeedback's `Role` and `Content`, and pairs of `input` and `output`. A
`developer` is a system message. Of a tool's use the call stays in the assistant's text and the result becomes a message
of the user's, between the tags in which most chat templates write them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from rltf.feedback.logged.tally import UnusableRow
from rltf.support.texts import sound
from rltf.types import Message, Role

_Speaker: TypeAlias = Literal["system", "user", "assistant", "tool", "call"]
_SPEAKERS: Mapping[str, _Speaker] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter", "customer"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot", "chatbot", "agent", "ai", "bing", "bard", "claude"),
                    "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "ipython", "environment", "tool_response", "tool_result",
                     "function_response", "function_result"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
}  # fmt: skip
_ROLE_FIELDS = ("role", "from", "Role", "author", "speaker", "sender")
_TEXT_FIELDS = ("content", "value", "text", "Content", "parts", "message")
_ASKS = ("input", "human", "user", "prompt", "instruction", "question")
_ANSWERS = ("output", "assistant", "gpt", "bot", "response", "answer", "completion")
_SYSTEMS = (
    "system", "system_prompt", "system_message", "system_instruction", "systemPrompt", "systemMessage",
    "systemInstruction",
)  # fmt: skip
"""Fields beside a conversation that hold what stands above it."""
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning")
"""Parts that the user never saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message with what its row says about it."""

    role: Role
    content: str
    by_user: bool = False
    """Whether a person wrote it; a tool's result is the user's by role alone."""
    follows: bool = False
    """Whether it belongs to a message of the same role before it: a tool's call, or its result."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """The message's own fields."""


def messages_of(value: object, place: str) -> tuple[Message, ...]:
    """A conversation as messages; raises `UnusableRow` at `place`."""
    return tuple(Message(role=said.role, content=said.content) for said in conversation_of(value, place))


M = TypeVar("M", Said, Message)


def under_system(row: Mapping[str, Any], place: str, messages: Sequence[M]) -> tuple[M, ...]:
    """A conversation below the system prompt that its row has in a field of its own.

    One that begins with a system message keeps it, behind that prompt in the same message, where it is another.
    """
    text = "\n\n".join(_system_texts(row, place))
    found = list(messages)
    if not text or not found:
        return tuple(found)
    first = found[0]
    if first.role != "system":
        above = replace(first, role="system", content=text)
        found.insert(0, replace(above, by_user=False, notes={}) if isinstance(above, Said) else above)
    elif text not in first.content:
        found[0] = replace(first, content=f"{text}\n\n{first.content}")
    return tuple(found)


def _system_texts(row: Mapping[str, Any], place: str) -> Iterator[str]:
    told: set[str] = set()
    for name in _SYSTEMS:
        value = row.get(name)
        if isinstance(value, str | list | Mapping) and value:
            text = text_of_content(value, f"{place}: {name}")
            if text.strip() and text not in told:
                told.add(text)
                yield text


def conversation_of(value: object, place: str) -> list[Said]:
    """A conversation with the notes on its messages; raises `UnusableRow` at `place`."""
    if isinstance(value, str) and value.lstrip().startswith("["):  # Some tables keep a list as its JSON.
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise UnusableRow(place, "must be a list of messages") from None
    if not isinstance(value, list) or not value:
        raise UnusableRow(place, "must be a list of messages")
    found: list[Said] = []
    for number, item in enumerate(value):
        for said in _said(item, f"{place}[{number}]"):
            _join(found, said)
    return found


def text_of_content(content: object, place: str) -> str:
    """The text of a message's content: a text, parts of content, or a message that holds them."""
    text, tools = _text_and_tools(content, place)
    return "\n".join(filter(None, (text, *tools)))


def _said(item: object, place: str) -> Iterator[Said]:
    """The messages of one entry of the list: one, or two of a pair."""
    if not isinstance(item, Mapping):
        raise UnusableRow(place, "must be a message with role and content")
    name = next((name for name in _ROLE_FIELDS if item.get(name) is not None), None)
    ask, answer = (next((key for key in keys if item.get(key) is not None), None) for keys in (_ASKS, _ANSWERS))
    if name is None and ask is not None and answer is not None:
        for text in _system_texts(item, place):
            yield Said(role="system", content=text)
        yield Said(role="user", content=text_of_content(item[ask], f"{place}.{ask}"), by_user=True, notes=item)
        yield Said(role="assistant", content=text_of_content(item[answer], f"{place}.{answer}"), notes=item)
        return
    given = item[name] if name is not None else None
    if isinstance(given, Mapping):  # ChatGPT's export: {"author": {"role": "user"}}
        given = given.get("role")
    spelled = given.strip().lower().replace("-", "_").replace(" ", "_") if isinstance(given, str) else ""
    speaker = _SPEAKERS.get(spelled)
    if speaker is None:
        raise UnusableRow(f"{place}.role", f"{given!r} is none of {', '.join(get_args(Role))}")
    text, tools = _content(item, speaker, place)
    match speaker:
        case "system":
            yield Said(role="system", content=text, notes=item)
        case "user":
            # A message that holds nothing but results of tools is no person's.
            person = bool(text.strip()) or not tools
            content = "\n".join(filter(None, (*tools, text)))
            yield Said(role="user", content=content, by_user=person, follows=not person, notes=item)
        case "assistant":
            yield Said(role="assistant", content="\n".join(filter(None, (text, *tools))), notes=item)
        case "call":
            content = "\n".join((*([_tool_call(text)] if text else []), *tools))
            yield Said(role="assistant", content=content, follows=True, notes=item)
        case "tool":
            yield Said(role="user", content=_tool_response(text), follows=True, notes=item)


def _content(item: Mapping[str, Any], speaker: _Speaker, place: str) -> tuple[str, list[str]]:
    """The text of a message, and the calls or results of tools in it as texts of their own."""
    name = next((name for name in _TEXT_FIELDS if item.get(name) is not None), None)
    calls = [
        _tool_call(_function(call)) for call in _listed(item.get("tool_calls")) + _listed(item.get("function_call"))
    ]
    if name is not None:
        try:
            text, tools = _text_and_tools(item[name], f"{place}.{name}")
        except UnusableRow:
            if speaker != "tool":
                raise
            return json.dumps(item[name], ensure_ascii=False, default=str), calls  # A tool may return anything.
        return text, [*tools, *calls]
    audio = item.get("audio")
    spoken = audio.get("transcript") if isinstance(audio, Mapping) else None
    for instead in (item.get("refusal"), spoken):
        if isinstance(instead, str):
            return sound(instead), calls
    # The assistant may say nothing but call a tool, and a tool may return nothing. A person's message has a text.
    if calls or (speaker in ("assistant", "tool") and any(known in item for known in _TEXT_FIELDS)):
        return "", calls
    raise UnusableRow(f"{place}.content", "must be a text")


def _text_and_tools(content: object, place: str) -> tuple[str, list[str]]:
    if isinstance(content, str):
        return sound(content), []
    if isinstance(content, Mapping):
        inner = next((content[key] for key in _TEXT_FIELDS if content.get(key) is not None), None)
        if inner is None:
            raise UnusableRow(place, "must be a text")
        return _text_and_tools(inner, place)
    if not isinstance(content, list):
        raise UnusableRow(place, "must be a text")
    texts: list[str] = []
    tools: list[str] = []
    for number, part in enumerate(content):
        _add_part(part, f"{place}[{number}]", texts, tools)
    return "\n".join(texts), tools


def _add_part(part: object, place: str, texts: list[str], tools: list[str]) -> None:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if isinstance(part, str):
        texts.append(sound(part))
    elif not isinstance(part, Mapping):
        raise UnusableRow(place, "must be a part with a text")
    elif kind in _THOUGHTS:
        return
    elif kind == "tool_use":
        tools.append(
            _tool_call(json.dumps({"name": part.get("name"), "arguments": part.get("input")}, ensure_ascii=False))
        )
    elif kind == "tool_result":
        tools.append(_tool_response(text_of_content(part.get("content") or "", place)))
    elif isinstance(part.get("refusal"), str):
        texts.append(sound(part["refusal"]))
    elif kind in (None, "text", "input_text", "output_text") and part.get("text") is not None:
        texts.append(text_of_content(part["text"], place))
    else:
        other = ", ".join(map(str, part)) if kind is None else str(kind)
        raise UnusableRow(place, f"holds {other}, which is no text")


def _function(call: object) -> str:
    """A call in OpenAI's form as JSON with name and arguments."""
    inner = call.get("function", call) if isinstance(call, Mapping) else call
    if not isinstance(inner, Mapping):
        return str(inner)
    arguments = inner.get("arguments")
    with suppress(ValueError, RecursionError):  # What the model wrote may be no JSON.
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    return json.dumps({"name": inner.get("name"), "arguments": arguments}, ensure_ascii=False)


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [] if value is None else [value]


def _tool_call(text: str) -> str:
    return f"<tool_call>\n{sound(text)}\n</tool_call>"


def _tool_response(text: str) -> str:
    return f"<tool_response>\n{text}\n</tool_response>"


def _join(found: list[Said], said: Said) -> None:
    """Adds one. What follows on the one before is put behind it: many templates take no two of one role in a row."""
    before = found[-1] if found else None
    if before is not None and said.follows and before.role == said.role:
        content = "\n".join(filter(None, (before.content, said.content)))
        found[-1] = Said(role=before.role, content=content, by_user=before.by_user, notes=before.notes)
    else:
        found.append(said)
