"""One forward pass over a layout: each shared prefix once, then the suffixes on copies of its cache."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rltf.engines.packing import Layout
from rltf.engines.torch.caches import kept_prefixes, prefix_cache, read_prefixes, spread_prefixes
from rltf.engines.torch.heads import Head, find_head
from rltf.types import IntArray

BoolArray: TypeAlias = NDArray[np.bool_]


def to_device(array: IntArray, device: torch.device) -> Tensor:
    """A numpy array as a tensor on the model's device."""
    return torch.from_numpy(array).to(device)


def run(model: Any, *, keep: int, input_ids: Tensor, **inputs: Any) -> Any:
    """Calls a causal language model with those of the inputs that it knows; `keep` last columns of logits are wanted.

    Not every architecture takes `position_ids` or `logits_to_keep`. Whether it is right without them is for
    `self_check` to find out.
    """
    # Named one by one, the columns' states are copied side by side: one product with the output layer. Of a slice, a
    # product is made for each row, for which PyTorch may copy the whole layer.
    columns = torch.arange(input_ids.shape[1] - keep, input_ids.shape[1], device=input_ids.device)
    given = {"input_ids": input_ids, "logits_to_keep": columns}
    given |= {name: value for name, value in inputs.items() if value is not None}
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    known = _parameters(type(base).forward)
    output = model(**{name: value for name, value in given.items() if known is None or name in known})
    if output.logits.shape[1] > keep:
        output.logits = output.logits[:, output.logits.shape[1] - keep :]
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
    past: Any = None
    if layout.prefix_CP.shape[1]:
        past = prefix_cache() if with_cache else kept_prefixes()
        prefix = to_device(layout.prefix_CP, device)
        positions = torch.arange(prefix.shape[1], device=device).expand_as(prefix)
        # Padding stands on the right, where causal attention does not look: no mask is needed.
        run(model, keep=0, input_ids=prefix, position_ids=positions, past_key_values=past, use_cache=True)
        cluster_B, length_B = to_device(layout.cluster_B, device), to_device(layout.prefix_length_B, device)
        if with_cache:
            spread_prefixes(past, cluster_B, length_B)
        else:
            past = read_prefixes(past, cluster_B, length_B)
    return run(
        model,
        keep=keep,
        input_ids=to_device(layout.suffix_BL, device),
        attention_mask=to_device(layout.mask_B, device),
        position_ids=to_device(layout.position_BL, device),
        past_key_values=past,
        use_cache=with_cache or past is not None,
    )


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass over a layout found about some tokens of its completions. Axis N: those tokens, row by row."""

    states_NH: Tensor
    """What the logits that predict each token are made of: last hidden states, or the logits themselves."""
    token_N: Tensor
    head: Head | None
    temperature: float

    def logits(self, states_NH: Tensor) -> Tensor:
        """Logits in float32 of some of the states, divided by the temperature."""
        logits = (states_NH if self.head is None else self.head.logits(states_NH)).float()
        return logits if self.temperature == 1.0 else logits / self.temperature


def completion_pass(
    model: Any, layout: Layout, device: torch.device, temperature: float, read_BT: BoolArray, *, apart: bool
) -> Pass:
    """One differentiable pass; the logits are left to be made, for some tokens at a time.

    Args:
        model: a causal language model of transformers, or a PEFT wrapper of one.
        layout: the padded arrays.
        device: where the model lies.
        temperature: that of the policy.
        read_BT: which tokens are read, of the layout's `completion_columns`.
        apart: whether the model's head may be used apart from it; otherwise all logits are there at once.
    """
    columns = layout.completion_columns
    head = find_head(model) if apart else None
    if head is None:
        states = forward(model, layout, device, keep=columns + 1).logits
    else:
        with last_states(head) as found:
            forward(model, layout, device, keep=0)
        (states,) = found
    states_NH = states[:, -columns - 1 : -1].flatten(0, 1)
    tokens_BT = layout.suffix_BL[:, layout.suffix_BL.shape[1] - columns :]
    if not read_BT.all():
        states_NH = states_NH.index_select(0, to_device(np.flatnonzero(read_BT), device))
    return Pass(states_NH, to_device(tokens_BT[read_BT], device), head, temperature)


@contextmanager
def last_states(head: Head) -> Iterator[list[Tensor]]:
    """Within it, the last hidden states of the newest pass are the one entry of a list."""
    found: list[Tensor] = []

    def keep(module: Any, given: Any, output: Any) -> None:
        found[:] = [output[0]]

    hook = head.decoder.register_forward_hook(keep)
    try:
        yield found
    finally:
        hook.remove()


def token_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """`log softmax(logits)` at the tokens: the shape of the tokens."""
    picked = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return picked - torch.logsumexp(logits, dim=-1)
