"""Attention by the fastest kernels that there are, for two kinds of passes.

Laid out from the left, all rows read a prefix whole and go on right behind it, so that no mask is needed. A GPU's
fastest kernels take none, and share the keys of several query heads without copying them. They know one thing: causal
attention whose queries are the last of the keys. transformers builds a mask for that as soon as there is a cache;
PyTorch calls it `causal_lower_right`.

While decoding there is one query for each head. Those that share keys are taken as several queries of one head, where
older versions of transformers copy the keys for each of them.

On a CPU PyTorch takes two to three times as long for the gradient of attention in bfloat16 as in float32. There a pass
of the learner in bfloat16 has its attention, and nothing else, in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import bias
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, causal_mask_function, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

KERNELS = (("cuda", torch.bfloat16), ("cuda", torch.float16))
"""Devices and number formats that have such kernels."""
_NAME = "sdpa"


def has_kernels(model: Any) -> bool:
    """Whether a model may run so, as far as its device, its number format and its kind of attention go."""
    attention = model.config.get_text_config()._attn_implementation
    return (model.device.type, model.dtype) in KERNELS and attention == _NAME


@contextmanager
def fast_attention(on: bool) -> Iterator[None]:
    """Within it, if `on`, attention is `_attend`; a pass that is given no mask and goes on from a cache makes none."""
    if not on:
        yield
        return
    # Overrides for this process, on top of what is registered.
    ALL_ATTENTION_FUNCTIONS[_NAME] = _attend
    ALL_MASK_ATTENTION_FUNCTIONS[_NAME] = _mask
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS[_NAME], ALL_MASK_ATTENTION_FUNCTIONS[_NAME]


def is_slow(model: Any) -> bool:
    """Whether the gradient of a model's attention is faster in float32 than in the model's own number format."""
    attention = model.config.get_text_config()._attn_implementation
    return (model.device.type, model.dtype) == ("cpu", torch.bfloat16) and attention == _NAME


@contextmanager
def float32_attention(on: bool) -> Iterator[None]:
    """Within it, if `on`, attention computes in float32, whatever it is given, and gives back what it was given."""
    if not on:
        yield
        return
    ALL_ATTENTION_FUNCTIONS[_NAME] = _attend_in_float32
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS[_NAME]


def _attend_in_float32(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *others: Any, **named: Any
) -> tuple[Tensor, None]:
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    output, _ = sdpa_attention_forward(
        module, query.float(), key.float(), value.float(), attention_mask, *others, **named
    )
    return output.to(query.dtype), None


def _mask(**wanted: Any) -> Tensor | None:
    """None for the plain causal mask of the last tokens; windows and the like still get theirs."""
    plain = wanted.get("mask_function", causal_mask_function) is causal_mask_function
    padded = wanted.get("attention_mask") is not None
    if plain and not padded and wanted.get("allow_is_causal_skip", True) and wanted.get("local_size") is None:
        return None
    mask: Tensor | None = sdpa_mask(**wanted)
    return mask


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    last = attention_mask is None and causal and 1 < query.shape[2] < key.shape[2]
    shared = query.shape[2] == 1 and query.shape[1] != key.shape[1]
    shared = shared and (attention_mask is None or attention_mask.shape[1] == 1)
    if not (last or shared) or any(others.get(name) is not None for name in ("position_bias", "softcap")):
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **others
        )
    attend = torch.nn.functional.scaled_dot_product_attention
    if shared:
        grouped = query.reshape(len(query), key.shape[1], -1, query.shape[3])
        output = attend(grouped, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling)
        return output.reshape(len(query), 1, query.shape[1], value.shape[3]), None
    output = attend(
        query,
        key,
        value,
        attn_mask=bias.causal_lower_right(query.shape[2], key.shape[2]),
        dropout_p=dropout,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output.transpose(1, 2).contiguous(), None
