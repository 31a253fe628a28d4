"""What the engine `tinker` reads on this machine: the tokenizer of the base model, its template, its limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from transformers import GenerationConfig

from rltf.config import PromptsConfig, TinkerEngineConfig, TorchEngineConfig
from rltf.config.engines import EngineConfig, on_this_machine
from rltf.engines.tinker.requests import Limits
from rltf.engines.torch.model import load_description, load_for_prompts, load_tokenizer, source_of
from rltf.support.errors import UserError
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


def load_prompts(engine: EngineConfig, prompts: PromptsConfig) -> tuple[Renderer, int]:
    """What the prompts of a run are made with on this machine, whoever has its model: renderer and longest sequence.

    Raises `UserError` that names the setting which says where tokenizer and template are read.
    """
    with _naming_its_setting(engine):
        return load_for_prompts(on_this_machine(engine), prompts)


@contextmanager
def _naming_its_setting(engine: EngineConfig) -> Iterator[None]:
    """Has what is wrong with a server's model on this machine be told of `engine.tokenizer`, which says where it is."""
    try:
        yield
    except UserError as error:
        read = on_this_machine(engine).model
        told = str(error).removeprefix(f"engine.model={read}: ")
        if isinstance(engine, TorchEngineConfig) or told == str(error):
            raise
        if engine.tokenizer is not None:
            raise UserError(f"engine.tokenizer={read}: {told}") from error
        raise UserError(
            f"engine.tokenizer is not set, so tokenizer and template of engine.model={read} are read here: {told}; "
            "set it to a directory that has them, or to another name on the hub"
        ) from error


def load_local(config: TinkerEngineConfig, prompts: PromptsConfig) -> Local:
    """Raises `UserError` for a tokenizer, template or config that is missing or does not do."""
    source = on_this_machine(config)
    renderer, max_tokens = load_prompts(config, prompts)
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
