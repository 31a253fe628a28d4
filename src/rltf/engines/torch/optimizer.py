"""AdamW on float32 weights, whatever number format the model computes in.

A weight in bfloat16 has 8 significant bits: what a step adds to it is lost in rounding where that is less than about a
400th of the weight, which at a usual rate is nearly always. So the optimiser holds a float32 copy of such weights, its
masters, adds to those, and the model gets them rounded. Gradients are summed over micro-batches in float32 too
(Micikevicius et al., "Mixed precision training", arXiv 1710.03740).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from rltf.config import TrainerConfig


class MasterAdamW:
    """Trains parameters through float32 masters. A parameter in float32 is its own master, and nothing is copied."""

    def __init__(self, parameters: Mapping[str, Parameter], config: TrainerConfig, device: torch.device) -> None:
        self._parameters = dict(parameters)
        self.masters: dict[str, Tensor] = {}
        """By name, the weights that are trained, in float32."""
        self._hooks = []
        for name, parameter in parameters.items():
            own = parameter.dtype == torch.float32
            self.masters[name] = parameter if own else parameter.detach().to(torch.float32, copy=True)
            if not own:
                self._hooks.append(parameter.register_post_accumulate_grad_hook(_collector(self.masters[name])))
        self._adamw = torch.optim.AdamW(
            self.masters.values(),
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )

    def clip(self, limit: float | None) -> float:
        """Scales the gradient down to a norm, if one is given; returns the norm that it had."""
        most = float("inf") if limit is None else limit
        norm: Any = torch.nn.utils.clip_grad_norm_(self.masters.values(), most)
        # Of weights that lie in parts over several processes, the norm of all parts.
        return float((norm.full_tensor() if hasattr(norm, "full_tensor") else norm).item())

    def step(self, learning_rate: float) -> None:
        """One step on the accumulated gradient, which it clears."""
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()
        self.zero_grad()
        self._round()

    def zero_grad(self) -> None:
        """Clears the gradient."""
        for tensor in (*self.masters.values(), *self._parameters.values()):
            tensor.grad = None

    def state(self, whole: Callable[[Tensor], Tensor] = Tensor.detach) -> dict[str, Any]:
        """What `load` takes beside the masters, each tensor made `whole` where it lies in parts."""
        state = self._adamw.state_dict()
        moments = {
            weight: {name: whole(value) if isinstance(value, Tensor) else value for name, value in values.items()}
            for weight, values in state["state"].items()
        }
        return {**state, "state": moments}

    def load(
        self, masters: Mapping[str, Tensor], state: dict[str, Any], part: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        """Goes on from saved weights and the state saved with them. `part` takes a whole tensor and one like that which
        this process is to hold of it."""
        with torch.no_grad():
            for name, master in self.masters.items():
                master.copy_(part(masters[name], master))
        self._round()
        weights = list(self.masters.values())
        moments = {
            weight: {
                name: part(value, weights[weight]) if isinstance(value, Tensor) and value.dim() else value
                for name, value in values.items()
            }
            for weight, values in state["state"].items()
        }
        self._adamw.load_state_dict({**state, "state": moments})

    @torch.no_grad()
    def _round(self) -> None:
        """Gives the model the masters, rounded to its format."""
        for name, parameter in self._parameters.items():
            if self.masters[name] is not parameter:
                parameter.copy_(self.masters[name])


def _collector(master: Tensor) -> Callable[[Tensor], None]:
    """Moves a parameter's gradient to its master as soon as a backward pass has made it."""

    def collect(parameter: Tensor) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.to(torch.float32)
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)
        parameter.grad = None

    return collect


@contextmanager
def holding(
    parameters: Mapping[str, Parameter], others: Mapping[str, Tensor], *, in_place: bool = False
) -> Iterator[None]:
    """Within it, the parameters have other values, in their own number format; `in_place`: where they lie, for
    parameters of which somebody else holds views."""
    if in_place:
        values = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        try:
            _copy(others, parameters)
            yield
        finally:
            _copy(values, parameters)
        return
    kept = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = others[name].to(parameter.dtype)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = kept[name]


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], parameters: Mapping[str, Parameter]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
