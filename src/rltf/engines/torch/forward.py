"""One forward pass over a layout: each shared prefix once, then the suffixes on copies of its cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rltf.engines.packing import Layout
from rltf.types import IntArray


def to_device(array: IntArray, device: torch.device) -> Tensor:
    """A numpy array as a tensor on the model's device."""
    return torch.from_numpy(array).to(device)


def forward(model: Any, layout: Layout, device: torch.device, *, keep: int, with_cache: bool = False) -> Any:
    """The model's output on the suffixes of a layout, differentiable through the prefixes' cache.

    Args:
        model: a causal language model of transformers, or a PEFT wrapper of one.
        layout: the padded arrays.
        device: where the model lies.
        keep: number of last columns to give logits for.
        with_cache: return the cache over prefix and suffix as well, to go on from.

    Returns:
        The transformers output: `logits` of shape `[B, keep, V]`, and `past_key_values` with `with_cache`.
    """
    past = None
    if layout.prefix_CP.shape[1]:
        prefix_mask = to_device(layout.prefix_mask_CP, device)
        past = model(
            input_ids=to_device(layout.prefix_CP, device),
            attention_mask=prefix_mask,
            position_ids=(prefix_mask.cumsum(dim=1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=1,
        ).past_key_values
        past.batch_select_indices(to_device(layout.cluster_B, device))
    return model(
        input_ids=to_device(layout.suffix_BL, device),
        attention_mask=to_device(layout.mask_B, device),
        position_ids=to_device(layout.position_BL, device),
        past_key_values=past,
        use_cache=with_cache or past is not None,
        logits_to_keep=keep,
    )


def completion_logits(model: Any, layout: Layout, device: torch.device, temperature: float) -> tuple[Tensor, Tensor]:
    """Logits that predict the completions, divided by the temperature, and the tokens they predict.

    Returns:
        Logits `[B, T, V]` in float32 and tokens `[B, T]`, both right-aligned; columns to the left of a
        completion hold whatever stands there and must get weight 0.
    """
    columns = layout.completion_columns
    logits = forward(model, layout, device, keep=columns + 1).logits[:, :-1].float()
    if temperature != 1.0:
        logits = logits / temperature
    return logits, to_device(layout.suffix_BL[:, layout.suffix_BL.shape[1] - columns :], device)


def token_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """`log softmax(logits)` at the tokens, shape `[B, T]`."""
    picked = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return picked - torch.logsumexp(logits, dim=-1)
