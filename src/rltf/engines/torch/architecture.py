"""Tries a model's architecture out before its weights are read: a tiny model of its kind goes through the check."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM

from rltf.config import TorchEngineConfig
from rltf.engines.torch.adapters import add_adapters
from rltf.engines.torch.model import first_line, load_description
from rltf.engines.torch.self_check import check_batching
from rltf.engines.torch.tiny import tiny_config


def try_architecture(config: TorchEngineConfig) -> tuple[str, ...]:
    """What a run with this model would say of it; raises `UserError` where the run would refuse the model.

    The tiny model has random weights, and windows of a few tokens, which the check exceeds.
    """
    described = load_description(config)
    kind = described.model_type
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: Any = AutoModelForCausalLM.from_config(tiny_config(described), dtype=torch.float32).eval()
            model(input_ids=torch.tensor([[1, 2, 3]]))
    except Exception as error:
        # Some architectures tie their sizes to each other in ways of their own.
        reason = first_line(error)
        return (f"the architecture {kind} was not tried: no tiny model of it can be made ({reason})",)
    if config.lora is not None:
        model = add_adapters(model, config.lora, 0)
    return check_batching(model, config.model, config.share_prefixes, 256).notes
