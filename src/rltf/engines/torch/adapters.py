"""Low-rank adapters: where they go, and the model with them merged."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch

from rltf.config import LoraConfig
from rltf.support.errors import UserError


def add_adapters(model: Any, lora: LoraConfig) -> Any:
    """A PEFT model around `model`, whose adapters alone are trained."""
    try:
        import peft
    except ImportError as error:
        raise UserError("engine.lora needs the peft package; install rltf with its `lora` extra") from error
    unfit = _unfit(model)
    try:
        wrapped = peft.get_peft_model(
            model,
            peft.LoraConfig(
                r=lora.rank,
                lora_alpha=lora.alpha,
                target_modules=lora.target_modules,
                exclude_modules=unfit or None if lora.target_modules == "all-linear" else None,
                lora_dropout=0.0,
                task_type="CAUSAL_LM",
            ),
        )
    except ValueError as error:
        raise UserError(f"engine.lora.target_modules: {str(error).strip().splitlines()[0]}") from error
    for name in unfit:
        if isinstance(wrapped.get_base_model().get_submodule(name), peft.tuners.tuners_utils.BaseTunerLayer):
            raise UserError(
                f"engine.lora.target_modules: {name} takes no adapter that could be merged; name others, or all-linear"
            )
    return wrapped


def _unfit(model: Any) -> list[str]:
    """The linear layers among "all" that adapters do not fit, by their full names.

    A router that is a kind of linear layer returns more than one array; the kernels of Mamba read the weights of a
    layer `out_proj` past its adapter; and layers that share their weights could not be merged with an adapter each
    (embedding and output layer apart, see `merged`).
    """
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    uses = Counter(id(module.weight) for module in linear)
    names = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            path, _, last = name.rpartition(".")
            owner = model.get_submodule(path)
            of_mamba = last == "out_proj" and hasattr(owner, "conv1d") and hasattr(owner, "D")
            if of_mamba or uses[id(module.weight)] > 1 or not _is_plain(module):
                names.append(name)
    return names


@torch.no_grad()
def _is_plain(linear: torch.nn.Linear) -> bool:
    """Whether a kind of linear layer takes and gives what a linear layer does."""
    if type(linear).forward is torch.nn.Linear.forward:
        return True
    try:
        found: Any = linear(linear.weight.new_zeros(1, linear.in_features))
    except Exception:  # Whatever it wants instead, it is not what an adapter gets.
        return False
    return isinstance(found, torch.Tensor) and found.shape == (1, linear.out_features)


def merged(model: Any) -> Any:
    """A copy of a PEFT model's base with the adapters in its weights.

    Where the output layer shares its weights with the embedding and one of them has an adapter, the copy's are two:
    one weight cannot be both.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    whole = copy.deepcopy(model)
    base = whole.get_base_model()
    embedding, output = base.get_input_embeddings(), base.get_output_embeddings()
    adapted = any(isinstance(layer, BaseTunerLayer) for layer in (embedding, output))
    if adapted and output is not None and output.weight is embedding.weight:
        layer = output.get_base_layer() if isinstance(output, BaseTunerLayer) else output
        layer.weight = torch.nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
        base.config.get_text_config().tie_word_embeddings = base.config.tie_word_embeddings = False
    return whole.merge_and_unload()
