"""Per-token losses. Names and meanings are those of the Tinker API, so that a remote engine maps one to one.

Axes: `_BT` sequence and completion token. Every function returns the loss of each token, to be summed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rltf.types import LossName


def cross_entropy(logprobs_BT: Tensor, weights_BT: Tensor) -> Tensor:
    """`-w log pi`. With a signed weight, the score-function (REINFORCE) loss: its gradient is `-w grad log pi`."""
    return -weights_BT * logprobs_BT


def importance_sampling(logprobs_BT: Tensor, weights_BT: Tensor, old_logprobs_BT: Tensor) -> Tensor:
    """`-w r` with `r = pi / pi_old` per token; on-policy its gradient is that of `cross_entropy`."""
    return -weights_BT * torch.exp(logprobs_BT - old_logprobs_BT)


def ppo(logprobs_BT: Tensor, weights_BT: Tensor, old_logprobs_BT: Tensor, clip: tuple[float, float]) -> Tensor:
    """`-min(w r, w clip(r))` (Schulman et al., arXiv 1707.06347); `clip` holds absolute bounds."""
    ratio_BT = torch.exp(logprobs_BT - old_logprobs_BT)
    clipped_BT = ratio_BT.clamp(*clip)
    return -torch.minimum(weights_BT * ratio_BT, weights_BT * clipped_BT)


def cispo(logprobs_BT: Tensor, weights_BT: Tensor, old_logprobs_BT: Tensor, clip: tuple[float, float]) -> Tensor:
    """`-w stop_grad(clip(r)) log pi` (MiniMax, arXiv 2506.13585): the ratio is clipped, the gradient is kept."""
    ratio_BT = torch.exp(logprobs_BT - old_logprobs_BT).detach()
    return -weights_BT * ratio_BT.clamp(*clip) * logprobs_BT


def token_loss(
    name: LossName,
    logprobs_BT: Tensor,
    weights_BT: Tensor,
    old_logprobs_BT: Tensor,
    clip: tuple[float, float],
) -> Tensor:
    """The loss by its name. Tokens of weight 0 give loss 0 and gradient 0 whatever their ratio."""
    # A masked token may have any log-probability: an infinite ratio times 0 would be NaN.
    masked_BT = weights_BT == 0
    logprobs_BT = torch.where(masked_BT, 0.0, logprobs_BT)
    old_logprobs_BT = torch.where(masked_BT, 0.0, old_logprobs_BT)
    match name:
        case "cross_entropy":
            return cross_entropy(logprobs_BT, weights_BT)
        case "importance_sampling":
            return importance_sampling(logprobs_BT, weights_BT, old_logprobs_BT)
        case "ppo":
            return ppo(logprobs_BT, weights_BT, old_logprobs_BT, clip)
        case "cispo":
            return cispo(logprobs_BT, weights_BT, old_logprobs_BT, clip)


def entropy(logits_BTV: Tensor) -> Tensor:
    """Entropy of each token's distribution in nats, shape `[B, T]`, from normalised log-probabilities or logits."""
    logprobs_BTV = torch.log_softmax(logits_BTV, dim=-1)
    # A token of probability 0 adds nothing; 0 times -inf would be NaN.
    finite_BTV = logprobs_BTV.clamp(min=torch.finfo(logprobs_BTV.dtype).min)
    entropy_BT: Tensor = -torch.linalg.vecdot(logprobs_BTV.exp(), finite_BTV)
    return entropy_BT
