"""Messages to tokens and back, through the tokenizer's own chat template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from rltf.support.errors import UserError
from rltf.text.moment import VARIABLE, at_one_moment, directives
from rltf.text.thinking import CHANNEL, SAID, TAGS, THOUGHT, split_thinking, thoughts_of
from rltf.text.turns import turn_marks
from rltf.types import Message, Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# While a chat template runs, a private-use character stands for each control token spelled in a message.
_FIRST_STAND_IN = 0xF0000
_STAND_INS = re.compile("[\U000f0000-\U000ffffd]")
_TAG = re.compile(r"<.+>|\[.+\]", re.DOTALL)
_THINKING_TAGS = {tag for pair in TAGS for tag in pair}


class Renderer:
    """Encodes conversations for one tokenizer.

    Text without control tokens is encoded exactly as `apply_chat_template` encodes it. Where the content
    of a message spells a control token (`<|im_end|>`), that spelling is encoded as ordinary characters, so
    no text of a model, a judge or a person can end a turn or open another.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        stop_tokens: Sequence[int],
        *,
        day: date | None = None,
        keep_thinking: bool = False,
    ) -> None:
        """`stop_tokens` are ids that end an assistant's turn, beside the one with which the template ends it.

        A template that shows the date shows the beginning of `day`, today by default, as long as this renderer lives.
        `keep_thinking`: an assistant's thinking block stays in prompts where the template would drop it.
        """
        if not getattr(tokenizer, "chat_template", None):
            raise UserError(
                "engine.model: its tokenizer has no chat template; set engine.chat_template to a Jinja file "
                "or choose an instruction-tuned model"
            )
        self._tokenizer: Any = tokenizer
        try:
            self._template = at_one_moment(tokenizer.get_chat_template())
        except ValueError as error:
            raise UserError(
                f"engine.model: {str(error).partition('!')[0]}; set engine.chat_template to a Jinja file"
            ) from error
        self._moment = directives(datetime.combine(day or date.today(), time()))
        self._keep_thinking = keep_thinking
        ids = {str(token): index for index, token in tokenizer.added_tokens_decoder.items()}
        added = tokenizer.added_tokens_decoder.values()
        self._normalized_ids = {
            index for index, token in tokenizer.added_tokens_decoder.items() if token.special and token.normalized
        }
        special = {str(token) for token in added if token.special}
        tags = {str(token) for token in added if _TAG.fullmatch(str(token))}
        controls = _any_of(special | tags)
        self._marks = marks = turn_marks(self._render, controls)
        # gpt-oss answers in a channel of its own, behind another in which it thinks.
        self._channel = marks.lead if CHANNEL in marks.lead else ""
        self._end = None if marks.end is None else ids[marks.end]
        self.stop_tokens: tuple[int, ...] = tuple(
            dict.fromkeys((*(() if self._end is None else (self._end,)), *stop_tokens))
        )
        # Some tokenizers take the end of a turn for a word.
        self._worded_end = self._end if marks.end not in special else None
        self._shown_tags = {ids[tag]: tag for tag in special & _THINKING_TAGS}
        spellings = sorted(special | tags)
        self._stand_ins = {spelling: chr(_FIRST_STAND_IN + i) for i, spelling in enumerate(spellings)}
        self._spellings = {stand_in: spelling for spelling, stand_in in self._stand_ins.items()}
        # Stands for a thinking tag that the template is not to see, and that is a tag all the same.
        self._kept = {tag: chr(_FIRST_STAND_IN + len(spellings) + i) for i, tag in enumerate(sorted(_THINKING_TAGS))}
        self._kept_spellings = {stand_in: tag for tag, stand_in in self._kept.items()}
        # Around thoughts that stand before an answer and belong into a channel of their own.
        first_free = _FIRST_STAND_IN + len(spellings) + len(self._kept)
        self._before_thoughts, self._after_thoughts = chr(first_free), chr(first_free + 1)
        self._kept_spellings |= {self._before_thoughts: "", self._after_thoughts: ""}
        # An assistant's <think> is left to its template, which strips it; a user's is only text.
        ends = {marks.end} if marks.end else set()
        self._special = _any_of((special | ends) - _THINKING_TAGS)
        self._control = controls

    def prompt(self, messages: Sequence[Message]) -> Tokens:
        """Tokens of a conversation up to where the assistant is to write."""
        hidden = [Message(role=message.role, content=self._hide_controls(message)) for message in messages]
        return self._encode(self._into_channels(self._render(hidden, True)))

    def completion(self, text: str, *, thinking: bool = False) -> Tokens:
        """Tokens of a text as if the assistant had written it, from where a prompt ends to the end of its turn.

        `thinking`: a thinking block at its start is one; otherwise its tags are text. Where prompts open a block, or
        the template gives every answer one, and the text has none, it is an empty one.
        """
        block, answer = split_thinking(text) if thinking else ("", text)
        before = self._marks.lead
        if block and not self._channel:
            before = self._hide_controls(Message(role="assistant", content=block), kept=False)
            if self._marks.opened:
                tag = self._marks.opened.strip()
                before = before.removeprefix(self._marks.opened).lstrip(" ").removeprefix(tag)
        hidden = self._hide_controls(Message(role="user", content=answer))
        end = self._end if self._end is not None else self.stop_tokens[0]
        return (*self._encode(before + hidden + self._marks.tail), end)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of a completion, without control tokens.

        A thinking block is between its tags, also where the prompt has the opening one, or where a channel takes its
        place.
        """
        if not self._channel:
            return self._marks.opened + self._spoken(tokens)
        opening, closing = TAGS[0]
        marker = self._encode(self._channel)
        starts = [i for i in range(len(tokens)) if tuple(tokens[i : i + len(marker)]) == marker]
        if not starts:
            return f"{opening}\n{self._spoken(tokens)}"
        before, answer = tuple(tokens[: starts[-1]]), self._spoken(tokens[starts[-1] + len(marker) :])
        # What stands around thoughts is spelled in part with words, which are none of them.
        around = self._encode(self._channel.replace(SAID, THOUGHT, 1)), self._encode(self._marks.opening)
        if before[: len(around[0])] == around[0]:
            before = before[len(around[0]) :]
        if before[-len(around[1]) :] == around[1]:
            before = before[: -len(around[1])]
        thoughts = self._spoken(before)
        return f"{opening}\n{thoughts}\n{closing}\n\n{answer}" if thoughts else answer

    def with_controls(self, tokens: Sequence[int]) -> str:
        """What tokens say, control tokens spelled out: for people."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def _spoken(self, tokens: Sequence[int]) -> str:
        """What tokens say. Tags of thinking are said even where they are control tokens."""
        parts: list[str] = []
        run: list[int] = []
        for token in tokens:
            if token in self._shown_tags:
                parts += [self._decode(run), self._shown_tags[token]]
                run = []
            elif token != self._worded_end:
                run.append(token)
        return "".join((*parts, self._decode(run)))

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _render(self, messages: Sequence[Message], opened: bool) -> str:
        """The text of messages; `opened`: up to where the assistant is to write."""
        rendered: str = self._tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in messages],
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=opened,
            **{VARIABLE: self._moment},
        )
        return rendered

    def _hide_controls(self, message: Message, *, kept: bool | None = None) -> str:
        """The content of a message with stand-ins; `kept`: for an assistant's thinking tags too."""
        # Half a surrogate pair, as JSON can spell it, is no text that a tokenizer takes.
        content = message.content.encode("utf-8", "replace").decode("utf-8")
        # A stand-in that somebody typed must not be taken for one of ours.
        content = _STAND_INS.sub("\ufffd", content)
        pattern = self._control
        if message.role == "assistant":
            pattern = self._special
            block, answer = split_thinking(content)
            keep = self._keep_thinking if kept is None else kept
            if block and self._channel:
                thoughts = f"{self._before_thoughts}{thoughts_of(block)}{self._after_thoughts}"
                content = (thoughts if keep else "") + answer
            elif keep:
                content = self._keep_tags(block) + answer
        content = pattern.sub(lambda match: self._stand_ins[match.group()], content)
        return self._blot_out(content) if self._normalized_ids else content

    def _into_channels(self, rendered: str) -> str:
        """Moves kept thoughts out of the channel of the answer, in which a message's text stands, into their own."""
        said = self._marks.lead
        thought = said.replace(SAID, THOUGHT, 1)
        return re.sub(
            f"{re.escape(said)}{self._before_thoughts}(.*?){self._after_thoughts}",
            lambda match: f"{thought}{match.group(1)}{self._marks.opening}{said}",
            rendered,
            flags=re.DOTALL,
        )

    def _keep_tags(self, block: str) -> str:
        for tags in TAGS:
            if block.lstrip().startswith(tags[0]):
                for tag in tags:
                    block = block.replace(tag, self._kept[tag], 1)
        return block

    def _blot_out(self, content: str) -> str:
        """Replaces what the tokenizer, which normalises text before it looks for them, takes for control tokens."""
        while True:
            encoding = self._tokenizer(content, add_special_tokens=False, return_offsets_mapping=True)
            found = zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
            spans = [span for token, span in found if token in self._normalized_ids]
            if not spans:
                return content
            for start, end in reversed(spans):
                content = content[:start] + "\ufffd" + content[end:]

    def _encode(self, rendered: str) -> Tokens:
        tokens: list[int] = []
        for part in re.split(f"({_STAND_INS.pattern})", rendered):
            # Split in two, the spelling of a control token is no control token to the tokenizer.
            spelling = self._spellings.get(part)
            if spelling is None:
                pieces: tuple[str, ...] = (self._kept_spellings.get(part, part),)
            else:
                pieces = (spelling[:1], spelling[1:]) if len(spelling) > 1 else ("\ufffd",)
            for piece in pieces:
                if piece:
                    tokens += self._tokenizer.encode(piece, add_special_tokens=False)
        return tuple(tokens)


def _any_of(spellings: set[str]) -> re.Pattern[str]:
    """Matches the longest of the spellings; with none, nothing."""
    longest_first = sorted(spellings, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) if spellings else r"(?!)")
