"""Messages to tokens and back, through the tokenizer's own chat template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rltf.support.errors import UserError
from rltf.types import Message, Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# While a chat template runs, a private-use character stands for each control token spelled in a message.
_FIRST_STAND_IN = 0xF0000
_STAND_INS = re.compile("[\U000f0000-\U000ffffd]")
_TAG = re.compile(r"<.+>|\[.+\]", re.DOTALL)


class Renderer:
    """Encodes conversations for one tokenizer.

    Text without control tokens is encoded exactly as `apply_chat_template` encodes it. Where the content
    of a message spells a control token (`<|im_end|>`), that spelling is encoded as ordinary characters, so
    no text of a model, a judge or a person can end a turn or open another.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop_tokens: Sequence[int]) -> None:
        """`stop_tokens` are the ids that end an assistant's turn."""
        if not getattr(tokenizer, "chat_template", None):
            raise UserError(
                "engine.model: its tokenizer has no chat template; set engine.chat_template to a Jinja file "
                "or choose an instruction-tuned model"
            )
        self._tokenizer: Any = tokenizer
        self.stop_tokens: tuple[int, ...] = tuple(stop_tokens)
        added = tokenizer.added_tokens_decoder.values()
        self._normalized_ids = {
            index for index, token in tokenizer.added_tokens_decoder.items() if token.special and token.normalized
        }
        special = {str(token) for token in added if token.special}
        tags = {str(token) for token in added if _TAG.fullmatch(str(token))}
        spellings = sorted(special | tags)
        self._stand_ins = {spelling: chr(_FIRST_STAND_IN + i) for i, spelling in enumerate(spellings)}
        self._spellings = {stand_in: spelling for spelling, stand_in in self._stand_ins.items()}
        # An assistant's <think> is left to its template, which strips it; a user's is only text.
        self._special = _any_of(special)
        self._control = _any_of(special | tags)

    def prompt(self, messages: Sequence[Message]) -> Tokens:
        """Tokens of a conversation up to where the assistant is to write."""
        rendered: str = self._tokenizer.apply_chat_template(
            [{"role": message.role, "content": self._hide_controls(message)} for message in messages],
            tokenize=False,
            add_generation_prompt=True,
        )
        return self._encode(rendered)

    def completion(self, text: str) -> Tokens:
        """Tokens of a text as if the assistant had written it, with the end of its turn."""
        hidden = self._hide_controls(Message(role="user", content=text))
        return (*self._encode(hidden), self.stop_tokens[0])

    def text(self, tokens: Sequence[int]) -> str:
        """The text of a completion, without control tokens."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _hide_controls(self, message: Message) -> str:
        # Half a surrogate pair, as JSON can spell it, is no text that a tokenizer takes.
        content = message.content.encode("utf-8", "replace").decode("utf-8")
        # A stand-in that somebody typed must not be taken for one of ours.
        content = _STAND_INS.sub("\ufffd", content)
        pattern = self._special if message.role == "assistant" else self._control
        content = pattern.sub(lambda match: self._stand_ins[match.group()], content)
        return self._blot_out(content) if self._normalized_ids else content

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
                pieces: tuple[str, ...] = (part,)
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
