"""A model in two parts: its decoder, and what makes logits of the decoder's last hidden states.

Logits are by far the widest numbers of a pass: those of 2,048 tokens over a vocabulary of 150,000 take 1.2 GB in
float32, and a loss needs several such arrays. With the head apart, they are made for some tokens at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Head:
    """What stands behind the decoder: the output layer, with the scales and caps that the model's own code has."""

    decoder: torch.nn.Module
    """The part before it. Its output begins with the last hidden states."""
    behind: Any
    """The model with a copy of the decoder in its place that hands on what it is given."""

    def logits(self, states_NH: Tensor) -> Tensor:
        """Of some tokens' last hidden states, `[N, V]` in the model's number format."""
        # Not as a call: the hooks on the model are for passes through all of it.
        logits: Tensor = self.behind.forward(inputs_embeds=states_NH.unsqueeze(0)).logits[0]
        return logits


def find_head(model: Any) -> Head | None:
    """A causal language model's head (PEFT's wrapper may be around it); None where the model is not built that way.

    All modules are the model's own, so that adapters and changes of weights are in both. Whether head and decoder
    together make the model's logits is for `self_check` to find out.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    names = {module: name for name, module in causal.named_modules() if name}
    found = [causal.get_decoder() if hasattr(causal, "get_decoder") else None, getattr(causal, "model", None)]
    decoder: Any = next((module for module in found if module in names), None)
    if decoder is None:
        return None
    handing_on = _shallow(decoder)
    handing_on.forward = _hand_on
    return Head(decoder, _with(causal, names[decoder].split("."), handing_on))


def _with(module: torch.nn.Module, path: list[str], part: torch.nn.Module) -> Any:
    """A copy of a module, of the same parts, with another one in one place."""
    twin: Any = _shallow(module)
    first, *rest = path
    twin._modules = {**module._modules, first: _with(module.get_submodule(first), rest, part) if rest else part}
    return twin


def _shallow(module: Any) -> Any:
    """A copy that has the same parts. `copy.copy` would ask the class, and those of sharded modules make no copies."""
    twin: Any = object.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    return twin


def _hand_on(*args: Any, inputs_embeds: Tensor, **kwargs: Any) -> _States:
    """A decoder's forward pass that gives back what it is given."""
    return _States(inputs_embeds)


class _States:
    """A decoder's output of hidden states alone; whatever else a model looks for there is None."""

    def __init__(self, states: Tensor) -> None:
        self.last_hidden_state = states

    def __getitem__(self, index: int) -> Tensor:
        return (self.last_hidden_state,)[index]

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
