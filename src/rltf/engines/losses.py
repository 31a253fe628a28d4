"""Per-token losses. Names and meanings of those without `targets` are the Tinker API's, so that a remote engine maps
one to one.

Axes: `_BT` sequence and completion token, `_V` vocabulary, `_K` the tokens that a target distribution names. Every
loss is that of each token, to be summed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rltf.types import LossName


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """What a loss is computed from."""

    logprobs_BT: Tensor
    """log pi of the completions' tokens, with its gradient."""
    weights_BT: Tensor
    """Signed weight of each token; 0 on padding."""
    old_logprobs_BT: Tensor | None = None
    """The denominator of a ratio."""
    clip: tuple[float, float] = (0.8, 1.2)
    """Absolute bounds of a ratio."""
    target_logprobs_BTK: Tensor | None = None
    """Log-probabilities of the target distributions at the tokens that they name."""
    policy_logprobs_BTK: Tensor | None = None
    """log pi at those tokens, with its gradient."""


def cross_entropy(batch: TokenBatch) -> Tensor:
    """`-w log pi`. With a signed weight, the score-function (REINFORCE) loss: its gradient is `-w grad log pi`."""
    return -batch.weights_BT * batch.logprobs_BT


def importance_sampling(batch: TokenBatch) -> Tensor:
    """`-w r` with `r = pi / pi_old` per token; on-policy its gradient is that of `cross_entropy`."""
    return -batch.weights_BT * _ratio(batch)


def ppo(batch: TokenBatch) -> Tensor:
    """`-min(w r, w clip(r))` (Schulman et al., arXiv 1707.06347); `clip` holds absolute bounds."""
    ratio_BT = _ratio(batch)
    return -torch.minimum(batch.weights_BT * ratio_BT, batch.weights_BT * ratio_BT.clamp(*batch.clip))


def cispo(batch: TokenBatch) -> Tensor:
    """`-w stop_grad(clip(r)) log pi` (MiniMax, arXiv 2506.13585): the ratio is clipped, the gradient is kept."""
    return -batch.weights_BT * _ratio(batch).detach().clamp(*batch.clip) * batch.logprobs_BT


def forward_kl(batch: TokenBatch) -> Tensor:
    """`w KL(target || pi)`: the policy is to cover all that the target finds likely."""
    target_BTK, policy_BTK = _with_tails(batch)
    return batch.weights_BT * _kl(target_BTK, policy_BTK)


def reverse_kl(batch: TokenBatch) -> Tensor:
    """`w KL(pi || target)`: the policy is to say nothing that the target finds unlikely."""
    target_BTK, policy_BTK = _with_tails(batch)
    return batch.weights_BT * _kl(policy_BTK, target_BTK)


def jensen_shannon(batch: TokenBatch) -> Tensor:
    """`w (KL(target || m) + KL(pi || m)) / 2` with `m` their mean: between the two, and at most log 2 (Lin, 1991)."""
    target_BTK, policy_BTK = _with_tails(batch)
    mean_BTK = torch.logaddexp(target_BTK, policy_BTK) - math.log(2.0)
    return batch.weights_BT * 0.5 * (_kl(target_BTK, mean_BTK) + _kl(policy_BTK, mean_BTK))


LOSSES: Mapping[LossName, Callable[[TokenBatch], Tensor]] = {
    "cross_entropy": cross_entropy,
    "importance_sampling": importance_sampling,
    "ppo": ppo,
    "cispo": cispo,
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "jensen_shannon": jensen_shannon,
}


def token_loss(name: LossName, batch: TokenBatch) -> Tensor:
    """The loss by its name, shape `[B, T]`. Tokens of weight 0 give loss 0 and gradient 0 whatever stands there."""
    # A masked token may have any log-probability: an infinite ratio times 0 would be NaN.
    masked_BT = batch.weights_BT == 0
    masked_BT1 = masked_BT.unsqueeze(-1)
    old, target, policy = batch.old_logprobs_BT, batch.target_logprobs_BTK, batch.policy_logprobs_BTK
    batch = replace(
        batch,
        logprobs_BT=torch.where(masked_BT, 0.0, batch.logprobs_BT),
        old_logprobs_BT=None if old is None else torch.where(masked_BT, 0.0, old),
        target_logprobs_BTK=None if target is None else torch.where(masked_BT1, _UNIFORM, target),
        policy_logprobs_BTK=None if policy is None else torch.where(masked_BT1, _UNIFORM, policy),
    )
    return LOSSES[name](batch)


_UNIFORM = -20.0
"""Stands at masked positions, where any log-probability does whose sum over the named tokens stays below 1."""


def entropy(logits_BTV: Tensor) -> Tensor:
    """Entropy of each token's distribution in nats, shape `[B, T]`, from normalised log-probabilities or logits."""
    logprobs_BTV = torch.log_softmax(logits_BTV, dim=-1)
    # A token of probability 0 adds nothing; 0 times -inf would be NaN.
    finite_BTV = logprobs_BTV.clamp(min=torch.finfo(logprobs_BTV.dtype).min)
    entropy_BT: Tensor = -torch.linalg.vecdot(logprobs_BTV.exp(), finite_BTV)
    return entropy_BT


def _ratio(batch: TokenBatch) -> Tensor:
    assert batch.old_logprobs_BT is not None
    return torch.exp(batch.logprobs_BT - batch.old_logprobs_BT)


def _with_tails(batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """Log-probabilities `[B, T, K + 1]` of target and policy: the named tokens and, as one more outcome, all others."""
    assert batch.target_logprobs_BTK is not None and batch.policy_logprobs_BTK is not None
    return _with_tail(batch.target_logprobs_BTK), _with_tail(batch.policy_logprobs_BTK)


def _with_tail(logprobs_BTK: Tensor) -> Tensor:
    # Where the named tokens have all but a rounding error of the probability, the rest is that error and not negative.
    least = torch.finfo(logprobs_BTK.dtype).eps
    tail_BT1 = (1.0 - logprobs_BTK.exp().sum(dim=-1, keepdim=True)).clamp(min=least).log()
    return torch.cat([logprobs_BTK, tail_BT1], dim=-1)


def _kl(p_BTK: Tensor, q_BTK: Tensor) -> Tensor:
    """`KL(p || q)` of log-probabilities, shape `[B, T]`."""
    least = torch.finfo(p_BTK.dtype).min
    return (p_BTK.exp() * (p_BTK.clamp(min=least) - q_BTK.clamp(min=least))).sum(dim=-1)
