"""What the engine `tinker` reads on this machine: the tokenizer of the base model, its template, its limits."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from transformers import GenerationConfig

from rltf.config import PromptsConfig, TinkerEngineConfig
from rltf.config.engines import on_this_machine
from rltf.engines.tinker.requests import Limits
from rltf.engines.torch.model import load_description, load_for_prompts, load_tokenizer, source_of
from rltf.text.renderer import Renderer


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """The parts of a model that are not weights."""

    tokenizer: Any
    renderer: Renderer
    vocabulary: int
    max_tokens: int

    def limits(self, longest: int | None) -> Limits:
        """What can be sent. `longest` is what the server says of sequences, if anything."""
        return Limits(vocabulary=self.vocabulary, tokens=min(self.max_tokens, longest or self.max_tokens))


def load_local(config: TinkerEngineConfig, prompts: PromptsConfig) -> Local:
    """Raises `UserError` for a tokenizer, template or config that is missing or does not do."""
    source = on_this_machine(config)
    renderer, max_tokens = load_for_prompts(source, prompts)
    renderer.stop_tokens = tuple(dict.fromkeys((*renderer.stop_tokens, *_generation_stops(source_of(source.model)))))
    return Local(
        tokenizer=load_tokenizer(source),
        renderer=renderer,
        vocabulary=int(load_description(source).get_text_config().vocab_size),
        max_tokens=max_tokens,
    )


def _generation_stops(source: str) -> list[int]:
    """What ends an answer by word of the model's generation config, where there is one."""
    with suppress(OSError):
        stops = GenerationConfig.from_pretrained(source).eos_token_id
        return stops if isinstance(stops, list) else [] if stops is None else [stops]
    return []
