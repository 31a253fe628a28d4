"""Bases in 4 bits under adapters (QLoRA; Dettmers et al., arXiv 2305.14314), by bitsandbytes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch

from rltf.config import TorchEngineConfig
from rltf.support.errors import UserError


def check_quantization(config: TorchEngineConfig, device: torch.device) -> None:
    """Refuses `engine.quantize` where its package is missing, or the device is none that it knows."""
    if config.quantize is None:
        return
    if find_spec("bitsandbytes") is None:
        raise UserError(
            f"engine.quantize={config.quantize} needs the bitsandbytes package; install rltf with its `quantized` extra"
        )
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"engine.quantize={config.quantize}: bitsandbytes does not know {device.type}; remove it")


def loading_options(config: TorchEngineConfig, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """What `from_pretrained` is told beside the usual. It places a quantised model on its device itself."""
    if config.quantize is None:
        return {}
    from transformers import BitsAndBytesConfig

    settings: Any = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    return {"quantization_config": settings, "device_map": {"": device}}


def is_quantized(module: torch.nn.Module) -> bool:
    """Whether a layer holds its weight in 4 bits."""
    return isinstance(module, torch.nn.Linear) and hasattr(module.weight, "quant_state")


def without_packing(model: Any) -> None:
    """Keeps bitsandbytes from repacking weights for a CPU's bfloat16 units at the first pass in evaluation mode.

    What it then computes is not what it computes with a gradient, so sampler and trainer would differ, and its kernel
    has no gradient of its own.
    """
    for module in model.modules():
        if is_quantized(module):
            module.support_avx512bf16_for_cpu = False


@torch.no_grad()
def dequantize_into(plain: Any, layers: Mapping[str, torch.nn.Module]) -> None:
    """Gives a plain model the weights that the quantised layers of the same names compute with."""
    from bitsandbytes.functional import dequantize_4bit

    for name, module in layers.items():
        if is_quantized(module):
            weight: Any = plain.get_submodule(name).weight
            packed: Any = module.weight
            weight.copy_(dequantize_4bit(packed.data, packed.quant_state).reshape(weight.shape))
