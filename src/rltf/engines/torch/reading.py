"""What a model reads, without its weights: its tokenizer with the chat template, and how much its context holds."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer

from rltf.config import TorchEngineConfig
from rltf.engines.torch.model import source_of
from rltf.support.errors import UserError
from rltf.support.hub import copies_alone_without_hub
from rltf.text.renderer import Renderer


def reader_of(config: TorchEngineConfig) -> tuple[Renderer, int]:
    """A renderer for counting tokens and trying the chat template, and the context's tokens.

    It knows of the tokens that end a turn only the tokenizer's own. Raises `UserError` where something cannot be read.
    """
    source = source_of(config.model)
    with nullcontext("") if Path(source).is_dir() else copies_alone_without_hub() as missing:
        try:
            tokenizer = AutoTokenizer.from_pretrained(source)
            text = AutoConfig.from_pretrained(source).get_text_config()
            if config.chat_template is not None:
                tokenizer.chat_template = Path(config.chat_template).expanduser().read_text(encoding="utf-8")
        except Exception as error:  # as many kinds as there are libraries that read a model's files
            reason = missing or (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"engine.model={config.model}: its tokenizer cannot be loaded: {reason}") from error
    if tokenizer.eos_token_id is None:
        raise UserError(f"engine.model={config.model}: its tokenizer has no end-of-sequence token")
    renderer = Renderer(tokenizer, [tokenizer.eos_token_id])
    return renderer, int(getattr(text, "max_position_embeddings", 1 << 30))
