"""How large a model is, from its config alone: no weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from rltf.config import TorchEngineConfig
from rltf.engines.torch.model import first_line, load_description, longest_sequence
from rltf.support.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What defaults of a run follow from."""

    parameters: int
    max_tokens: int
    """Longest sequence, prompt and completion, that the model takes."""


def described_model(engine: TorchEngineConfig) -> tuple[Any, Any]:
    """A model's config, and the model without its weights; raises `UserError` where there is no such model."""
    config = load_description(engine)
    try:
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=engine.trust_remote_code)
    except Exception as error:  # as in loading: every library has its own
        reason = first_line(error)
        raise UserError(f"engine.model={engine.model}: its config makes no model: {reason}") from error
    return config, model


def size_of(engine: TorchEngineConfig) -> Size:
    """The size of `engine.model`; raises `UserError` where its config cannot be read."""
    config, model = described_model(engine)
    return Size(parameters=sum(p.numel() for p in model.parameters()), max_tokens=longest_sequence(config))
