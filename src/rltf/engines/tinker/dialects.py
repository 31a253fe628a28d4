"""What differs between servers of the Tinker API. Nothing here imports the SDK or torch.

Read off the sources of SkyRL 0.3.0 and of the SDK; `tests/real_skyrl` holds `skyrl_jax` against a real server.
`docs/tinker.md` has the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rltf.config import TinkerEngineConfig, TrainerConfig
from rltf.config.engines import Server
from rltf.support.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One kind of server."""

    reduction: Literal["sum", "mean"]
    """What a server makes of the losses of tokens: their sum, as we do; or the mean over the tokens of each sequence,
    and then over the sequences since its last optimiser step."""
    named_losses: bool
    """Whether its losses are ours by name, sign, clip and reduction, so that samples can be sent as they are. Otherwise
    the gradient by the log-probabilities is made here and sent."""
    masks: bool
    """Whether its losses with a ratio read `weights`, and count tokens by them. Without, they refuse such an input."""
    clips: bool
    """Whether it scales a gradient down to `trainer.max_grad_norm`."""
    adam: bool
    """Whether it takes AdamW's settings with each step; else they are those that it was started with."""
    shared_decay: bool
    """Whether the weight decay of one who trains there shrinks the adapters of all (found in SkyRL 0.3.0)."""
    kinds: bool
    """Whether the name of saved weights has their kind before it where it hands them out: `sampler_weights/name`."""


DIALECTS: Mapping[Server, Dialect] = {
    "hosted": Dialect(
        reduction="sum", named_losses=True, masks=False, clips=True, adam=True, shared_decay=False, kinds=True
    ),
    "skyrl_jax": Dialect(
        reduction="mean", named_losses=False, masks=True, clips=False, adam=True, shared_decay=True, kinds=False
    ),
    "skyrl_train": Dialect(
        reduction="sum", named_losses=False, masks=True, clips=False, adam=False, shared_decay=False, kinds=False
    ),
}


def check_optimizer(config: TinkerEngineConfig, optimizer: TrainerConfig) -> None:
    """Raises `UserError` for a gradient clip that the server would ignore."""
    if optimizer.max_grad_norm is not None and not DIALECTS[config.server].clips:
        raise UserError(
            f"trainer.max_grad_norm={optimizer.max_grad_norm:g}: engine.dialect={config.server} does not scale "
            'gradients down as it is told; set trainer.max_grad_norm="none"'
        )
