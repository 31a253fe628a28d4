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
# A digit with the space or line break before it; else a stretch of text up to a line break or a digit, with the
# line breaks behind it; else one line break.
PIECES = r"[ \n]?[0-9]|(?:(?!\n| ?[0-9]).)+(?:\n(?![0-9]))*|\n"


def train_tokenizer(texts: Iterable[str]) -> Any:
    """A tokenizer whose vocabulary is the 256 bytes and every piece of the given texts.

    Pieces are whole stretches of text, not words: "Find the distance to ... below:" is one token. A text that
    is not made of known pieces costs a token per byte.
    """
    pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    pieces = {piece for text in texts for piece, _ in pre_tokenizer.pre_tokenize_str(text)}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Equal scores per token: the reading with the fewest tokens wins.
    vocabulary = [(piece, -10.0) for piece in (*alphabet, *sorted(pieces - set(alphabet)))]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
    fast.add_special_tokens({"additional_special_tokens": [USER, ASSISTANT]})
    fast.chat_template = CHAT_TEMPLATE
    return fast
