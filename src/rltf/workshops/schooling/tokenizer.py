"""The built-in model's tokenizer: the boilerplate of the tasks in a few tokens, any other text in bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

USER, ASSISTANT, END, PAD = "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|assistant|>' if message['role'] == 'assistant' else '<|user|>' }}{{ message['content'] }}<|end|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# A digit is a piece of its own, with the space or line break before it; any line that has a letter is one piece,
# together with the line breaks behind it.
LINES = r"[^\n]*[A-Za-z][^\n]*(?:\n(?![0-9]))*|[ \n]?[0-9]"
WORDS = r" ?[A-Za-z]+|[ \n]?[0-9]"


def train_tokenizer(texts: Iterable[str]) -> Any:
    """A tokenizer whose vocabulary is the 256 bytes, every word and every line of the given texts.

    Whitespace does not split: "Row 2, column 3 should be larger." is one token, so that boilerplate costs little and a
    small model's effort goes into what a text says. A line that was not given costs a token per word, or per byte.
    """
    pre_tokenizer = _splitter(LINES)
    words = _splitter(WORDS)
    pieces = {
        piece for text in texts for splitter in (pre_tokenizer, words) for piece, _ in splitter.pre_tokenize_str(text)
    }
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Equal scores per token: the reading with the fewest tokens wins. No token stands for what is unknown, as no byte
    # is: one that does is written once where it comes several times in a row.
    vocabulary = [(piece, -10.0) for piece in (*alphabet, *sorted(pieces - set(alphabet)))]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=None))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
    fast.add_special_tokens({"additional_special_tokens": [USER, ASSISTANT]})
    fast.chat_template = CHAT_TEMPLATE
    return fast


def _splitter(pattern: str) -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
