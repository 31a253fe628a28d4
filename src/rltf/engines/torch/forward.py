"""One forward pass over a layout: each shared prefix once, then the suffixes on copies of its cache."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rltf.engines.packing import Layout
from rltf.engines.torch.caches import prefix_cache, spread_prefixes
from rltf.types import IntArray


def to_device(array: IntArray, device: torch.device) -> Tensor:
    """A numpy array as a tensor on the model's device."""
    return torch.from_numpy(array).to(device)


def run(model: Any, *, keep: int, **inputs: Any) -> Any:
    """Calls a causal language model with those of the inputs that it knows; `keep` last columns of logits are wanted.

    Not every architecture takes `position_ids` or `logits_to_keep`. Whether it is right without them is for
    `self_check` to find out.
    """
    given = {"logits_to_keep": keep, **{name: value for name, value in inputs.items() if value is not None}}
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    known = _parameters(type(base).forward)
    output = model(**{name: value for name, value in given.items() if known is None or name in known})
    if output.logits.shape[1] > keep:
        output.logits = output.logits[:, -keep:]
    return output


@cache
def _parameters(function: Callable[..., Any]) -> frozenset[str] | None:
    """The names that a function takes; None where it takes any."""
    parameters = inspect.signature(function).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return None if takes_any else frozenset(parameters)


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
        past = prefix_cache()
        prefix = to_device(layout.prefix_CP, device)
        positions = torch.arange(prefix.shape[1], device=device).expand_as(prefix)
        # Padding stands on the right, where causal attention does not look: no mask is needed.
        run(model, keep=1, input_ids=prefix, position_ids=positions, past_key_values=past, use_cache=True)
        spread_prefixes(past, to_device(layout.cluster_B, device), to_device(layout.prefix_length_B, device))
    return run(
        model,
        keep=keep,
        input_ids=to_device(layout.suffix_BL, device),
        attention_mask=to_device(layout.mask_B, device),
        position_ids=to_device(layout.position_BL, device),
        past_key_values=past,
        use_cache=with_cache or past is not None,
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
