"""Layers whose activations are computed again for the backward pass, with shared prefixes too.

transformers' own way gives a layer no cache while it is to be computed again, as the cache would grow a second time.
The caches of `caches.kept_prefixes` do not grow. Nor is training mode needed here: dropout stays off.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


def checkpoint_layers(model: Any) -> int:
    """From now on, wherever a gradient is recorded, keeps only the layers' inputs; returns the number of layers."""
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = partial(_forward, layer.forward)
    return len(layers)


def _forward(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)
