"""One forward pass over a layout: each shared prefix once, then the suffixes on copies of its cache."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rltf.engines.packing import Layout
from rltf.engines.torch.caches import Reads, kept_prefixes, prefix_cache, read_prefixes, spread_prefixes
from rltf.engines.torch.heads import Head, find_head
from rltf.engines.torch.room import room_for

BoolArray: TypeAlias = NDArray[np.bool_]


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """A numpy array as a tensor on the model's device."""
    # What is not pinned is read before the call returns, so CUDA need not be waited for.
    return torch.from_numpy(array).to(device, non_blocking=device.type == "cuda")


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


class Prefixes:
    """The prefixes of layouts that read the same ones, computed once. Their gradient is summed over those layouts."""

    def __init__(self, model: Any, layout: Layout, device: torch.device) -> None:
        """`layout`: any of them."""
        self.kept = kept_prefixes()
        _run_prefixes(model, layout, device, self.kept)
        self._states: list[tuple[Tensor, Tensor]] = []
        for layer in self.kept.layers:
            assert layer.keys is not None and layer.values is not None
            for name in ("keys", "values"):
                state = getattr(layer, name)
                leaf = state.detach().requires_grad_(state.requires_grad)
                setattr(layer, name, leaf)
                self._states.append((state, leaf))

    def backward(self) -> None:
        """Takes the gradient on from keys and values, once every layout that reads them has left its own there."""
        found = [(state, leaf.grad) for state, leaf in self._states if leaf.grad is not None]
        if found:
            torch.autograd.backward([state for state, _ in found], [gradient for _, gradient in found])


def passes(model: Any, layouts: Sequence[Layout], device: torch.device) -> Iterator[tuple[Layout, Prefixes | None]]:
    """Layouts, those that read the same prefixes one after the other and with them. After the last of these, when the
    next is asked for, the gradient goes through the prefixes."""
    groups: dict[tuple[Any, ...], list[Layout]] = {}
    for i, layout in enumerate(layouts):
        shape = layout.prefix_CP.shape
        groups.setdefault((shape, layout.prefix_CP.tobytes()) if shape[1] else (i,), []).append(layout)
    for group in groups.values():
        prefixes = None
        if len(group) > 1:
            with room_for(group[0]):
                prefixes = Prefixes(model, group[0], device)
        for layout in group:
            yield layout, prefixes
        if prefixes is not None:
            with room_for(group[0]):
                prefixes.backward()


def _run_prefixes(model: Any, layout: Layout, device: torch.device, past: Any) -> None:
    """Fills a cache with a layout's prefixes."""
    prefix = to_device(layout.prefix_CP, device)
    positions = torch.arange(prefix.shape[1], device=device).expand_as(prefix)
    # Padding stands on the right, where causal attention does not look: no mask is needed.
    run(model, keep=0, input_ids=prefix, position_ids=positions, past_key_values=past, use_cache=True)


def forward(
    model: Any,
    layout: Layout,
    device: torch.device,
    *,
    keep: int,
    with_cache: bool = False,
    prefixes: Prefixes | None = None,
) -> Any:
    """The model's output on the suffixes of a layout, differentiable through the prefixes' cache.

    Args:
        model: a causal language model of transformers, or a PEFT wrapper of one.
        layout: the padded arrays.
        device: where the model lies.
        keep: number of last columns to give logits for.
        with_cache: return the cache over prefix and suffix as well, to go on from.
        prefixes: those of the layout, where they are there already; the gradient then ends at them.

    Returns:
        The transformers output: `logits` of shape `[B, keep, V]`, and `past_key_values` with `with_cache`.
    """
    past: Any = None
    if layout.prefix_CP.shape[1]:
        if prefixes is None:
            past = prefix_cache() if with_cache else kept_prefixes()
            _run_prefixes(model, layout, device, past)
        else:
            past = prefixes.kept
        reads = Reads(layout.cluster_B, layout.prefix_length_B, layout.prefix_CP.shape[1], device)
        if with_cache:
            spread_prefixes(past, reads)
        else:
            past = read_prefixes(past, reads)
    return run(
        model,
        keep=keep,
        input_ids=to_device(layout.suffix_BL, device),
        # From the left, padding stands where no token before it looks, and without a prefix positions count from 0.
        attention_mask=None if layout.from_left else to_device(layout.mask_B, device),
        position_ids=None if layout.from_left and past is None else to_device(layout.position_BL, device),
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
    model: Any,
    layout: Layout,
    device: torch.device,
    temperature: float,
    read_BT: BoolArray,
    *,
    apart: bool,
    prefixes: Prefixes | None = None,
) -> Pass:
    """One differentiable pass; the logits are left to be made, for some tokens at a time.

    Args:
        model: a causal language model of transformers, or a PEFT wrapper of one.
        layout: the padded arrays.
        device: where the model lies.
        temperature: that of the policy.
        read_BT: which tokens are read, of the layout's `completion_columns`.
        apart: whether the model's head may be used apart from it; otherwise all logits are there at once.
        prefixes: see `forward`.
    """
    columns = layout.completion_columns
    head = find_head(model) if apart else None
    kept = layout.suffix_BL.shape[1] if layout.from_left else columns + 1
    if head is None:
        states = forward(model, layout, device, keep=kept, prefixes=prefixes).logits
    else:
        with last_states(head) as found:
            forward(model, layout, device, keep=0, prefixes=prefixes)
        (states,) = found
        states = states[:, -kept:]
    row_N, column_N = np.nonzero(read_BT)
    # A row with a shorter completion than others has none in the first columns; whoever reads there gets anything.
    place_N = np.maximum(layout.last_B[row_N] - (columns - 1) + column_N, 1)
    tokens_N = layout.suffix_BL[row_N, place_N]
    before_N = row_N * kept + place_N - 1 - (layout.suffix_BL.shape[1] - kept)
    states_NH = states.flatten(0, 1).index_select(0, to_device(before_N, device))
    return Pass(states_NH, to_device(tokens_N, device), head, temperature)


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
